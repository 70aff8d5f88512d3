//! The simulation with as little around it as possible, for building it often.

fn main() -> std::process::ExitCode {
    mp_manager_sim::command::main()
}
