//! Calls inside a transaction answer as they do outside, and leave the same behind: the same calls of all kinds, drawn at random,
//! on two stores, in one of them inside transactions, parts of which are taken back.
//!
//! `LARDER_TEST_CASES` is how many stores are played, from the seed `LARDER_TEST_SEED` on.
use std::fmt::Write;
use std::time::Duration;

use larder::{AnyKey, Cache, Deque, Error, Index, QueueOptions, QueueSide, SetOptions};

use super::random::{Random, each_seed, scratch};

#[test]
fn inside_is_as_outside() {
    each_seed(12, play);
}

thread_local! {
    /// Whether `expire` is called, which a part that is taken back does not take back: then `len` is not compared.
    static EXPIRES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[derive(Clone, Debug)]
struct Op {
    space: u64,
    what: u64,
    a: u64,
    b: u64,
    c: u64,
}

fn draw(dice: &mut Random) -> Op {
    Op {
        space: dice.below(4),
        what: dice.below(60),
        a: dice.below(u64::MAX),
        b: dice.below(u64::MAX),
        c: dice.below(u64::MAX),
    }
}

fn len_of(n: u64) -> usize {
    match n % 40 {
        0 => 150_000,
        1..3 => 20_000,
        3..8 => 2_000,
        _ => (n % 50) as usize,
    }
}

fn text(n: u64) -> String {
    format!("{n}-{}", "v".repeat(len_of(n)))
}

fn opts(n: u64) -> SetOptions<'static> {
    let options = SetOptions::new();
    match n % 7 {
        0 => options.tag("t0"),
        1 => options.tag("t1"),
        2 => options.tag("t2").expire(Duration::from_secs(1000)),
        3 => options.expire(Duration::from_secs(1000)),
        _ => options,
    }
}

fn space(cache: &Cache, n: u64) -> Cache {
    match n {
        0 | 1 => cache.clone(),
        2 => Cache::clone(&cache.cache("sub").unwrap()),
        _ => Cache::clone(&cache.cache("sub").unwrap().cache("subsub").unwrap()),
    }
}

fn deque(cache: &Cache) -> Deque<String> {
    cache.deque("d").unwrap()
}

fn index(cache: &Cache) -> Index<u32, String> {
    cache.index("i").unwrap()
}

fn short(text: &str) -> String {
    format!("{}/{}", text.chars().take(24).collect::<String>(), text.len())
}

macro_rules! say {
    ($e:expr) => {{
        let s = format!("{:?}", $e);
        short(&s)
    }};
}

fn apply(root: &Cache, op: &Op) -> String {
    let cache = space(root, op.space);
    let key = op.a % 12;
    let key = format!("k{key}");
    let passed = format!("x{}", op.a % 5);
    let (b, c) = (op.b, op.c);
    let d = deque(&cache);
    let i = index(&cache);
    let ikey = (op.a % 40) as u32;
    let len = d.len().max(1) as u64;
    match op.what {
        0..3 => say!(cache.set_with(&key, &text(b), opts(c))),
        3 => say!(cache.set(&key, &(b as i64 % 1000))),
        4 => say!(cache.delete(&key)),
        5 => say!(cache.get::<String>(&key)),
        6 => say!(cache.incr(&key, 3)),
        7 => say!(cache.incr_with(&key, b as i64 % 9, 5, opts(c))),
        8 => say!(cache.touch(&key, (c % 2 == 0).then_some(Duration::from_secs(500)))),
        9 => say!(cache.pop::<String>(&key)),
        10 => say!(cache.add_with(&key, &text(b), opts(c))),
        11 => {
            let gone = cache.evict(["t0", "t1", "t2", "never"][b as usize % 4]).unwrap();
            if EXPIRES.get() { String::new() } else { say!(gone) }
        }
        12 => {
            if b % 4 == 0 && op.space != 0 && op.space != 1 {
                let gone = cache.clear().unwrap();
                if EXPIRES.get() { String::new() } else { say!(gone) }
            } else {
                String::new()
            }
        }
        13 => say!(cache.compare_and_set(&key, Some(&text(b % 3)), Some(&text(b % 5)))),
        14 => say!(cache.compare_and_set(&key, None::<&String>, Some(&text(b % 3)))),
        15 => say!(cache.compare_and_set_with(&key, Some(&text(b % 3)), None::<&String>, opts(c))),
        16 => say!(cache.set_many_with((0..b % 6).map(|n| (format!("k{}", (c + n) % 12), text(n + b % 7))), opts(c))),
        17 => say!(cache.delete_many((0..b % 4).map(|n| format!("k{}", (c + n) % 12)))),
        18 => say!(
            cache
                .get_many::<String>((0..b % 4).map(|n| format!("k{}", (c + n) % 12)))
                .map(|v| v.iter().map(|v| v.as_deref().map(short)).collect::<Vec<_>>())
        ),
        19 => say!(cache.entry::<String>(&key).map(|e| e.map(|e| (
            short(&e.value),
            e.tag,
            e.expires_at.is_some(),
            e.size
        )))),
        20 => say!(cache.set_with(&passed, &1, opts(c).expire(Duration::ZERO))),
        21 => say!(cache.set_with(&passed, &text(b), opts(c))),
        22 => say!(cache.touch(&passed, Some(Duration::ZERO))),
        23 => say!((cache.contains(&passed).unwrap() && cache.delete(&passed).unwrap(), cache.contains(&passed))),
        24 => {
            if EXPIRES.get() {
                cache.expire().unwrap();
            }
            String::new()
        }
        25 => say!(cache.push(&text(b), QueueOptions::new())),
        26 => say!(cache.push(&text(b), QueueOptions::new().side(QueueSide::Front).prefix("p"))),
        27 => say!(cache.pull::<String>(QueueOptions::new().side(if c % 2 == 0 {
            QueueSide::Front
        } else {
            QueueSide::Back
        }))),
        28 => say!(cache.pull::<String>(QueueOptions::new().prefix("p").side(if c % 2 == 0 {
            QueueSide::Front
        } else {
            QueueSide::Back
        }))),
        29 => say!(cache.peek::<String>(QueueOptions::new())),
        30 | 31 => say!(d.push_back(&text(b))),
        32 => say!(d.push_front(&text(b))),
        33 => say!(d.pop_back()),
        34 => say!(d.pop_front()),
        35 => say!(d.set((b % len) as usize, &text(c))),
        36 => say!(d.remove((b % (len + 1)) as usize)),
        37 => say!(d.rotate_left((b % 9) as usize)),
        38 => say!(d.rotate_right((b % 9) as usize)),
        39 => say!(d.reverse()),
        40 => say!(d.truncate((b % (len + 3)) as usize)),
        41 => say!(d.retain(|v| !(v.len() as u64 ^ b).is_multiple_of(3))),
        42 => say!(d.extend((0..b % 5).map(text))),
        43 => {
            if b % 3 == 0 {
                say!(d.clear())
            } else {
                say!((d.front(), d.back()))
            }
        }
        44 => say!(d.extend_front((0..b % 5).map(text))),
        45..48 => say!(i.insert(ikey, &text(b))),
        48 => say!(i.remove(ikey)),
        49 => say!(i.pop_first()),
        50 => say!(i.pop_last()),
        51 => say!(i.get(ikey)),
        52 => say!(i.extend((0..b % 12).map(|n| ((c.wrapping_add(n * 7) % 40) as u32, text(n + b % 7))))),
        53 => {
            if b % 3 == 0 {
                say!(i.clear())
            } else {
                say!(i.contains_key(ikey))
            }
        }
        54 => say!(i.get_or_insert_with(ikey, || text(b))),
        55 => {
            let (lo, hi) = ((b % 40) as u32, (c % 45) as u32);
            let mut range = i.range(lo..hi.max(lo));
            let mut out = Vec::new();
            let mut turn = op.a;
            loop {
                let next = if turn.is_multiple_of(3) { range.next() } else { range.next_back() };
                turn = turn / 3 + 1;
                let Some(item) = next else { break };
                let (key, value) = item.unwrap();
                out.push((key, short(&value)));
            }
            format!("{out:?}")
        }
        56 => say!(d.transact(|d| {
            let v = d.pop_back()?;
            if let Some(v) = v {
                d.push_front(&v)?;
            }
            Ok(())
        })),
        57 => say!(
            i.transact(|i| {
                i.insert(ikey, &text(b))?;
                if c % 2 == 0 { Err(Error::aborted("no")) } else { Ok(()) }
            })
            .map_err(|e| e.is_aborted())
        ),
        58 => say!(d.count(&text(b % 5))),
        _ => say!(cache.keys_tagged::<String>(["t0", "t1", "t2"][b as usize % 3]).map(|k| {
            let mut k: Vec<String> = k.map(|k| k.unwrap()).collect();
            k.sort();
            k
        })),
    }
}

fn dump(root: &Cache) -> String {
    let mut out = String::new();
    for n in 1..4 {
        let cache = space(root, n);
        let inserted: Vec<String> = cache
            .iter_inserted::<AnyKey, String>()
            .unwrap()
            .map(|item| item.map_or("int".to_owned(), |(key, value)| format!("{key:?}={}", short(&value))))
            .collect();
        let mut entries: Vec<String> = cache
            .keys::<AnyKey>()
            .map(|key| key.unwrap())
            .map(|key| match cache.entry::<String>(&key) {
                Ok(entry) => {
                    format!("{key:?} {:?}", entry.map(|e| (short(&e.value), e.tag, e.expires_at.is_some(), e.size)))
                }
                Err(_) => {
                    let entry = cache.entry::<i64>(&key).unwrap();
                    format!("{key:?} {:?}", entry.map(|e| (e.value, e.tag, e.expires_at.is_some(), e.size)))
                }
            })
            .collect();
        entries.sort();
        let d = deque(&cache);
        let all: Vec<String> = d.iter().map(|v| short(&v.unwrap())).collect();
        let mut back: Vec<String> = d.iter().rev().map(|v| short(&v.unwrap())).collect();
        back.reverse();
        assert_eq!(all, back);
        let by_place: Vec<String> = (0..d.len()).map(|n| short(&d.get(n).unwrap().unwrap())).collect();
        assert_eq!(all, by_place);
        let i = index(&cache);
        let items: Vec<(u32, String)> = i.iter().map(|v| v.unwrap()).map(|(k, v)| (k, short(&v))).collect();
        let mut rev: Vec<(u32, String)> = i.iter().rev().map(|v| v.unwrap()).map(|(k, v)| (k, short(&v))).collect();
        rev.reverse();
        assert_eq!(items, rev);
        let keys: Vec<u32> = i.keys().map(|k| k.unwrap()).collect();
        assert_eq!(keys, items.iter().map(|(k, _)| *k).collect::<Vec<_>>());
        let order: Vec<u32> = i.iter_inserted().unwrap().map(|v| v.unwrap().0).collect();
        let tags: Vec<usize> = ["t0", "t1", "t2"].map(|tag| cache.keys_tagged::<String>(tag).unwrap().count()).into();
        writeln!(
            out,
            "space {n}: len {} live {}\n  inserted {inserted:?}\n  entries {entries:?}\n  tags {tags:?}\n  deque {} {all:?}\n  index {} {items:?}\n  order {order:?}",
            if EXPIRES.get() { 0 } else { cache.len() }, cache.len_live().unwrap(), d.len(), i.len()
        )
        .unwrap();
    }
    out
}

#[track_caller]
fn same(a: &str, b: &str, what: &str) {
    if a != b {
        for (a, b) in a.lines().zip(b.lines()) {
            if a != b {
                println!("outside {a}\ninside  {b}");
            }
        }
        panic!("{what}");
    }
}

fn play(seed: u64) {
    let mut dice = Random(seed);
    EXPIRES.set(seed % 2 == 1);
    let dir = [(); 2].map(|()| scratch());
    let open = |n: usize| Cache::builder(dir[n].path()).size_limit(64 << 20).background(false).open().unwrap();
    let (mut a, mut b) = (open(0), open(1));
    let fresh = dice.below(2) == 0;
    if !fresh {
        for cache in [&a, &b] {
            for n in 1..4 {
                let cache = space(cache, n);
                deque(&cache);
                index(&cache);
            }
        }
    }
    if !fresh && dice.below(2) == 0 {
        let most = 1 + dice.below(8);
        for cache in [&a, &b] {
            (1..4).for_each(|n| deque(&space(cache, n)).set_maxlen(Some(most)).unwrap());
        }
    }
    for round in 0..6 {
        for _ in 0..dice.below(60) {
            let op = draw(&mut dice);
            let (x, y) = (apply(&a, &op), apply(&b, &op));
            assert_eq!(x, y, "seed {seed} round {round} outside {op:?}");
        }
        if dice.below(3) == 0 {
            a.clear().unwrap();
            b.clear().unwrap();
        }
        same(&dump(&a), &dump(&b), &format!("seed {seed} round {round} before"));
        let fails = dice.below(6) == 0;
        let before = dump(&b);
        let outcome = b.transact(|tx| {
            let parts = 1 + dice.below(5);
            for part in 0..parts {
                match dice.below(4) {
                    0 => {
                        let then = dump(tx);
                        let _ = tx.transact(|tx| {
                            for _ in 0..dice.below(30) {
                                apply(tx, &draw(&mut dice));
                            }
                            if dice.below(3) == 0 {
                                tx.clear()?;
                            }
                            let _ = tx.transact(|tx| {
                                for _ in 0..dice.below(10) {
                                    apply(tx, &draw(&mut dice));
                                }
                                Err::<(), _>(Error::aborted("no"))
                            });
                            for _ in 0..dice.below(10) {
                                apply(tx, &draw(&mut dice));
                            }
                            if dice.below(2) == 0 {
                                dump(tx);
                            }
                            Err::<(), _>(Error::aborted("no"))
                        });
                        same(&then, &dump(tx), &format!("seed {seed} round {round} part {part} taken back"));
                    }
                    1 if dice.below(3) == 0 => {
                        if fails {
                            tx.clear()?;
                        } else {
                            let gone = (a.clear()?, tx.clear()?);
                            assert!(EXPIRES.get() || gone.0 == gone.1, "seed {seed} round {round}: clear {gone:?}");
                        }
                    }
                    kind => {
                        let mut some = |tx: &larder::Transaction| {
                            for n in 0..dice.below(25) {
                                let op = draw(&mut dice);
                                if fails {
                                    apply(tx, &op);
                                    continue;
                                }
                                let (x, y) = (apply(&a, &op), apply(tx, &op));
                                assert_eq!(x, y, "seed {seed} round {round} part {part} op {n} {op:?}");
                                if dice.below(8) == 0 {
                                    same(
                                        &dump(&a),
                                        &dump(tx),
                                        &format!("seed {seed} round {round} part {part} op {n} {op:?}"),
                                    );
                                }
                            }
                            Ok(())
                        };
                        if kind == 3 { tx.transact(some)? } else { some(tx)? }
                    }
                }
                if !fails {
                    same(&dump(&a), &dump(tx), &format!("seed {seed} round {round} part {part}"));
                }
            }
            if fails { Err(Error::aborted("no")) } else { Ok(()) }
        });
        assert_eq!(outcome.is_err(), fails, "{outcome:?}");
        if fails {
            same(&before, &dump(&b), &format!("seed {seed} round {round} taken back"));
        }
        same(&dump(&a), &dump(&b), &format!("seed {seed} round {round} committed"));
        let report = b.check().unwrap();
        assert!(report.is_clean(), "seed {seed} round {round}: {:?}", report.problems);
        if dice.below(3) == 0 {
            drop((a, b));
            for dir in &dir {
                let _ = std::fs::remove_file(dir.path().join("state"));
            }
            (a, b) = (open(0), open(1));
            a.expire().unwrap();
            b.expire().unwrap();
            same(&dump(&a), &dump(&b), &format!("seed {seed} round {round} rebuilt"));
        }
    }
}
