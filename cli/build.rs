//! Compiles what runs before `main`: see `src/before_main.c`.

fn main() {
    println!("cargo::rerun-if-changed=src/before_main.c");
    println!("cargo::rerun-if-env-changed=CARGO_FEATURE_JEMALLOC");
    let mut build = cc::Build::new();
    if std::env::var_os("CARGO_FEATURE_JEMALLOC").is_some() {
        build.define("JEMALLOC", None);
    }
    // Nothing refers to it by name, so the linker would leave it out.
    build
        .file("src/before_main.c")
        .warnings_into_errors(true)
        .link_lib_modifier("+whole-archive")
        .compile("before_main");
}
