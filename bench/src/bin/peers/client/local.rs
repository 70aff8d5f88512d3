//! Work that only mp-manager is measured at.

use std::{io, time::Instant};

use mp_manager::{Dict, Event, Manager};
use tokio::task::JoinSet;

use super::{Client, Sample, Work, finish, wait_for_start};
use crate::error;

/// Sessions that calls wait in.
const SESSIONS: u64 = 100;
/// How many are opened at a time.
const AT_ONCE: u64 = 32;

pub(super) async fn open_sessions(address: &str, count: u64) -> io::Result<Vec<Manager>> {
    let mut sessions = Vec::new();
    let mut opening = JoinSet::new();
    for _ in 0..count {
        let address = address.to_owned();
        opening.spawn(async move { Manager::builder().connect(&address).await });
        if opening.len() as u64 >= AT_ONCE
            && let Some(opened) = opening.join_next().await
        {
            sessions.push(opened.map_err(error)?.map_err(error)?);
        }
    }
    while let Some(opened) = opening.join_next().await {
        sessions.push(opened.map_err(error)?.map_err(error)?);
    }
    Ok(sessions)
}

pub(super) async fn open_objects(client: &Client) -> io::Result<Vec<Dict<u64, u64>>> {
    let manager = Manager::builder().connect(&client.address).await.map_err(error)?;
    let mut opening = JoinSet::new();
    let callers = 256.min(client.count);
    for caller in 0..callers {
        let (manager, count) = (manager.clone(), client.count);
        opening.spawn(async move {
            let mut dicts = Vec::new();
            for n in (caller..count).step_by(usize::try_from(callers).unwrap_or(1)) {
                dicts.push(manager.dict::<u64, u64>(format!("other {n}")).await?);
            }
            Ok::<_, mp_manager::Error>(dicts)
        });
    }
    let mut dicts = Vec::new();
    while let Some(opened) = opening.join_next().await {
        dicts.extend(opened.map_err(error)?.map_err(error)?);
    }
    Ok(dicts)
}

/// Measures the server's memory of an idle session.
pub(super) async fn idle(client: &Client) -> io::Result<()> {
    // The first sessions also grow the server's own tables.
    let first = open_sessions(&client.address, 20).await?;
    wait_for_start()?;
    let (before, began) = (client.resident()?, Instant::now());
    let sessions = open_sessions(&client.address, client.count).await?;
    let sample = Sample {
        operations: client.count,
        all: client.count,
        seconds: began.elapsed().as_secs_f64(),
        bytes: Some((client.resident()? - before) / client.count as f64),
        p50: None,
    };
    finish(&sample)?;
    drop((first, sessions));
    Ok(())
}

/// How long it takes from setting an event until the last of those has heard of it that wait for it, and what each
/// takes while it waits.
pub(super) async fn wake(client: &Client) -> io::Result<()> {
    let sessions = open_sessions(&client.address, SESSIONS).await?;
    let mut events: Vec<Event> = Vec::new();
    for session in &sessions {
        events.push(session.event("everybody").await.map_err(error)?);
    }
    let setter = Manager::builder().connect(&client.address).await.map_err(error)?;
    let event = setter.event("everybody").await.map_err(error)?;
    wait_for_start()?;
    let before = client.resident()?;
    let mut waiting = JoinSet::new();
    for n in 0..client.count {
        let event = events[usize::try_from(n % SESSIONS).unwrap_or(0)].clone();
        waiting.spawn(async move { event.wait().await });
    }
    // Each session's ping comes after its waits.
    tokio::task::yield_now().await;
    for session in &sessions {
        session.ping().await.map_err(error)?;
    }
    let bytes = (client.resident()? - before) / client.count as f64;
    let began = Instant::now();
    event.set().await.map_err(error)?;
    while let Some(ended) = waiting.join_next().await {
        ended.map_err(error)?.map_err(error)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let bytes = (client.work == Work::Parked).then_some(bytes);
    finish(&Sample { operations: client.count, all: client.count, seconds, p50: None, bytes })
}
