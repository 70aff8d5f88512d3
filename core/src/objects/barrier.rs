//! STUB
#![allow(missing_docs, unused)]
use crate::{
    call::{Applied, Call},
    object::{Machine, unsupported},
    turn::Turn,
};
use mp_manager_proto::v1::barrier_op::Op;
use mp_manager_proto::v1::*;
#[derive(Debug)]
pub struct Barrier;
impl Barrier {
    pub fn new(_: BarrierParameters) -> Result<Self, Error> {
        Ok(Self)
    }
    pub(crate) fn check_parameters(&self, _: &BarrierParameters) -> Result<(), Error> {
        Ok(())
    }
    pub(crate) fn parameters(&self) -> BarrierParameters {
        BarrierParameters::default()
    }
}
impl Machine for Barrier {
    type Op = Op;
    fn apply(&mut self, _: Call, _: Op, _: &mut Turn<'_>) -> Applied {
        Err(unsupported())
    }
    fn describe(&self, _: &mut ObjectInfo) {}
    fn bytes(&self) -> usize {
        0
    }
}
