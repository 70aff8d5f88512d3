//! Compiles what runs before `main`: see `src/before_main.c`.

fn main() {
    println!("cargo::rerun-if-changed=src/before_main.c");
    // Nothing refers to it by name, so the linker would leave it out.
    cc::Build::new()
        .file("src/before_main.c")
        .warnings_into_errors(true)
        .link_lib_modifier("+whole-archive")
        .compile("before_main");
}
