//! What happens in a simulation.

use std::{rc::Rc, time::Duration};

use crate::{
    client::Alarm,
    network::{ClientId, ConnectionId, Down, Up},
    server::Later,
};

/// What happens next.
pub(crate) enum Event {
    Up(ConnectionId, Up),
    Down(ConnectionId, Down),
    /// At this start of the manager.
    Server(u64, Later),
    Poll(ClientId),
    Send(ClientId),
    Tick(ClientId, u64),
    /// It looks whether to connect.
    Connect(ClientId),
    /// Calls are due, at that time of its clock.
    Expire(ClientId, Duration),
    /// Its connection's task is gone for a while.
    Abandoned(ClientId),
    /// An attempt to connect has taken too long.
    Late(ClientId, ConnectionId),
    Ring(Rc<Alarm>),
    Trouble,
}
