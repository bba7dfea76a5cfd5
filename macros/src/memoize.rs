//! `memoize`: the function that looks into the cache first, and its two companions.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Ident, ItemFn, Result, ReturnType, parse_quote};

use crate::attributes::{for_body, for_key};
use crate::options::Options;
use crate::signature::{Argument, arguments, check, key_fields, returned, returns_result, without_mut, written_types};

/// A function to be memoized, and all that is said about it.
struct Memoized<'a> {
    options: &'a Options,
    function: &'a ItemFn,
    arguments: Vec<Argument>,
}

pub(crate) fn memoize(options: &Options, function: &ItemFn) -> Result<TokenStream> {
    check(&function.sig)?;
    if let (Some((option, _)), true) = (&options.early_recompute, function.sig.asyncness.is_some()) {
        let message = "an `async fn` has no early recomputation: nothing times what it awaits";
        return Err(Error::new(option.span(), message));
    }
    let arguments = arguments(&function.sig, &options.ignore)?;
    let memoized = Memoized { options, function, arguments };
    let (front, body, key) = (memoized.front(), memoized.no_cache(), memoized.cache_key());
    Ok(quote!(#front #body #key))
}

impl Memoized<'_> {
    /// The function under its own name.
    fn front(&self) -> TokenStream {
        let ItemFn { attrs, vis, sig, block } = self.function;
        // An attribute that was within the body stands before the function now, where it means the same.
        let attributes = attrs.iter().map(|attribute| {
            let mut attribute = attribute.clone();
            attribute.style = syn::AttrStyle::Outer;
            attribute
        });
        let (handle, result) = (self.handle(&sig.ident, true), returned(sig));
        let arguments = self.encoded_arguments();
        let call = if sig.asyncness.is_none() {
            let method = self.of_result(if returns_result(sig) { "try_call" } else { "call" });
            quote!(__larder_memoized.#method(__larder_arguments, move || -> #result #block))
        } else {
            self.awaited(&result)
        };
        quote! {
            #(#attributes)*
            #vis #sig {
                #arguments
                #handle
                #call
            }
        }
    }

    /// The name of a method. What the compiler says of a result that cannot be stored points at the type of the result.
    fn of_result(&self, method: &str) -> Ident {
        let span = match &self.function.sig.output {
            ReturnType::Default => Span::call_site(),
            ReturnType::Type(_, ty) => ty.span().resolved_at(Span::call_site()),
        };
        Ident::new(method, span)
    }

    /// The look-up, the body and the storing of an `async fn`.
    fn awaited(&self, result: &TokenStream) -> TokenStream {
        let block = &self.function.block;
        let (get, put) = (self.of_result("get"), self.of_result("put"));
        let (found, store) = if returns_result(&self.function.sig) {
            let found = quote!(::core::result::Result::Ok(__larder_found));
            let store = quote! {
                if let ::core::result::Result::Ok(__larder_value) = &__larder_value {
                    __larder_memoized.#put(&__larder_arguments, __larder_value);
                }
            };
            (found, store)
        } else {
            (quote!(__larder_found), quote!(__larder_memoized.#put(&__larder_arguments, &__larder_value);))
        };
        quote! {
            if let ::core::option::Option::Some(__larder_found) = __larder_memoized.#get(&__larder_arguments) {
                return #found;
            }
            let __larder_value: #result = async move {
                // An `async` block has no place for its type but a `return`.
                if let ::core::option::Option::Some(__larder_value) = ::core::option::Option::None::<#result> {
                    return __larder_value;
                }
                #[allow(clippy::let_unit_value, clippy::diverging_sub_expression, reason = "the body may be any")]
                let __larder_value: #result = #block;
                #[allow(unreachable_code, reason = "the body may end with a `return`")]
                __larder_value
            }
            .await;
            #store
            __larder_value
        }
    }

    /// `{fn}_no_cache`: the body as it was written.
    fn no_cache(&self) -> TokenStream {
        let ItemFn { attrs, vis, sig, block } = self.function;
        let attributes = for_body(attrs);
        let doc = format!("`{}` past its cache: neither looked up nor stored.", sig.ident);
        let mut sig = sig.clone();
        sig.ident = format_ident!("{}_no_cache", sig.ident, span = sig.ident.span());
        quote! {
            #[doc = #doc]
            #[allow(dead_code, clippy::all, clippy::pedantic, reason = "needed or not; and said of the function already")]
            #(#attributes)*
            #vis #sig #block
        }
    }

    /// `{fn}_cache_key`: the key that a call with these arguments has.
    fn cache_key(&self) -> TokenStream {
        let ItemFn { attrs, vis, sig, .. } = self.function;
        let attributes = for_key(attrs);
        let doc = format!("The encoded key in the cache of the call of `{}` with these arguments.", sig.ident);
        let mut sig = sig.clone();
        sig.ident = format_ident!("{}_cache_key", sig.ident, span = sig.ident.span());
        (sig.asyncness, sig.unsafety, sig.abi) = (None, None, None);
        sig.output = parse_quote!(-> ::larder::Result<::std::vec::Vec<::core::primitive::u8>>);
        without_mut(&mut sig);
        let (arguments, handle) = (self.encoded_arguments(), self.handle(&sig.ident, false));
        quote! {
            #[doc = #doc]
            #[allow(dead_code, unused_variables, clippy::all, clippy::pedantic, reason = "the signature is given")]
            #(#attributes)*
            #vis #sig {
                #arguments
                #handle
                __larder_memoized.key(__larder_arguments)
            }
        }
    }

    /// The key is made before the body, which may consume the arguments.
    fn encoded_arguments(&self) -> TokenStream {
        let fields = key_fields(&self.arguments, &format_ident!("__larder_tuple"));
        quote!(let __larder_arguments = ::larder::expansion::Arguments::of(|__larder_tuple| { #fields });)
    }

    /// The handle that calls go through, within the function that is named `inside`. What stores has all options.
    fn handle(&self, inside: &Ident, stores: bool) -> TokenStream {
        let Options { cache, name, version, expire, tag, early_recompute, .. } = self.options;
        let given = match name {
            Some(name) => quote!(::core::option::Option::Some(#name)),
            None => quote!(::core::option::Option::None),
        };
        let (inside, function) = (inside.to_string(), self.function.sig.ident.to_string());
        let types = written_types(&self.arguments);
        let version = version.as_ref().map(|version| quote_spanned!(version.span()=> .version(#version)));
        let stored = stores.then(|| {
            let expire = expire.as_ref().map(|expire| quote_spanned!(expire.span()=> .expire(#expire)));
            let tag = tag.as_ref().map(|tag| quote_spanned!(tag.span()=> .tag(#tag)));
            let early = early_recompute.as_ref().map(|(_, beta)| quote_spanned!(beta.span()=> .early_recompute(#beta)));
            quote!(#expire #tag #early)
        });
        let cache = quote_spanned!(cache.span()=> (#cache).memoize);
        quote! {
            let __larder_name = ::larder::expansion::name(
                #given, ::core::any::type_name_of_val(&|| {}), #inside, #function, #types,
            );
            #[allow(unused_parens, reason = "the cache may be any expression")]
            let __larder_memoized = #cache(::larder::Memoize::new(__larder_name) #version #stored);
        }
    }
}
