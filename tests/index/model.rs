//! Random calls beside `BTreeMap`.

use std::collections::BTreeMap;
use std::ops::Bound;

use larder::{Cache, Error, Index, Result};

use crate::random::{Random, each_seed, scratch};

const CASES: u64 = 60;
const STEPS: usize = 60;

type Key = (String, i32);
type Model = BTreeMap<Key, String>;

fn some_key(random: &mut Random) -> Key {
    let letters = ["", "a", "a\0", "ab", "b", "\u{10FFFF}"];
    (letters[random.below(6) as usize].to_string(), random.below(40) as i32 - 20)
}

fn some_value(random: &mut Random) -> String {
    let repeat = if random.below(20) == 0 { 20_000 } else { random.below(30) as usize };
    "v".repeat(repeat)
}

fn open(directory: &std::path::Path, in_a_cache: bool) -> Index<Key, String> {
    if !in_a_cache {
        return Index::builder(directory).size_limit(16 << 20).open().unwrap();
    }
    let cache = Cache::builder(directory).size_limit(16 << 20).open().unwrap();
    cache.set("around", "the index").unwrap();
    cache.index("of a name").unwrap()
}

fn step(index: &Index<Key, String>, model: &mut Model, random: &mut Random) -> Result<()> {
    let key = some_key(random);
    match random.below(20) {
        0..6 => {
            let value = some_value(random);
            assert_eq!(index.insert((&key.0[..], key.1), &value[..])?, !model.contains_key(&key));
            model.insert(key, value);
        }
        6 | 7 => assert_eq!(index.remove(&key)?, model.remove(&key)),
        8 => assert_eq!(index.pop_first()?, model.pop_first()),
        9 => assert_eq!(index.pop_last()?, model.pop_last()),
        10 => {
            let pairs: Vec<(Key, String)> =
                (0..random.below(60)).map(|_| (some_key(random), some_value(random))).collect();
            index.extend(pairs.clone())?;
            model.extend(pairs);
        }
        11 => {
            let made = some_value(random);
            let there = model.entry(key.clone()).or_insert_with(|| made.clone());
            assert_eq!(&index.get_or_insert_with(&key, || made)?, there);
        }
        12 if random.below(8) == 0 => assert_eq!(index.clear()?, std::mem::take(model).len() as u64),
        13 => assert_eq!(
            (index.get(&key)?.as_ref(), index.contains_key(&key)?),
            (model.get(&key), model.contains_key(&key))
        ),
        14 => {
            let found = index.prefix((&key.0[..],)).collect::<Result<Vec<_>>>()?;
            assert!(
                found.iter().map(|(key, value)| (key, value)).eq(model.iter().filter(|(there, _)| there.0 == key.0))
            );
        }
        15 => {
            assert_eq!(index.first_key_value()?.as_ref().map(|(key, _)| key), model.keys().next());
            assert_eq!(index.last_key_value()?.as_ref().map(|(key, _)| key), model.keys().next_back());
        }
        16 | 17 => both_ends(index, model, random)?,
        _ => {
            let keys = index.keys().rev().collect::<Result<Vec<_>>>()?;
            assert!(keys.iter().eq(model.keys().rev()));
            let values = index.values().collect::<Result<Vec<_>>>()?;
            assert!(values.iter().eq(model.values()));
        }
    }
    assert_eq!(index.len(), model.len());
    Ok(())
}

/// A range with bounds of any kind, taken from both ends in turn as drawn.
fn both_ends(index: &Index<Key, String>, model: &Model, random: &mut Random) -> Result<()> {
    let mut bound = || match random.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(some_key(random)),
        _ => Bound::Excluded(some_key(random)),
    };
    let (low, high) = (bound(), bound());
    let is_in = |key: &Key| {
        (match &low {
            Bound::Included(low) => key >= low,
            Bound::Excluded(low) => key > low,
            Bound::Unbounded => true,
        }) && (match &high {
            Bound::Included(high) => key <= high,
            Bound::Excluded(high) => key < high,
            Bound::Unbounded => true,
        })
    };
    let mut expected = model.iter().filter(|(key, _)| is_in(key));
    let mut found = index.range((low.clone(), high.clone()));
    loop {
        let (pair, there) = match random.below(2) {
            0 => (found.next(), expected.next()),
            _ => (found.next_back(), expected.next_back()),
        };
        let pair = pair.transpose()?;
        assert_eq!(pair.as_ref().map(|(key, value)| (key, value)), there, "{low:?} {high:?}");
        if there.is_none() {
            return Ok(());
        }
    }
}

fn case(seed: u64) {
    let mut random = Random(seed);
    let in_a_cache = seed % 2 == 1;
    let directory = scratch();
    let mut handles = vec![open(directory.path(), in_a_cache)];
    let mut model = Model::new();
    for _ in 0..STEPS {
        let which = random.below(handles.len() as u64) as usize;
        match random.below(30) {
            0 => handles.push(open(directory.path(), in_a_cache)),
            1 => {
                handles.clear();
                if random.below(2) == 0 {
                    // Everything but the log is made anew.
                    std::fs::remove_file(directory.path().join("state")).unwrap();
                }
                handles.push(open(directory.path(), in_a_cache));
            }
            2..5 => {
                let keeps = random.below(3) > 0;
                let mut staged = model.clone();
                let outcome = handles[which].transact(|index| {
                    for _ in 0..random.below(8) {
                        step(index, &mut staged, &mut random)?;
                    }
                    let all = index.iter().collect::<Result<Model>>()?;
                    assert_eq!(all, staged);
                    if keeps { Ok(()) } else { Err(Error::aborted("as drawn")) }
                });
                assert_eq!(outcome.is_ok(), keeps, "{outcome:?}");
                if keeps {
                    model = staged;
                }
            }
            _ => step(&handles[which], &mut model, &mut random).unwrap(),
        }
        assert_eq!(handles[0].iter().collect::<Result<Model>>().unwrap(), model);
    }
    assert!(handles[0].check().unwrap().is_clean());
}

#[test]
fn random_calls_agree_with_a_b_tree_map() {
    each_seed(CASES, case);
}
