//! STUB
#![allow(missing_docs, unused)]
use crate::{
    call::{Applied, Call},
    object::{Machine, unsupported},
    turn::Turn,
};
use mp_manager_proto::v1::scalar_op::Op;
use mp_manager_proto::v1::*;
#[derive(Debug)]
pub struct Scalar;
impl Scalar {
    pub fn new(_: ScalarParameters, _: &mut Turn<'_>) -> Result<Self, Error> {
        Ok(Self)
    }
}
impl Machine for Scalar {
    type Op = Op;
    fn apply(&mut self, _: Call, _: Op, _: &mut Turn<'_>) -> Applied {
        Err(unsupported())
    }
    fn describe(&self, _: &mut ObjectInfo) {}
    fn bytes(&self) -> usize {
        0
    }
}
