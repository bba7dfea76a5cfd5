//! Does every call of the API do what its documentation says? One file of `cache/` for each family of calls.

#[path = "cache/access.rs"]
mod access;
#[path = "cache/bulk.rs"]
mod bulk;
#[path = "cache/change.rs"]
mod change;
#[path = "cache/codec.rs"]
mod codec;
#[path = "cache/counter.rs"]
mod counter;
#[path = "cache/evicted.rs"]
mod evicted;
#[path = "cache/flight.rs"]
mod flight;
#[path = "cache/iterate.rs"]
mod iterate;
#[path = "cache/large.rs"]
mod large;
#[path = "cache/memoize.rs"]
mod memoize;
#[path = "cache/opening.rs"]
mod opening;
#[path = "cache/pinned.rs"]
mod pinned;
#[path = "cache/queue.rs"]
mod queue;
#[path = "deque/random.rs"]
mod random;
#[path = "cache/recipes.rs"]
mod recipes;
#[path = "cache/stream.rs"]
mod stream;
#[path = "cache/transact.rs"]
mod transact;
#[path = "cache/upkeep.rs"]
mod upkeep;
#[path = "cache/within.rs"]
mod within;

use larder::{Cache, SetOptions};
use std::ops::Deref;
use std::time::Duration;

/// A cache in a directory of its own, which goes when it is dropped.
struct Scratch {
    cache: Cache,
    dir: tempfile::TempDir,
}

impl Deref for Scratch {
    type Target = Cache;
    fn deref(&self) -> &Cache {
        &self.cache
    }
}

impl Scratch {
    fn new() -> Scratch {
        Scratch::with_limit(64 << 20)
    }

    fn with_limit(size_limit: u64) -> Scratch {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::builder(&dir).size_limit(size_limit).open().unwrap();
        Scratch { cache, dir }
    }

    /// Another handle on the same directory, as another process would have it.
    fn second(&self) -> Cache {
        Cache::open(&self.dir).unwrap()
    }

    #[track_caller]
    fn assert_clean(&self) {
        let report = self.check().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }
}

/// Options of an item that has expired when it is stored.
fn expired() -> SetOptions<'static> {
    SetOptions::new().expire(Duration::ZERO)
}

/// Options of an item that outlives every test.
fn lasting() -> SetOptions<'static> {
    SetOptions::new().expire(HOUR)
}

fn tagged(tag: &str) -> SetOptions<'_> {
    SetOptions::new().tag(tag)
}

const HOUR: Duration = Duration::from_secs(3600);

fn sorted<T: Ord>(items: impl IntoIterator<Item = larder::Result<T>>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect::<larder::Result<_>>().unwrap();
    items.sort();
    items
}
