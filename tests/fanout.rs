//! Does every call of the API do the same on a fan-out cache? The tests of `cache/`, with shards; and what only a fan-out cache has.

#[path = "cache/access.rs"]
mod access;
#[path = "cache/bulk.rs"]
mod bulk;
#[path = "cache/change.rs"]
mod change;
#[path = "cache/counter.rs"]
mod counter;
#[path = "cache/flight.rs"]
mod flight;
#[path = "cache/iterate.rs"]
mod iterate;
#[path = "cache/memoize.rs"]
mod memoize;
#[path = "cache/queue.rs"]
mod queue;
#[path = "deque/random.rs"]
mod random;
#[path = "cache/recipes.rs"]
mod recipes;
#[path = "cache/scratch.rs"]
mod scratch;
#[path = "fanout/shards.rs"]
mod shards;
#[path = "cache/slow.rs"]
mod slow;
#[path = "cache/stream.rs"]
mod stream;
#[path = "cache/tags.rs"]
mod tags;
#[path = "cache/transact.rs"]
mod transact;
#[path = "cache/upkeep.rs"]
mod upkeep;
#[path = "cache/within.rs"]
mod within;

use larder::FanoutCache;
use std::path::Path;

use scratch::*;

/// What the tests of calls are run on.
type Shape = FanoutCache;

/// Opens one; with a limit if it is new. A limit is that of each shard: the tests fill caches.
fn open(directory: &Path, size_limit: Option<u64>) -> FanoutCache {
    let builder = FanoutCache::builder(directory).shards(3);
    size_limit.map_or(builder.clone(), |limit| builder.size_limit(3 * limit + 8192)).open().unwrap()
}

fn open_to_read(directory: &Path) -> FanoutCache {
    FanoutCache::builder(directory).read_only(true).open().unwrap()
}

/// What is made anew from the logs when it is opened next.
fn forget_index(directory: &Path) {
    for shard in 0..3 {
        std::fs::remove_file(directory.join(format!("shard-{shard}")).join("state")).unwrap();
    }
}
