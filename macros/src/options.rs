//! The options in the parentheses of `#[task(…)]`.

use proc_macro2::TokenStream;
use syn::{
    Error, Ident, LitInt, LitStr, Result, Token,
    parse::{Parse, ParseStream},
};

/// What `#[task(…)]` says.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) signature: Option<LitStr>,
    pub(crate) idempotent: bool,
    pub(crate) attempts: Option<LitInt>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            options.set(&key, input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        options.check()?;
        Ok(options)
    }
}

impl Options {
    fn set(&mut self, key: &Ident, input: ParseStream<'_>) -> Result<()> {
        match key.to_string().as_str() {
            "name" => self.name = Some(value(key, input, "name = \"crunch::square\"")?),
            "signature" => self.signature = Some(value(key, input, "signature = \"2\"")?),
            "attempts" => self.attempts = Some(value(key, input, "attempts = 3")?),
            "idempotent" => self.idempotent = true,
            _ => {
                let message = "a task has the options `name = \"…\"`, `idempotent`, `attempts = 3` and \
                               `signature = \"…\"`";
                return Err(Error::new(key.span(), message));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        for text in [&self.name, &self.signature].into_iter().flatten() {
            if text.value().is_empty() {
                return Err(Error::new(text.span(), "this text cannot be empty"));
            }
        }
        let Some(attempts) = &self.attempts else { return Ok(()) };
        if attempts.base10_parse::<u32>()? == 0 {
            return Err(Error::new(attempts.span(), "a task is attempted once at least"));
        }
        if !self.idempotent {
            let message = "only an idempotent task is attempted more than once: write \
                           `#[task(idempotent, attempts = …)]` if running it twice does no harm";
            return Err(Error::new(attempts.span(), message));
        }
        Ok(())
    }
}

/// The value of an option such as `name = "…"`.
fn value<T: Parse>(key: &Ident, input: ParseStream<'_>, example: &str) -> Result<T> {
    let value = input.parse::<Token![=]>().and_then(|_| input.parse());
    value.map_err(|error| Error::new(key.span(), format!("{error}: write `{example}`")))
}

/// Refuses the options of an attribute that has none.
pub(crate) fn none(options: &TokenStream, message: &str) -> Result<()> {
    if options.is_empty() { Ok(()) } else { Err(Error::new_spanned(options, message)) }
}
