use larder::memoize;

#[memoize]
fn no_options() {}

#[memoize(expire = "10m")]
fn no_cache() {}

#[memoize(cache = CACHE, expires = "10m")]
fn unknown() {}

#[memoize(cache = CACHE, tag = "a", tag = "b")]
fn twice() {}

#[memoize(cache = CACHE, ignore(a), ignore(b))]
fn ignore_twice(a: u8, b: u8) {}

#[memoize(cache = CACHE, ignore(a, a))]
fn ignored_twice(a: u8) {}

#[memoize(cache = CACHE, ignore(conn))]
fn ignores_nobody(connection: u8) {}

#[memoize(cache = CACHE, ignore(self))]
fn ignores_no_self(connection: u8) {}

#[memoize(cache = CACHE, ignore = "a")]
fn ignores_by_string(a: u8) {}

#[memoize(cache = CACHE, ignore(a.b))]
fn ignores_a_part(a: u8) {}

#[memoize(cache = 1)]
fn cache_is_a_number() {}

#[memoize(cache = "CACHE +")]
fn cache_is_half_an_expression() {}

#[memoize(cache = "")]
fn cache_is_nothing() {}

#[memoize(cache)]
fn cache_without_a_value() {}

#[memoize("CACHE")]
fn cache_without_its_name() {}

#[memoize(cache = CACHE expire = "10m")]
fn no_comma() {}

#[memoize(cache = CACHE, name = "")]
fn name_is_nothing() {}

#[memoize(cache = CACHE, name = NAME)]
fn name_is_an_expression() {}

#[memoize(cache = CACHE, tag = 1)]
fn tag_is_a_number() {}

#[memoize(cache = CACHE, early_recompute = 1.0)]
fn nothing_to_be_early_for() {}

#[memoize(cache = CACHE, expire = "10m", early_recompute = 1.0)]
async fn nothing_times_it() {}

fn main() {}
