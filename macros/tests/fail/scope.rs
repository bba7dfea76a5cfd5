use larder::{Cache, memoize};
use std::sync::LazyLock;

static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::open("cache").unwrap());

#[memoize(cache = CASH)]
fn unknown_cache() {}

#[memoize(cache = CACHE, tag = "user:{user}")]
fn unknown_in_tag(id: u64) {}

#[memoize(cache = CACHE, expire = HOUR)]
fn unknown_duration() {}

struct Service;

trait Answer {
    fn answer(&self) -> u8;
}

impl Answer for Service {
    #[memoize(cache = CACHE, ignore(self))]
    fn answer(&self) -> u8 {
        42
    }
}

fn main() {}
