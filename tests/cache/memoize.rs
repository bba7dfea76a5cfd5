//! `memoize`: what is kept, for which calls, and what becomes of failures.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use larder::{Cache, Error, Key, KeyWriter, KeyWritten, Memoize, SetOptions};

use crate::Scratch;
use crate::random::Random;
use crate::slow::Slow;

/// Calls of a function that were computed.
#[derive(Default)]
struct Runs(Cell<u64>);

impl Runs {
    fn count<R>(&self, result: R) -> R {
        self.0.set(self.0.get() + 1);
        result
    }
}

#[test]
fn a_result_is_computed_once_for_each_list_of_arguments() {
    let cache = Scratch::new();
    let runs = Runs::default();
    let power = cache.memoize(Memoize::new("power"));
    let call = |base: u64, exponent: u32| power.call((base, exponent), || runs.count(base.pow(exponent)));
    assert_eq!([call(2, 10), call(10, 2), call(2, 10), call(10, 2)], [1024, 100, 1024, 100]);
    assert_eq!((runs.0.get(), cache.len()), (2, 2));
    let other = cache.second();
    let power = other.memoize(Memoize::new("power"));
    assert_eq!(power.call::<u64>((2u64, 10u32), || unreachable!("another handle finds it")), 1024u64);
}

#[test]
fn names_and_versions_are_functions_of_their_own() {
    let cache = Scratch::new();
    let options = [Memoize::new("f"), Memoize::new("f").version(1), Memoize::new("f\0"), Memoize::new("")];
    let functions: Vec<_> = options.into_iter().map(|options| cache.memoize(options)).collect();
    for (i, function) in functions.iter().enumerate() {
        assert_eq!(function.call((), || i), i);
    }
    assert_eq!(cache.len(), 4);
    assert_eq!((functions[0].clear().unwrap(), cache.len()), (2, 2), "both versions, and no other name");
    assert_eq!(functions[2].get::<usize>(()), Some(2));
    assert_eq!(functions[3].get::<usize>(()), Some(3));
}

#[test]
fn errors_are_not_kept_and_nothing_is_a_result() {
    let cache = Scratch::new();
    let parse = cache.memoize(Memoize::new("parse"));
    let runs = Runs::default();
    let call = |text: &str| parse.try_call(text, || runs.count(text.parse::<i32>()));
    assert!(call("x").is_err() && call("x").is_err());
    assert_eq!((call("1"), call("1"), runs.0.get()), (Ok(1), Ok(1), 3));
    let find = cache.memoize(Memoize::new("find"));
    let runs = Runs::default();
    let call = || find.call("nobody", || runs.count(None::<u32>));
    assert_eq!((call(), call(), runs.0.get()), (None, None, 1));
}

#[test]
fn a_failure_of_the_cache_is_none_of_the_function() {
    let cache = Scratch::with_limit(2 << 20);
    let failures = |cache: &Cache| cache.stats().unwrap().failures;
    let reader = crate::open_to_read(cache.directory());
    assert_eq!(reader.memoize(Memoize::new("f")).call(1, || 2), 2);
    let large = cache.memoize(Memoize::new("large"));
    assert_eq!(large.call(1, || "x".repeat(3 << 20)).len(), 3 << 20, "too large to be kept");
    assert_eq!(large.get::<String>(1), None);
    let before = failures(&cache);
    assert!(before >= 1, "{before}");
    // Of a wrong type is a miss, and of no consequence.
    let typed = cache.memoize(Memoize::new("typed"));
    typed.put(1, "text");
    assert_eq!((typed.get::<u32>(1), typed.call(1, || 5u32), typed.get::<u32>(1)), (None, 5, Some(5)));
    assert_eq!(failures(&cache), before);
    // Inside a transaction nobody can wait.
    let inside = cache.transact(|tx| Ok(tx.memoize(Memoize::new("inside")).call(1, || 6)));
    assert_eq!((inside.unwrap(), failures(&cache)), (6, before + 1));
}

#[test]
fn who_asks_for_what_it_computes_computes_it() {
    let cache = Scratch::new();
    let runs = Runs::default();
    let f = cache.memoize(Memoize::new("f"));
    let value = f.call(1, || runs.count(f.call(1, || runs.count(3)) + 1));
    assert_eq!((value, runs.0.get(), f.get(1)), (4, 2, Some(4)));
    // Of other arguments it is a call like any other.
    fn fibonacci(cache: &Cache, n: u64) -> u64 {
        let compute = || if n < 2 { n } else { fibonacci(cache, n - 1) + fibonacci(cache, n - 2) };
        cache.memoize(Memoize::new("fibonacci")).call(n, compute)
    }
    assert_eq!(fibonacci(&cache, 50), 12_586_269_025);
}

#[test]
fn expiry_and_tag_are_those_of_the_options() {
    let cache = Scratch::new();
    let f = cache.memoize(Memoize::new("f").expire(Duration::from_secs(60)).tag("group"));
    f.call(1, || 1);
    f.put(2, &2);
    let entry = cache.iter_entry();
    assert!(entry.iter().all(|(tag, expires)| tag.as_deref() == Some("group") && *expires));
    assert_eq!((entry.len(), cache.evict("group").unwrap()), (2, 2));
    let gone = cache.memoize(Memoize::new("gone").expire(Duration::ZERO));
    let runs = Runs::default();
    assert_eq!((gone.call(1, || runs.count(1)), gone.call(1, || runs.count(2))), (1, 2));
}

impl Scratch {
    /// Tag and whether it expires, of each item.
    fn iter_entry(&self) -> Vec<(Option<String>, bool)> {
        let entries = self.entries::<larder::AnyKey, i32>();
        entries.map(|entry| entry.unwrap().1).map(|entry| (entry.tag, entry.expires_at.is_some())).collect()
    }
}

#[test]
fn what_expires_soon_is_computed_early_and_by_one() {
    let cache = Scratch::new();
    let soon = |beta: f64| {
        let options = Memoize::new("f").expire(Duration::from_secs(3600)).early_recompute(beta);
        cache.memoize(options)
    };
    let runs = Runs::default();
    // Whatever computing took, it is nothing beside an hour; and with so large a factor it is everything.
    assert_eq!((soon(1.0).call(1, || runs.count(1)), soon(1.0).call(1, || runs.count(2))), (1, 1));
    let slow = || {
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        runs.count(3u64)
    };
    assert!(soon(1.0).forget(1).unwrap());
    assert_eq!(soon(1e15).call(1, slow), 3);
    assert_eq!((0..100).map(|_| soon(1e15).call(1, || runs.count(4))).filter(|&value| value == 4).count(), 100);
    // While somebody computes it anew, the others get what is there.
    let f = soon(1e15);
    assert!(f.forget(2).unwrap_or(true) || f.get::<u64>(2).is_none());
    f.call(2, slow);
    let value = f.call(2, || {
        let inner = std::thread::scope(|scope| scope.spawn(|| f.call::<u64>(2, || unreachable!("it is there"))).join());
        inner.unwrap() + 1
    });
    assert_eq!((value, f.get::<u64>(2)), (4, Some(4)));
}

/// A list of arguments that is drawn.
#[derive(Clone, Debug, PartialEq)]
enum Drawn {
    Nothing,
    Bool(bool),
    Integer(i128),
    Float(u64),
    Single(u32),
    Text(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Drawn>),
}

impl Key for Drawn {
    fn write_key(&self, writer: KeyWriter<'_>) -> KeyWritten {
        match self {
            Drawn::Nothing => None::<u8>.write_key(writer),
            Drawn::Bool(value) => value.write_key(writer),
            Drawn::Integer(value) => value.write_key(writer),
            Drawn::Float(bits) => f64::from_bits(*bits).write_key(writer),
            Drawn::Single(bits) => f32::from_bits(*bits).write_key(writer),
            Drawn::Text(text) => text.write_key(writer),
            Drawn::Bytes(bytes) => bytes.as_slice().write_key(writer),
            Drawn::Tuple(fields) => writer.tuple(|tuple| {
                for field in fields {
                    tuple.field(field);
                }
            }),
        }
    }
}

fn text(dice: &mut Random) -> String {
    let letters = ['\0', '\u{1}', 'a', 'b', '\u{FF}', '\u{10FFFF}'];
    (0..dice.below(4)).map(|_| letters[dice.below(6) as usize]).collect()
}

/// Few values of each kind, so that many are nearly alike.
fn argument(dice: &mut Random, depth: u64) -> Drawn {
    match dice.below(if depth == 0 { 8 } else { 11 }) {
        0 => Drawn::Nothing,
        1 => Drawn::Bool(dice.below(2) == 0),
        2 | 3 => {
            let near = [0, 1, -1, 255, 256, i128::from(u64::MAX), i128::from(i64::MIN), i128::MAX, i128::MIN];
            Drawn::Integer(near[dice.below(9) as usize].wrapping_add(i128::from(dice.below(3))))
        }
        4 => Drawn::Float([0.0, -0.0, 1.0, f64::NAN, f64::INFINITY][dice.below(5) as usize].to_bits()),
        5 => Drawn::Single([0.0, -0.0, 1.0, f32::NAN][dice.below(4) as usize].to_bits()),
        6 => Drawn::Text(text(dice)),
        7 => Drawn::Bytes(text(dice).into_bytes()),
        _ => Drawn::Tuple((0..dice.below(4)).map(|_| argument(dice, depth - 1)).collect()),
    }
}

/// Pairs of calls that differ in a kind, a place, a nesting, an empty string: none of them share a key, and equal ones do.
#[test]
fn no_two_different_calls_share_a_key() {
    let cache = Scratch::new();
    let mut dice = Random(1);
    let mut met: HashMap<Vec<u8>, (usize, Drawn)> = HashMap::new();
    let names = ["f", "f\0", "", "memoized\0"];
    let functions: Vec<_> =
        (0..8u64).map(|n| cache.memoize(Memoize::new(names[n as usize % 4]).version(n / 4))).collect();
    let (mut pairs, mut equal) = (0, 0);
    while pairs < 10_000 {
        let function = dice.below(8) as usize;
        let args = argument(&mut dice, 3);
        let key = functions[function].key(&args).unwrap();
        assert_eq!(key, functions[function].key(args.clone()).unwrap());
        match met.insert(key, (function, args.clone())) {
            Some(before) => {
                equal += 1;
                assert_eq!(before, (function, args));
            }
            None => pairs += 1,
        }
    }
    assert!(equal > 1_000, "{pairs} different calls, {equal} met again");
}

#[test]
fn long_arguments_are_hashed_and_told_apart_all_the_same() {
    let cache = Scratch::new();
    let f = cache.memoize(Memoize::new("f"));
    let runs = Runs::default();
    let mut keys = std::collections::HashSet::new();
    for len in [1000, 1020, 1021, 1022, 1023, 1024, 70_000, 1 << 20] {
        for last in ["a", "b"] {
            let text = "x".repeat(len) + last;
            assert_eq!(f.call((&text, last), || runs.count(len)), len);
            assert_eq!(f.call((&text, last), || runs.count(0)), len);
            let key = f.key((&text, last)).unwrap();
            assert!(key.len() < 1200, "{}", key.len());
            assert!(keys.insert(key));
        }
    }
    assert_eq!((runs.0.get(), cache.len()), (16, 16));
    assert!(f.forget(("x".repeat(70_000) + "a", "a")).unwrap());
    assert_eq!((f.clear().unwrap(), cache.len()), (15, 0));
    let deep = (0..40).fold(Drawn::Nothing, |inner, _| Drawn::Tuple(vec![inner]));
    assert!(f.key(&deep).is_err());
    assert_eq!((f.call(&deep, || 1), f.call(&deep, || 2)), (1, 2), "what is no key is computed each time");
}

#[test]
fn all_calls_of_a_function_are_cleared_and_nothing_else() {
    let cache = Scratch::new();
    let (f, g) = (cache.memoize(Memoize::new("f")), cache.memoize(Memoize::new("g")));
    for n in 0..2_500 {
        f.put(n, &n);
        g.put(n, &n);
        cache.set_with(n, &n, SetOptions::new()).unwrap();
    }
    assert_eq!((f.clear().unwrap(), f.clear().unwrap(), cache.len()), (2_500, 0, 5_000));
    assert_eq!((f.get::<i32>(7), g.get::<i32>(7), cache.get::<i32>(7).unwrap()), (None, Some(7), Some(7)));
    let refused: Result<bool, Error> = crate::open_to_read(cache.directory()).memoize(Memoize::new("g")).forget(7);
    assert!(matches!(refused, Err(Error::ReadOnly)));
}

/// Two find that a value expires soon, and one has computed it anew before the other one asks for the claim.
#[test]
fn what_was_just_computed_anew_is_not_computed_once_more() {
    let cache = Scratch::new();
    let f = |cache: &Cache| cache.memoize(Memoize::new("f").expire(Duration::from_secs(3600)).early_recompute(1e9));
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = |runs: &std::sync::atomic::AtomicU64| runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    // It took 20 ms, which is everything beside an hour.
    let first = f(&cache).call(1, || {
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        Slow(count(&runs))
    });
    assert_eq!(first.0, 0);
    let (other, theirs) = (cache.second(), std::sync::Arc::clone(&runs));
    Slow::meanwhile(move || {
        let anew = std::thread::spawn(move || f(&other).call(1, || Slow(count(&theirs))).0);
        assert_eq!(anew.join().unwrap(), 1, "it is early");
    });
    // What is there now took microseconds and is kept for an hour.
    let _ = f(&cache).call(1, || Slow(count(&runs)));
    assert_eq!(runs.load(std::sync::atomic::Ordering::SeqCst), 2, "computed once and once anew");
}
