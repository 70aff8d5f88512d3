//! `#[main]`: `init()` before anything else, and a runtime if one is needed.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Attribute, Error, ItemFn, Result};

use crate::options;

pub(crate) fn expand(given: &TokenStream, item: TokenStream) -> Result<TokenStream> {
    options::none(
        given,
        "`#[mp_manager::main]` has no options: for a runtime with options write `#[mp_manager::main]`, \
         and `#[tokio::main(…)]` below it",
    )?;
    let mut function: ItemFn = syn::parse2(item)?;
    if let Some(argument) = function.sig.inputs.first() {
        return Err(Error::new_spanned(
            argument,
            "`main` takes no arguments: see `std::env::args`",
        ));
    }
    let conditions: Vec<_> = function
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .cloned()
        .collect();
    let visibility = function.vis.clone();
    let output = function.sig.output.clone();
    let name = function.sig.ident.clone();
    let runs_itself = function.sig.asyncness.is_none() || function.attrs.iter().any(is_runtime);
    function.vis = syn::Visibility::Inherited;
    function.sig.ident = format_ident!("__main");
    let call = if runs_itself {
        quote!(__main())
    } else {
        quote!(::mp_manager::__macro::block_on(__main()))
    };
    Ok(quote! {
        #(#conditions)*
        #visibility fn #name() #output {
            #function
            ::mp_manager::init();
            ::mp_manager::__macro::finish(#call)
        }
    })
}

/// Whether it is `#[tokio::main]` or the like, which makes a runtime.
fn is_runtime(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "main")
}
