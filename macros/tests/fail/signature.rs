use larder::memoize;

#[memoize(cache = CACHE)]
const fn constant() -> u8 {
    1
}

#[memoize(cache = CACHE)]
fn tuple((a, b): (u8, u8)) -> u8 {
    a + b
}

#[memoize(cache = CACHE)]
fn unnamed(_: u8) {}

#[memoize(cache = CACHE)]
fn by_reference(ref a: u8) -> u8 {
    *a
}

#[memoize(cache = CACHE)]
fn opaque(n: u8) -> impl Iterator<Item = u8> {
    0..n
}

#[memoize(cache = CACHE)]
fn conditional(#[cfg(unix)] n: u8) {}

#[memoize(cache = CACHE)]
struct NoFunction;

trait Declared {
    #[memoize(cache = CACHE)]
    fn declared(&self) -> u8;
}

fn main() {}
