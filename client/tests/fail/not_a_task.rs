use mp_manager::process::Process;

fn cube(x: i64) -> i64 {
    x * x * x
}

fn main() {
    let _ = Process::new(cube, (1,));
}
