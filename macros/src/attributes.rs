//! Which of a function's attributes its companions have too.
//!
//! Documentation is the function's own, and so is what gives it a place (`no_mangle`) or makes another of it, as macros do:
//! a companion has the attributes that are known to mean the same for it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// Attributes about lints, and about whether there is a function at all.
const OF_ANY_ITEM: [&str; 6] = ["cfg", "allow", "expect", "warn", "deny", "forbid"];
const OF_ANY_BODY: [&str; 6] = ["must_use", "inline", "cold", "track_caller", "target_feature", "deprecated"];

/// For the companion with the function's body.
pub(crate) fn for_body(attributes: &[Attribute]) -> Vec<TokenStream> {
    kept(attributes, &[OF_ANY_ITEM, OF_ANY_BODY].concat())
}

/// For the companion with a body of its own.
pub(crate) fn for_key(attributes: &[Attribute]) -> Vec<TokenStream> {
    kept(attributes, &OF_ANY_ITEM)
}

fn kept(attributes: &[Attribute], names: &[&str]) -> Vec<TokenStream> {
    let metas = attributes.iter().filter_map(|attribute| kept_meta(&attribute.meta, names));
    metas.map(|meta| quote!(#[#meta])).collect()
}

fn kept_meta(meta: &Meta, names: &[&str]) -> Option<TokenStream> {
    let Meta::List(list) = meta else {
        return is_one_of(meta, names).then(|| quote!(#meta));
    };
    if meta.path().is_ident("cfg_attr") {
        let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
        let mut parts = parts.iter();
        let condition = parts.next()?;
        let kept: Vec<TokenStream> = parts.filter_map(|part| kept_meta(part, names)).collect();
        return (!kept.is_empty()).then(|| quote!(cfg_attr(#condition, #(#kept),*)));
    }
    if meta.path().is_ident("expect") {
        // What is expected of the function need not happen in a companion.
        let lints = &list.tokens;
        return is_one_of(meta, names).then(|| quote!(allow(#lints)));
    }
    is_one_of(meta, names).then(|| quote!(#meta))
}

fn is_one_of(meta: &Meta, names: &[&str]) -> bool {
    names.iter().any(|name| meta.path().is_ident(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse::Parser;

    #[test]
    fn companions_have_what_means_the_same_for_them() {
        let text = r#"
            #[doc = "a"] #[cfg(a)] #[expect(b)] #[inline] #[unsafe(no_mangle)] #[no_mangle] #[other::instrument(c)]
            #[cfg_attr(d, allow(e), doc = "f", inline)] #[cfg_attr(g, doc = "h")]
        "#;
        let attributes = Attribute::parse_outer.parse_str(text).unwrap();
        let text = |kept: Vec<TokenStream>| kept.iter().map(|one| one.to_string().replace(' ', "")).collect::<Vec<_>>();
        assert_eq!(
            text(for_body(&attributes)),
            ["#[cfg(a)]", "#[allow(b)]", "#[inline]", "#[cfg_attr(d,allow(e),inline)]"]
        );
        assert_eq!(text(for_key(&attributes)), ["#[cfg(a)]", "#[allow(b)]", "#[cfg_attr(d,allow(e))]"]);
    }
}
