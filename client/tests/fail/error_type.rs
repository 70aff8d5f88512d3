use mp_manager::task;

#[task]
fn parse(text: String) -> Result<u64, u8> {
    text.parse().map_err(|_| 1)
}

fn main() {}
