//! `#[task]`: a function becomes a unit struct that implements `Task`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Attribute, Error, FnArg, GenericParam, Ident, ItemFn, Lifetime, Result, ReturnType, Signature,
    Type, TypeImplTrait, TypeReference, spanned::Spanned, visit::Visit,
};

use crate::options::Options;

const OWNED: &str = "a task's arguments travel to another process, so they are owned: take `String` \
                     instead of `&str`, `Vec<T>` instead of `&[T]`, a type instead of `impl Trait`";
const OWNED_RESULT: &str = "a task's result travels to another process, so it is owned: return `String` \
                            instead of `&str`, `Vec<T>` instead of `&[T]`, a type instead of `impl Trait`";

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options: Options = syn::parse2(options)?;
    let function: ItemFn =
        syn::parse2(item.clone()).map_err(|error| not_a_function(&item, error))?;
    let arguments = arguments(&function.sig)?;
    let output = output(&function.sig)?;
    Ok(Expansion { options, function, arguments, output }.tokens())
}

/// Something else than a function, or a function with a mistake in it, which the parser explains.
fn not_a_function(item: &TokenStream, error: Error) -> Error {
    match syn::parse2::<syn::Item>(item.clone()) {
        Ok(item) => Error::new_spanned(item, "`#[task]` goes above a function"),
        Err(_) => error,
    }
}

/// The types of the arguments, if the function can be a task.
fn arguments(signature: &Signature) -> Result<Vec<Type>> {
    let refuse = |span: Span, message: &str| Err(Error::new(span, message));
    if let Some(parameter) = signature.generics.params.first() {
        let message = match parameter {
            GenericParam::Lifetime(_) => OWNED,
            GenericParam::Type(_) | GenericParam::Const(_) => {
                "a task cannot be generic: another process finds it by its name alone; write one task \
                 for each type"
            }
        };
        return refuse(parameter.span(), message);
    }
    if let Some(unsafety) = &signature.unsafety {
        return refuse(
            unsafety.span(),
            "a task cannot be `unsafe`: wrap the call in a safe function",
        );
    }
    if let Some(constness) = &signature.constness {
        let message = "a task cannot be `const`: remove it here, and call a `const fn` from the task if \
                       you need one";
        return refuse(constness.span(), message);
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi.span(), "a task is an ordinary function: remove `extern`");
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(
            variadic.span(),
            "a task takes a fixed number of arguments: take a `Vec<T>`",
        );
    }
    signature.inputs.iter().map(argument).collect()
}

fn argument(argument: &FnArg) -> Result<Type> {
    match argument {
        FnArg::Receiver(receiver) => {
            let message =
                "a task is a free function: it has no `self`; pass what it needs as an argument";
            Err(Error::new(receiver.span(), message))
        }
        FnArg::Typed(typed) => {
            owned(&typed.ty, OWNED)?;
            Ok((*typed.ty).clone())
        }
    }
}

fn output(signature: &Signature) -> Result<Type> {
    match &signature.output {
        ReturnType::Default => Ok(syn::parse_quote!(())),
        ReturnType::Type(_, output) => {
            if let Type::Never(never) = &**output {
                return Err(Error::new(never.span(), "a task returns: remove `-> !`"));
            }
            owned(output, OWNED_RESULT)?;
            Ok((**output).clone())
        }
    }
}

fn owned(ty: &Type, message: &str) -> Result<()> {
    let mut borrow = Borrow(None);
    borrow.visit_type(ty);
    borrow.0.map_or(Ok(()), |span| Err(Error::new(span, message)))
}

/// The first place in a type that is borrowed, or that the type's user chooses.
struct Borrow(Option<Span>);

impl<'a> Visit<'a> for Borrow {
    fn visit_type_reference(&mut self, reference: &'a TypeReference) {
        self.0.get_or_insert(reference.span());
    }

    fn visit_type_impl_trait(&mut self, impl_trait: &'a TypeImplTrait) {
        self.0.get_or_insert(impl_trait.span());
    }

    fn visit_lifetime(&mut self, lifetime: &'a Lifetime) {
        if lifetime.ident != "static" {
            self.0.get_or_insert(lifetime.span());
        }
    }
}

/// Whether a type is spelled like a result: `Result<T>`, `anyhow::Result<T>`, `fmt::Result`.
fn is_result(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result"))
}

/// The text of the types, without the spaces that depend on how they were written.
fn signature_text(arguments: &[Type], output: &Type) -> String {
    let arguments: Vec<_> = arguments.iter().map(|ty| ty.to_token_stream().to_string()).collect();
    let text = format!("({})->{}", arguments.join(","), output.to_token_stream());
    text.split_whitespace().collect()
}

struct Expansion {
    options: Options,
    function: ItemFn,
    arguments: Vec<Type>,
    /// What the function returns.
    output: Type,
}

impl Expansion {
    fn tokens(self) -> TokenStream {
        let name = &self.function.sig.ident;
        let visibility = &self.function.vis;
        let conditions = self.attributes(&["cfg"]);
        let on_struct = self.attributes(&["doc", "deprecated", "allow"]);
        let implementation = self.task();
        let deref = self.deref();
        let function = self.inner();
        quote! {
            #(#conditions)*
            #(#on_struct)*
            #[allow(dead_code, non_camel_case_types, reason = "a task is named like its function")]
            #[derive(Clone, Copy, Debug)]
            #visibility struct #name;

            #(#conditions)*
            #[allow(deprecated, reason = "this is the deprecated task itself")]
            const _: () = {
                #function
                #implementation
                #deref
                ::mp_manager::__macro::inventory::submit! {
                    ::mp_manager::__macro::Entry::of::<#name>(::core::file!(), ::core::line!())
                }
            };
        }
    }

    /// The function itself, which only its task calls.
    fn inner(&self) -> ItemFn {
        let mut function = self.function.clone();
        function.vis = syn::Visibility::Inherited;
        function.attrs.retain(|attribute| !is_one_of(attribute, &["cfg", "doc", "deprecated"]));
        function
    }

    fn attributes<'a>(&'a self, names: &'a [&str]) -> Vec<&'a Attribute> {
        self.function.attrs.iter().filter(|attribute| is_one_of(attribute, names)).collect()
    }

    fn variables(&self) -> Vec<Ident> {
        (0..self.arguments.len()).map(|i| format_ident!("argument_{i}")).collect()
    }

    /// What the task hands over: what the function returns, or the `Ok` of it.
    fn transferred(&self) -> TokenStream {
        let output = &self.output;
        if is_result(output) {
            quote_spanned!(output.span()=> <#output as ::mp_manager::__macro::Fallible>::Ok)
        } else {
            quote!(#output)
        }
    }

    fn task(&self) -> TokenStream {
        let Self { options, arguments, output, .. } = self;
        let name = &self.function.sig.ident;
        let variables = self.variables();
        let transferred = self.transferred();
        let task_name = options.name.as_ref().map_or_else(
            || quote!(::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name))),
            ToTokens::to_token_stream,
        );
        let signature = options.signature.as_ref().map_or_else(
            || signature_text(arguments, output).to_token_stream(),
            ToTokens::to_token_stream,
        );
        let idempotent = options.idempotent;
        let attempts = options.attempts.as_ref().map(|n| quote!(const ATTEMPTS: u32 = #n;));
        let outcome = if is_result(output) {
            quote_spanned!(output.span()=> ::mp_manager::__macro::Fallible::outcome)
        } else {
            quote!(::core::result::Result::Ok)
        };
        let running = if self.function.sig.asyncness.is_some() {
            quote! {
                ::mp_manager::__macro::Running::Later(::std::boxed::Box::pin(async move {
                    #outcome(#name(#(#variables),*).await)
                }))
            }
        } else {
            quote!(::mp_manager::__macro::Running::Now(#outcome(#name(#(#variables),*))))
        };
        let bounds = self.bounds();
        quote! {
            #[allow(trivial_bounds, reason = "where a type does not travel, they are not")]
            impl ::mp_manager::__macro::Task for #name
            where
                #bounds
            {
                type Args = (#(#arguments,)*);
                type Output = #transferred;
                const NAME: &'static str = #task_name;
                const SIGNATURE: &'static str = #signature;
                const IDEMPOTENT: bool = #idempotent;
                #attempts

                #[inline]
                fn run((#(#variables,)*): Self::Args) -> ::mp_manager::__macro::Running<Self::Output> {
                    #running
                }
            }
        }
    }

    /// What makes `square(3)` a call.
    fn deref(&self) -> TokenStream {
        let Self { arguments, output, .. } = self;
        let name = &self.function.sig.ident;
        let variables = self.variables();
        let (returned, call) = if self.function.sig.asyncness.is_some() {
            (
                quote!(::mp_manager::__macro::BoxFuture<#output>),
                quote!(::std::boxed::Box::pin(#name(#(#variables),*))),
            )
        } else {
            (quote!(#output), quote!(#name(#(#variables),*)))
        };
        quote! {
            impl ::core::ops::Deref for #name {
                type Target = fn(#(#arguments),*) -> #returned;

                fn deref(&self) -> &Self::Target {
                    fn call(#(#variables: #arguments),*) -> #returned {
                        #call
                    }
                    const CALL: fn(#(#arguments),*) -> #returned = call;
                    &CALL
                }
            }
        }
    }

    /// Says that each type travels. The compiler checks it at its place, and takes it for granted within the
    /// implementation. The `Ok` of a result is left out: where it is none, the error of that is enough.
    fn bounds(&self) -> TokenStream {
        let output = (!is_result(&self.output)).then_some(&self.output);
        let bounds = self
            .arguments
            .iter()
            .chain(output)
            .map(|ty| quote_spanned!(ty.span()=> #ty: ::mp_manager::__macro::Transferable,));
        quote!(#(#bounds)*)
    }
}

fn is_one_of(attribute: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attribute.path().is_ident(name))
}
