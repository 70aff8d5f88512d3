use mp_manager::task;

#[task]
struct Square;

fn main() {}
