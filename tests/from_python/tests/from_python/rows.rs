//! The code of the rows, as the build script has it from the page.

use std::{error::Error, pin::Pin};

use mp_manager::{Manager, Pool, blocking::Manager as BlockingManager};
use mp_manager_from_python::page::Outcome;
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::generated::{LINES, blocking::LINES as BLOCKING_LINES};

/// What is there in each row.
pub(crate) struct Scope {
    pub(crate) manager: Manager,
    pub(crate) pool: Pool,
}

/// What it gives.
pub(crate) type Answer = Result<Value, Box<dyn Error + Send + Sync>>;
/// The code of a row.
pub(crate) type Line = fn(Scope) -> Pin<Box<dyn Future<Output = Answer>>>;
/// The code of a row, for threads.
pub(crate) type BlockingLine = fn(BlockingManager) -> Answer;

#[expect(warnings, reason = "a row leaves alone what others use, and asks what everybody knows")]
mod generated {
    use super::{Answer, BlockingLine, BlockingManager, Line, Scope, answer};

    include!(concat!(env!("OUT_DIR"), "/rows.rs"));
}

fn answer(value: impl Serialize) -> Answer {
    Ok(serde_json::to_value(value)?)
}

/// The value, or the name of the error.
pub(crate) fn outcome(answer: Answer) -> Outcome {
    match answer {
        Ok(value) => Outcome::Value(value),
        Err(error) => Outcome::Error(name(&*error)),
    }
}

/// The name of a variant, such as `KeyNotFound`.
fn name(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let text = format!("{error:?}");
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}
