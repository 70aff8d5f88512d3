//! `mp-manager inspect`

use clap::Args;
use mp_manager::{Holding, Inspection, ObjectInfo, SessionInfo, Statistics, Waiting};
use serde_json::{Value, json};

use crate::{
    error::Error,
    json::kind_name,
    options::{Format, Options},
    output::{print, print_line, print_rows},
    table::table,
};

/// Show an object, who holds it and who waits for what; or everything
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The object; everything unless it is given
    name: Option<String>,
}

impl Inspect {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let name = self.name.as_deref();
        let inspection =
            options.session("inspect", async |manager| Ok(manager.inspect(name).await?)).await?;
        match options.output {
            Format::Table => print_tables(&inspection),
            Format::Json => print_line(&inspection_json(&inspection).to_string()),
        }
    }
}

/// What is said of an object without what goes on in it.
pub(crate) const OBJECT_HEADINGS: [&str; 5] = ["NAME", "KIND", "LEN", "BYTES", "STATE"];

fn print_tables(inspection: &Inspection) -> Result<(), Error> {
    print_rows(Format::Table, OBJECT_HEADINGS, &inspection.objects, object_row, object_json)?;
    let mut holders = Vec::new();
    let mut waiters = Vec::new();
    for object in &inspection.objects {
        let name = object_name(object);
        let session = |id| session_name(inspection, id);
        holders.extend(object.holders.iter().map(|holding| {
            [
                name.clone(),
                session(holding.session),
                holding.what.clone(),
                holding.token.to_string(),
            ]
        }));
        let more = |count| format!("and {count} more");
        if object.more_holders > 0 {
            holders.push([name.clone(), more(object.more_holders), String::new(), String::new()]);
        }
        waiters.extend(
            object
                .waiters
                .iter()
                .map(|waiting| [name.clone(), session(waiting.session), waiting.what.clone()]),
        );
        if object.more_waiters > 0 {
            waiters.push([name.clone(), more(object.more_waiters), String::new()]);
        }
    }
    print_section(["OBJECT", "HELD BY", "WHAT", "TOKEN"], holders)?;
    print_section(["OBJECT", "WAITED FOR BY", "IN"], waiters)?;
    let sessions = inspection.sessions.iter().map(session_row).collect();
    print_section(
        ["SESSION", "PROCESS", "PID", "HOST", "PEER", "REQUESTS", "REFERENCES"],
        sessions,
    )?;
    match &inspection.statistics {
        Some(statistics) => print(&format!("\n{}\n", statistics_line(statistics))),
        None => Ok(()),
    }
}

fn print_section<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> Result<(), Error> {
    if rows.is_empty() { Ok(()) } else { print(&format!("\n{}", table(headings, rows))) }
}

pub(crate) fn object_row(object: &ObjectInfo) -> [String; 5] {
    [
        object_name(object),
        kind_name(object.kind()),
        object.len.to_string(),
        object.bytes.to_string(),
        object.state.clone(),
    ]
}

fn object_name(object: &ObjectInfo) -> String {
    if object.name.is_empty() { format!("(id {})", object.object) } else { object.name.clone() }
}

fn session_row(session: &SessionInfo) -> [String; 7] {
    [
        session.session.to_string(),
        session.process.clone(),
        session.pid.to_string(),
        session.host.clone(),
        session.peer.clone(),
        session.open_requests.to_string(),
        session.references.to_string(),
    ]
}

/// A session as somebody would look for it.
fn session_name(inspection: &Inspection, id: u64) -> String {
    match inspection.sessions.iter().find(|session| session.session == id) {
        Some(session) => format!("{} (pid {}, session {id})", session.process, session.pid),
        None => format!("session {id}"),
    }
}

fn statistics_line(statistics: &Statistics) -> String {
    format!(
        "{} objects, {} of them named; {} sessions; {} of {} bytes; up {} s; version {}",
        statistics.objects,
        statistics.named_objects,
        statistics.sessions,
        statistics.bytes,
        statistics.max_bytes,
        statistics.uptime_ms / 1000,
        statistics.version,
    )
}

fn inspection_json(inspection: &Inspection) -> Value {
    json!({
        "objects": inspection.objects.iter().map(object_json).collect::<Value>(),
        "sessions": inspection.sessions.iter().map(session_json).collect::<Value>(),
        "statistics": inspection.statistics.as_ref().map(statistics_json),
    })
}

pub(crate) fn object_json(object: &ObjectInfo) -> Value {
    json!({
        "id": object.object,
        "name": (!object.name.is_empty()).then_some(&object.name),
        "kind": kind_name(object.kind()),
        "len": object.len,
        "bytes": object.bytes,
        "state": object.state,
        "holders": object.holders.iter().map(holding_json).collect::<Value>(),
        "more_holders": object.more_holders,
        "waiters": object.waiters.iter().map(waiting_json).collect::<Value>(),
        "more_waiters": object.more_waiters,
    })
}

fn holding_json(holding: &Holding) -> Value {
    json!({"session": holding.session, "what": holding.what, "token": holding.token})
}

fn waiting_json(waiting: &Waiting) -> Value {
    json!({"session": waiting.session, "what": waiting.what})
}

fn session_json(session: &SessionInfo) -> Value {
    json!({
        "id": session.session,
        "process": session.process,
        "pid": session.pid,
        "host": session.host,
        "peer": session.peer,
        "open_requests": session.open_requests,
        "references": session.references,
    })
}

fn statistics_json(statistics: &Statistics) -> Value {
    json!({
        "objects": statistics.objects,
        "named_objects": statistics.named_objects,
        "sessions": statistics.sessions,
        "bytes": statistics.bytes,
        "max_bytes": statistics.max_bytes,
        "uptime_ms": statistics.uptime_ms,
        "version": statistics.version,
    })
}
