//! Do random operations, with reopening, second handles and rebuilding, agree with the collections of std?
//!
//! Time cannot be set from outside, so an item either expires at once or outlives the test. A failure names its seed and
//! the operations that led there. `LARDER_TEST_SCALE` multiplies the cases, `LARDER_TEST_SEED` says where they begin.

#[path = "model/expected.rs"]
mod expected;

use expected::{Expected, Item};
use larder::{Cache, End, Error, SetOptions};
use std::time::Duration;

const CASES: u64 = 30;
const STEPS: usize = 250;
const LIMIT: u64 = 16 << 20;
const TAGS: [&str; 4] = ["", "a", "b", "a longer name of a tag"];

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

#[derive(Clone, Copy, Debug)]
enum Expiry {
    Never,
    Later,
    AtOnce,
}

/// Which keys a case uses: few, so that they meet often, or many, so that the index grows.
#[derive(Clone, Copy, Debug)]
struct Shape {
    keys: u64,
    value_max: u64,
    batch_max: u64,
}

const SHAPES: [Shape; 3] = [
    Shape { keys: 12, value_max: 60, batch_max: 8 },
    Shape { keys: 3_000, value_max: 30, batch_max: 120 },
    Shape { keys: 8, value_max: 60_000, batch_max: 4 },
];

/// A cache under test, and what it must hold.
struct Case {
    seed: u64,
    random: Random,
    shape: Shape,
    dir: tempfile::TempDir,
    /// Two handles while there are two; every call goes through either.
    handles: Vec<Cache>,
    expected: Expected,
    trace: Vec<String>,
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.trace.len().saturating_sub(40);
            eprintln!(
                "seed {}, {:?}, step {}: .. {}",
                self.seed,
                self.shape,
                self.trace.len(),
                self.trace[from..].join("; ")
            );
        }
    }
}

fn open(dir: &tempfile::TempDir) -> Cache {
    Cache::builder(dir).size_limit(LIMIT).eviction(larder::Eviction::None).open().unwrap()
}

impl Case {
    fn new(seed: u64) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let handles = vec![open(&dir)];
        let shape = SHAPES[seed as usize % SHAPES.len()];
        Case { seed, random: Random(seed), shape, dir, handles, expected: Expected::default(), trace: Vec::new() }
    }

    fn cache(&mut self) -> Cache {
        self.handles[self.random.below(self.handles.len() as u64) as usize].clone()
    }

    fn key(&mut self) -> String {
        format!("k{}", self.random.below(self.shape.keys))
    }

    fn value(&mut self) -> String {
        let len = self.random.below(self.shape.value_max);
        let letter = char::from(b'a' + self.random.below(26) as u8);
        letter.to_string().repeat(len as usize)
    }

    fn expiry(&mut self) -> Expiry {
        match self.random.below(8) {
            0 => Expiry::AtOnce,
            1 | 2 => Expiry::Later,
            _ => Expiry::Never,
        }
    }

    fn tag(&mut self) -> Option<&'static str> {
        if self.random.one_in(2) { None } else { Some(TAGS[self.random.below(TAGS.len() as u64) as usize]) }
    }

    fn step(&mut self) {
        let operation = self.random.below(40);
        if operation == 38 {
            // Without a handle in hand: a rebuild needs all of them closed.
            self.reopen();
        }
        let cache = self.cache();
        match operation {
            0..8 => self.set(&cache),
            8..11 => self.add(&cache),
            11..14 => self.count(&cache),
            14..18 => self.compare(&cache),
            18..20 => self.touch(&cache),
            20..24 => self.remove(&cache),
            24..27 => self.set_many(&cache),
            27..29 => self.delete_many(&cache),
            29..33 => self.read(&cache),
            33..35 => self.walk(&cache),
            35 => self.evict(&cache),
            36 => self.expire(&cache),
            37 if self.random.one_in(3) => self.clear(&cache),
            _ => self.ordered(&cache),
        }
        let cache = self.cache();
        assert_eq!(cache.len(), self.expected.items.len());
    }

    fn set(&mut self, cache: &Cache) {
        let (key, value, expiry, tag) = (self.key(), self.value(), self.expiry(), self.tag());
        self.trace.push(format!("set {key} {} {expiry:?} {tag:?}", value.len()));
        cache.set_with(&key, &value, options(expiry, tag)).unwrap();
        self.expected.set(&key, Item::text(value, expiry, tag));
    }

    fn add(&mut self, cache: &Cache) {
        let (key, value, expiry, tag) = (self.key(), self.value(), self.expiry(), self.tag());
        self.trace.push(format!("add {key} {} {expiry:?} {tag:?}", value.len()));
        let absent = self.expected.live(&key).is_none();
        assert_eq!(cache.add_with(&key, &value, options(expiry, tag)).unwrap(), absent);
        if absent {
            self.expected.set(&key, Item::text(value, expiry, tag));
        }
    }

    fn count(&mut self, cache: &Cache) {
        let (key, expiry, tag) = (self.key(), self.expiry(), self.tag());
        let delta = self.random.below(1_000) as i64 - 500;
        self.trace.push(format!("count {key} {delta} {expiry:?} {tag:?}"));
        let counted = cache.incr_with(&key, delta, 7, options(expiry, tag));
        match self.expected.live(&key).cloned() {
            None => {
                assert_eq!(counted.unwrap(), 7 + delta);
                self.expected.set(&key, Item::number(7 + delta, expiry, tag));
            }
            Some(mut item) => match item.number {
                None => assert!(matches!(counted, Err(Error::NotAnInteger))),
                Some(number) => {
                    assert_eq!(counted.unwrap(), number + delta);
                    item.number = Some(number + delta);
                    self.expected.set(&key, item);
                }
            },
        }
    }

    fn compare(&mut self, cache: &Cache) {
        let (key, new) = (self.key(), self.value());
        let present = self.expected.live(&key).cloned();
        let guess = match self.random.below(3) {
            0 => None,
            1 => Some(self.value()),
            _ => present.as_ref().map(|item| item.text.clone()),
        };
        let new = if self.random.one_in(3) { None } else { Some(new) };
        self.trace.push(format!(
            "compare {key} {:?} {:?}",
            guess.as_ref().map(String::len),
            new.as_ref().map(String::len)
        ));
        let matches = match (&guess, &present) {
            (None, None) => true,
            (Some(guess), Some(item)) => item.number.is_none() && item.text == *guess,
            _ => false,
        };
        assert_eq!(cache.compare_and_set(&key, guess.as_deref(), new.as_deref()).unwrap(), matches);
        match (matches, new, present) {
            (true, Some(text), Some(item)) => self.expected.set(&key, item.with_text(text)),
            (true, Some(text), None) => self.expected.set(&key, Item::text(text, Expiry::Never, None)),
            (true, None, Some(_)) => self.expected.remove(&key),
            _ => {}
        }
    }

    fn touch(&mut self, cache: &Cache) {
        let (key, expiry) = (self.key(), self.expiry());
        self.trace.push(format!("touch {key} {expiry:?}"));
        let present = self.expected.live(&key).cloned();
        assert_eq!(cache.touch(&key, duration(expiry)).unwrap(), present.is_some());
        if let Some(item) = present {
            self.expected.set(&key, item.expiring(expiry));
        }
    }

    fn remove(&mut self, cache: &Cache) {
        let key = self.key();
        self.trace.push(format!("remove {key}"));
        let present = self.expected.live(&key).cloned();
        if self.random.one_in(2) {
            assert_eq!(cache.delete(&key).unwrap(), present.is_some());
        } else {
            match &present {
                Some(Item { number: Some(number), .. }) => assert_eq!(cache.pop::<i64>(&key).unwrap(), Some(*number)),
                Some(item) => assert_eq!(cache.pop::<String>(&key).unwrap().as_ref(), Some(&item.text)),
                None => assert_eq!(cache.pop::<String>(&key).unwrap(), None),
            }
        }
        if present.is_some() {
            self.expected.remove(&key);
        }
        self.follow_expired(cache, &key);
    }

    /// Whether a removal takes an expired item with it is left open: `len` tells.
    fn follow_expired(&mut self, cache: &Cache, key: &str) {
        if cache.len() < self.expected.items.len() && self.expected.has_expired(key) {
            self.expected.remove(key);
        }
    }

    fn set_many(&mut self, cache: &Cache) {
        let (expiry, tag, count) = (self.expiry(), self.tag(), self.random.below(self.shape.batch_max));
        let pairs: Vec<(String, String)> = (0..count).map(|_| (self.key(), self.value())).collect();
        let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        self.trace.push(format!("set_many {keys:?} {expiry:?} {tag:?}"));
        cache.set_many_with(pairs.clone(), options(expiry, tag)).unwrap();
        // Of a key that comes twice the last pair counts, and its place among those that are new.
        for (i, (key, value)) in pairs.iter().enumerate() {
            if pairs[i + 1..].iter().all(|(later, _)| later != key) {
                self.expected.set(key, Item::text(value.clone(), expiry, tag));
            }
        }
    }

    fn delete_many(&mut self, cache: &Cache) {
        let keys: Vec<String> = (0..self.random.below(self.shape.batch_max)).map(|_| self.key()).collect();
        self.trace.push(format!("delete_many {keys:?}"));
        let mut live: Vec<&String> = keys.iter().filter(|key| self.expected.live(key).is_some()).collect();
        live.sort();
        live.dedup();
        assert_eq!(cache.delete_many(&keys).unwrap(), live.len() as u64);
        for key in live {
            self.expected.items.remove(key);
        }
        let gone = self.expected.items.len().saturating_sub(cache.len());
        let expired: Vec<&String> = keys.iter().filter(|key| self.expected.has_expired(key)).collect();
        if gone > 0 {
            for key in expired {
                self.expected.items.remove(key);
            }
        }
    }

    fn read(&mut self, cache: &Cache) {
        let keys: Vec<String> = (0..self.random.below(20)).map(|_| self.key()).collect();
        self.trace.push(format!("read {keys:?}"));
        let many = cache.get_many::<expected::Either>(&keys).unwrap();
        for (key, found) in keys.iter().zip(many) {
            let live = self.expected.live(key);
            assert_eq!(found.map(|either| either.0), live.map(Item::shown), "{key}");
            assert_eq!(cache.contains(key).unwrap(), live.is_some());
            let entry = cache.entry::<expected::Either>(key).unwrap();
            assert_eq!(entry.is_some(), live.is_some(), "{key}");
            if let (Some(entry), Some(item)) = (entry, live) {
                assert_eq!(entry.value.0, item.shown());
                assert_eq!(entry.tag.as_deref(), item.tag);
                assert_eq!(entry.expires_at.is_some(), item.expires);
            }
        }
    }

    fn walk(&mut self, cache: &Cache) {
        self.trace.push("walk".into());
        let mut pairs: Vec<(String, String)> = cache
            .iter::<String, expected::Either>()
            .map(|item| item.map(|(key, value)| (key, value.0)).unwrap())
            .collect();
        pairs.sort();
        assert_eq!(pairs, self.expected.pairs());
        let keys: Vec<String> = cache.keys_sorted().unwrap().map(Result::unwrap).collect();
        assert!(keys.iter().eq(pairs.iter().map(|(key, _)| key)));
        let tag = TAGS[self.random.below(TAGS.len() as u64) as usize];
        let mut tagged: Vec<String> = cache.keys_tagged(tag).unwrap().map(Result::unwrap).collect();
        tagged.sort();
        assert_eq!(tagged, self.expected.tagged(tag), "{tag:?}");
        assert_eq!(cache.len_live().unwrap(), pairs.len());
    }

    fn ordered(&mut self, cache: &Cache) {
        self.trace.push("ordered".into());
        let expected = self.expected.inserted();
        let found: Vec<String> =
            cache.iter_inserted::<String, expected::Either>().unwrap().map(|item| item.unwrap().0).collect();
        assert_eq!(found, expected);
        let oldest = cache.peek_item::<String, expected::Either>(End::Oldest).unwrap().map(|(key, _)| key);
        assert_eq!(oldest.as_ref(), expected.first());
    }

    fn evict(&mut self, cache: &Cache) {
        let tag = TAGS[self.random.below(TAGS.len() as u64) as usize];
        self.trace.push(format!("evict {tag:?}"));
        assert_eq!(cache.evict(tag).unwrap(), self.expected.evict(tag));
    }

    fn expire(&mut self, cache: &Cache) {
        self.trace.push("expire".into());
        assert_eq!(cache.expire().unwrap(), self.expected.expire());
    }

    fn clear(&mut self, cache: &Cache) {
        self.trace.push("clear".into());
        assert_eq!(cache.clear().unwrap(), self.expected.items.len() as u64);
        self.expected = Expected::default();
    }

    /// Another handle, one less, all anew, or all anew without the file that holds the shared words.
    fn reopen(&mut self) {
        let how = self.random.below(4);
        self.trace.push(format!("reopen {how}"));
        match how {
            0 => self.handles = vec![open(&self.dir), self.handles[0].clone()],
            1 if self.handles.len() > 1 => drop(self.handles.remove(0)),
            _ => {
                self.handles.clear();
                if how == 3 {
                    std::fs::remove_file(self.dir.path().join("state")).unwrap();
                }
                self.handles = vec![open(&self.dir)];
                let report = self.handles[0].check().unwrap();
                assert!(report.is_clean(), "{:?}", report.problems);
                if how == 3 {
                    self.follow_rebuild();
                }
            }
        }
    }

    /// A rebuild reads the log, which says nothing of items that `expire` took out: they may be back, expired as they
    /// are, and count in `len` until they are removed again.
    fn follow_rebuild(&mut self) {
        self.handles[0].expire().unwrap();
        self.expected.expire();
    }
}

fn duration(expiry: Expiry) -> Option<Duration> {
    match expiry {
        Expiry::Never => None,
        Expiry::Later => Some(Duration::from_secs(1 << 30)),
        Expiry::AtOnce => Some(Duration::ZERO),
    }
}

fn options(expiry: Expiry, tag: Option<&str>) -> SetOptions<'_> {
    let mut options = SetOptions::new();
    if let Some(after) = duration(expiry) {
        options = options.expire(after);
    }
    match tag {
        Some(tag) => options.tag(tag),
        None => options,
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Cases whose number leaves `part` when divided by the number of parts: they run side by side.
fn run(part: u64, parts: u64) {
    let first = (number("LARDER_TEST_SEED").unwrap_or(1) - 1) * 1_000_000;
    let cases = CASES * number("LARDER_TEST_SCALE").unwrap_or(1);
    for seed in (first..first + cases).filter(|seed| seed % parts == part) {
        let mut case = Case::new(seed);
        for _ in 0..STEPS {
            case.step();
        }
        let cache = case.handles[0].clone();
        case.walk(&cache);
        let report = cache.check().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
        assert_eq!(report.items as usize, case.expected.items.len());
    }
}

#[test]
fn random_operations_agree_with_a_map_even_seeds() {
    run(0, 2);
}

#[test]
fn random_operations_agree_with_a_map_odd_seeds() {
    run(1, 2);
}
