//! STUB
#![allow(missing_docs, unused)]
use crate::{
    call::{Applied, Call},
    object::{Machine, unsupported},
    turn::Turn,
};
use mp_manager_proto::v1::queue_op::Op;
use mp_manager_proto::v1::*;
#[derive(Debug)]
pub struct Queue;
impl Queue {
    pub fn new(_: QueueParameters) -> Result<Self, Error> {
        Ok(Self)
    }
    pub(crate) fn check_parameters(&self, _: &QueueParameters) -> Result<(), Error> {
        Ok(())
    }
    pub(crate) fn parameters(&self) -> QueueParameters {
        QueueParameters::default()
    }
}
impl Machine for Queue {
    type Op = Op;
    fn apply(&mut self, _: Call, _: Op, _: &mut Turn<'_>) -> Applied {
        Err(unsupported())
    }
    fn describe(&self, _: &mut ObjectInfo) {}
    fn bytes(&self) -> usize {
        0
    }
}
