use mp_manager::task;

#[derive(serde::Serialize, serde::Deserialize)]
struct Private;

#[task]
pub fn consume(_private: Private) {}

fn main() {}
