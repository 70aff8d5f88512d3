#[mp_manager::main(flavor = "current_thread")]
async fn main() {}

mod other {
    #[mp_manager::main]
    fn main(_args: Vec<String>) {}
}
