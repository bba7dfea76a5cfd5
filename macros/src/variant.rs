//! The numbers of an enum's variants, which lead their keys.
//!
//! A number is the variant's discriminant, because that is what a derived `Ord` sorts by. The compiler evaluates it: each
//! variant gets a constant, which serves as the value to write and as the pattern to read.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Attribute, DataEnum, Ident, Result, Variant};

/// A variant, and the constant that holds its number.
pub(crate) struct Numbered<'a> {
    pub(crate) variant: &'a Variant,
    /// The constant's name, type and declaration.
    pub(crate) number: Ident,
    pub(crate) ty: TokenStream,
    pub(crate) declaration: TokenStream,
}

pub(crate) fn numbered<'a>(attributes: &[Attribute], data: &'a DataEnum) -> Result<Vec<Numbered<'a>>> {
    let ty = number_type(attributes)?;
    let mut before: Option<Ident> = None;
    let variants = data.variants.iter().enumerate().map(|(place, variant)| {
        let number = format_ident!("__LARDER_VARIANT_{place}");
        let value = match (&variant.discriminant, before.replace(number.clone())) {
            (Some((_, value)), _) => quote!(#value),
            (None, Some(before)) => quote!(#before + 1),
            (None, None) => quote!(0),
        };
        let declaration = quote!(const #number: #ty = #value;);
        Numbered { variant, number, ty: ty.clone(), declaration }
    });
    Ok(variants.collect())
}

/// The type of the discriminants: what `repr` says, else `isize`.
fn number_type(attributes: &[Attribute]) -> Result<TokenStream> {
    let mut ty = quote!(::core::primitive::isize);
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            if let Some(name) = meta.path.get_ident().filter(|name| is_integer(name)) {
                ty = quote!(::core::primitive::#name);
            }
            // `align(8)` has an argument that means nothing here.
            if meta.input.peek(syn::token::Paren) {
                let argument;
                syn::parenthesized!(argument in meta.input);
                argument.parse::<TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(ty)
}

fn is_integer(name: &Ident) -> bool {
    let integers = ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];
    integers.iter().any(|integer| name == integer)
}
