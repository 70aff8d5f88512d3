//! STUB
#![allow(missing_docs, unused)]
use crate::{
    call::{Applied, Call},
    object::{Machine, unsupported},
    turn::Turn,
};
use mp_manager_proto::v1::array_op::Op;
use mp_manager_proto::v1::*;
#[derive(Debug)]
pub struct Array;
impl Array {
    pub fn new(_: ArrayParameters, _: &mut Turn<'_>) -> Result<Self, Error> {
        Ok(Self)
    }
    pub(crate) fn check_parameters(&self, _: &ArrayParameters) -> Result<(), Error> {
        Ok(())
    }
    pub(crate) fn parameters(&self) -> ArrayParameters {
        ArrayParameters::default()
    }
}
impl Machine for Array {
    type Op = Op;
    fn apply(&mut self, _: Call, _: Op, _: &mut Turn<'_>) -> Applied {
        Err(unsupported())
    }
    fn describe(&self, _: &mut ObjectInfo) {}
    fn bytes(&self) -> usize {
        0
    }
}
