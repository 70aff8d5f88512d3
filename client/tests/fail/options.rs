use mp_manager::task;

#[task(idempotant)]
fn misspelt() {}

#[task(name)]
fn nameless() {}

#[task(name = "")]
fn empty() {}

#[task(attempts = 3)]
fn once() {}

#[task(idempotent, attempts = 0)]
fn never() {}

fn main() {}
