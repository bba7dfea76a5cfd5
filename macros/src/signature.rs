//! What a memoized function looks like from outside: its arguments, which of them make the key, what it returns, and
//! which functions cannot be memoized at all.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Pat, PatIdent, Result, ReturnType, Signature, Type};

/// An argument of a memoized function.
pub(crate) struct Argument {
    /// As its place in the signature spells it, so that `self` is the function's.
    name: TokenStream,
    ty: Option<Type>,
    is_ignored: bool,
}

pub(crate) fn check(signature: &Signature) -> Result<()> {
    if let Some(constness) = &signature.constness {
        return Err(Error::new(constness.span, "a `const fn` cannot look into a cache"));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new(variadic.span(), "arguments without a type cannot be a key"));
    }
    if let ReturnType::Type(_, ty) = &signature.output
        && let Type::ImplTrait(ty) = &**ty
    {
        return Err(Error::new(ty.span(), "what is read from a cache needs a type: name it instead of `impl`"));
    }
    Ok(())
}

/// The arguments in order. `ignore` names those that are no part of the key.
pub(crate) fn arguments(signature: &Signature, ignore: &[Ident]) -> Result<Vec<Argument>> {
    let mut names: Vec<Ident> = Vec::new();
    let mut arguments = Vec::new();
    for input in &signature.inputs {
        let (attributes, name, ty) = match input {
            FnArg::Receiver(receiver) => {
                let token = &receiver.self_token;
                (&receiver.attrs, Ident::new("self", token.span), None)
            }
            FnArg::Typed(typed) => (&typed.attrs, name_of(&typed.pat)?.ident.clone(), Some((*typed.ty).clone())),
        };
        let is_conditional = |path: &syn::Path| path.is_ident("cfg") || path.is_ident("cfg_attr");
        if let Some(attribute) = attributes.iter().find(|attribute| is_conditional(attribute.path())) {
            let message = "an argument that is not always there cannot be a part of the key";
            return Err(Error::new(attribute.span(), message));
        }
        let is_ignored = ignore.contains(&name);
        arguments.push(Argument { name: name.to_token_stream(), ty, is_ignored });
        names.push(name);
    }
    match ignore.iter().find(|name| !names.contains(name)) {
        Some(name) => Err(Error::new(name.span(), format!("no argument of `{}` is `{name}`", signature.ident))),
        None => Ok(arguments),
    }
}

fn name_of(pattern: &Pat) -> Result<&PatIdent> {
    match pattern {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Ok(name),
        other => {
            let message = "an argument of a memoized function needs a name: take it apart in the function's body";
            Err(Error::new(other.span(), message))
        }
    }
}

/// The same arguments for a function that does not change them.
pub(crate) fn without_mut(signature: &mut Signature) {
    for input in &mut signature.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                receiver.attrs.clear();
                if receiver.reference.is_none() {
                    receiver.mutability = None;
                }
            }
            FnArg::Typed(typed) => {
                typed.attrs.clear();
                if let Pat::Ident(name) = &mut *typed.pat {
                    name.mutability = None;
                }
            }
        }
    }
}

/// The code that adds the arguments to `tuple`. What the compiler says of one that is no key points at its type.
pub(crate) fn key_fields(arguments: &[Argument], tuple: &Ident) -> TokenStream {
    let in_key = arguments.iter().filter(|argument| !argument.is_ignored);
    let fields = in_key.map(|Argument { name, ty, .. }| {
        let span = ty.as_ref().map_or_else(|| name.span(), Spanned::span);
        quote::quote_spanned!(span=> ::larder::TupleWriter::field(#tuple, &#name);)
    });
    quote!(#(#fields)*)
}

/// The types of the arguments as they are written, `_` for one that is no part of the key. The text depends on the tokens
/// alone, neither on the spaces between them nor on the version of the compiler.
pub(crate) fn written_types(arguments: &[Argument]) -> String {
    let types = arguments.iter().map(|argument| match &argument.ty {
        _ if argument.is_ignored => "_".to_string(),
        None => "self".to_string(),
        Some(ty) => {
            let mut text = String::new();
            write_tokens(ty.to_token_stream(), &mut text);
            text
        }
    });
    format!("({})", types.collect::<Vec<_>>().join(","))
}

fn write_tokens(tokens: TokenStream, text: &mut String) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write_tokens(group.stream(), text);
                text.push_str(close);
            }
            other => {
                let token = other.to_string();
                if text.ends_with(is_word) && token.starts_with(is_word) {
                    text.push(' ');
                }
                text.push_str(&token);
            }
        }
    }
}

/// The type a function returns, spelled out.
pub(crate) fn returned(signature: &Signature) -> TokenStream {
    match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    }
}

/// Whether the function returns a `Result`, by whatever path that is named.
pub(crate) fn returns_result(signature: &Signature) -> bool {
    let ReturnType::Type(_, ty) = &signature.output else { return false };
    let mut ty = &**ty;
    // What a macro by example passes on, or what stands in brackets of its own.
    while let Type::Group(syn::TypeGroup { elem, .. }) | Type::Paren(syn::TypeParen { elem, .. }) = ty {
        ty = elem;
    }
    matches!(ty, Type::Path(ty) if ty.path.segments.last().is_some_and(|last| last.ident == "Result"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(signature: &str, ignore: &[&str]) -> String {
        let signature: Signature = syn::parse_str(signature).unwrap();
        let ignore: Vec<Ident> = ignore.iter().map(|name| quote::format_ident!("{name}")).collect();
        written_types(&arguments(&signature, &ignore).unwrap())
    }

    #[test]
    fn types_are_written_by_their_tokens() {
        assert_eq!(written("fn f()", &[]), "()");
        assert_eq!(written("fn f(a: u8, mut b : & 'a  mut  str)", &[]), "(u8,&'a mut str)");
        assert_eq!(written("fn f(a: Vec < (u8 , [u8 ; 2]) >)", &[]), "(Vec<(u8,[u8;2])>)");
        assert_eq!(written("fn f(a: impl Fn(u8) -> u8 + 'static)", &[]), "(impl Fn(u8)->u8+'static)");
    }

    #[test]
    fn arguments_without_types_are_refused() {
        let variadic = syn::parse_str("unsafe extern \"C\" fn f(a: u8, ...)").unwrap();
        assert_eq!(check(&variadic).unwrap_err().to_string(), "arguments without a type cannot be a key");
    }

    #[test]
    fn an_ignored_argument_keeps_its_place() {
        assert_eq!(written("fn f(a: u8, b: u8)", &["a"]), "(_,u8)");
        assert_eq!(written("fn f(a: u8, b: u8)", &["b"]), "(u8,_)");
        assert_eq!(written("fn f(&self, b: u8)", &[]), "(self,u8)");
        assert_eq!(written("fn f(&self, b: u8)", &["self"]), "(_,u8)");
    }

    #[test]
    fn a_result_is_known_by_its_last_name() {
        let is = |signature: &str| returns_result(&syn::parse_str(signature).unwrap());
        assert!(is("fn f() -> Result<u8, E>") && is("fn f() -> std::io::Result<u8>") && is("fn f() -> (Result<u8>)"));
        assert!(!is("fn f()") && !is("fn f() -> Option<Result<u8, E>>") && !is("fn f() -> Result<u8>::X"));
    }
}
