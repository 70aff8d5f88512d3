//! STUB
#![allow(missing_docs, unused)]
use crate::{
    call::{Applied, Call},
    object::{Machine, unsupported},
    turn::Turn,
};
use mp_manager_proto::v1::list_op::Op;
use mp_manager_proto::v1::*;
#[derive(Debug)]
pub struct List;
impl List {
    pub fn new() -> Self {
        Self
    }
}
impl Machine for List {
    type Op = Op;
    fn apply(&mut self, _: Call, _: Op, _: &mut Turn<'_>) -> Applied {
        Err(unsupported())
    }
    fn describe(&self, _: &mut ObjectInfo) {}
    fn bytes(&self) -> usize {
        0
    }
}

impl List { pub(crate) fn len(&self) -> usize { 0 } }
