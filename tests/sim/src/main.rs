//! Runs simulations; see [`mp_manager_sim::command`].

fn main() -> std::process::ExitCode {
    mp_manager_sim::command::main()
}
