//! What the tests of calls share: a cache in a directory of its own, of the shape that the file around them says, and short
//! names for options.

use larder::{Cache, SetOptions};
use std::ops::Deref;
use std::time::Duration;

use crate::{Shape, open};

/// A cache in a directory of its own, which goes when it is dropped.
pub struct Scratch {
    pub cache: Shape,
    pub dir: tempfile::TempDir,
}

impl Deref for Scratch {
    type Target = Cache;
    fn deref(&self) -> &Cache {
        &self.cache
    }
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch::with_limit(64 << 20)
    }

    pub fn with_limit(size_limit: u64) -> Scratch {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), Some(size_limit));
        Scratch { cache, dir }
    }

    /// Another handle on the same directory, as another process would have it.
    pub fn second(&self) -> Shape {
        open(self.dir.path(), None)
    }

    #[track_caller]
    pub fn assert_clean(&self) {
        let report = self.check().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }
}

/// Options of an item that has expired when it is stored.
pub fn expired() -> SetOptions<'static> {
    SetOptions::new().expire(Duration::ZERO)
}

/// Options of an item that outlives every test.
pub fn lasting() -> SetOptions<'static> {
    SetOptions::new().expire(HOUR)
}

pub fn tagged(tag: &str) -> SetOptions<'_> {
    SetOptions::new().tag(tag)
}

pub const HOUR: Duration = Duration::from_secs(3600);

pub fn sorted<T: Ord>(items: impl IntoIterator<Item = larder::Result<T>>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect::<larder::Result<_>>().unwrap();
    items.sort();
    items
}
