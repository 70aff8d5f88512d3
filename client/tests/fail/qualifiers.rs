use mp_manager::task;

#[task]
unsafe fn careless() {}

#[task]
const fn constant() -> u8 {
    1
}

#[task]
extern "C" fn foreign() {}

#[task]
fn endless() -> ! {
    loop {}
}

fn main() {}
