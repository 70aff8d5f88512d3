use mp_manager::task;

struct Connection;

#[task]
fn query(connection: Connection) -> u64 {
    drop(connection);
    0
}

#[task]
fn connect(port: u16) -> Connection {
    drop(port);
    Connection
}

fn main() {}
