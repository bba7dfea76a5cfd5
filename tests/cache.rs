//! Does every call of the API do what its documentation says? One file of `cache/` for each family of calls.

#[path = "cache/access.rs"]
mod access;
#[path = "cache/alone.rs"]
mod alone;
#[path = "cache/bulk.rs"]
mod bulk;
#[path = "cache/change.rs"]
mod change;
#[path = "cache/codec.rs"]
mod codec;
#[path = "cache/counter.rs"]
mod counter;
#[path = "cache/emptied.rs"]
mod emptied;
#[path = "cache/emptied_random.rs"]
mod emptied_random;
#[path = "cache/ended.rs"]
mod ended;
#[path = "cache/evicted.rs"]
mod evicted;
#[path = "cache/flight.rs"]
mod flight;
#[path = "cache/held.rs"]
mod held;
#[path = "cache/inside.rs"]
mod inside;
#[path = "cache/inside_random.rs"]
mod inside_random;
#[path = "cache/iterate.rs"]
mod iterate;
#[path = "cache/large.rs"]
mod large;
#[path = "cache/memoize.rs"]
mod memoize;
#[path = "cache/notes.rs"]
mod notes;
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
#[path = "cache/scratch.rs"]
mod scratch;
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

use larder::Cache;
use std::path::Path;

use scratch::*;

/// What the tests of calls are run on.
type Shape = Cache;

/// Opens one; with a limit if it is new.
fn open(directory: &Path, size_limit: Option<u64>) -> Cache {
    let builder = Cache::builder(directory);
    size_limit.map_or(builder.clone(), |limit| builder.size_limit(limit)).open().unwrap()
}

fn open_to_read(directory: &Path) -> Cache {
    Cache::builder(directory).read_only(true).open().unwrap()
}

/// What is made anew from the log when it is opened next.
fn forget_index(directory: &Path) {
    std::fs::remove_file(directory.join("state")).unwrap();
}
