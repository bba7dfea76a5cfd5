//! What the options do to the items of the cache.

use std::time::{Duration, SystemTime};

use larder::{AnyKey, Cache, Entry, OwnedKey, memoize};

use crate::{CACHE, ran, runs};

/// The item of a call, by its companion's key.
fn entry(key: larder::Result<Vec<u8>>) -> Entry<u8> {
    CACHE.entry(AnyKey::decode(&key.unwrap()).unwrap()).unwrap().unwrap()
}

#[track_caller]
fn assert_expires(entry: Entry<u8>, after: Duration, called: SystemTime) {
    let expires = entry.expires_at.unwrap();
    assert!(expires >= called + after - Duration::from_secs(1), "{expires:?}");
    assert!(expires <= SystemTime::now() + after + Duration::from_secs(1), "{expires:?}");
}

const HOUR: Duration = Duration::from_secs(3600);

#[memoize(cache = CACHE, expire = "1h30m")]
fn written(n: u8) -> u8 {
    n
}

#[memoize(cache = CACHE, expire = HOUR)]
fn constant(n: u8) -> u8 {
    n
}

#[memoize(cache = CACHE, expire = Duration::from_secs(60 * u64::from(minutes)), ignore(minutes),)]
fn computed(n: u8, minutes: u8) -> u8 {
    let _ = minutes;
    n
}

#[test]
fn expire_is_a_duration_in_words_or_any_other() {
    let now = SystemTime::now();
    assert_eq!((written(1), constant(1), computed(1, 5)), (1, 1, 1));
    assert_expires(entry(written_cache_key(1)), HOUR * 3 / 2, now);
    assert_expires(entry(constant_cache_key(1)), HOUR, now);
    assert_expires(entry(computed_cache_key(1, 5)), HOUR / 12, now);
}

#[memoize(cache = CACHE, tag = "options")]
fn tagged(n: u8) -> u8 {
    ran();
    n
}

#[memoize(cache = CACHE, tag = "user:{user}:{n:03}{{}}")]
fn tagged_by_argument(user: &str, n: u8) -> u8 {
    ran();
    let _ = user;
    n
}

const TAG: &str = "a constant";

#[memoize(cache = CACHE, tag = TAG)]
fn tagged_by_constant(n: u8) -> u8 {
    n
}

#[memoize(cache = CACHE, tag = owned.clone() + "!")]
fn tagged_by_expression(owned: String) -> u8 {
    owned.into_bytes()[0]
}

#[test]
fn a_tag_is_a_string_or_made_of_arguments() {
    assert_eq!((tagged(1), tagged(2), tagged_by_constant(1), tagged_by_expression("x".into())), (1, 2, 1, b'x'));
    assert_eq!((tagged_by_argument("ada", 7), tagged_by_argument("bob", 7)), (7, 7));
    assert_eq!(entry(tagged_cache_key(1)).tag.as_deref(), Some("options"));
    assert_eq!(entry(tagged_by_argument_cache_key("ada", 7)).tag.as_deref(), Some("user:ada:007{}"));
    assert_eq!(entry(tagged_by_constant_cache_key(1)).tag.as_deref(), Some("a constant"));
    assert_eq!(entry(tagged_by_expression_cache_key("x".into())).tag.as_deref(), Some("x!"));
    assert_eq!(CACHE.evict("options").unwrap(), 2);
    assert_eq!(runs(|| assert_eq!((tagged(1), tagged_by_argument("ada", 7)), (1, 7))), 1);
}

#[test]
fn an_item_without_options_has_neither_expiry_nor_tag() {
    assert_eq!(written_again(1), 1);
    let entry = entry(written_again_cache_key(1));
    assert_eq!((entry.expires_at, entry.tag), (None, None));
}

#[memoize(cache = CACHE, version = 1, early_recompute = 1.0, expire = "1d", name = "all", tag = "all")]
fn all(n: u8) -> u8 {
    ran();
    n
}

mod moved {
    #[larder::memoize(cache = crate::CACHE, name = "all", version = 1)]
    pub fn elsewhere(n: u8) -> u8 {
        n
    }
}

const VERSION: u64 = 1;

#[memoize(cache = CACHE, name = "all", version = VERSION + 1)]
fn newer(n: u8) -> u8 {
    n
}

#[test]
fn a_name_is_kept_through_a_move() {
    assert_eq!(runs(|| assert_eq!((all(3), all(3)), (3, 3))), 1);
    assert_eq!(all_cache_key(3).unwrap(), moved::elsewhere_cache_key(3).unwrap());
    assert_ne!(all_cache_key(3).unwrap(), newer_cache_key(3).unwrap());
}

#[memoize(cache = CACHE)]
fn written_again(n: u8) -> u8 {
    n
}

#[memoize(cache = cache, ignore(cache))]
fn anywhere(cache: Cache, n: u8) -> u8 {
    n + cache.len() as u8
}

#[test]
fn a_cache_may_be_an_argument() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    assert_eq!((anywhere(cache.clone(), 1), anywhere(cache.clone(), 1)), (1, 1));
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_cache_that_fails_is_no_failure_of_the_function() {
    let dir = tempfile::tempdir().unwrap();
    drop(Cache::open(dir.path()).unwrap());
    let cache = Cache::builder(dir.path()).read_only(true).open().unwrap();
    assert_eq!((anywhere(cache.clone(), 1), anywhere(cache.clone(), 2)), (1, 2));
}
