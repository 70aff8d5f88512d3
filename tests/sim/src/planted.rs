//! Bugs that somebody could make, each a small change of one file: whether the simulation finds them
//! says what it is worth.

const BUGS: &str = include_str!("../planted/bugs.txt");

/// One of them.
#[derive(Debug)]
pub struct Bug<'a> {
    /// What it does.
    pub name: &'a str,
    /// Where it is planted, from the root of the tree.
    pub file: &'a str,
    find: &'a str,
    replace: &'a str,
}

/// All of them.
pub fn bugs() -> impl Iterator<Item = Bug<'static>> {
    bugs_in(BUGS)
}

/// All that are in a text of this form.
///
/// # Panics
/// If something in it is none.
pub fn bugs_in(text: &str) -> impl Iterator<Item = Bug<'_>> {
    text.split("=== ")
        .skip(1)
        .map(|text| parse(text).unwrap_or_else(|| panic!("this is no bug to be planted:\n{text}")))
}

fn parse(text: &str) -> Option<Bug<'_>> {
    let (name, rest) = text.split_once("\n--- ")?;
    let (file, rest) = rest.split_once('\n')?;
    let (find, rest) = rest.split_once("\n+++\n")?;
    Some(Bug { name, file, find, replace: rest.strip_suffix('\n')? })
}

impl Bug<'_> {
    /// The file's text with the bug in it.
    ///
    /// # Errors
    /// If the text has changed, and the bug has to as well.
    pub fn plant(&self, text: &str) -> Result<String, String> {
        match text.matches(self.find).count() {
            1 => Ok(text.replace(self.find, self.replace)),
            n => Err(format!("\"{}\": its place is {n} times in {}", self.name, self.file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::bugs;

    #[test]
    fn every_bug_can_still_be_planted() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        for bug in bugs() {
            let text = fs::read_to_string(root.join(bug.file)).unwrap();
            assert_ne!(bug.plant(&text), Ok(text.clone()), "{}", bug.name);
            bug.plant(&text).unwrap();
        }
        assert!(bugs().count() >= 40);
    }
}
