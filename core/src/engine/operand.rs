//! Another set that an operation needs beside its own.

use mp_manager_proto::v1::{SetOperand, request, set_op};

/// The shared set that an operation has as operand, if it was not replaced by its elements yet.
pub(super) fn operand(op: &mut request::Op) -> Option<&mut SetOperand> {
    let request::Op::Set(op) = op else { return None };
    let operand = match &mut op.op {
        Some(set_op::Op::Combine(combine)) => combine.other.as_mut(),
        Some(set_op::Op::Compare(compare)) => compare.other.as_mut(),
        _ => None,
    };
    operand.filter(|operand| operand.object != 0)
}
