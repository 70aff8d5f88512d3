use mp_manager::{
    process::{Single, Task},
    task,
};

#[task]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn map<T: Task>(_: T)
where
    T::Args: Single,
{
}

fn main() {
    map(add);
}
