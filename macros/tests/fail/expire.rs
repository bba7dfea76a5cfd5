use larder::memoize;

#[memoize(cache = CACHE, expire = "")]
fn empty() {}

#[memoize(cache = CACHE, expire = "m")]
fn no_number() {}

#[memoize(cache = CACHE, expire = "1h 30m")]
fn space() {}

#[memoize(cache = CACHE, expire = "10")]
fn no_unit() {}

#[memoize(cache = CACHE, expire = "1.5h")]
fn fraction() {}

#[memoize(cache = CACHE, expire = "10min")]
fn unknown_unit() {}

#[memoize(cache = CACHE, expire = "30m1h")]
fn unordered() {}

#[memoize(cache = CACHE, expire = "0s")]
fn zero() {}

#[memoize(cache = CACHE, expire = "99999999999w")]
fn too_long() {}

#[memoize(cache = CACHE, expire = 600)]
fn number() {}

fn main() {}
