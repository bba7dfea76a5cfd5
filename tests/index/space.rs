//! What an index takes is there for whatever comes next, and it can take most of its limit.

use larder::{Error, Index};

use crate::random::scratch;

const LIMIT: u64 = 16 << 20;

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
