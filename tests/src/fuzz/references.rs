//! References to shared objects, read as proxies.

use mp_manager::{
    Array, Barrier, BoundedSemaphore, Condition, Dict, Event, List, Lock, Namespace, PipeEnd,
    Queue, RLock, Semaphore, Set, Value,
};
use mp_manager_proto::value;
use serde::de::DeserializeOwned;

/// The data as it is, and as what follows the header of a reference. Nothing that is read outside
/// of a session has a connection to work on.
pub fn references(data: &[u8]) {
    is_refused(data);
    let Ok(len) = u8::try_from(data.len()) else { return };
    is_refused(&[&[EXT_8, len, value::extension::PROXY as u8], data].concat());
}

const EXT_8: u8 = 0xc7;

fn is_refused(data: &[u8]) {
    is_no::<Array<f64>>(data);
    is_no::<Barrier>(data);
    is_no::<BoundedSemaphore>(data);
    is_no::<Condition>(data);
    is_no::<Dict<String, u64>>(data);
    is_no::<Event>(data);
    is_no::<List<u64>>(data);
    is_no::<Lock>(data);
    is_no::<Namespace>(data);
    is_no::<PipeEnd<u64, u64>>(data);
    is_no::<Queue<u64>>(data);
    is_no::<RLock>(data);
    is_no::<Semaphore>(data);
    is_no::<Set<u64>>(data);
    is_no::<Value<u64>>(data);
    let nested = value::decode::<Vec<Lock>>(data);
    assert!(nested.is_err() || nested.is_ok_and(|found| found.is_empty()));
}

fn is_no<T: DeserializeOwned>(data: &[u8]) {
    assert!(value::decode::<T>(data).is_err());
}
