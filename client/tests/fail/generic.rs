use mp_manager::task;

#[task]
fn same<T>(x: T) -> T {
    x
}

fn main() {}
