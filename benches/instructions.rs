//! A small program of fixed calls, for `instructions.sh` to count what they execute: `instructions CALL COUNT`.
//!
//! An example and no benchmark, for it to be built with what the other examples are built with.

use larder::{Cache, Deque, Index};

/// Items of the cache, and elements of the queue.
const ITEMS: u64 = 1000;

/// Numbers in an order that looks like none.
fn shuffled(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, call, count] = arguments.as_slice() else { return Err("a call and a count".into()) };
    let count: u64 = count.parse()?;
    let directory = tempfile::tempdir()?;
    // What a thread of its own does in between would be counted too.
    let cache = Cache::builder(directory.path().join("cache")).background(false).open()?;
    let value = [7; 100];
    for n in 0..ITEMS {
        cache.set_bytes(n, &value)?;
    }
    match call.as_str() {
        "get" => {
            for n in 0..count {
                assert_eq!(cache.get_bytes(n % ITEMS)?.map(|found| found.len()), Some(value.len()));
            }
        }
        "set" => (0..count).try_for_each(|n| cache.set_bytes(n % ITEMS, &value))?,
        "incr" => {
            for n in 1..=count {
                assert_eq!(cache.incr("counter", 1)?, n as i64);
            }
        }
        "push+pop" => {
            let queue = Deque::<String>::open(directory.path().join("queue"))?;
            let element = "x".repeat(100);
            for _ in 0..count {
                queue.push_back(&element)?;
                assert_eq!(queue.pop_front()?.as_deref(), Some(element.as_str()));
            }
        }
        "insert" | "insert+pop" | "range" => {
            let index = Index::<u64, String>::open(directory.path().join("index"))?;
            let value = "x".repeat(100);
            for n in 0..ITEMS {
                index.insert(shuffled(n), &value)?;
            }
            match call.as_str() {
                "insert" => {
                    for n in ITEMS..ITEMS + count {
                        index.insert(shuffled(n), &value)?;
                    }
                }
                "insert+pop" => {
                    for n in ITEMS..ITEMS + count {
                        index.insert(shuffled(n), &value)?;
                        assert!(index.pop_first()?.is_some());
                    }
                }
                _ => {
                    for _ in 0..count / ITEMS {
                        assert_eq!(index.iter().filter(Result::is_ok).count() as u64, ITEMS);
                    }
                }
            }
        }
        _ => return Err(format!("no call {call}").into()),
    }
    Ok(())
}
