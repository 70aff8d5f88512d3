use mp_manager::{process::Process, task};

#[task]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {
    let _ = Process::new(square, ("a",));
    let _ = Process::new(square, 3);
}
