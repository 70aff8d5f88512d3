//! Makes a function of the Rust code of each row of `docs/from-python.md`.

#[path = "src/page.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
#[expect(unreachable_pub, reason = "it is public in the library")]
mod page;

use std::{env, error::Error, fmt::Write, fs, io::ErrorKind, path::Path};

use page::{Here, Page};

const PAGE: &str = "../../docs/from-python.md";

/// What opens an object: in the blocking form with `.open()`.
const OPENERS: &[&str] = &[
    "array",
    "array_from",
    "barrier",
    "bounded_semaphore",
    "condition",
    "dict",
    "event",
    "list",
    "lock",
    "namespace",
    "pipe",
    "queue",
    "rlock",
    "semaphore",
    "set",
    "value",
];

/// Words of lines that are not for the blocking form: other libraries, closures that are async, pages that are
/// iterators there, managers and workers of its own.
const ASYNC_ONLY: &[&str] = &[
    "Manager::",
    "Pool",
    "Process",
    "async",
    "iter()",
    "join!",
    "pool",
    "reversed()",
    "stream",
    "thread",
    "tokio",
    "tracing",
    "wait_any",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PAGE}");
    let out = env::var("OUT_DIR")?;
    let text = match fs::read_to_string(PAGE) {
        // A package holds what is in its own folder, and `cargo package` builds it to verify it: without rows.
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text?,
    };
    fs::write(Path::new(&out).join("from-python.md"), &text)?;
    let page = Page::parse(&text)?;
    let (mut tasks, mut threads) = (Form::tasks(), Form::threads());
    for (section, row) in page.rows() {
        let Here::Code(code) = &row.here else { continue };
        let setup = &section.setup.rust;
        tasks.add(row.line, setup, code)?;
        if is_for_threads(setup, code) {
            threads.add(row.line, &without_await(setup), &without_await(code))?;
        }
    }
    let (items, tasks, threads) = (&page.preamble.rust, tasks.finish()?, threads.finish()?);
    let code = format!("{items}{tasks}pub(super) mod blocking {{ use super::*; {threads} }}");
    fs::write(Path::new(&out).join("rows.rs"), code)?;
    Ok(())
}

/// Functions for tasks, or for threads.
struct Form {
    /// What stands before a function's name, and after it.
    signature: (&'static str, &'static str),
    /// The type of an entry of the table, and what stands around a call in it.
    entry: (&'static str, &'static str, &'static str),
    functions: String,
    table: String,
}

impl Form {
    fn tasks() -> Self {
        Self {
            signature: ("async fn", "Scope { manager, pool }: Scope"),
            entry: ("Line", "Box::pin(", ")"),
            functions: String::new(),
            table: String::new(),
        }
    }

    fn threads() -> Self {
        Self {
            signature: ("fn", "manager: BlockingManager"),
            entry: ("BlockingLine", "", ""),
            functions: String::new(),
            table: String::new(),
        }
    }

    /// The code is in a file of its own, so that errors of the compiler name the row.
    fn add(&mut self, line: usize, setup: &str, code: &str) -> Result<(), Box<dyn Error>> {
        let ((before, arguments), (kind, open, close)) = (self.signature, self.entry);
        let file = Path::new(&env::var("OUT_DIR")?).join(format!("{kind}-{line}.rs"));
        fs::write(&file, format!("{{ {code} }}\n"))?;
        writeln!(self.functions, "{before} line_{line}({arguments}) -> Answer {{")?;
        writeln!(self.functions, "{setup}let value = include!({file:?});\nanswer(value)\n}}")?;
        writeln!(self.table, "({line}, |scope| {open}line_{line}(scope){close}),")?;
        Ok(())
    }

    fn finish(self) -> Result<String, std::fmt::Error> {
        let Self { entry: (line, ..), table, mut functions, .. } = self;
        writeln!(functions, "pub(crate) const LINES: &[(usize, {line})] = &[{table}];")?;
        Ok(functions)
    }
}

/// Whether the code is about objects only.
fn is_for_threads(setup: &str, code: &str) -> bool {
    let contains = |word: &str| setup.contains(word) || code.contains(word);
    contains("manager.") && !ASYNC_ONLY.iter().any(|word| contains(word))
}

/// The code for threads.
fn without_await(code: &str) -> String {
    let mut blocking = String::new();
    let mut opens = false;
    for part in code.split_inclusive(".await") {
        let mut methods = part.split("manager.").skip(1).map(first_word);
        opens |= methods.any(|method| OPENERS.contains(&method));
        if let Some(part) = part.strip_suffix(".await") {
            blocking.push_str(part);
            blocking.push_str(if opens { ".open()" } else { "" });
            opens = false;
        } else {
            blocking.push_str(part);
        }
    }
    blocking
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}
