//! The attributes of `mp-manager`, which re-exports them: `#[task]`, `#[main]` and `#[test]`.
//!
//! What they emit refers to `::mp_manager::__macro`, a module that is hidden from the documentation and
//! changes without notice.

mod main_function;
mod options;
mod task;
mod test_function;

use proc_macro::TokenStream;

/// Makes a function a task: something that another process can run, because it is found there by its name.
///
/// The function becomes a unit struct of the same name, which implements `mp_manager::Task` and derefs to a
/// function pointer: `square(3)` is still an ordinary call, and `Process::new(square, (3,))` knows what it is
/// about.
///
/// ```ignore
/// #[mp_manager::task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
/// ```
///
/// The function may be `async`, take several arguments and return a `Result`, whose error travels with its
/// sources as text. Arguments and results are owned, implement `serde::Serialize` and
/// `serde::Deserialize`, and are `Send`. It cannot be generic, as it is found by its name alone.
///
/// # Options
/// - `name = "…"`: the name by which other processes find it; otherwise its path, such as
///   `crunch::numbers::square`.
/// - `idempotent`: running it twice does no harm, so a pool may run it again when its worker died.
/// - `attempts = 3`: how often a pool tries an idempotent task whose workers die, before it sets it aside.
/// - `signature = "2"`: takes the place of the text of its types, by which two hosts see whether they mean
///   the same. Change it when a type changes and keeps its name.
///
/// # Three things that surprise
/// - `let square = square(3)` does not compile (E0308), as the name of a unit struct is a pattern. Name tasks
///   like verbs.
/// - An iterator's `map` needs the function behind the task: `.map(*square)`.
/// - A `pub` task cannot have a private type among its arguments (E0446).
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes `main` the place where child processes begin, by calling `mp_manager::init()` before anything else.
///
/// On an `async fn main` it makes a multi-threaded tokio runtime, so that tokio need not be a dependency:
///
/// ```ignore
/// #[mp_manager::main]
/// async fn main() -> mp_manager::Result<()> {
///     Ok(())
/// }
/// ```
///
/// For a runtime with options, put `#[tokio::main(…)]` below or above it. When `main` returns, processes that
/// are daemons are terminated and the others are waited for, as in Python.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    main_function::expand(&options.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a test whose own function is the place where its child processes begin.
///
/// It takes the place of `#[test]`, and of `#[tokio::test]` if the function is `async`; `#[ignore]` and
/// `#[should_panic]` go with it.
///
/// ```ignore
/// #[mp_manager::test]
/// async fn a_child_runs_the_task() -> mp_manager::Result<()> {
///     Process::new(work, ()).start().await?.join().await
/// }
/// ```
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    test_function::expand(&options.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
