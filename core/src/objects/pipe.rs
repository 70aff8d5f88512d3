//! STUB
#![allow(missing_docs, unused)]
use crate::{
    call::{Applied, Call},
    object::{Machine, unsupported},
    turn::Turn,
};
use mp_manager_proto::v1::pipe_op::Op;
use mp_manager_proto::v1::*;
#[derive(Debug)]
pub struct Pipe;
impl Pipe {
    pub fn new(_: PipeParameters) -> Self {
        Self
    }
    pub(crate) fn check_parameters(&self, _: &PipeParameters) -> Result<(), Error> {
        Ok(())
    }
    pub(crate) fn parameters(&self) -> PipeParameters {
        PipeParameters::default()
    }
}
impl Machine for Pipe {
    type Op = Op;
    fn apply(&mut self, _: Call, _: Op, _: &mut Turn<'_>) -> Applied {
        Err(unsupported())
    }
    fn describe(&self, _: &mut ObjectInfo) {}
    fn bytes(&self) -> usize {
        0
    }
}
