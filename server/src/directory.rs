//! The directory: what is asked of the server about its objects.

use std::{collections::btree_map::Entry, sync::Arc};

use mp_manager_core::{
    Answer, Error, Object, Pin, Reason, Referent,
    v1::{
        DirectoryOp, Inspect, Inspection, List, Listing, Mode, ObjectInfo, Open, Opened,
        SessionInfo, Statistics, directory_op::Op, reply,
    },
};

use crate::{
    lock,
    session::Session,
    store::{Cell, Store},
};

/// How many objects a page of a listing has at most.
const MAX_LISTING: usize = 1000;

/// Executes an operation on the directory. What its caller lets go of goes to `let_go`, to be dropped
/// outside all locks.
pub(crate) fn apply(
    store: &Arc<Store>,
    session: &Session,
    op: DirectoryOp,
    let_go: &mut Vec<Pin>,
) -> Result<Answer, Error> {
    match op.op {
        Some(Op::Open(open)) => self::open(store, open),
        Some(Op::Delete(name)) => delete(store, &name),
        Some(Op::List(list)) => Ok(self::list(store, &list)),
        Some(Op::Exists(name)) => {
            let exists = lock(&store.names).contains_key(&name);
            Ok(Answer::new(reply::Result::Flag(exists)))
        }
        Some(Op::Inspect(inspect)) => self::inspect(store, inspect),
        Some(Op::Release(release)) => {
            let_go.extend(session.release(release.object, release.count));
            Ok(Answer::done())
        }
        Some(Op::Shutdown(_)) => {
            store.shutdown.notify_one();
            Ok(Answer::done())
        }
        Some(Op::Statistics(_)) => Ok(inspection(Vec::new(), Vec::new(), store)),
        Some(Op::Ping(_)) => Ok(Answer::done()),
        None => Err(mp_manager_core::object::unsupported()),
    }
}

fn open(store: &Arc<Store>, open: Open) -> Result<Answer, Error> {
    let Some(name) = open.name.clone() else {
        let cell = store.create(None, open.kind(), open.parameters)?;
        return Ok(opened(store, cell, true));
    };
    check_name(store, &name)?;
    // The map stays locked meanwhile: of two who open a new name, one creates it.
    let mut names = lock(&store.names);
    match names.entry(name) {
        Entry::Occupied(entry) => {
            let cell = Arc::clone(entry.get());
            drop(names);
            check_existing(store, &cell, &open)?;
            Ok(opened(store, cell, false))
        }
        Entry::Vacant(entry) if open.mode() == Mode::Open => Err(not_found(entry.key())),
        Entry::Vacant(entry) => {
            let name = Some(entry.key().clone());
            let cell = store.create(name, open.kind(), open.parameters)?;
            entry.insert(Arc::clone(&cell));
            drop(names);
            Ok(opened(store, cell, true))
        }
    }
}

fn check_name(store: &Store, name: &str) -> Result<(), Error> {
    let max = store.limits().max_name_bytes;
    if name.is_empty() {
        return Err(Error::new(Reason::InvalidArgument, "an object's name cannot be empty")
            .with_hint("an object without a name is created with Unnamed"));
    }
    if name.len() > max {
        return Err(Error::new(
            Reason::LimitExceeded,
            format!("the name has {} bytes; the limit is {max}", name.len()),
        )
        .with_hint("the server's --max-name-bytes raises the limit"));
    }
    Ok(())
}

fn check_existing(store: &Store, cell: &Cell, open: &Open) -> Result<(), Error> {
    let name = cell.name.as_deref().unwrap_or_default();
    if open.mode() == Mode::Create {
        return Err(Error::new(Reason::AlreadyExists, format!("\"{name}\" exists already"))
            .with_hint("open it, delete it first, or use another name"));
    }
    if cell.kind != open.kind() {
        let (there, asked) = (cell.kind.name(), open.kind().name());
        return Err(Error::new(
            Reason::WrongKind,
            format!("\"{name}\" is a {there}, not a {asked}"),
        )
        .with_hint("open it as that kind, or use another name"));
    }
    let parameters = open.parameters.as_ref();
    store.look(cell, |object| object.check_parameters(parameters)).unwrap_or(Ok(()))
}

fn opened(store: &Store, cell: Arc<Cell>, created: bool) -> Answer {
    let parameters = store.look(&cell, Object::parameters).flatten();
    let opened = Opened { r#ref: Some(cell.reference()), created, parameters };
    Answer { pins: vec![cell], ..Answer::new(reply::Result::Opened(opened)) }
}

fn delete(store: &Store, name: &str) -> Result<Answer, Error> {
    let cell = lock(&store.names).remove(name).ok_or_else(|| not_found(name))?;
    store.delete(&cell);
    Ok(Answer::done())
}

fn not_found(name: &str) -> Error {
    Error::new(Reason::ObjectNotFound, format!("there is no object \"{name}\""))
        .with_hint("`mp-manager ls` shows what there is")
}

fn list(store: &Store, list: &List) -> Answer {
    let max = if list.max == 0 { MAX_LISTING } else { MAX_LISTING.min(list.max as usize) };
    let start = if list.after > list.prefix { &list.after } else { &list.prefix };
    let mut cells: Vec<Arc<Cell>> = lock(&store.names)
        .range::<String, _>(start..)
        .filter(|(name, _)| **name != list.after)
        .take_while(|(name, _)| name.starts_with(&list.prefix))
        .take(max + 1)
        .map(|(_, cell)| Arc::clone(cell))
        .collect();
    let more = cells.len() > max;
    cells.truncate(max);
    let objects = cells.iter().map(|cell| describe(store, cell)).collect();
    Answer::new(reply::Result::Listing(Listing { objects, more }))
}

fn inspect(store: &Store, inspect: Inspect) -> Result<Answer, Error> {
    let cells = match inspect.name {
        Some(name) => {
            let cell = lock(&store.names).get(&name).cloned();
            vec![cell.ok_or_else(|| not_found(&name))?]
        }
        None => store.objects.all(),
    };
    let objects = cells.iter().map(|cell| describe(store, cell)).collect();
    let mut sessions: Vec<_> =
        store.sessions.iter().map(|session| Arc::clone(session.value())).collect();
    sessions.sort_by_key(|session| session.id);
    let sessions = sessions.iter().map(|session| session_info(session)).collect();
    Ok(inspection(objects, sessions, store))
}

fn describe(store: &Store, cell: &Cell) -> ObjectInfo {
    let info = store.look(cell, Object::describe).unwrap_or_else(|| ObjectInfo {
        kind: cell.kind.into(),
        state: "busy".into(),
        ..ObjectInfo::default()
    });
    ObjectInfo { object: cell.id, name: cell.name.clone().unwrap_or_default(), ..info }
}

fn session_info(session: &Session) -> SessionInfo {
    SessionInfo {
        session: session.id,
        process: session.process.name.clone(),
        pid: session.process.pid,
        host: session.process.host.clone(),
        peer: session.peer().to_string(),
        open_requests: session.load().open as u64,
        references: session.references() as u64,
    }
}

fn inspection(objects: Vec<ObjectInfo>, sessions: Vec<SessionInfo>, store: &Store) -> Answer {
    let statistics = Statistics {
        objects: store.objects.count() as u64,
        named_objects: lock(&store.names).len() as u64,
        sessions: store.sessions.len() as u64,
        bytes: store.objects.bytes() as u64,
        max_bytes: store.limits().max_memory_bytes as u64,
        uptime_ms: u64::try_from(store.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        version: env!("CARGO_PKG_VERSION").into(),
        server_id: store.server_id,
    };
    let inspection = Inspection { objects, sessions, statistics: Some(statistics) };
    Answer::new(reply::Result::Inspection(inspection))
}
