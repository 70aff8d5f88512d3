use mp_manager::task;

#[task]
fn len(text: &str) -> usize {
    text.len()
}

#[task]
fn sum(numbers: std::borrow::Cow<'_, [u64]>) -> u64 {
    numbers.iter().sum()
}

#[task]
fn first<'a>(text: &'a str) -> &'a str {
    text
}

#[task]
fn name() -> &'static str {
    "name"
}

fn main() {}
