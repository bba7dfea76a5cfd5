//! Memoized functions: when their bodies run, which calls share a result, and what else is made of them.

#[path = "memoize/asynchronous.rs"]
mod asynchronous;
#[path = "memoize/attributes.rs"]
mod attributes;
#[path = "memoize/forms.rs"]
mod forms;
#[path = "memoize/keys.rs"]
mod keys;
#[path = "memoize/options.rs"]
mod options;
#[path = "memoize/results.rs"]
mod results;

use std::cell::Cell;
use std::sync::LazyLock;

use larder::Cache;

static DIR: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::open(DIR.path()).unwrap());

thread_local! {
    static RUNS: Cell<usize> = const { Cell::new(0) };
}

/// Called in the body of a memoized function.
fn ran() {
    RUNS.set(RUNS.get() + 1);
}

/// How many bodies ran on this thread within `calls`.
fn runs(calls: impl FnOnce()) -> usize {
    let before = RUNS.get();
    calls();
    RUNS.get() - before
}
