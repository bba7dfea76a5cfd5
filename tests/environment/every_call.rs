//! Every call that may need space or a descriptor, carried out while there is little or nothing of it: it works as on a
//! machine that has plenty, or fails and changes nothing, and works as soon as there is some. It does not know what is
//! scarce.

use std::path::Path;

use larder::{Cache, Error, Result, SetOptions};

/// Small, so that segments have 64 KiB and calls cross from one to the next.
pub const SIZE_LIMIT: u64 = 4 << 20;
const KEYS: u64 = 60;
const LARGE: usize = 70 << 10;

pub type Call = (&'static str, fn(&Cache) -> Result<()>);

pub const CALLS: [Call; 28] = [
    ("set", |cache| cache.set_bytes(1, &[1; 50])),
    ("set of some pages", |cache| cache.set_bytes(2, &[2; 9000])),
    ("set of a new segment", |cache| cache.set_bytes(3, &[3; 60_000])),
    ("set of a large value", |cache| cache.set_bytes(4, &vec![4; LARGE])),
    ("set over a large value", |cache| cache.set_bytes(0, &vec![4; LARGE + 1])),
    ("set with a new tag", |cache| cache.set_bytes_with(5, &[5; 50], SetOptions::new().tag("new"))),
    ("add", |cache| cache.add(900, &1).map(drop)),
    ("set_many", |cache| cache.set_many((0..30u64).map(|key| (("many", key), key)))),
    ("set_many with large values", |cache| cache.set_many((0..3u64).map(|key| (("large", key), "x".repeat(LARGE))))),
    ("set_many that grows the index", |cache| cache.set_many((0..4000u64).map(|key| (("grow", key), key)))),
    ("many new keys", |cache| (0..3000u64).try_for_each(|key| cache.set(("one by one", key % 4), &key))),
    ("incr", |cache| cache.incr("counter", 1).map(drop)),
    ("decr of a new one", |cache| cache.decr("other counter", 1).map(drop)),
    ("compare_and_set", |cache| {
        let before = cache.get::<i64>("word")?;
        cache.compare_and_set("word", before.as_ref(), Some(&77)).map(drop)
    }),
    ("touch", |cache| cache.touch(6, Some(std::time::Duration::from_secs(999))).map(drop)),
    ("delete", |cache| cache.delete(7).map(drop)),
    ("delete of a large value", |cache| cache.delete(0).map(drop)),
    ("delete_many", |cache| cache.delete_many(10..40u64).map(drop)),
    ("pop", |cache| cache.pop::<String>("text").map(drop)),
    ("evict", |cache| cache.evict("tag 3").map(drop)),
    ("expire", |cache| cache.expire().map(drop)),
    ("clear", |cache| cache.clear().map(drop)),
    ("sync", |cache| cache.sync()),
    ("check", |cache| cache.check().map(drop)),
    ("repair", |cache| cache.repair().map(drop)),
    ("settings", |cache| cache.update_settings(|settings| settings.size_limit += 1 << 20).map(drop)),
    ("reading all", |cache| snapshot_of(cache).map(drop)),
    ("opening", |cache| Cache::builder(cache.directory()).open().map(drop)),
];

type Snapshot = (Vec<Option<Vec<u8>>>, Vec<Option<i64>>, Vec<Option<String>>, usize);

fn snapshot_of(cache: &Cache) -> Result<Snapshot> {
    let bytes = (0..KEYS).map(|key| cache.get_bytes(key)).collect::<Result<_>>()?;
    let numbers = ["counter", "other counter", "word"].into_iter();
    let numbers = numbers.map(|key| cache.get::<i64>(key)).collect::<Result<_>>()?;
    let mut texts: Vec<_> = (0..3u64).map(|key| cache.get::<String>(("large", key))).collect::<Result<_>>()?;
    texts.push(cache.get("text")?);
    Ok((bytes, numbers, texts, cache.len_live()?))
}

fn fill(directory: &Path) {
    let cache = Cache::builder(directory).size_limit(SIZE_LIMIT).eviction(larder::Eviction::None).open().unwrap();
    cache.set_bytes(0, &vec![9; LARGE]).unwrap();
    for key in 1..KEYS {
        let tag = format!("tag {}", key % 5);
        cache.set_bytes_with(key, &vec![key as u8; 40 * key as usize], SetOptions::new().tag(tag)).unwrap();
    }
    let gone = || SetOptions::new().expire(std::time::Duration::ZERO);
    (0..80u64).for_each(|key| cache.set_with(("gone", key), &key, gone()).unwrap());
    cache.set("counter", &5).unwrap();
    cache.set("word", &7).unwrap();
    cache.set("text", "to be popped").unwrap();
}

/// A call, and what a store holds before and after it where there is plenty.
pub struct Known {
    pub name: &'static str,
    run: fn(&Cache) -> Result<()>,
    before: Snapshot,
    after: Snapshot,
}

impl Known {
    pub fn of((name, run): Call) -> Known {
        let plenty = tempfile::tempdir().unwrap();
        fill(plenty.path());
        let twin = Cache::open(&plenty).unwrap();
        let before = snapshot_of(&twin).unwrap();
        run(&twin).unwrap();
        Known { name, run, before, after: snapshot_of(&twin).unwrap() }
    }
}

/// Carries out one call under pressure, which lasts while what `squeeze` returns is there. True if it worked.
pub fn survives<P>(
    directory: &Path,
    call: &Known,
    squeeze: impl FnOnce() -> P,
    is_expected: fn(&Error) -> bool,
) -> bool {
    let Known { name, run, before, after } = call;
    fill(directory);
    // A handle of its own has mapped nothing yet when the pressure begins.
    let witness = Cache::open(directory).unwrap();
    assert_eq!(snapshot_of(&witness).unwrap(), *before);
    let cache = Cache::open(directory).unwrap();
    let pressure = squeeze();
    let outcome = run(&cache);
    drop(pressure);
    let worked = outcome.is_ok();
    if let Err(error) = outcome {
        assert!(is_expected(&error), "{name}: {error:?}");
        // What is made of many commits may have made some of them.
        if *name != "many new keys" {
            assert_eq!(snapshot_of(&cache).unwrap(), *before, "{name} failed and changed something");
        }
        run(&cache).unwrap_or_else(|error| panic!("{name} fails although there is enough again: {error:?}"));
    }
    for handle in [&cache, &witness, &Cache::open(directory).unwrap()] {
        assert_eq!(snapshot_of(handle).unwrap(), *after, "{name}");
        let report = handle.check().unwrap();
        assert!(report.is_clean(), "{name}: {:?}", report.problems);
    }
    worked
}
