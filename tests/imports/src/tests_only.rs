//! Tells what is compiled for tests only.

use syn::{
    Attribute, ForeignItem, ImplItem, Item, Meta, Stmt, Token, TraitItem, punctuated::Punctuated,
};

/// Whether an item with these attributes exists in tests only.
pub(crate) fn is_tests_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        if path.is_ident("cfg") {
            return attribute.parse_args::<Meta>().is_ok_and(|cfg| is_false(&cfg));
        }
        path.segments.last().is_some_and(|last| last.ident == "test")
    })
}

/// Whether a condition cannot hold unless `test` does.
fn is_false(cfg: &Meta) -> bool {
    let mut nested = operands(cfg).into_iter();
    match cfg {
        cfg if cfg.path().is_ident("test") => true,
        cfg if cfg.path().is_ident("all") => nested.any(|cfg| is_false(&cfg)),
        cfg if cfg.path().is_ident("any") => nested.all(|cfg| is_false(&cfg)),
        _ => false,
    }
}

fn operands(cfg: &Meta) -> Vec<Meta> {
    let Meta::List(list) = cfg else { return Vec::new() };
    list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .map(|operands| operands.into_iter().collect())
        .unwrap_or_default()
}

/// The attributes of an item of whatever form.
pub(crate) fn of_item(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

pub(crate) fn of_impl_item(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

pub(crate) fn of_trait_item(item: &TraitItem) -> &[Attribute] {
    match item {
        TraitItem::Const(item) => &item.attrs,
        TraitItem::Fn(item) => &item.attrs,
        TraitItem::Type(item) => &item.attrs,
        TraitItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

pub(crate) fn of_foreign_item(item: &ForeignItem) -> &[Attribute] {
    match item {
        ForeignItem::Fn(item) => &item.attrs,
        ForeignItem::Static(item) => &item.attrs,
        ForeignItem::Type(item) => &item.attrs,
        ForeignItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of a statement that is no item and no expression.
pub(crate) fn of_statement(statement: &Stmt) -> &[Attribute] {
    match statement {
        Stmt::Local(local) => &local.attrs,
        Stmt::Macro(call) => &call.attrs,
        Stmt::Item(_) | Stmt::Expr(..) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_tests_only_item(item: &str) -> bool {
        is_tests_only(of_item(&syn::parse_str(item).unwrap()))
    }

    #[test]
    fn an_item_that_needs_test_is_tests_only() {
        assert!(is_tests_only_item("#[cfg(test)] mod tests;"));
        assert!(is_tests_only_item("#[cfg(all(unix, test))] mod tests;"));
        assert!(is_tests_only_item("#[tokio::test] async fn works() {}"));
    }

    #[test]
    fn an_item_that_exists_without_test_as_well_is_not() {
        assert!(!is_tests_only_item("#[cfg(unix)] mod socket;"));
        assert!(!is_tests_only_item("#[cfg(not(test))] mod clock;"));
        assert!(!is_tests_only_item(r#"#[cfg(any(test, feature = "x"))] mod wire;"#));
        assert!(!is_tests_only_item("mod plain;"));
    }
}
