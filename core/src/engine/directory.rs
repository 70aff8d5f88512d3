//! The directory: what is asked of the server about its objects.

use std::{collections::btree_map::Entry, sync::Arc};

use mp_manager_proto::v1::{
    DirectoryOp, Inspect, Inspection, Kind, List, Listing, Mode, ObjectInfo, Open, Opened,
    SessionInfo, Statistics, directory_op::Op, reply,
};

use super::{
    Engine,
    cell::Cell,
    client::Client,
    step::{Step, Work},
};
use crate::{
    Error, Object, ObjectId, Reason, Referent, call::Answer, lock::lock, object::unsupported,
};

/// How many objects a page of a listing has at most.
const MAX_LISTING: usize = 1000;

impl Engine {
    /// Executes an operation on the directory.
    pub(super) fn directory(
        &self,
        client: &Client,
        op: DirectoryOp,
        work: &mut Work,
    ) -> Result<Answer, Error> {
        match op.op {
            Some(Op::Open(open)) => self.open(open),
            Some(Op::Delete(name)) => self.delete(&name, work),
            Some(Op::DeleteId(id)) => self.delete_id(id, work),
            Some(Op::List(list)) if list.unnamed => Ok(self.list_unnamed(&list)),
            Some(Op::List(list)) => Ok(self.list(&list)),
            Some(Op::Exists(name)) => {
                let exists = lock(&self.names).contains_key(&name);
                Ok(Answer::new(reply::Result::Flag(exists)))
            }
            Some(Op::Inspect(inspect)) => self.inspect(inspect),
            Some(Op::Release(release)) => {
                if let Some(pin) = client.release(release.object, release.count)? {
                    work.drop_later(pin);
                }
                Ok(Answer::done())
            }
            Some(Op::Shutdown(_)) => {
                work.orders().shut_down = true;
                Ok(Answer::done())
            }
            Some(Op::Statistics(_)) => Ok(self.inspection(Vec::new(), Vec::new())),
            Some(Op::Ping(_)) => Ok(Answer::done()),
            None => Err(unsupported()),
        }
    }

    fn open(&self, mut open: Open) -> Result<Answer, Error> {
        // Neither a mode nor a kind that only a newer client knows may be taken for the default.
        let known_mode = Mode::try_from(open.mode).map_err(|_| unsupported())?;
        if open.kind() == Kind::Unspecified {
            return Err(unsupported());
        }
        let Some(name) = open.name.clone() else {
            if known_mode == Mode::Open {
                return Err(nothing_to_open());
            }
            let cell = self.create(None, &mut open)?;
            return Ok(opened(cell, true));
        };
        self.check_name(&name)?;
        // The map stays locked meanwhile: of two who open a new name, one creates it.
        let mut names = lock(&self.names);
        match names.entry(name) {
            Entry::Occupied(entry) => {
                let cell = Arc::clone(entry.get());
                drop(names);
                check_existing(&cell, &open)?;
                Ok(opened(cell, false))
            }
            Entry::Vacant(entry) if open.mode() == Mode::Open => Err(not_found(entry.key())),
            Entry::Vacant(entry) => {
                let cell = self.create(Some(entry.key().clone()), &mut open)?;
                entry.insert(Arc::clone(&cell));
                drop(names);
                Ok(opened(cell, true))
            }
        }
    }

    fn check_name(&self, name: &str) -> Result<(), Error> {
        let max = self.config.totals.max_name_bytes;
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

    fn delete(&self, name: &str, work: &mut Work) -> Result<Answer, Error> {
        let cell = lock(&self.names).remove(name).ok_or_else(|| not_found(name))?;
        Ok(Self::delete_later(cell, work))
    }

    /// Deletes an object whether it has a name or not. Whoever refers to it is refused from now on.
    fn delete_id(&self, id: ObjectId, work: &mut Work) -> Result<Answer, Error> {
        let cell = self.find(id).filter(|cell| !cell.is_deleted()).ok_or_else(|| no_object(id))?;
        if let Some(name) = &cell.name {
            let mut names = lock(&self.names);
            // The name may be another object's by now.
            if names.get(name).is_some_and(|named| named.id == id) {
                names.remove(name);
            }
        }
        Ok(Self::delete_later(cell, work))
    }

    /// Nobody finds it by its name any more.
    fn delete_later(cell: Arc<Cell>, work: &mut Work) -> Answer {
        work.then(Step::Delete(cell));
        Answer::done()
    }

    fn list_unnamed(&self, list: &List) -> Answer {
        let max = page_len(list);
        let (mut cells, mut after) = (Vec::new(), list.after_id);
        while cells.len() <= max {
            let next = self.objects.unnamed_after(after, max + 1);
            let Some(last) = next.last() else { break };
            after = last.id;
            cells.extend(next.into_iter().filter(|cell| !cell.is_deleted()));
        }
        let more = cells.len() > max;
        cells.truncate(max);
        let objects = cells.iter().map(|cell| cell.describe()).collect();
        Answer::new(reply::Result::Listing(Listing { objects, more }))
    }

    fn list(&self, list: &List) -> Answer {
        let max = page_len(list);
        let start = if list.after > list.prefix { &list.after } else { &list.prefix };
        let mut cells: Vec<Arc<Cell>> = lock(&self.names)
            .range::<String, _>(start..)
            .filter(|(name, _)| **name != list.after)
            .take_while(|(name, _)| name.starts_with(&list.prefix))
            .take(max + 1)
            .map(|(_, cell)| Arc::clone(cell))
            .collect();
        let more = cells.len() > max;
        cells.truncate(max);
        let objects = cells.iter().map(|cell| cell.describe()).collect();
        Answer::new(reply::Result::Listing(Listing { objects, more }))
    }

    fn inspect(&self, inspect: Inspect) -> Result<Answer, Error> {
        let cells = match inspect.name {
            Some(name) => {
                let cell = lock(&self.names).get(&name).cloned();
                vec![cell.ok_or_else(|| not_found(&name))?]
            }
            None => self.objects(),
        };
        let objects = cells.iter().map(|cell| cell.describe()).collect();
        let sessions = self.clients().iter().map(|client| session_info(client)).collect();
        Ok(self.inspection(objects, sessions))
    }

    fn inspection(&self, objects: Vec<ObjectInfo>, sessions: Vec<SessionInfo>) -> Answer {
        let uptime = self.clock.monotonic().saturating_sub(self.started);
        let statistics = Statistics {
            objects: self.objects.count() as u64,
            named_objects: lock(&self.names).len() as u64,
            sessions: self.clients.len() as u64,
            bytes: self.bytes() as u64,
            max_bytes: self.config.totals.max_memory_bytes as u64,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").into(),
            server_id: self.config.server_id,
        };
        let inspection = Inspection { objects, sessions, statistics: Some(statistics) };
        Answer::new(reply::Result::Inspection(inspection))
    }
}

impl Cell {
    /// What it looks like to people.
    #[must_use]
    pub fn describe(&self) -> ObjectInfo {
        let info = self.look(Object::describe).unwrap_or_else(|| ObjectInfo {
            kind: self.kind.into(),
            state: "busy".into(),
            ..ObjectInfo::default()
        });
        ObjectInfo { object: self.id, name: self.name.clone().unwrap_or_default(), ..info }
    }
}

fn check_existing(cell: &Cell, open: &Open) -> Result<(), Error> {
    let name = cell.name.as_deref().unwrap_or_default();
    if open.mode() == Mode::Create {
        return Err(Error::new(Reason::AlreadyExists, format!("\"{name}\" exists already"))
            .with_hint("open it, delete it first, or use another name"));
    }
    if cell.kind != open.kind() {
        let (there, asked) = (cell.kind.with_article(), open.kind().with_article());
        return Err(Error::new(Reason::WrongKind, format!("\"{name}\" is {there}, not {asked}"))
            .with_hint("open it as that kind, or use another name"));
    }
    let parameters = open.parameters.as_ref();
    cell.look(|object| object.check_parameters(parameters)).unwrap_or(Ok(()))
}

fn opened(cell: Arc<Cell>, created: bool) -> Answer {
    let parameters = cell.look(Object::parameters).flatten();
    let opened = Opened { r#ref: Some(cell.reference()), created, parameters };
    Answer { pins: vec![cell], ..Answer::new(reply::Result::Opened(opened)) }
}

fn page_len(list: &List) -> usize {
    if list.max == 0 { MAX_LISTING } else { MAX_LISTING.min(list.max as usize) }
}

fn nothing_to_open() -> Error {
    Error::new(Reason::InvalidArgument, "an object without a name cannot be opened, only created")
        .with_hint("open it by its name, or create it with another mode")
}

fn no_object(id: ObjectId) -> Error {
    Error::new(Reason::ObjectNotFound, format!("there is no object with the id {id}"))
        .with_hint("`mp-manager ls --unnamed` shows those without a name")
}

fn not_found(name: &str) -> Error {
    Error::new(Reason::ObjectNotFound, format!("there is no object \"{name}\""))
        .with_hint("`mp-manager ls` shows what there is")
}

fn session_info(client: &Client) -> SessionInfo {
    let process = client.process();
    SessionInfo {
        session: client.id(),
        process: process.name.clone(),
        pid: process.pid,
        host: process.host.clone(),
        peer: client.peer().to_string(),
        open_requests: client.load().open as u64,
        references: client.references() as u64,
    }
}
