//! The page as sections of rows.
//!
//! A row is `| name | in Python | here | gives |`. Code is in backticks, and `\|` is a `|`:
//!
//! - `name`: one or more names; `(3.13)` after them, or after a heading, says since when Python has them.
//! - `in Python`: a line of code, or nothing.
//! - `here`: a line of code and, after it, a remark. Or a text that begins with `Not needed: ` or `Not yet: `, or
//!   `Soon: ` and code that does not compile yet.
//! - `gives`: what both lines give, as JSON, or the name of the error that they end with. Where they differ it is
//!   what Python gives, `, here `, and what it is here.
//!
//! The fenced code below a section's heading comes before each of its rows. What stands before the first section
//! is for the whole page: items in Rust, and what is executed once in Python.

use std::fmt;

use serde_json::Value;

/// The page.
#[derive(Debug)]
pub struct Page {
    /// What comes before the first section.
    pub preamble: Setup,
    /// A section for each module and class, in the page's order.
    pub sections: Vec<Section>,
}

/// Code that comes before a row's.
#[derive(Debug, Default)]
pub struct Setup {
    /// In Python.
    pub python: String,
    /// In Rust.
    pub rust: String,
}

/// What stands for the names of a module or a class.
#[derive(Debug)]
pub struct Section {
    /// Expressions in Python whose public names have a row each.
    pub subjects: Vec<String>,
    /// The minor version of Python 3 that brought them.
    pub since: u32,
    /// Its fenced code.
    pub setup: Setup,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// What stands for a name.
#[derive(Debug)]
pub struct Row {
    /// Its line of the page, from 1.
    pub line: usize,
    /// The names that it is about.
    pub names: Vec<String>,
    /// The minor version of Python 3 that brought them.
    pub since: u32,
    /// In Python.
    pub python: Option<String>,
    /// What stands for it.
    pub here: Here,
    /// What it gives in Python, and here.
    pub gives: Option<(Outcome, Outcome)>,
}

/// What stands for a name of Python's.
#[derive(Debug, PartialEq, Eq)]
pub enum Here {
    /// Code in Rust.
    Code(String),
    /// Nothing is needed.
    NotNeeded,
    /// Nothing is there so far.
    NotYet,
    /// Code that is not compiled.
    Soon,
}

/// What a line of code gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A value.
    Value(Value),
    /// The name of an error.
    Error(String),
}

impl Outcome {
    fn parse(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(value) => Self::Value(value),
            Err(_) => Self::Error(text.into()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Error(error) => write!(f, "the error {error}"),
        }
    }
}

impl Page {
    /// Reads the page.
    ///
    /// # Errors
    /// Names the line that cannot be read, and says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self { preamble: Setup::default(), sections: Vec::new() };
        let mut fence: Option<String> = None;
        for (line, text) in (1..).zip(text.lines()) {
            if let Some(language) = &fence {
                if text == "```" {
                    fence = None;
                } else if let Some(code) = page.setup().code(language) {
                    code.push_str(text);
                    code.push('\n');
                }
            } else if let Some(language) = text.strip_prefix("```") {
                fence = Some(language.into());
            } else if text.starts_with("##") {
                let (subjects, setup) = (spans(text), Setup::default());
                let since = since(text).map_err(|why| at(line, &why))?;
                page.sections.push(Section { subjects, since, setup, rows: Vec::new() });
            } else if text.starts_with('|') && !text.starts_with("|--") {
                let section = page.sections.last_mut();
                let section = section.ok_or_else(|| at(line, "a row before any section"))?;
                let row = Row::parse(line, text).map_err(|why| at(line, &why))?;
                section.rows.extend(row.map(|row| row.not_before(section.since)));
            }
        }
        Ok(page)
    }

    /// The setup of the section that is read.
    fn setup(&mut self) -> &mut Setup {
        self.sections.last_mut().map_or(&mut self.preamble, |section| &mut section.setup)
    }

    /// Every row, with its section.
    pub fn rows(&self) -> impl Iterator<Item = (&Section, &Row)> {
        self.sections.iter().flat_map(|section| section.rows.iter().map(move |row| (section, row)))
    }
}

/// Where a row is, and what is wrong with it.
#[must_use]
pub fn at(line: usize, what: &str) -> String {
    format!("docs/from-python.md:{line}: {what}")
}

impl Setup {
    fn code(&mut self, language: &str) -> Option<&mut String> {
        match language {
            "python" => Some(&mut self.python),
            "rust" => Some(&mut self.rust),
            _ => None,
        }
    }
}

impl Row {
    /// `None` for the heading of a table.
    fn parse(line: usize, text: &str) -> Result<Option<Self>, String> {
        let cells = cells(text);
        let [name, python, here, gives] = cells.as_slice() else {
            return Err(format!("{} cells, where a row has 4", cells.len()));
        };
        if name == "name" {
            return Ok(None);
        }
        let names = spans(name);
        if names.is_empty() {
            return Err("a row without a name in backticks".into());
        }
        let since = since(name)?;
        let python = spans(python).into_iter().next();
        let here = Here::parse(here)?;
        let gives = match spans(gives).as_slice() {
            [] => None,
            [both] => Some((Outcome::parse(both), Outcome::parse(both))),
            [python, here] if gives.contains("`, here `") => {
                Some((Outcome::parse(python), Outcome::parse(here)))
            }
            _ => return Err("gives what? `1`, or `1`, here `2`".into()),
        };
        let has_code = python.is_some() || matches!(here, Here::Code(_));
        if has_code && gives.is_none() {
            return Err("code, and nothing that it gives".into());
        }
        Ok(Some(Self { line, names, since, python, here, gives }))
    }
}

impl Row {
    fn not_before(self, since: u32) -> Self {
        Self { since: self.since.max(since), ..self }
    }
}

impl Here {
    fn parse(cell: &str) -> Result<Self, String> {
        match cell {
            _ if cell.starts_with('`') => {
                spans(cell).into_iter().next().map(Self::Code).ok_or_else(|| "an open `".into())
            }
            _ if cell.starts_with("Not needed: ") => Ok(Self::NotNeeded),
            _ if cell.starts_with("Not yet: ") => Ok(Self::NotYet),
            _ if cell.starts_with("Soon: `") => Ok(Self::Soon),
            _ => Err("here is neither code nor `Not needed: ` nor `Not yet: `".into()),
        }
    }
}

fn cells(row: &str) -> Vec<String> {
    let row = row.trim_matches('|').replace(r"\|", "\0");
    row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// The minor version of Python 3 in `(3.13)`; 0 without one.
fn since(text: &str) -> Result<u32, String> {
    let Some((_, version)) = text.split_once("(3.") else { return Ok(0) };
    version.trim_end_matches(')').parse().map_err(|error| format!("the version: {error}"))
}

/// What is in backticks.
fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "```rust\nuse std;\n```\n\n## `m.C`, `m.D` (3.14)\n\n```python\nx = 1\n```\n\n\
                        | name | in Python | here | gives |\n|---|---|---|---|\n";

    fn parse(row: &str) -> Result<Page, String> {
        Page::parse(&format!("{HEAD}{row}\n"))
    }

    #[test]
    fn a_row_has_its_names_its_code_and_what_that_gives() {
        let page =
            parse(r#"| `a`, `b` | `x \| 2` | `y(\|z\| z)` a remark | `KeyError`, here `[1]` |"#)
                .unwrap();
        let section = &page.sections[0];
        assert_eq!(page.preamble.rust, "use std;\n");
        assert_eq!((section.subjects.join(" "), section.since), ("m.C m.D".into(), 14));
        assert_eq!(section.setup.python, "x = 1\n");
        let row = &section.rows[0];
        assert_eq!((row.line, row.names.join(" "), row.since), (13, "a b".into(), 14));
        assert_eq!(row.python.as_deref(), Some("x | 2"));
        assert_eq!(row.here, Here::Code("y(|z| z)".into()));
        let gives = (Outcome::Error("KeyError".into()), Outcome::Value(serde_json::json!([1])));
        assert_eq!(row.gives, Some(gives));
    }

    #[test]
    fn a_row_that_cannot_be_read_is_named() {
        let errors = [
            ("| `a` | `x` | `y` |", "3 cells"),
            ("| a | `x` | `y` | `1` |", "without a name"),
            ("| `a` | `x` | perhaps | `1` |", "neither code nor"),
            ("| `a` | `x` | `y` | |", "nothing that it gives"),
            ("| `a` | | `y` | `1` `2` |", "gives what?"),
        ];
        for (row, reason) in errors {
            let error = parse(row).unwrap_err();
            assert!(error.starts_with("docs/from-python.md:13: "), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
}
