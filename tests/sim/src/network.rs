//! Connections: what is said on one arrives in order, late, or not at all.

use std::collections::BTreeMap;

use mp_manager_core::v1::{Beat, Challenge, ClientFrame, Resume, ServerFrame, Welcome};

use crate::world::Micros;

pub(crate) type ClientId = usize;
pub(crate) type ConnectionId = u64;

/// What a client says. The handshake has its real steps, but for the arithmetic.
#[derive(Debug)]
pub(crate) enum Up {
    Hello(Option<(Resume, bytes::Bytes)>),
    Frame(ClientFrame),
    Beat(Beat),
    /// The connection is over.
    End,
}

/// What the server says.
#[derive(Debug)]
pub(crate) enum Down {
    Welcome(Box<Welcome>, Challenge),
    Refused,
    Frame(ServerFrame),
    Beat(Beat),
    /// The connection is over.
    End,
}

/// One connection between a client and the server of that time.
pub(crate) struct Connection {
    pub(crate) client: ClientId,
    pub(crate) server_start: u64,
    /// The end of it proves the death of its client, as on a unix socket.
    pub(crate) is_unix: bool,
    up: Direction,
    down: Direction,
}

#[derive(Default)]
struct Direction {
    last_arrival: Micros,
    /// Nothing more is taken.
    is_closed: bool,
    /// What is under way does not arrive.
    is_dead: bool,
}

#[derive(Default)]
pub(crate) struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    next: ConnectionId,
}

impl Network {
    pub(crate) fn open(
        &mut self,
        client: ClientId,
        server_start: u64,
        is_unix: bool,
    ) -> ConnectionId {
        self.next += 1;
        let (up, down) = (Direction::default(), Direction::default());
        let connection = Connection { client, server_start, is_unix, up, down };
        self.connections.insert(self.next, connection);
        self.next
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// The connections that are open in both directions.
    pub(crate) fn open_ones(&self) -> Vec<ConnectionId> {
        let is_open =
            |connection: &Connection| !connection.up.is_closed && !connection.down.is_closed;
        self.connections.iter().filter(|(_, c)| is_open(c)).map(|(id, _)| *id).collect()
    }

    /// When something that is said now arrives upwards, if it does.
    pub(crate) fn send_up(
        &mut self,
        id: ConnectionId,
        now: Micros,
        delay: Micros,
    ) -> Option<Micros> {
        self.connections.get_mut(&id)?.up.send(now, delay)
    }

    /// When something that is said now arrives downwards, if it does.
    pub(crate) fn send_down(
        &mut self,
        id: ConnectionId,
        now: Micros,
        delay: Micros,
    ) -> Option<Micros> {
        self.connections.get_mut(&id)?.down.send(now, delay)
    }

    pub(crate) fn arrives_up(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| !connection.up.is_dead)
    }

    pub(crate) fn arrives_down(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| !connection.down.is_dead)
    }

    /// Takes no more; what is under way may be lost. When the ends of it arrive, if they do.
    pub(crate) fn close(
        &mut self,
        id: ConnectionId,
        loses_up: bool,
        loses_down: bool,
    ) -> (Micros, Micros) {
        let Some(connection) = self.connections.get_mut(&id) else { return (0, 0) };
        for (direction, loses) in
            [(&mut connection.up, loses_up), (&mut connection.down, loses_down)]
        {
            direction.is_closed = true;
            direction.is_dead |= loses;
        }
        (connection.up.last_arrival, connection.down.last_arrival)
    }
}

impl Direction {
    fn send(&mut self, now: Micros, delay: Micros) -> Option<Micros> {
        if self.is_closed {
            return None;
        }
        self.last_arrival = self.last_arrival.max(now + delay);
        Some(self.last_arrival)
    }
}
