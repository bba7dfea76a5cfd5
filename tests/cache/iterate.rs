//! Going through all items, in no order, in order of insertion and of keys.

use super::{Scratch, sorted};
use larder::{AnyKey, Key};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn an_item_of_another_type_is_an_error_and_the_walk_goes_on() {
    let cache = Scratch::new();
    cache.set("a", &1).unwrap();
    cache.set(2, &2).unwrap();
    cache.set("c", "three").unwrap();
    let (fine, wrong): (Vec<_>, Vec<_>) = cache.iter::<String, i32>().partition(|item| item.is_ok());
    assert_eq!(fine.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [("a".to_string(), 1)]);
    assert_eq!(wrong.len(), 2);
    assert!(wrong.into_iter().all(|item| item.unwrap_err().is_type()));
    assert_eq!(cache.keys::<String>().filter(|key| key.is_err()).count(), 1);
    assert_eq!(cache.keys_sorted::<i32>().unwrap().filter(|key| key.is_ok()).count(), 1);
    assert_eq!(cache.iter_inserted::<AnyKey, i32>().unwrap().filter(|item| item.is_err()).count(), 1);
    assert_eq!(cache.len_live().unwrap(), 3);
}

/// Whoever stays is met once, whatever comes and goes meanwhile; nobody is met twice.
fn walk_among_changes(cache: &Scratch, mut change: impl FnMut(u32), stays: impl Fn(u32) -> bool, upto: u32) {
    let mut met = HashSet::new();
    for (step, item) in cache.iter::<u32, u32>().enumerate() {
        let (key, _) = item.unwrap();
        assert!(met.insert(key), "{key} twice");
        change(step as u32);
    }
    let missed: Vec<u32> = (0..upto).filter(|&key| stays(key) && !met.contains(&key)).collect();
    assert!(missed.is_empty(), "{} keys that stayed were skipped: {:?}", missed.len(), &missed[..missed.len().min(10)]);
}

#[test]
fn a_walk_among_inserts_that_make_the_index_grow() {
    let cache = Scratch::new();
    (0..3_000u32).for_each(|i| cache.set(i, &i).unwrap());
    let mut next = 3_000u32;
    let insert = |_| {
        if next < 24_000 {
            cache.set_many((next..next + 16).map(|i| (i, i))).unwrap();
            next += 16;
        }
    };
    walk_among_changes(&cache, insert, |_| true, 3_000);
    cache.assert_clean();
}

#[test]
fn a_walk_among_removals_and_replacements() {
    let cache = Scratch::new();
    (0..4_000u32).for_each(|i| cache.set(i, &i).unwrap());
    // Odd keys come and go, even ones are replaced again and again.
    let change = |step: u32| {
        for i in 0..3 {
            let odd = (step * 7 + i * 1_013) % 2_000 * 2 + 1;
            if !cache.delete(odd).unwrap() {
                cache.set(odd, &step).unwrap();
            }
            cache.set((step * 11 + i * 997) % 2_000 * 2, &step).unwrap();
        }
    };
    walk_among_changes(&cache, change, |key| key % 2 == 0, 4_000);
    cache.assert_clean();
}

#[test]
fn a_walk_beside_a_writing_thread() {
    let cache = Scratch::new();
    cache.set_many((0..2_000u32).map(|i| (i, i))).unwrap();
    let writer = cache.second();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut step = 0u32;
            while !done.load(Ordering::Acquire) {
                let new = 2_000 + step % 8_000;
                writer.set(step % 2_000, &step).unwrap();
                if !writer.delete(new).unwrap() {
                    writer.set(new, &step).unwrap();
                }
                step += 1;
            }
        });
        for _ in 0..10 {
            walk_among_changes(&cache, |_| {}, |_| true, 2_000);
        }
        done.store(true, Ordering::Release);
    });
    cache.assert_clean();
}

#[test]
fn a_walk_over_a_cleared_cache_ends() {
    let cache = Scratch::new();
    cache.set_many((0..2_000u32).map(|i| (i, i))).unwrap();
    let mut walk = cache.iter::<u32, u32>();
    let mut ordered = cache.iter_inserted::<u32, u32>().unwrap();
    assert!(walk.next().is_some());
    assert_eq!(ordered.next().unwrap().unwrap(), (0, 0));
    cache.clear().unwrap();
    assert!(walk.map(Result::unwrap).count() < 100, "at most what was in hand");
    assert_eq!(ordered.map(Result::unwrap).count(), 0);
}

#[test]
fn a_walk_keeps_the_store_open() {
    let Scratch { cache, dir } = Scratch::new();
    cache.set_many((0..100u32).map(|i| (i, i))).unwrap();
    let walk = cache.iter::<u32, u32>();
    let ordered = cache.iter_inserted::<u32, u32>().unwrap();
    drop(cache);
    assert_eq!(sorted(walk).len(), 100);
    assert_eq!(sorted(ordered).len(), 100);
    drop(dir);
}

#[test]
fn sorted_keys_of_all_types_have_the_documented_order() {
    let cache = Scratch::new();
    macro_rules! store {
        ($($key:expr),* $(,)?) => {{
            let mut keys = Vec::new();
            $(cache.set($key, "v").unwrap(); keys.push(AnyKey::of($key).unwrap());)*
            keys
        }};
    }
    let in_order = store![
        None::<u8>,
        b"",
        b"\0",
        b"\xff",
        "",
        "\0",
        "a",
        "a\0",
        "b",
        "ä",
        (None::<u8>, 1),
        ("a", -1),
        ("a", 1),
        (1,),
        i128::MIN,
        i64::MIN,
        -1,
        0,
        255,
        256,
        u64::MAX,
        u128::MAX,
        f32::NEG_INFINITY,
        1.5f32,
        -1.0,
        -0.0,
        0.0,
        f64::INFINITY,
        false,
        true,
    ];
    let found: Vec<AnyKey> = cache.keys_sorted().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(found, in_order);
    let mut backwards: Vec<AnyKey> = cache.keys_sorted().unwrap().rev().collect::<Result<_, _>>().unwrap();
    backwards.reverse();
    assert_eq!(backwards, in_order);
    let encoded: Vec<Vec<u8>> = in_order.iter().map(|key| key.encode().unwrap()).collect();
    assert!(encoded.is_sorted());
}
