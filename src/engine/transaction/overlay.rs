//! What a transaction has staged: every version of every key it wrote, in the order of writing, in memory alone. It does not
//! know the store, nor what becomes of the versions.
//!
//! Versions are appended and never changed while a savepoint is open, so a savepoint is a length, and going back to it is
//! cutting to that length. The newest version of a key is found through a table of hashes once there are more than a few.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use crate::error::{Error, Result};
use crate::storage::record::{Draft, Header, Type};

/// Up to this many versions are searched one by one.
const LINEAR_MAX: usize = 16;
/// What a version is counted as beside the bytes of its key and value: about what it takes in the log.
const VERSION_BYTES: usize = 64;
/// The orders and sequences of staged versions: behind everything that a log can hold.
const STAGED: u64 = 1 << 63;

/// Hashes are spread already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8) | u64::from(byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// One version of one key.
struct Version {
    hash: u64,
    key: Range<usize>,
    value: Range<usize>,
    /// `None` for a removal.
    header: Option<Header>,
    /// The key was absent before this version: it takes a new place in the order of insertion.
    anew: bool,
    /// The version with the same hash before it.
    before: Option<usize>,
    /// The key has no version behind this one.
    is_newest: bool,
}

/// A version with its bytes.
pub struct Staged<'o> {
    pub hash: u64,
    pub key: &'o [u8],
    pub value: &'o [u8],
    /// `None` for a removal.
    pub header: Option<&'o Header>,
    /// The key takes a new place in the order of insertion, whatever the store has.
    pub anew: bool,
}

/// What a transaction can be taken back to.
pub struct Savepoint {
    versions: usize,
    bytes: usize,
    evicted: usize,
    names: usize,
    /// Where the versions begin that count, and whether the store counts.
    first: usize,
    cleared: bool,
}

/// Everything that is staged.
#[derive(Default)]
pub struct Overlay {
    bytes: Vec<u8>,
    versions: Vec<Version>,
    newest: Option<HashMap<u64, usize, BuildHasherDefault<AsIs>>>,
    /// Versions before this one were cleared away.
    first: usize,
    /// Everything of the store is cleared.
    pub cleared: bool,
    /// Tags whose items of the store are evicted.
    pub evicted: Vec<u32>,
    /// Names of tags that the store does not have yet.
    pub names: Vec<String>,
    /// Savepoints that may still be gone back to.
    pub savepoints: usize,
}

/// What an overlay begins with: room for a small transaction, so that it does not grow step by step.
const FIRST_VERSIONS: usize = 16;
const FIRST_BYTES: usize = 2048;

impl Overlay {
    pub fn new() -> Overlay {
        Overlay {
            versions: Vec::with_capacity(FIRST_VERSIONS),
            bytes: Vec::with_capacity(FIRST_BYTES),
            ..Overlay::default()
        }
    }

    /// True if nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.first == self.versions.len() && !self.cleared && self.evicted.is_empty()
    }

    fn version(&self, at: usize) -> Staged<'_> {
        let version = &self.versions[at];
        Staged {
            hash: version.hash,
            key: &self.bytes[version.key.clone()],
            value: &self.bytes[version.value.clone()],
            header: version.header.as_ref(),
            anew: version.anew,
        }
    }

    fn position(&self, key: &[u8], hash: u64) -> Option<usize> {
        let is_it = |at: &usize| self.versions[*at].hash == hash && self.bytes[self.versions[*at].key.clone()] == *key;
        let Some(newest) = &self.newest else {
            return (self.first..self.versions.len()).rev().find(is_it);
        };
        let mut at = newest.get(&hash).copied();
        while let Some(found) = at.filter(|&at| at >= self.first) {
            if is_it(&found) {
                return Some(found);
            }
            at = self.versions[found].before;
        }
        None
    }

    /// The newest version of a key.
    pub fn get(&self, key: &[u8], hash: u64) -> Option<Staged<'_>> {
        self.position(key, hash).map(|at| self.version(at))
    }

    /// The newest versions of all keys, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = Staged<'_>> {
        (self.first..self.versions.len()).filter(|&at| self.versions[at].is_newest).map(|at| self.version(at))
    }

    /// Stages a version: of a put if there is a draft of its record, else of a removal. Sequence and order of the draft do
    /// not count; `anew` says that the key was absent.
    pub fn push(&mut self, key: &[u8], hash: u64, put: Option<&Draft<'_>>, anew: bool, limit: u64) -> Result<()> {
        let value = put.map_or(&[][..], |draft| draft.value);
        let adds = key.len() + value.len() + VERSION_BYTES;
        if self.size() + adds as u64 > limit {
            self.forget_old_versions();
            if self.size() + adds as u64 > limit {
                return Err(Error::TransactionTooLarge { bytes: self.size() + adds as u64, limit });
            }
        }
        let number = STAGED + self.versions.len() as u64;
        let header = put.map(|draft| {
            Header::of(&Draft { kind_of_record: Type::Put, sequence: number, replaces: Some((0, number)), ..*draft })
        });
        if let Some(replaced) = self.position(key, hash) {
            self.versions[replaced].is_newest = false;
        }
        let key = self.add(key);
        let value = self.add(value);
        self.append(Version { hash, key, value, header, anew, before: None, is_newest: true });
        Ok(())
    }

    fn append(&mut self, mut version: Version) {
        let at = self.versions.len();
        if let Some(newest) = &mut self.newest {
            version.before = newest.insert(version.hash, at);
        }
        self.versions.push(version);
        if self.newest.is_none() && self.versions.len() > LINEAR_MAX {
            self.make_table();
        }
    }

    fn make_table(&mut self) {
        let mut newest: HashMap<u64, usize, BuildHasherDefault<AsIs>> = HashMap::default();
        for (at, version) in self.versions.iter_mut().enumerate() {
            version.before = newest.insert(version.hash, at);
        }
        self.newest = Some(newest);
    }

    fn add(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// What the versions that count, and those kept for savepoints, are counted as.
    fn size(&self) -> u64 {
        (self.bytes.len() + self.versions.len() * VERSION_BYTES) as u64
    }

    /// Keeps the newest version of each key alone, unless a savepoint needs the others: a counter that is counted up a
    /// million times takes the space of one.
    fn forget_old_versions(&mut self) {
        if self.savepoints > 0 {
            return;
        }
        let mut kept = Overlay::default();
        for version in self.iter() {
            let key = kept.add(version.key);
            let value = kept.add(version.value);
            let header = version.header.copied();
            kept.append(Version {
                hash: version.hash,
                key,
                value,
                header,
                anew: version.anew,
                before: None,
                is_newest: true,
            });
        }
        (self.bytes, self.versions, self.newest, self.first) = (kept.bytes, kept.versions, kept.newest, 0);
    }

    /// Everything of the store and everything staged so far is gone.
    pub fn clear(&mut self) {
        self.first = self.versions.len();
        self.cleared = true;
    }

    /// Where to go back to.
    pub fn savepoint(&mut self) -> Savepoint {
        self.savepoints += 1;
        Savepoint {
            versions: self.versions.len(),
            bytes: self.bytes.len(),
            evicted: self.evicted.len(),
            names: self.names.len(),
            first: self.first,
            cleared: self.cleared,
        }
    }

    /// Gives up a savepoint. What was staged since stays if `keep` says so.
    pub fn release(&mut self, savepoint: &Savepoint, keep: bool) {
        self.savepoints -= 1;
        if keep {
            return;
        }
        self.versions.truncate(savepoint.versions);
        self.bytes.truncate(savepoint.bytes);
        self.evicted.truncate(savepoint.evicted);
        self.names.truncate(savepoint.names);
        (self.first, self.cleared) = (savepoint.first, savepoint.cleared);
        self.newest = None;
        if self.versions.len() > LINEAR_MAX {
            self.make_table();
        }
        for at in self.first..self.versions.len() {
            let Version { hash, key, .. } = &self.versions[at];
            let newest = self.position(&self.bytes[key.clone()], *hash) == Some(at);
            self.versions[at].is_newest = newest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn put<'a>(value: &'a [u8]) -> Draft<'a> {
        Draft { value, ..Draft::bare(Type::Put, 0) }
    }

    fn get(overlay: &Overlay, key: &[u8], hash: u64) -> Option<Option<Vec<u8>>> {
        overlay.get(key, hash).map(|staged| staged.header.map(|_| staged.value.to_vec()))
    }

    /// Every number of keys on both sides of the table, with hashes that all collide or never do.
    #[test]
    fn the_newest_version_of_a_key_counts() {
        for keys in [1u32, 3, 15, 16, 17, 200] {
            for same_hash in [true, false] {
                let mut overlay = Overlay::default();
                let hash = |i: u32| if same_hash { 7 } else { u64::from(i) };
                for round in 0..3u32 {
                    for i in 0..keys {
                        let value = (round * 1000 + i).to_le_bytes();
                        overlay.push(&i.to_le_bytes(), hash(i), Some(&put(&value)), false, LIMIT).unwrap();
                    }
                }
                overlay.push(&0u32.to_le_bytes(), hash(0), None, false, LIMIT).unwrap();
                assert_eq!(get(&overlay, &0u32.to_le_bytes(), hash(0)), Some(None));
                for i in 1..keys {
                    let value = (2000 + i).to_le_bytes().to_vec();
                    assert_eq!(get(&overlay, &i.to_le_bytes(), hash(i)), Some(Some(value)));
                }
                assert_eq!(get(&overlay, b"other", 7), None);
                assert_eq!(overlay.iter().count(), keys as usize);
            }
        }
    }

    #[test]
    fn a_savepoint_takes_back_all_that_came_after_it() {
        for before in [2u32, 40] {
            let mut overlay = Overlay::default();
            for i in 0..before {
                overlay.push(&i.to_le_bytes(), i.into(), Some(&put(b"before")), false, LIMIT).unwrap();
            }
            let savepoint = overlay.savepoint();
            for i in 0..50u32 {
                overlay.push(&i.to_le_bytes(), i.into(), Some(&put(b"after")), false, LIMIT).unwrap();
            }
            overlay.evicted.push(3);
            overlay.clear();
            overlay.push(b"x", 9999, Some(&put(b"cleared")), false, LIMIT).unwrap();
            assert_eq!(overlay.iter().count(), 1);
            overlay.release(&savepoint, false);
            assert!(!overlay.cleared && overlay.evicted.is_empty());
            assert_eq!(overlay.iter().count(), before as usize);
            assert!(overlay.iter().all(|staged| staged.value == b"before"));
            assert_eq!(get(&overlay, b"x", 9999), None);
        }
    }

    #[test]
    fn versions_that_were_replaced_do_not_fill_it() {
        let mut overlay = Overlay::default();
        for i in 0..100_000u32 {
            overlay.push(b"counter", 1, Some(&put(&i.to_le_bytes())), false, 4096).unwrap();
        }
        assert_eq!(get(&overlay, b"counter", 1), Some(Some(99_999u32.to_le_bytes().to_vec())));
        let savepoint = overlay.savepoint();
        let full =
            (0..100_000u32).find(|i| overlay.push(b"counter", 1, Some(&put(&i.to_le_bytes())), false, 4096).is_err());
        assert!(full.is_some(), "what a savepoint needs is kept");
        overlay.release(&savepoint, false);
        assert_eq!(get(&overlay, b"counter", 1), Some(Some(99_999u32.to_le_bytes().to_vec())));
    }
}
