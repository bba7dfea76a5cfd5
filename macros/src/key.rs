//! `derive(Key)` and `derive(OwnedKey)`: which parts of a type make its key, and the code that writes and reads them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Generics, Member, Result, Type, parse_quote};

use crate::variant::{Numbered, numbered};

pub(crate) fn derive_key(input: DeriveInput) -> Result<TokenStream> {
    let (may_be_null, body) = match &input.data {
        Data::Struct(data) => match newtype(&data.fields) {
            Some(ty) => (
                quote_spanned!(place(ty)=> <#ty as ::larder::Key>::MAY_BE_NULL),
                quote_spanned!(place(ty)=> ::larder::Key::write_key(&self.0, __larder_writer)),
            ),
            None => {
                let fields = data.fields.iter().zip(data.fields.members());
                let writes =
                    fields.map(|(field, member)| write(&field.ty, quote_spanned!(place(&field.ty)=> &self.#member)));
                (quote!(false), write_tuple(quote!(#(#writes)*)))
            }
        },
        Data::Enum(data) if data.variants.is_empty() => (quote!(false), quote!(match *self {})),
        Data::Enum(data) => {
            let variants = numbered(&input.attrs, data)?;
            let numbers = variants.iter().map(|variant| &variant.declaration);
            let arms = variants.iter().map(write_variant);
            (quote!(false), write_tuple(quote! { #(#numbers)* match self { #(#arms)* } }))
        }
        Data::Union(data) => return Err(no_union(data)),
    };
    let name = &input.ident;
    let generics = bounded(input.generics.clone(), quote!(::larder::Key));
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        #[allow(deprecated, reason = "who uses a deprecated type or variant was told so where it is used")]
        impl #impl_generics ::larder::Key for #name #type_generics #where_clause {
            const MAY_BE_NULL: ::core::primitive::bool = #may_be_null;

            #[inline]
            fn write_key(&self, __larder_writer: ::larder::KeyWriter<'_>) -> ::larder::KeyWritten {
                #body
            }
        }
    })
}

pub(crate) fn derive_owned_key(input: DeriveInput) -> Result<TokenStream> {
    let body = match &input.data {
        Data::Struct(data) => match newtype(&data.fields) {
            Some(_) => {
                let value = construct(quote!(Self), &data.fields, quote!(__larder_reader));
                quote!(::core::result::Result::Ok(#value))
            }
            None => {
                let value = construct(quote!(Self), &data.fields, quote!(__larder_fields));
                read_tuple(quote!(::core::result::Result::Ok(#value)))
            }
        },
        Data::Enum(data) => {
            let variants = numbered(&input.attrs, data)?;
            let numbers = variants.iter().map(|variant| &variant.declaration);
            let arms = variants.iter().map(read_variant);
            let number_type = variants.first().map_or(quote!(::core::primitive::isize), |first| first.ty.clone());
            let expected = format!("a variant of {}", input.ident);
            read_tuple(quote! {
                #(#numbers)*
                match ::larder::KeyReader::read::<#number_type>(__larder_fields)? {
                    #(#arms)*
                    _ => ::core::result::Result::Err(::larder::KeyReader::unexpected(__larder_fields, #expected)),
                }
            })
        }
        Data::Union(data) => return Err(no_union(data)),
    };
    let name = &input.ident;
    let generics = bounded(input.generics.clone(), quote!(::larder::OwnedKey));
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        #[allow(deprecated, reason = "who uses a deprecated type or variant was told so where it is used")]
        impl #impl_generics ::larder::OwnedKey for #name #type_generics #where_clause {
            fn read_key(__larder_reader: &mut ::larder::KeyReader<'_>) -> ::larder::Result<Self> {
                #body
            }
        }

        #[automatically_derived]
        #[allow(deprecated, reason = "who uses a deprecated type or variant was told so where it is used")]
        impl #impl_generics ::larder::AsKey<#name #type_generics> for #name #type_generics #where_clause {}
    })
}

fn no_union(data: &syn::DataUnion) -> Error {
    Error::new(data.union_token.span, "a union cannot be a key: nothing says which of its fields is there")
}

/// The type of the one field that a tuple struct wraps.
fn newtype(fields: &Fields) -> Option<&Type> {
    match fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => fields.unnamed.first().map(|field| &field.ty),
        _ => None,
    }
}

fn bounded(mut generics: Generics, bound: TokenStream) -> Generics {
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#bound));
    }
    generics
}

fn write_tuple(writes: TokenStream) -> TokenStream {
    quote!(::larder::KeyWriter::tuple(__larder_writer, |__larder_tuple| { #writes }))
}

/// Where the compiler shall point when it says something of a type. What has this place still sees the names of the
/// expansion, also where the type comes from elsewhere, through a macro by example.
fn place(ty: &Type) -> Span {
    ty.span().resolved_at(Span::call_site())
}

fn write(ty: &Type, field: TokenStream) -> TokenStream {
    quote_spanned!(place(ty)=> ::larder::TupleWriter::field(__larder_tuple, #field);)
}

fn write_variant(variant: &Numbered<'_>) -> TokenStream {
    let (name, number) = (&variant.variant.ident, &variant.number);
    let fields = &variant.variant.fields;
    let members = fields.members();
    let bindings: Vec<_> = (0..fields.len()).map(|n| format_ident!("__larder_field_{n}")).collect();
    let writes = fields.iter().zip(&bindings).map(|(field, binding)| {
        let binding = Ident::new(&binding.to_string(), place(&field.ty));
        write(&field.ty, quote!(#binding))
    });
    quote! {
        Self::#name { #(#members: #bindings),* } => {
            ::larder::TupleWriter::field(__larder_tuple, &#number);
            #(#writes)*
        }
    }
}

fn read_tuple(reads: TokenStream) -> TokenStream {
    quote!(::larder::KeyReader::tuple(__larder_reader, |__larder_fields| { #reads }))
}

fn read_variant(variant: &Numbered<'_>) -> TokenStream {
    let (name, number) = (&variant.variant.ident, &variant.number);
    let value = construct(quote!(Self::#name), &variant.variant.fields, quote!(__larder_fields));
    quote!(#number => ::core::result::Result::Ok(#value),)
}

/// The value whose fields come next from `reader`, in order.
fn construct(path: TokenStream, fields: &Fields, reader: TokenStream) -> TokenStream {
    let members: Vec<Member> = fields.members().collect();
    let reads = fields.iter().map(|field| {
        let ty = &field.ty;
        quote_spanned!(place(ty)=> ::larder::KeyReader::read::<#ty>(#reader)?)
    });
    quote!(#path { #(#members: #reads),* })
}
