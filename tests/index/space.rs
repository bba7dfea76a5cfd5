//! What an index takes is there for whatever comes next, and it can take most of its limit.

use larder::{Cache, Error, Index};

use crate::random::scratch;

const LIMIT: u64 = 8 << 20;

/// The key of a number, of such a length.
fn key(number: u32, len: usize) -> Vec<u8> {
    let mut key = number.to_be_bytes().to_vec();
    key.resize(len, 7);
    key
}

/// Puts keys until one is refused. How many there are then.
fn fill(index: &Index<Vec<u8>, u8>, len: usize) -> u32 {
    for number in 0.. {
        match index.insert(key(number, len), &1) {
            Ok(_) => {}
            Err(Error::Full) => return number,
            Err(error) => panic!("{error:?}"),
        }
    }
    0
}

#[test]
fn what_keys_of_one_length_leave_is_there_for_those_of_another() {
    for (first, then, is_cleared) in [(1200, 300, true), (600, 1200, true), (600, 1200, false), (300, 3000, true)] {
        let directory = scratch();
        let index = Index::<Vec<u8>, u8>::builder(directory.path()).size_limit(LIMIT).background(false).open().unwrap();
        let stored = fill(&index, first);
        if is_cleared {
            assert_eq!(index.clear().unwrap(), u64::from(stored));
        } else {
            while index.pop_first().unwrap().is_some() {}
        }
        assert!(index.is_empty());
        let again = fill(&index, then);
        let other = scratch();
        let fresh = Index::<Vec<u8>, u8>::builder(other.path()).size_limit(LIMIT).background(false).open().unwrap();
        let fresh = fill(&fresh, then);
        let what =
            format!("{stored} keys of {first} bytes, then {again} of {then}, for {fresh}; cleared: {is_cleared}");
        assert!(again * 2 > fresh, "{what}");
        assert_eq!(index.range(..).count(), again as usize);
        assert!(index.check().unwrap().is_clean());
    }
}

#[test]
fn an_index_fills_its_limit() {
    for len in [4, 40, 400] {
        let directory = scratch();
        let index = Index::<Vec<u8>, u8>::builder(directory.path()).size_limit(LIMIT).background(false).open().unwrap();
        let stored = fill(&index, len);
        assert!(index.volume() > LIMIT / 4 * 3, "{stored} keys of {len} bytes take {} of {LIMIT}", index.volume());
    }
}

/// An index beside a cache that evicts: what its nodes took is there for items again.
#[test]
fn an_emptied_index_leaves_its_room_to_the_cache_around_it() {
    const LIMIT: u64 = 16 << 20;
    // Not in memory.
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::builder(directory.path()).size_limit(LIMIT).background(false).open().unwrap();
    let index = cache.index::<Vec<u8>, u8>("index").unwrap();
    let stored = 10_000_u32;
    (0..stored).for_each(|number| assert!(index.insert(key(number, 400), &1).unwrap()));
    let value = vec![7_u8; 10_000];
    // So many fit in a cache of this limit.
    let fits = (LIMIT / 11_000) as u32;
    let around = || {
        (0..fits).for_each(|number| cache.set_bytes(number, &value).unwrap());
        (0..fits).filter(|&number| cache.contains(number).unwrap()).count() as u32
    };
    let beside = around();
    assert!(beside < fits / 2, "{beside} of {fits}");
    assert_eq!(index.clear().unwrap(), u64::from(stored));
    let kept = around();
    assert_eq!(index.len(), 0);
    assert!(cache.check().unwrap().is_clean());
    if gives_space_back(directory.path()) {
        assert!(kept > fits / 5 * 4, "{kept} of {fits}, {beside} beside {stored} keys");
    }
}

/// False where files give back none of the space in their middle: on tmpfs and overlayfs it could not be read safely any more.
fn gives_space_back(directory: &std::path::Path) -> bool {
    const OTHERS: [u64; 2] = [0x0102_1994, 0x794C_7630];
    cfg!(target_os = "linux")
        && rustix::fs::statfs(directory).is_ok_and(|about| !OTHERS.contains(&(about.f_type as u64)))
}
