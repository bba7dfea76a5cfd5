//! Large values that a transaction has touched: what becomes of their records meanwhile takes no file away, and nothing is counted
//! twice.

use super::super::handle::Handle;
use super::super::living::Living;
use super::super::store::Store;
use super::super::{DecidedValue, Decision, OwnedTag, Put, Tag, Value};
use super::acts::key_bytes;
use super::audit::audit;
use super::world::{SMALL_LIMIT, opening, path};
use crate::engine::recovery::Opening;
use crate::error::{Error, Result};
use crate::options::Eviction;
use crate::os::sim::{Machine, SimOs};
use std::time::Duration;

const LARGE: usize = 100_000;

fn open(machine: &Machine, policy: Eviction) -> Handle<SimOs> {
    let opening = Opening { eviction: Some(policy.to_bits()), ..opening(Some(SMALL_LIMIT)) };
    Handle::Store(Living::new(Store::open(machine.process(), &path(""), &opening).unwrap()))
}

fn set(handle: &Handle<SimOs>, key: u32, len: usize, expires: Option<u64>) -> Result<()> {
    let (key, bytes) = (key_bytes(key), vec![key as u8; len]);
    let draft = if handle.is_large(len) { Some(handle.draft(&bytes)?) } else { None };
    let value = match &draft {
        Some(draft) => Value::Draft { number: draft.number, len: draft.len, crc: draft.crc },
        None => Value::Inline(&bytes),
    };
    handle.put_hashed(&key, handle.hash(&key), Put { kind: 0, value, expires, tag: Tag::None })
}

/// Stores a large value again as it is, to expire never. False if there is none.
fn touch(handle: &Handle<SimOs>, key: u32) -> Result<bool> {
    handle.update(&key_bytes(key), |present, _| {
        let Some(present) = present else { return Ok((Decision::Keep, false)) };
        let value = DecidedValue::Same(present.large().expect("a large value"));
        Ok((Decision::Put { kind: 0, expires: None, tag: OwnedTag::None, value }, true))
    })
}

/// The bytes of a key that are there and can be read.
fn get(handle: &Handle<SimOs>, key: u32) -> Option<Vec<u8>> {
    let key = key_bytes(key);
    let large = handle.read(&key, handle.hash(&key), |found| Ok(found.large())).unwrap()?;
    Some(handle.read_large(large.expect("a large value")).unwrap())
}

#[test]
fn what_is_touched_inside_stays_when_it_expires_inside() {
    for policy in [Eviction::None, Eviction::LeastRecentlyStored] {
        let machine = Machine::with_file_capacity(3, 16 << 20);
        let handle = open(&machine, policy);
        set(&handle, 1, LARGE, Some(handle.now() + 1_000_000_000)).unwrap();
        set(&handle, 2, 10, Some(handle.now() + 1_000_000_000)).unwrap();
        let expired = handle.transact((None, false), |inside| {
            assert!(touch(inside, 1)?);
            machine.advance(Duration::from_secs(2));
            inside.expire()
        });
        assert_eq!(expired.unwrap(), 1, "the other");
        assert_eq!(get(&handle, 1), Some(vec![1; LARGE]));
        audit(&handle);
        assert!(handle.remove_hashed(&key_bytes(1), handle.hash(&key_bytes(1))).unwrap());
        audit(&handle);
    }
}

/// What it touched expires as it was, if the transaction is taken back.
#[test]
fn what_was_left_to_a_transaction_that_is_taken_back_expires_after_it() {
    let machine = Machine::with_file_capacity(3, 16 << 20);
    let handle = open(&machine, Eviction::None);
    set(&handle, 1, LARGE, Some(handle.now() + 1_000_000_000)).unwrap();
    let taken_back = handle.transact((None, false), |inside| {
        assert!(touch(inside, 1)?);
        machine.advance(Duration::from_secs(2));
        assert_eq!(inside.expire()?, 0);
        Err::<(), _>(Error::InTransaction)
    });
    assert!(taken_back.is_err());
    assert_eq!((handle.expire().unwrap(), handle.len()), (1, 0));
    audit(&handle);
}

/// The transaction needs room for what else it has, and what it touched is the oldest that there is.
#[test]
fn what_is_touched_inside_stays_when_the_commit_needs_room() {
    for policy in [Eviction::LeastRecentlyStored, Eviction::S3Fifo, Eviction::LeastRecentlyUsed, Eviction::None] {
        let machine = Machine::with_file_capacity(3, 16 << 20);
        let handle = open(&machine, policy);
        let mut touched = 0;
        for round in 0..30 {
            set(&handle, round, LARGE, None).unwrap();
            // Until it is the oldest, or nothing more fits.
            for small in 0..500 {
                let key = 1_000 + round * 500 + small;
                if set(&handle, key, 3_000, None).is_err() || !handle.is_short_by(200_000) {
                    continue;
                }
                let was_there = handle.transact((None, false), |inside| {
                    let was_there = touch(inside, round)?;
                    (0..60).try_for_each(|i| set(inside, 100_000 + i, 3_000, None))?;
                    Ok::<_, Error>(was_there)
                });
                let Ok(was_there) = was_there else { break };
                if was_there {
                    touched += 1;
                    assert_eq!(get(&handle, round), Some(vec![round as u8; LARGE]), "{policy:?}, round {round}");
                    audit(&handle);
                }
                break;
            }
            if policy == Eviction::None {
                handle.clear().unwrap();
            }
        }
        assert!(touched > 0 || policy == Eviction::None, "{policy:?}");
    }
}
