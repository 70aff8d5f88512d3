//! The paths that code names, from syntax and from the tokens of macros.

use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};
use syn::{Ident, ItemUse, UseTree, ext::IdentExt};

/// A path as it is written, and the line that it begins in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

impl Path {
    /// A path in code. `None` for `::name`, which begins with a crate.
    pub(crate) fn of_code(path: &syn::Path) -> Option<Self> {
        if path.leading_colon.is_some() {
            return None;
        }
        let line = line(path.segments.first()?.ident.span());
        Some(Self { segments: path.segments.iter().map(|s| text(&s.ident)).collect(), line })
    }
}

/// What one name of a `use` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) kind: Kind,
    pub(crate) path: Path,
}

impl Name {
    /// Whether the `use` gives something this name.
    pub(crate) fn binds(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Named(bound) if bound == name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `use path` or `use path as name`.
    Named(String),
    /// `use path as _`: a trait, for its methods.
    Unnamed,
    /// `use path::*`.
    Glob,
}

/// The names of a `use`. None of `use ::name`, which begins with a crate.
pub(crate) fn names_of(item: &ItemUse) -> Vec<Name> {
    let mut names = Vec::new();
    if item.leading_colon.is_none() {
        add_names(&item.tree, &mut Vec::new(), &mut names);
    }
    names
}

fn add_names(tree: &UseTree, prefix: &mut Vec<String>, names: &mut Vec<Name>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(text(&path.ident));
            add_names(&path.tree, prefix, names);
            prefix.pop();
        }
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| add_names(tree, prefix, names));
        }
        UseTree::Name(name) => names.push(named(&name.ident, None, prefix)),
        UseTree::Rename(rename) => {
            names.push(named(&rename.ident, Some(&rename.rename), prefix));
        }
        UseTree::Glob(glob) => {
            let path = Path { segments: prefix.clone(), line: line(glob.star_token.spans[0]) };
            names.push(Name { kind: Kind::Glob, path });
        }
    }
}

fn named(ident: &Ident, rename: Option<&Ident>, prefix: &[String]) -> Name {
    let mut segments = prefix.to_vec();
    if ident != "self" || segments.is_empty() {
        segments.push(text(ident));
    }
    let name = rename.map_or_else(|| segments.last().cloned().unwrap_or_default(), text);
    let kind = if name == "_" { Kind::Unnamed } else { Kind::Named(name) };
    Name { kind, path: Path { segments, line: line(ident.span()) } }
}

/// The paths in a macro's tokens: those of two segments and more, and single names that look like a
/// type's. A single name of another form may as well be a field or a variable.
pub(crate) fn paths_in(tokens: TokenStream) -> Vec<Path> {
    let mut paths = Vec::new();
    add_paths(tokens, &[], &mut paths);
    paths.retain(|path| {
        let is_type = |name: &String| name.starts_with(char::is_uppercase);
        path.segments.len() > 1 || path.segments.iter().all(is_type)
    });
    paths
}

/// `prefix` is what stands before a group of a `use`.
fn add_paths(tokens: TokenStream, prefix: &[String], paths: &mut Vec<Path>) {
    let mut tokens = tokens.into_iter().peekable();
    // Whether what comes belongs to what stands before it: a field, a method, a macro's variable.
    let mut continues = false;
    let mut is_range = false;
    while let Some(token) = tokens.next() {
        let first = match token {
            TokenTree::Ident(ident) if !continues => ident,
            TokenTree::Group(group) => {
                add_paths(group.stream(), &[], paths);
                continues = false;
                continue;
            }
            TokenTree::Punct(punct) => {
                let is_crate = punct.as_char() == '$'
                    && matches!(tokens.peek(), Some(TokenTree::Ident(next)) if next == "crate");
                continues = match punct.as_char() {
                    '$' => !is_crate,
                    '.' => punct.spacing() == Spacing::Alone && !is_range,
                    ':' => continues_path(&punct, &mut tokens),
                    _ => false,
                };
                is_range = punct.as_char() == '.' && punct.spacing() == Spacing::Joint;
                continue;
            }
            _ => {
                continues = false;
                continue;
            }
        };
        let line = line(first.span());
        let mut segments = prefix.to_vec();
        segments.push(text(&first));
        let mut group = None;
        while is_separator(&mut tokens) {
            match tokens.peek() {
                Some(TokenTree::Ident(next)) => segments.push(text(next)),
                Some(TokenTree::Group(next)) if next.delimiter() == Delimiter::Brace => {
                    group = Some(next.stream());
                }
                _ => {
                    continues = true;
                    break;
                }
            }
            tokens.next();
        }
        match group {
            Some(group) => add_paths(group, &segments, paths),
            None => paths.push(Path { segments, line }),
        }
    }
}

type Tokens = std::iter::Peekable<proc_macro2::token_stream::IntoIter>;

/// Whether `colon` and the next token are a `::`, which is then taken.
fn continues_path(colon: &proc_macro2::Punct, tokens: &mut Tokens) -> bool {
    let is_second = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ':');
    colon.spacing() == Spacing::Joint && tokens.next_if(is_second).is_some()
}

/// Takes a `::`, if one is next.
fn is_separator(tokens: &mut Tokens) -> bool {
    let is_first = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ':' && p.spacing() == Spacing::Joint);
    if tokens.next_if(is_first).is_none() {
        return false;
    }
    tokens.next();
    true
}

/// The names that a macro's arguments seem to declare: those after `struct`, `fn` and their like.
pub(crate) fn declared_in(tokens: TokenStream) -> impl Iterator<Item = String> {
    const KEYWORDS: [&str; 8] =
        ["const", "enum", "fn", "static", "struct", "trait", "type", "union"];
    let mut names = Vec::new();
    let mut declares = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if declares => {
                names.push(text(&ident));
                declares = false;
            }
            TokenTree::Ident(ident) => declares = KEYWORDS.iter().any(|word| ident == word),
            _ => declares = false,
        }
    }
    names.into_iter()
}

fn text(ident: &Ident) -> String {
    ident.unraw().to_string()
}

pub(crate) fn line(span: Span) -> usize {
    span.start().line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<String> {
        let tokens = text.parse::<TokenStream>().unwrap();
        paths_in(tokens).iter().map(|path| path.segments.join("::")).collect()
    }

    fn names(item: &str) -> Vec<(Kind, String)> {
        let item = syn::parse_str(item).unwrap();
        names_of(&item).into_iter().map(|name| (name.kind, name.path.segments.join("::"))).collect()
    }

    #[test]
    fn a_use_is_taken_apart_into_its_names() {
        let named = |name: &str| Kind::Named(name.into());
        assert_eq!(
            names("use a::{self, B, c::{D as E, F as _}, g::*};"),
            [
                (named("a"), "a".into()),
                (named("B"), "a::B".into()),
                (named("E"), "a::c::D".into()),
                (Kind::Unnamed, "a::c::F".into()),
                (Kind::Glob, "a::g".into()),
            ]
        );
        assert_eq!(names("use ::a::B;"), []);
    }

    #[test]
    fn the_tokens_of_a_macro_have_paths() {
        assert_eq!(written("x, crate::a::f(b::C { d: e })"), ["crate::a::f", "b::C"]);
        assert_eq!(written("Some(x) if x.y::<T>() => Kind"), ["Some", "T", "Kind"]);
        assert_eq!(written("0..a::END"), ["a::END"]);
        assert_eq!(written("$crate::a::B, $kind::C"), ["crate::a::B"]);
        assert_eq!(written("use a::{b::C, D}; ::e::F"), ["a::b::C", "a::D"]);
        assert_eq!(written("Vec::<u8>::new()"), ["Vec"]);
    }

    #[test]
    fn the_tokens_of_a_macro_may_declare_items() {
        let tokens = "static A: u8 = 1; pub struct B { c: D } fn e() {}".parse().unwrap();
        assert_eq!(declared_in(tokens).collect::<Vec<_>>(), ["A", "B", "e"]);
    }
}
