//! STUB
#![allow(missing_docs, unused)]
use crate::{
    call::{Applied, Call},
    object::{Machine, unsupported},
    turn::Turn,
};
use mp_manager_proto::v1::set_op::Op;
use mp_manager_proto::v1::*;
#[derive(Debug)]
pub struct Set;
impl Set {
    pub fn new(_: u64) -> Self {
        Self
    }
}
impl Machine for Set {
    type Op = Op;
    fn apply(&mut self, _: Call, _: Op, _: &mut Turn<'_>) -> Applied {
        Err(unsupported())
    }
    fn describe(&self, _: &mut ObjectInfo) {}
    fn bytes(&self) -> usize {
        0
    }
}

impl Set { pub(crate) fn len(&self) -> usize { 0 } }
impl crate::Object { pub fn set_snapshot(&self) -> Option<Vec<bytes::Bytes>> { None } }
