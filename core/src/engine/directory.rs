//! The directory: what is asked of the server about its objects.

use std::{collections::btree_map::Entry, sync::Arc};

use mp_manager_proto::v1::{
    DirectoryOp, Inspect, Inspection, Kind, List, Listing, Mode, ObjectInfo, Open, Opened,
    Parameters, SessionInfo, Statistics, directory_op::Op, reply,
};

use super::{
    Engine,
    cell::{Cell, State},
    client::Client,
    shards::Page,
    step::{Step, Work},
};
use crate::{
    Error, Object, ObjectId, Reason, Referent, call::Answer, description, lock::lock,
    object::unsupported,
};

/// How many objects a page has at most, and how many sessions.
const MAX_ON_A_PAGE: usize = 1000;

/// An operation whose object a heavy operation has, and who opens it has to know its parameters: the session is
/// woken when it is back.
pub(super) struct Blocked(pub(super) DirectoryOp);

/// The object that is to be opened.
enum Meant {
    /// It is new.
    Created(Answer),
    Found(Arc<Cell>),
}

impl Engine {
    /// Executes an operation on the directory.
    pub(super) fn directory(
        &self,
        client: &Client,
        op: DirectoryOp,
        work: &mut Work,
    ) -> Result<Result<Answer, Error>, Blocked> {
        match op.op {
            Some(Op::Open(open)) => self.open(client, open),
            op => Ok(self.answer(client, op, work)),
        }
    }

    /// Executes an operation that waits for no object.
    fn answer(&self, client: &Client, op: Option<Op>, work: &mut Work) -> Result<Answer, Error> {
        match op {
            Some(Op::Open(_)) => Err(unsupported()),
            Some(Op::Delete(name)) => self.delete(&name, work),
            Some(Op::DeleteId(id)) => self.delete_id(id, work),
            Some(Op::List(list)) if list.unnamed => Ok(self.list_unnamed(&list)),
            Some(Op::List(list)) => Ok(self.list(&list)),
            Some(Op::Exists(name)) => {
                let exists = lock(&self.names).contains_key(&name);
                Ok(Answer::new(reply::Result::Flag(exists)))
            }
            Some(Op::Inspect(inspect)) => self.inspect(&inspect),
            Some(Op::Release(release)) => {
                if let Some(pin) = client.release(release.object, release.count)? {
                    work.drop_later(pin);
                }
                Ok(Answer::done())
            }
            Some(Op::Shutdown(_)) => {
                // Before the reply: after it, no other client may be served.
                self.shut_down();
                work.orders().shut_down = true;
                Ok(Answer::done())
            }
            Some(Op::Statistics(_)) => Ok(self.inspection(Inspection::default())),
            Some(Op::Ping(_)) => Ok(Answer::done()),
            None => Err(unsupported()),
        }
    }

    fn open(&self, client: &Client, mut open: Open) -> Result<Result<Answer, Error>, Blocked> {
        let cell = match self.open_or_create(&mut open) {
            Ok(Meant::Created(answer)) => return Ok(Ok(answer)),
            Ok(Meant::Found(cell)) => cell,
            Err(error) => return Ok(Err(error)),
        };
        let mut state = lock(&cell.state);
        let (checked, parameters) = match &mut *state {
            State::Live(object) => {
                let parameters = object.parameters();
                (check_existing(&cell, Some(object), &open), parameters)
            }
            State::Busy(queue) if Object::has_parameters(cell.kind) => {
                queue.blocked.insert(client.id());
                return Err(Blocked(DirectoryOp { op: Some(Op::Open(open)) }));
            }
            State::Busy(_) | State::Deleted => (check_existing(&cell, None, &open), None),
        };
        drop(state);
        Ok(checked.map(|()| opened(cell, false, parameters)))
    }

    fn open_or_create(&self, open: &mut Open) -> Result<Meant, Error> {
        // Neither a mode nor a kind that only a newer client knows may be taken for the default.
        let known_mode = Mode::try_from(open.mode).map_err(|_| unsupported())?;
        if open.kind() == Kind::Unspecified {
            return Err(unsupported());
        }
        let Some(name) = open.name.clone() else {
            if known_mode == Mode::Open {
                return Err(nothing_to_open());
            }
            return self.create(None, open).map(|cell| Meant::Created(created(cell)));
        };
        self.check_name(&name)?;
        // The map stays locked meanwhile: of two who open a new name, one creates it.
        let mut names = lock(&self.names);
        match names.entry(name) {
            Entry::Occupied(entry) => Ok(Meant::Found(Arc::clone(entry.get()))),
            Entry::Vacant(entry) if open.mode() == Mode::Open => Err(not_found(entry.key())),
            Entry::Vacant(entry) => {
                let cell = self.create(Some(entry.key().clone()), open)?;
                // Before anybody else finds it.
                let answer = created(Arc::clone(&cell));
                entry.insert(cell);
                Ok(Meant::Created(answer))
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

    /// A page of the objects without a name. It is looked for among as many objects as a page may have: it may
    /// be empty, and not the last one.
    fn list_unnamed(&self, list: &List) -> Answer {
        let (mut room, max) = (self.page_room(), on_a_page(list.max));
        let page = self.objects.page(list.after_id, MAX_ON_A_PAGE);
        let (mut objects, mut last, mut next) = (Vec::new(), list.after_id, page.next);
        for (id, cell) in page.values {
            if cell.name.is_none() && !cell.is_deleted() {
                if objects.len() == max || room.is_full() {
                    next = Some(last);
                    break;
                }
                let info = cell.describe();
                room.take(description::weight(&info));
                objects.push(info);
            }
            last = id;
        }
        let (more, next_id) = (next.is_some(), next.unwrap_or_default());
        Answer::new(reply::Result::Listing(Listing { objects, more, next_id }))
    }

    fn list(&self, list: &List) -> Answer {
        let max = on_a_page(list.max);
        let start = if list.after > list.prefix { &list.after } else { &list.prefix };
        let mut cells: Vec<Arc<Cell>> = lock(&self.names)
            .range::<String, _>(start..)
            .filter(|(name, _)| **name != list.after)
            .take_while(|(name, _)| name.starts_with(&list.prefix))
            .take(max + 1)
            .map(|(_, cell)| Arc::clone(cell))
            .collect();
        let mut more = cells.len() > max;
        cells.truncate(max);
        let (mut room, mut objects) = (self.page_room(), Vec::new());
        for cell in cells {
            if room.is_full() {
                more = true;
                break;
            }
            let info = cell.describe();
            room.take(description::weight(&info));
            objects.push(info);
        }
        Answer::new(reply::Result::Listing(Listing { objects, more, next_id: 0 }))
    }

    /// A page of objects and sessions. What it would weigh is known while it is made: it ends where it is
    /// full.
    fn inspect(&self, inspect: &Inspect) -> Result<Answer, Error> {
        let (mut room, max) = (self.page_room(), on_a_page(inspect.max));
        let page = match &inspect.name {
            Some(name) => {
                let cell = lock(&self.names).get(name).cloned();
                let cell = cell.ok_or_else(|| not_found(name))?;
                let is_after = cell.id > inspect.after;
                Page { values: Vec::from_iter(is_after.then_some((cell.id, cell))), next: None }
            }
            None => {
                let mut page = self.objects.page(inspect.after, max);
                page.values.retain(|(_, cell)| !cell.is_deleted());
                page
            }
        };
        let describe = |cell: &Arc<Cell>| cell.describe();
        let (objects, next) = room.fill(page, inspect.after, describe, description::weight);
        let after = inspect.after_session;
        let page = self.clients.page(after, max, |client| Some(Arc::clone(client)));
        let describe = |client: &Arc<Client>| session_info(client);
        let (sessions, next_session) =
            room.fill(page, after, describe, description::session_weight);
        Ok(self.inspection(Inspection { objects, sessions, next, next_session, statistics: None }))
    }

    /// The room that a page has.
    fn page_room(&self) -> Room {
        Room { bytes: self.config.objects.page_bytes, is_empty: true }
    }

    fn inspection(&self, inspection: Inspection) -> Answer {
        let inspection = Inspection { statistics: Some(self.statistics()), ..inspection };
        Answer::new(reply::Result::Inspection(inspection))
    }

    /// What there is, in numbers.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let uptime = self.clock.monotonic().saturating_sub(self.started);
        Statistics {
            objects: self.objects.count() as u64,
            named_objects: lock(&self.names).len() as u64,
            sessions: self.clients.len() as u64,
            bytes: self.bytes() as u64,
            max_bytes: self.config.totals.max_memory_bytes as u64,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").into(),
            server_id: self.config.server_id,
        }
    }
}

/// The room that is left on a page. Its first entry always has a place.
struct Room {
    bytes: usize,
    is_empty: bool,
}

impl Room {
    fn is_full(&self) -> bool {
        self.bytes == 0 && !self.is_empty
    }

    fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_empty = false;
    }

    /// Describes what is on a page that begins after `after`, as far as there is room, and says after which
    /// id the next page begins, if there may be more.
    fn fill<S, T>(
        &mut self,
        page: Page<S>,
        after: u64,
        describe: impl Fn(&S) -> T,
        weight: impl Fn(&T) -> usize,
    ) -> (Vec<T>, Option<u64>) {
        let (mut entries, mut last) = (Vec::new(), after);
        for (id, source) in page.values {
            if self.is_full() {
                return (entries, Some(last));
            }
            let entry = describe(&source);
            self.take(weight(&entry));
            entries.push(entry);
            last = id;
        }
        (entries, page.next)
    }
}

/// How many a page has that was asked to have at most so many.
fn on_a_page(max: u32) -> usize {
    match max as usize {
        0 => MAX_ON_A_PAGE,
        max => max.min(MAX_ON_A_PAGE),
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

fn check_existing(cell: &Cell, object: Option<&Object>, open: &Open) -> Result<(), Error> {
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
    object.map_or(Ok(()), |object| object.check_parameters(parameters))
}

fn created(cell: Arc<Cell>) -> Answer {
    let parameters = cell.look(|object| object.parameters()).flatten();
    opened(cell, true, parameters)
}

fn opened(cell: Arc<Cell>, created: bool, parameters: Option<Parameters>) -> Answer {
    let opened = Opened { r#ref: Some(cell.reference()), created, parameters };
    Answer { pins: vec![cell], ..Answer::new(reply::Result::Opened(opened)) }
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
