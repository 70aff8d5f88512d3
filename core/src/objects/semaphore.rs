//! STUB
#![allow(missing_docs, unused)]
use crate::{
    call::{Applied, Call},
    object::{Machine, unsupported},
    turn::Turn,
};
use mp_manager_proto::v1::semaphore_op::Op;
use mp_manager_proto::v1::*;
#[derive(Debug)]
pub struct Semaphore;
impl Semaphore {
    pub fn new(_: SemaphoreParameters) -> Result<Self, Error> {
        Ok(Self)
    }
    pub(crate) fn check_parameters(&self, _: &SemaphoreParameters) -> Result<(), Error> {
        Ok(())
    }
    pub(crate) fn parameters(&self) -> SemaphoreParameters {
        SemaphoreParameters::default()
    }
}
impl Machine for Semaphore {
    type Op = Op;
    fn apply(&mut self, _: Call, _: Op, _: &mut Turn<'_>) -> Applied {
        Err(unsupported())
    }
    fn describe(&self, _: &mut ObjectInfo) {}
    fn bytes(&self) -> usize {
        0
    }
}
