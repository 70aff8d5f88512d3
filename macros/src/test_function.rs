//! `#[test]`: a test function that is the place where its child processes begin.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Error, ItemFn, Result};

use crate::options;

pub(crate) fn expand(given: &TokenStream, item: TokenStream) -> Result<TokenStream> {
    options::none(given, "`#[mp_manager::test]` has no options")?;
    let mut function: ItemFn = syn::parse2(item)?;
    if let Some(argument) = function.sig.inputs.first() {
        return Err(Error::new_spanned(argument, "a test takes no arguments"));
    }
    let other = function.attrs.iter().find(|attribute| is_test(attribute));
    let is_async = function.sig.asyncness.take().is_some();
    if let (true, Some(other)) = (is_async, other) {
        let message =
            "`#[mp_manager::test]` makes the test and its runtime: remove the other attribute";
        return Err(Error::new_spanned(other, message));
    }
    let test = other.is_none().then(|| quote!(#[::core::prelude::v1::test]));
    let name = function.sig.ident.to_string();
    let body = &function.block;
    let output = &function.sig.output;
    let body = if is_async {
        let output = match output {
            syn::ReturnType::Default => quote!(()),
            syn::ReturnType::Type(_, output) => quote!(#output),
        };
        quote! {
            let body = async #body;
            ::mp_manager::__macro::block_on_current_thread::<#output>(body)
        }
    } else {
        quote!(#body)
    };
    function.block = syn::parse_quote! {{
        ::mp_manager::__macro::init_in_test(::core::concat!(::core::module_path!(), "::", #name));
        #body
    }};
    Ok(quote!(#test #function))
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "test")
}
