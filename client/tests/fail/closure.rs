use mp_manager::process::Process;

fn main() {
    let factor = 3;
    let _ = Process::new(|x: i64| x * factor, (1,));
}
