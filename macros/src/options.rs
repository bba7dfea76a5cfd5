//! What stands in `#[memoize(..)]`: which options there are, and what is wrong with those that are given.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Result, Token, parenthesized};

use crate::duration::milliseconds;

/// As larder has it; the macros cannot depend on it.
const MAX_TAG_BYTES: usize = 1024;
const KNOWN: &str = "`cache`, `expire`, `tag`, `ignore`, `version`, `early_recompute` and `name`";

pub(crate) struct Options {
    pub(crate) cache: Expr,
    pub(crate) name: Option<LitStr>,
    /// The arguments that are no part of the key.
    pub(crate) ignore: Vec<Ident>,
    pub(crate) version: Option<Expr>,
    /// A `Duration`.
    pub(crate) expire: Option<TokenStream>,
    /// Anything that is a string.
    pub(crate) tag: Option<TokenStream>,
    /// The option's name, and its value.
    pub(crate) early_recompute: Option<(Ident, Expr)>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        let mut seen: Vec<Ident> = Vec::new();
        let (mut cache, mut name, mut version, mut expire, mut tag) = (None, None, None, None, None);
        let (mut ignore, mut early_recompute) = (Vec::new(), None);
        while !input.is_empty() {
            let option = input.call(Ident::parse_any)?;
            if seen.contains(&option) {
                return Err(Error::new(option.span(), format!("`{option}` is given twice")));
            }
            match option.to_string().as_str() {
                "cache" => cache = Some(cache_of(value(input)?)?),
                "name" => name = Some(name_of(value(input)?)?),
                "version" => version = Some(value(input)?),
                "expire" => expire = Some(duration_of(value(input)?)?),
                "tag" => tag = Some(tag_of(value(input)?)?),
                "early_recompute" => early_recompute = Some((option.clone(), value(input)?)),
                "ignore" => ignore = ignored(input)?,
                _ => {
                    let message = format!("no option of `memoize` is `{option}`: there are {KNOWN}");
                    return Err(Error::new(option.span(), message));
                }
            }
            seen.push(option);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        if let (Some((option, _)), None) = (&early_recompute, &expire) {
            return Err(Error::new(option.span(), "`early_recompute` is early for an expiry: give `expire` too"));
        }
        let cache = cache.ok_or_else(|| {
            Error::new(input.span(), "`memoize` needs a cache: `cache = NAME`, the name of a static `LazyLock<Cache>`")
        })?;
        Ok(Options { cache, name, ignore, version, expire, tag, early_recompute })
    }
}

fn value(input: ParseStream<'_>) -> Result<Expr> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn ignored(input: ParseStream<'_>) -> Result<Vec<Ident>> {
    let names;
    parenthesized!(names in input);
    let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&names, Ident::parse_any)?;
    let mut ignore: Vec<Ident> = Vec::new();
    for name in names {
        if ignore.contains(&name) {
            return Err(Error::new(name.span(), format!("`{name}` is ignored twice")));
        }
        ignore.push(name);
    }
    Ok(ignore)
}

fn literal(expression: &Expr) -> Option<&Lit> {
    match expression {
        // What a macro by example passes on.
        Expr::Group(group) => literal(&group.expr),
        Expr::Lit(ExprLit { lit, attrs }) if attrs.is_empty() => Some(lit),
        _ => None,
    }
}

fn cache_of(expression: Expr) -> Result<Expr> {
    match literal(&expression) {
        Some(Lit::Str(string)) => string.parse(),
        Some(other) => Err(Error::new(other.span(), "a cache is an expression, such as the name of a static")),
        None => Ok(expression),
    }
}

fn name_of(expression: Expr) -> Result<LitStr> {
    match literal(&expression) {
        Some(Lit::Str(string)) if !string.value().is_empty() => Ok(string.clone()),
        _ => Err(Error::new(expression.span(), "a name is a string literal with something in it")),
    }
}

fn duration_of(expression: Expr) -> Result<TokenStream> {
    match literal(&expression) {
        Some(Lit::Str(string)) => {
            let milliseconds = milliseconds(&string.value()).map_err(|message| Error::new(string.span(), message))?;
            Ok(quote!(::core::time::Duration::from_millis(#milliseconds)))
        }
        Some(other) => Err(Error::new(other.span(), "an expiry is a string such as \"10m\", or a `Duration`")),
        None => Ok(quote!(#expression)),
    }
}

fn tag_of(expression: Expr) -> Result<TokenStream> {
    match literal(&expression) {
        Some(Lit::Str(string)) if string.value().contains(['{', '}']) => {
            // The literal keeps its place, so that the compiler's word on it points there.
            Ok(quote_spanned!(string.span()=> ::std::format!(#string)))
        }
        Some(Lit::Str(string)) if string.value().len() > MAX_TAG_BYTES => {
            let message = format!("a tag of {} bytes is over the limit of {MAX_TAG_BYTES}", string.value().len());
            Err(Error::new(string.span(), message))
        }
        Some(Lit::Str(string)) => Ok(quote!(#string)),
        Some(other) => Err(Error::new(other.span(), "a tag is a string, such as \"geo\" or \"user:{id}\"")),
        None => Ok(quote!(#expression)),
    }
}
