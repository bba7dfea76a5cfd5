//! Going through an index while others change it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use larder::{Index, Result};

use crate::random::scratch;

/// A marker moves from key to key, in one transaction each time, through an index whose other keys come and go: whoever looks sees
/// every key that stays, in its order, and never two markers in one leaf.
#[test]
fn keys_that_stay_are_neither_missed_nor_met_twice() {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::<u32, u32>::open(&directory).unwrap();
    // Multiples of 10 stay.
    index.extend((0..300).map(|i| (i * 10, 0))).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2u32 {
            let (stop, directory) = (&stop, directory.path());
            scope.spawn(move || {
                let index = Index::<u32, u32>::open(directory).unwrap();
                let mut at = writer;
                while !stop.load(Ordering::Relaxed) {
                    let next = (at * 7 + 13) % 3000;
                    let key = |at: u32| at / 10 * 10 + 1 + writer;
                    index
                        .transact(|index| {
                            index.remove(key(at))?;
                            index.insert(key(next), &(writer + 1)).map(drop)
                        })
                        .unwrap();
                    at = next;
                }
            });
        }
        for round in 0..60 {
            let mut pairs = match round % 2 {
                0 => index.iter().collect::<Result<Vec<_>>>().unwrap(),
                _ => index.iter().rev().collect::<Result<Vec<_>>>().unwrap(),
            };
            if round % 2 == 1 {
                pairs.reverse();
            }
            assert!(pairs.is_sorted() && pairs.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let stayed: Vec<u32> = pairs.iter().filter(|(_, mark)| *mark == 0).map(|(key, _)| *key).collect();
            assert!(stayed.into_iter().eq((0..300).map(|i| i * 10)));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(index.check().unwrap().is_clean());
}

/// A transaction moves a key to its neighbour in the same leaf: a look at both sees one of them.
#[test]
fn what_is_read_together_is_of_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::<u32, u32>::open(&directory).unwrap();
    index.insert(0, &0).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, directory) = (&stop, directory.path());
        scope.spawn(move || {
            let index = Index::<u32, u32>::open(directory).unwrap();
            let mut value = 0;
            while !stop.load(Ordering::Relaxed) {
                let (from, to) = (value % 2, (value + 1) % 2);
                value += 1;
                index
                    .transact(|index| {
                        index.remove(from)?;
                        index.insert(to, &value).map(drop)
                    })
                    .unwrap();
            }
        });
        let mut last = 0;
        for _ in 0..3000 {
            let pairs = index.range(..).collect::<Result<Vec<_>>>().unwrap();
            let [(key, value)] = pairs[..] else { panic!("{pairs:?}") };
            assert!(key == value % 2 && value >= last, "{key} {value} after {last}");
            last = value;
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// They begin before their handle has mapped anything.
#[test]
fn threads_of_one_handle_pop_each_key_once_and_in_order() {
    for round in 0..40 {
        let directory = scratch();
        let first = Index::<u32, u8>::open(directory.path()).unwrap();
        first.extend((0..40).map(|i| (i, 1))).unwrap();
        let second = Index::<u32, u8>::open(directory.path()).unwrap();
        let start = Barrier::new(3);
        let pop = || second.pop_first().unwrap().expect("there are more").0;
        let popped = std::thread::scope(|scope| {
            let ten = || {
                start.wait();
                (0..10).map(|_| pop()).collect::<Vec<u32>>()
            };
            let threads = [0; 3].map(|_| scope.spawn(ten));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(popped.iter().all(|of_one| of_one.is_sorted()), "round {round}: {popped:?}");
        let mut all = popped.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..30), "round {round}: {popped:?}");
        assert_eq!(first.pop_first().unwrap().map(|(key, _)| key), Some(30), "round {round}");
    }
}
