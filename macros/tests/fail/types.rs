use larder::{Cache, Key, OwnedKey, memoize};
use std::sync::LazyLock;

static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::open("cache").unwrap());

struct Connection;

#[derive(Key)]
struct Field {
    a: u8,
    connection: Connection,
}

#[derive(Key)]
enum Variant {
    A,
    B(u8, Connection),
}

#[derive(Key)]
struct Newtype(
    Connection,
);

#[derive(Key, OwnedKey)]
struct Borrowed<'a> {
    name: &'a str,
}

#[derive(OwnedKey)]
struct NoKey(u8);

#[memoize(cache = CACHE)]
fn argument(n: u8, connection: &Connection) {}

impl Connection {
    #[memoize(cache = CACHE)]
    fn receiver(&self) {}
}

#[memoize(cache = CACHE)]
fn result(n: u8) -> Connection {
    Connection
}

#[memoize(cache = CACHE)]
fn ok(n: u8) -> Result<Connection, ()> {
    Ok(Connection)
}

#[memoize(cache = CACHE)]
async fn awaited(n: u8) -> Connection {
    Connection
}

#[memoize(cache = CACHE, expire = 5 * 60)]
fn expiry(n: u8) {}

#[memoize(cache = CACHE, version = "1")]
fn version(n: u8) {}

#[memoize(cache = CACHE, expire = "1h", early_recompute = 1)]
fn early(n: u8) {}

#[memoize(cache = CACHE, tag = 4 + 4)]
fn tag(n: u8) {}

#[memoize(cache = CACHE)]
fn body(n: u8) -> u8 {
    "x"
}

fn main() {}
