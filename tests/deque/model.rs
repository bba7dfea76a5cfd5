//! Random calls beside `VecDeque`.

use std::collections::VecDeque;

use larder::{Cache, Deque, Error, Result};

use crate::random::{Random, each_seed, scratch};

const CASES: u64 = 120;
const STEPS: usize = 60;

fn text(random: &mut Random) -> String {
    let number = random.below(40);
    let repeat = match random.below(20) {
        0 => 3000,
        1 => 20_000,
        _ => 1 + random.below(20) as usize,
    };
    format!("{number} {}", "x".repeat(repeat))
}

#[derive(Clone, Copy, Debug)]
enum Where {
    Alone,
    InACache,
}

fn open(directory: &std::path::Path, place: Where, maxlen: u64) -> Deque<String> {
    match place {
        Where::Alone => Deque::builder(directory).size_limit(16 << 20).maxlen(maxlen).open().unwrap(),
        Where::InACache => {
            let cache = Cache::builder(directory).size_limit(16 << 20).open().unwrap();
            cache.set("around", "the queue").unwrap();
            let deque = cache.deque("of a name").unwrap();
            deque.set_maxlen(Some(maxlen)).unwrap();
            deque
        }
    }
}

fn all(deque: &Deque<String>) -> VecDeque<String> {
    deque.iter().collect::<Result<_>>().unwrap()
}

fn trim(model: &mut VecDeque<String>, maxlen: u64, at_front: bool) {
    while model.len() as u64 > maxlen {
        if at_front {
            model.pop_front()
        } else {
            model.pop_back()
        };
    }
}

/// One call on the queue and on the model.
fn step(deque: &Deque<String>, model: &mut VecDeque<String>, maxlen: u64, random: &mut Random) -> Result<()> {
    let index = random.below(model.len() as u64 + 2) as usize;
    match random.below(24) {
        0..5 => {
            let value = text(random);
            deque.push_back(&value[..])?;
            model.push_back(value);
            trim(model, maxlen, true);
        }
        5..8 => {
            let value = text(random);
            deque.push_front(&value)?;
            model.push_front(value);
            trim(model, maxlen, false);
        }
        8..11 => assert_eq!(deque.pop_front()?, model.pop_front()),
        11 => assert_eq!(deque.pop_back()?, model.pop_back()),
        12 => {
            let values: Vec<String> = (0..random.below(12)).map(|_| text(random)).collect();
            let at_front = random.below(2) == 0;
            if at_front {
                deque.extend_front(values.clone())?
            } else {
                deque.extend(values.clone())?
            }
            for value in values {
                if at_front {
                    model.push_front(value)
                } else {
                    model.push_back(value)
                }
                trim(model, maxlen, !at_front);
            }
        }
        13 => {
            let value = text(random);
            let there = model.get_mut(index);
            assert_eq!(deque.set(index, &value[..])?, there.is_some());
            if let Some(there) = there {
                *there = value;
            }
        }
        14 => assert_eq!(deque.get(index)?.as_ref(), model.get(index)),
        15 => assert_eq!(deque.remove(index)?, model.remove(index)),
        16 if !model.is_empty() => {
            let n = random.below(2 * model.len() as u64) as usize;
            let len = model.len();
            if random.below(2) == 0 {
                deque.rotate_left(n)?;
                model.rotate_left(n % len);
            } else {
                deque.rotate_right(n)?;
                model.rotate_right(n % len);
            }
        }
        17 => {
            deque.truncate(index)?;
            model.truncate(index);
        }
        18 => {
            let odd = |value: &String| value.len() % 2 == 1;
            deque.retain(odd)?;
            model.retain(odd);
        }
        19 => {
            deque.reverse()?;
            model.make_contiguous().reverse();
        }
        20 => {
            let value = model.get(index).cloned().unwrap_or_else(|| text(random));
            assert_eq!(deque.count(&value)?, model.iter().filter(|there| **there == value).count() as u64);
            let there = model.iter().position(|there| *there == value);
            assert_eq!(deque.remove_value(&value)?, there.is_some());
            there.map(|at| model.remove(at));
        }
        21 if random.below(8) == 0 => assert_eq!(deque.clear()?, std::mem::take(model).len() as u64),
        22 => assert_eq!((deque.front()?.as_ref(), deque.back()?.as_ref()), (model.front(), model.back())),
        _ => {
            let backwards: VecDeque<String> = deque.iter().rev().collect::<Result<_>>()?;
            assert!(backwards.iter().eq(model.iter().rev()));
        }
    }
    assert_eq!(deque.len(), model.len());
    Ok(())
}

fn case(seed: u64) {
    let mut random = Random(seed);
    let place = if seed.is_multiple_of(2) { Where::Alone } else { Where::InACache };
    let maxlen = if random.below(3) == 0 { 1 + random.below(20) } else { u64::MAX };
    let directory = scratch();
    let mut handles = vec![open(directory.path(), place, maxlen)];
    let mut model = VecDeque::new();
    for _ in 0..STEPS {
        let which = random.below(handles.len() as u64) as usize;
        match random.below(30) {
            0 => handles.push(open(directory.path(), place, maxlen)),
            1 => {
                handles.clear();
                if random.below(2) == 0 {
                    // Everything but the log is made anew.
                    std::fs::remove_file(directory.path().join("state")).unwrap();
                }
                handles.push(open(directory.path(), place, maxlen));
            }
            2..5 => {
                let keeps = random.below(3) > 0;
                let mut staged = model.clone();
                let outcome = handles[which].transact(|deque| {
                    for _ in 0..random.below(6) {
                        step(deque, &mut staged, maxlen, &mut random)?;
                    }
                    assert_eq!(all(deque), staged);
                    if keeps { Ok(()) } else { Err(Error::aborted("as drawn")) }
                });
                assert_eq!(outcome.is_ok(), keeps, "{outcome:?}");
                if keeps {
                    model = staged;
                }
            }
            _ => step(&handles[which], &mut model, maxlen, &mut random).unwrap(),
        }
        assert_eq!(all(&handles[0]), model);
    }
    assert!(handles[0].check().unwrap().is_clean());
}

#[test]
fn random_calls_agree_with_a_vec_deque() {
    each_seed(CASES, case);
}
