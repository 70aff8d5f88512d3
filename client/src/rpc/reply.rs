//! Replies, read as what the operation should have said.

use std::sync::Arc;

use bytes::Bytes;
use mp_manager_proto::v1::{
    Arrival, Delivery, Inspection, Listing, Opened, Page, PipeMessage, Swap, Value, Woken,
    pipe_message, reply::Result as R,
};
use serde::de::DeserializeOwned;

use super::{codec, subject::Subject};
use crate::{
    error::{Context, Error, Result},
    protocol::{Arrived, Granted},
    session::link::Handle,
};

/// A reply that was not a refusal.
pub(crate) struct Reply {
    arrived: Arrived<Arc<Handle>>,
    subject: Subject,
    operation: &'static str,
}

/// A hold on the objects that a reply refers to.
#[cfg(any(feature = "process", feature = "simulation"))]
pub(crate) struct Held {
    _handles: Vec<Arc<Handle>>,
}

impl Reply {
    pub(crate) fn new(
        arrived: Arrived<Arc<Handle>>,
        subject: Subject,
        operation: &'static str,
    ) -> Self {
        Self { arrived, subject, operation }
    }

    /// What it granted, under this token.
    pub(crate) fn granted(&self, token: u64, depth: u64) -> Granted {
        Granted { token, depth, incarnation: self.arrived.incarnation }
    }

    /// The session that it came in.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) fn incarnation(&self) -> u64 {
        self.arrived.incarnation
    }

    /// What it says, if it is what was asked for, and a hold on every object that it refers to.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) fn read<T>(self, read: impl FnOnce(R) -> Option<T>) -> Result<(T, Held)> {
        let unexpected = self.unexpected();
        let (result, handles) = self.arrived.take();
        read(result).map(|read| (read, Held { _handles: handles })).ok_or(unexpected)
    }

    /// The operation is done.
    pub(crate) fn done(self) -> Result<()> {
        match self.arrived.result {
            R::Done(_) => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn flag(self) -> Result<bool> {
        match self.arrived.result {
            R::Flag(flag) => Ok(flag),
            _ => Err(self.unexpected()),
        }
    }

    /// A number that counts something.
    pub(crate) fn count(self) -> Result<usize> {
        match self.arrived.result {
            R::Number(n) => usize::try_from(n).map_err(|_| self.unexpected()),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn value<T: DeserializeOwned>(self) -> Result<T> {
        match &self.arrived.result {
            R::Value(value) => self.decode(&value.data),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn value_or_absent<T: DeserializeOwned>(self) -> Result<Option<T>> {
        match &self.arrived.result {
            R::Value(value) => self.decode(&value.data).map(Some),
            R::Absent(_) => Ok(None),
            _ => Err(self.unexpected()),
        }
    }

    /// A value both encoded, for comparing later, and decoded; `None` if there is none.
    pub(crate) fn encoded_value<T: DeserializeOwned>(&self) -> Result<Option<(Value, T)>> {
        match &self.arrived.result {
            R::Value(value) => Ok(Some((value.clone(), self.decode(&value.data)?))),
            R::Absent(_) => Ok(None),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn entry_or_absent<K: DeserializeOwned, V: DeserializeOwned>(
        self,
    ) -> Result<Option<(K, V)>> {
        match &self.arrived.result {
            R::Entry(entry) => {
                let value = entry.value.as_ref().ok_or_else(|| self.unexpected())?;
                Ok(Some((self.decode(&entry.key)?, self.decode(&value.data)?)))
            }
            R::Absent(_) => Ok(None),
            _ => Err(self.unexpected()),
        }
    }

    /// One answer per key asked for.
    pub(crate) fn optionals<T: DeserializeOwned>(&self) -> Result<Vec<Option<T>>> {
        match &self.arrived.result {
            R::Optionals(all) => all
                .items
                .iter()
                .map(|item| item.value.as_ref().map(|value| self.decode(&value.data)).transpose())
                .collect(),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn raw(&self) -> Result<&Bytes> {
        match &self.arrived.result {
            R::Raw(bytes) => Ok(bytes),
            _ => Err(self.unexpected()),
        }
    }

    /// A key or an element of a set.
    pub(crate) fn key<T: DeserializeOwned>(self) -> Result<T> {
        match &self.arrived.result {
            R::Raw(bytes) => self.decode(bytes),
            _ => Err(self.unexpected()),
        }
    }

    /// A page, to be decoded with [`decode`](Self::decode) while `self` holds its references.
    pub(crate) fn page(&self) -> Result<&Page> {
        match &self.arrived.result {
            R::Page(page) => Ok(page),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn swap(&self) -> Result<&Swap> {
        match &self.arrived.result {
            R::Swap(swap) => Ok(swap),
            _ => Err(self.unexpected()),
        }
    }

    /// What a call without a timeout gets in the end.
    pub(crate) fn grant(self) -> Result<Granted> {
        match self.arrived.result {
            R::Grant(grant) => Ok(self.granted(grant.token, grant.depth)),
            _ => Err(self.unexpected()),
        }
    }

    /// `None` when the timeout passed.
    pub(crate) fn grant_or_absent(self) -> Result<Option<Granted>> {
        match self.arrived.result {
            R::Grant(grant) => Ok(Some(self.granted(grant.token, grant.depth))),
            R::Absent(_) => Ok(None),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn woken(self) -> Result<Woken> {
        match self.arrived.result {
            R::Woken(woken) => Ok(woken),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn arrival(self) -> Result<Arrival> {
        match self.arrived.result {
            R::Arrival(arrival) => Ok(arrival),
            _ => Err(self.unexpected()),
        }
    }

    /// The deliveries of a queue, one or many; none when the timeout passed.
    pub(crate) fn deliveries(&self) -> Result<&[Delivery]> {
        match &self.arrived.result {
            R::Delivery(delivery) => Ok(std::slice::from_ref(delivery)),
            R::Deliveries(all) => Ok(&all.deliveries),
            R::Absent(_) => Ok(&[]),
            _ => Err(self.unexpected()),
        }
    }

    /// `None` when the timeout passed.
    pub(crate) fn message_or_absent(&self) -> Result<Option<&pipe_message::Content>> {
        match &self.arrived.result {
            R::Message(PipeMessage { content: Some(content) }) => Ok(Some(content)),
            R::Absent(_) => Ok(None),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn opened(&self) -> Result<&Opened> {
        match &self.arrived.result {
            R::Opened(opened) => Ok(opened),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn listing(self) -> Result<Listing> {
        match self.arrived.result {
            R::Listing(listing) => Ok(listing),
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn inspection(self) -> Result<Inspection> {
        match self.arrived.result {
            R::Inspection(inspection) => Ok(inspection),
            _ => Err(self.unexpected()),
        }
    }

    /// Decodes a part of the reply; proxies in it work on this connection.
    pub(crate) fn decode<T: DeserializeOwned>(&self, bytes: &Bytes) -> Result<T> {
        codec::decode(bytes, self.subject.link()).map_err(|error| {
            let hint = "open the object with the types it was filled with";
            self.undecodable(error.to_string(), hint, bytes.clone())
        })
    }

    /// What came is not what this proxy takes.
    pub(crate) fn undecodable(&self, message: String, hint: &str, bytes: Bytes) -> Error {
        let context =
            Context { message, hint: hint.into(), ..self.subject.context(self.operation) };
        Error::Decode { context: Box::new(context), bytes }
    }

    pub(crate) fn unexpected(&self) -> Error {
        let context = Context {
            message: "the manager's reply is not what this operation should get".into(),
            hint: "use the same release on both sides".into(),
            ..self.subject.context(self.operation)
        };
        Error::Protocol(Box::new(context))
    }
}
