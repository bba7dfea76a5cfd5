//! Caches within a cache.

use std::collections::BTreeMap;
use std::path::Path;

use larder::{Cache, Error, Memoize, QueueOptions, Result, SetOptions};

use crate::Scratch;
use crate::random::{Random, each_seed, scratch};

const CASES: u64 = 12;
const STEPS: u64 = 80;
/// How many caches there are: one around, two within it, and one within one of these.
const CACHES: usize = 4;

type Item = (String, Option<u8>);
type Model = BTreeMap<u8, Item>;

fn open(directory: &Path) -> Cache {
    Cache::builder(directory).size_limit(16 << 20).eviction(larder::Eviction::None).open().unwrap()
}

/// All of them, of a handle or a transaction.
fn all(cache: &Cache) -> Result<[Cache; CACHES]> {
    let (a, b) = (cache.cache("a")?, cache.cache("b")?);
    let nested = a.cache("a")?;
    Ok([cache.clone(), a, b, nested])
}

fn tag_name(tag: u8) -> String {
    format!("tag {tag}")
}

fn count(model: &mut Model, is_meant: impl Fn(&Item) -> bool) -> u64 {
    let before = model.len();
    model.retain(|_, item| !is_meant(item));
    (before - model.len()) as u64
}

/// One call of a cache, and what it must give.
fn step(cache: &Cache, model: &mut Model, random: &mut Random) -> Result<()> {
    let key = random.below(12) as u8;
    let tag = Some(random.below(3) as u8).filter(|tag| *tag > 0);
    let long = if random.below(20) == 0 { 300_000 } else { random.below(50) as usize };
    let value = format!("{} {}", random.below(1000), "v".repeat(long));
    let options = tag.map_or(SetOptions::new(), |tag| SetOptions::new().tag(tag_name(tag)));
    match random.below(12) {
        0..3 => {
            cache.set_with(key, &value, options)?;
            model.insert(key, (value, tag));
        }
        3 => {
            let keys = [key, key / 2, key + 1];
            cache.set_many_with(keys.map(|key| (key, &value)), options)?;
            keys.into_iter().for_each(|key| drop(model.insert(key, (value.clone(), tag))));
        }
        4 => {
            assert_eq!(cache.add_with(key, &value, options)?, !model.contains_key(&key));
            model.entry(key).or_insert((value, tag));
        }
        5 => assert_eq!(cache.delete(key)?, model.remove(&key).is_some()),
        6 => assert_eq!(cache.pop::<String>(key)?, model.remove(&key).map(|(value, _)| value)),
        7 => {
            let old = model.get(&key).map(|(value, _)| value.clone());
            assert!(cache.compare_and_set(key, old.as_ref(), Some(&value))?);
            let tag = model.get(&key).and_then(|(_, tag)| *tag);
            model.insert(key, (value, tag));
        }
        8 => {
            let tag = tag.unwrap_or(1);
            assert_eq!(cache.evict(&tag_name(tag))?, count(model, |(_, of)| *of == Some(tag)));
        }
        9 if random.below(4) == 0 => assert_eq!(cache.clear()?, count(model, |_| true)),
        10 => assert_eq!(cache.touch(key, None)?, model.contains_key(&key)),
        _ => {
            let found = cache.get_many::<String>([key, key / 2])?;
            let expected = [key, key / 2].map(|key| model.get(&key).map(|(value, _)| value.clone()));
            assert_eq!(found, expected);
        }
    }
    Ok(())
}

fn check(cache: &Cache, model: &Model, moment: &str) {
    assert_eq!(cache.len(), model.len(), "{moment}");
    let entries: Result<BTreeMap<u8, Item>> = cache
        .entries::<u8, String>()
        .map(|entry| {
            let (key, entry) = entry?;
            Ok((key, (entry.value, entry.tag.map(|tag| tag.trim_start_matches("tag ").parse().unwrap()))))
        })
        .collect();
    assert_eq!(entries.unwrap(), *model, "{moment}");
    for tag in 1..3 {
        let mut keys: Vec<u8> = cache.keys_tagged(&tag_name(tag)).unwrap().collect::<Result<_>>().unwrap();
        keys.sort_unstable();
        let expected = model.iter().filter(|(_, (_, of))| *of == Some(tag)).map(|(key, _)| *key);
        assert_eq!(keys, expected.collect::<Vec<u8>>(), "{moment}");
    }
    let sorted: Vec<u8> = cache.keys_sorted().unwrap().collect::<Result<_>>().unwrap();
    assert!(sorted.iter().eq(model.keys()), "{moment}");
    assert_eq!(cache.iter_inserted::<u8, String>().unwrap().count(), model.len(), "{moment}");
}

fn case(seed: u64) {
    let mut random = Random(seed);
    let directory = scratch();
    let mut cache = open(directory.path());
    let mut models: [Model; CACHES] = Default::default();
    for number in 0..STEPS {
        let which = random.below(CACHES as u64) as usize;
        match random.below(24) {
            0 => {
                drop(cache);
                if random.below(2) == 0 {
                    // Everything but the log is made anew.
                    std::fs::remove_file(directory.path().join("state")).unwrap();
                }
                cache = open(directory.path());
            }
            1 => {
                let keeps = random.below(3) > 0;
                let mut staged = models.clone();
                let outcome = cache.transact(|tx| {
                    let caches = all(tx)?;
                    for _ in 0..random.below(8) {
                        let which = random.below(CACHES as u64) as usize;
                        step(&caches[which], &mut staged[which], &mut random)?;
                    }
                    for (cache, model) in caches.iter().zip(&staged) {
                        check(cache, model, "inside");
                    }
                    if keeps { Ok(()) } else { Err(Error::aborted("as drawn")) }
                });
                assert_eq!(outcome.is_ok(), keeps, "{outcome:?}");
                if keeps {
                    models = staged;
                }
            }
            2 if random.below(4) == 0 => assert!(cache.repair().unwrap().is_clean()),
            _ => step(&all(&cache).unwrap()[which], &mut models[which], &mut random).unwrap(),
        }
        for (place, (cache, model)) in all(&cache).unwrap().iter().zip(&models).enumerate() {
            check(cache, model, &format!("cache {place} after step {number}"));
        }
    }
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn random_calls_agree_with_maps_whichever_cache_they_are_on() {
    each_seed(CASES, case);
}

#[test]
fn what_is_kept_in_a_cache_within_is_its_own() {
    let cache = Scratch::new();
    let (a, b) = (cache.cache("a").unwrap(), cache.cache("b").unwrap());
    let handles = [&*cache, &a, &b, &a.cache("a").unwrap()];
    for (n, cache) in handles.iter().enumerate() {
        let n = n as u64;
        cache.deque::<u64>("jobs").unwrap().push_back(&n).unwrap();
        cache.index::<u64, u64>("board").unwrap().insert(n, &n).unwrap();
        cache.push(&n, QueueOptions::new()).unwrap();
        assert_eq!(cache.memoize(Memoize::new("f")).call(1, || n), n);
        assert_eq!(cache.incr("counter", n as i64 + 1).unwrap(), n as i64 + 1);
        assert_eq!(cache.get_or_insert_with("once", SetOptions::new(), || n).unwrap(), n);
    }
    for (n, cache) in handles.iter().enumerate() {
        let n = n as u64;
        assert_eq!(cache.deque::<u64>("jobs").unwrap().iter().collect::<Result<Vec<_>>>().unwrap(), [n]);
        let board = cache.index::<u64, u64>("board").unwrap();
        assert_eq!((board.get(n).unwrap(), board.iter().collect::<Result<Vec<_>>>().unwrap()), (Some(n), vec![(n, n)]));
        assert_eq!(board.pop_first().unwrap(), Some((n, n)));
        assert_eq!(cache.pull::<u64>(QueueOptions::new()).unwrap().map(|(_, value)| value), Some(n));
        assert_eq!(cache.memoize(Memoize::new("f")).clear().unwrap(), 1);
        assert_eq!((cache.get("counter").unwrap(), cache.len()), (Some(n + 1), 2));
        assert_eq!(&*cache.get_ref("once").unwrap().unwrap().decode::<u64>().unwrap().to_string(), n.to_string());
    }
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn names_that_cannot_be_are_refused() {
    let cache = Scratch::new();
    assert!(matches!(cache.cache("a\0b"), Err(Error::Config(_))));
    assert!(matches!(cache.cache(&"n".repeat(2000)), Err(Error::TagTooLarge { .. })));
    let reader = crate::open_to_read(cache.directory());
    assert!(matches!(reader.cache("new"), Err(Error::Config(_))));
    cache.cache("new").unwrap().set(1, "one").unwrap();
    assert_eq!(reader.cache("new").unwrap().get::<String>(1).unwrap().as_deref(), Some("one"));
    let long = SetOptions::new().tag("t".repeat(2000));
    assert!(matches!(cache.cache("new").unwrap().set_with(1, "one", long), Err(Error::TagTooLarge { .. })));
}
