//! What a transaction has staged: every version of every key it wrote, in the order of writing, in memory alone. It does not
//! know the store, nor what becomes of the versions.
//!
//! Versions are appended and never changed while a savepoint is open, so a savepoint is a length, and going back to it is
//! cutting to that length. The newest version of a key is found through a table of hashes once there are more than a few.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use crate::error::{Error, Result};
use crate::storage::namespace::{Kind, Namespace, is_inner, parse};
use crate::storage::record::{Draft, Header, Type};

use super::super::by_hash::ByHash;
use super::super::queue::Span;
use super::emptied::Emptied;

/// Up to this many versions are searched one by one.
const LINEAR_MAX: usize = 16;
/// What a version is counted as beside the bytes of its key and value: about what it takes in the log.
const VERSION_BYTES: usize = 64;
/// The orders and sequences of staged versions: behind everything that a log can hold.
const STAGED: u64 = 1 << 63;

/// What a staged put is beside its key and its value.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    pub kind: u8,
    pub tag: u32,
    /// Nanoseconds since 1970; `u64::MAX` for never.
    pub expires: u64,
    pub large: bool,
}

impl Meta {
    /// When it expires, if it does.
    #[inline]
    pub fn expires(&self) -> Option<u64> {
        Some(self.expires).filter(|&at| at != u64::MAX)
    }
}

/// One version of one key. Its value stands behind its key.
#[derive(Clone, Copy)]
struct Version {
    hash: u64,
    key: usize,
    key_len: usize,
    value_len: usize,
    /// `None` for a removal.
    put: Option<Meta>,
    /// The version with the same hash before it, once there is a table.
    before: Option<usize>,
    /// The key was absent before this version: it takes a new place in the order of insertion.
    anew: bool,
    /// The key has no version behind this one.
    is_newest: bool,
    /// The version with which the key came to be there, or went: what replaces a put has the place of that.
    since: usize,
    /// Of a version that is `since` for others: the last of these.
    latest: usize,
}

impl Version {
    fn key(&self) -> Range<usize> {
        self.key..self.key + self.key_len
    }

    fn value(&self) -> Range<usize> {
        self.key + self.key_len..self.key + self.key_len + self.value_len
    }
}

/// A version with its bytes.
pub struct Staged<'o> {
    pub hash: u64,
    pub key: &'o [u8],
    pub value: &'o [u8],
    /// `None` for a removal.
    pub put: Option<Meta>,
    /// The key takes a new place in the order of insertion, whatever the store has.
    pub anew: bool,
    /// The version's own number, and that of the one whose place it has.
    numbers: (usize, usize),
}

impl Staged<'_> {
    /// What the header of a put of this version would be: its sequence and its order are behind everything that a log can
    /// hold.
    pub fn header(&self, put: &Meta) -> Header {
        let (number, since) = (STAGED + self.numbers.0 as u64, STAGED + self.numbers.1 as u64);
        Header::of(&Draft {
            key: self.key,
            value: self.value,
            kind: put.kind,
            tag: put.tag,
            expires: put.expires(),
            large: put.large,
            replaces: Some((0, since)),
            ..Draft::bare(Type::Put, number)
        })
    }
}

/// How many keys are staged.
#[derive(Default)]
pub struct Count {
    pub keys: usize,
    pub puts: u64,
    /// True if a key is removed, or takes a new place in the order of insertion.
    pub moves: bool,
}

/// What a transaction can be taken back to.
pub struct Savepoint {
    versions: usize,
    bytes: usize,
    evicted: usize,
    names: usize,
    spans: usize,
    /// Where the versions begin that count, and whether the store counts.
    first: usize,
    cleared: bool,
}

/// Everything that is staged.
#[derive(Default)]
pub struct Overlay {
    bytes: Vec<u8>,
    versions: Vec<Version>,
    newest: Option<ByHash<usize>>,
    /// The hashes of all versions with their numbers, once somebody walks through the transaction.
    by_hash: Option<BTreeSet<(u64, usize)>>,
    /// Versions before this one were cleared away.
    first: usize,
    /// Everything of the store is cleared.
    pub cleared: bool,
    /// Tags whose items of the store are evicted.
    pub evicted: Vec<u32>,
    /// Names of tags that the store does not have yet.
    pub names: Vec<(Kind, String)>,
    /// What became of queues, the last of each counts: its namespace, its span, and the positions that had lost their elements.
    pub spans: Vec<(Namespace, Span, u64)>,
    /// Elements that were over the bound of their queue before the transaction, and that it has dropped.
    pub dropped: u64,
    /// Keys of indexes that have or had a version, in order.
    pub ordered: BTreeSet<Vec<u8>>,
    /// What is known to be empty at the ends of indexes.
    pub emptied: Emptied,
    /// How often an index was looked at.
    #[cfg(test)]
    pub looks: u64,
    /// It says who has something, or that nobody has it any more: it may use the room of removals.
    pub gives_up: bool,
    /// Savepoints that may still be gone back to.
    pub savepoints: usize,
    /// A filter of the hashes of all versions: none has one whose bit is not set.
    hashes: [u64; FILTER_BITS / 64],
    /// No value is longer.
    longest: usize,
}

/// Bits of the filter of hashes.
const FILTER_BITS: usize = 256;

/// The bit of a hash in the filter.
#[inline(always)]
fn filter_bit(hash: u64) -> (usize, u64) {
    let bit = hash as usize % FILTER_BITS;
    (bit / 64, 1 << (bit % 64))
}

/// Buffers that outlive a transaction, so that a small one allocates little.
#[derive(Default)]
struct Spare {
    bytes: Vec<u8>,
    versions: Vec<Version>,
}

thread_local! {
    static SPARE: Cell<Spare> = const { Cell::new(Spare { bytes: Vec::new(), versions: Vec::new() }) };
}

/// Buffers longer than this are given back to the allocator.
const SPARE_BYTES: usize = 1 << 16;
const SPARE_VERSIONS: usize = 1 << 10;

impl Overlay {
    /// Nothing, with the buffers that this thread used last.
    pub fn new() -> Overlay {
        let spare = SPARE.try_with(Cell::take).unwrap_or_default();
        Overlay { bytes: spare.bytes, versions: spare.versions, ..Overlay::default() }
    }

    /// Leaves the buffers to the next transaction of this thread, if they are not too large to keep.
    pub fn give_back(mut self) {
        if self.bytes.capacity() <= SPARE_BYTES && self.versions.capacity() <= SPARE_VERSIONS {
            self.bytes.clear();
            self.versions.clear();
            let _ = SPARE.try_with(|spare| spare.set(Spare { bytes: self.bytes, versions: self.versions }));
        }
    }

    /// True if nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.first == self.versions.len() && !self.cleared && self.evicted.is_empty() && self.spans.is_empty()
    }

    #[inline]
    fn version(&self, at: usize) -> Staged<'_> {
        let version = &self.versions[at];
        Staged {
            hash: version.hash,
            key: &self.bytes[version.key()],
            value: &self.bytes[version.value()],
            put: version.put,
            anew: version.anew,
            numbers: (at, version.since),
        }
    }

    /// Nearly every key that is looked for is one that is not staged, which the filter says.
    #[inline]
    fn position(&self, key: &[u8], hash: u64) -> Option<usize> {
        let (word, bit) = filter_bit(hash);
        if self.hashes[word] & bit == 0 { None } else { self.search(key, hash) }
    }

    #[inline(never)]
    fn search(&self, key: &[u8], hash: u64) -> Option<usize> {
        let is_it = |at: &usize| self.versions[*at].hash == hash && self.bytes[self.versions[*at].key()] == *key;
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

    /// Where the newest versions are, in the order in which their keys came to be there.
    fn newest_versions(&self) -> impl Iterator<Item = usize> + Clone {
        let begins = (self.first..self.versions.len()).filter(|&at| self.versions[at].since == at);
        begins.map(|at| self.versions[at].latest).filter(|&at| self.versions[at].is_newest)
    }

    /// The newest versions of all keys, in the order in which the keys came to be there.
    pub fn iter(&self) -> impl Iterator<Item = Staged<'_>> + Clone {
        self.newest_versions().map(|at| self.version(at))
    }

    /// The newest versions of the keys with such hashes.
    pub fn hashed(&mut self, hashes: RangeInclusive<u64>) -> impl Iterator<Item = Staged<'_>> {
        let all = self.versions.iter().enumerate().map(|(at, version)| (version.hash, at));
        let by_hash = &*self.by_hash.get_or_insert_with(|| all.collect());
        let found: Vec<usize> =
            by_hash.range((*hashes.start(), 0)..=(*hashes.end(), usize::MAX)).map(|&(_, at)| at).collect();
        let counts = |&at: &usize| at >= self.first && self.versions[at].is_newest;
        found.into_iter().filter(counts).map(|at| self.version(at))
    }

    /// No version that was staged and not taken back has a longer value.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// What is staged in the end.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for version in self.versions[self.first..].iter().filter(|version| version.is_newest) {
            count.keys += 1;
            count.puts += u64::from(version.put.is_some());
            // A removal counts out what has expired too: inside, it replaced what the transaction had put over it.
            count.moves |= version.anew || version.put.is_none();
        }
        count
    }

    /// At most so many keys have a version that counts.
    pub fn keys_max(&self) -> usize {
        self.versions.len() - self.first
    }

    /// The hash of the version that was staged so many before the next.
    #[inline]
    pub fn staged_before(&self, versions: usize) -> Option<u64> {
        self.versions.get(self.versions.len().checked_sub(versions)?).map(|version| version.hash)
    }

    /// The hash of about the key with that number in [`Overlay::iter`].
    #[inline]
    pub fn hash_about(&self, number: usize) -> Option<u64> {
        self.versions.get(self.first + number).map(|version| version.hash)
    }

    /// Stages a version: a put of a value, or a removal. `anew` says that the key was absent, or is staged so, and `absent` that it
    /// is absent now.
    #[inline]
    pub fn push(
        &mut self,
        (key, hash): (&[u8], u64),
        put: Option<(Meta, &[u8])>,
        (anew, absent): (bool, bool),
        limit: u64,
    ) -> Result<()> {
        let value = put.map_or(&[][..], |(_, value)| value);
        if let Some((Kind::Index, index, own)) = parse(key) {
            self.ordered.insert(key.to_vec());
            if put.is_some() {
                self.emptied.put(index, own);
            }
        }
        if self.size() + (key.len() + value.len() + VERSION_BYTES) as u64 > limit {
            self.make_room(key.len() + value.len() + VERSION_BYTES, limit)?;
        }
        let mut since = self.versions.len();
        if let Some(replaced) = self.position(key, hash) {
            self.versions[replaced].is_newest = false;
            let there = &self.versions[replaced];
            if put.is_some() && there.put.is_some() && !absent && (there.anew || !anew) {
                since = there.since;
            }
        }
        let at = self.bytes.len();
        self.bytes.reserve(key.len() + value.len());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.longest = self.longest.max(value.len());
        self.append(Version {
            hash,
            key: at,
            key_len: key.len(),
            value_len: value.len(),
            put: put.map(|(meta, _)| meta),
            before: None,
            anew,
            is_newest: true,
            since,
            latest: self.versions.len(),
        });
        Ok(())
    }

    #[cold]
    fn make_room(&mut self, bytes: usize, limit: u64) -> Result<()> {
        self.forget_old_versions();
        let total = self.size() + bytes as u64;
        if total > limit { Err(Error::TransactionTooLarge { bytes: total, limit }) } else { Ok(()) }
    }

    #[inline]
    fn append(&mut self, version: Version) {
        let (word, bit) = filter_bit(version.hash);
        self.hashes[word] |= bit;
        let at = self.versions.len();
        if let Some(by_hash) = &mut self.by_hash {
            by_hash.insert((version.hash, at));
        }
        self.versions.push(version);
        self.versions[version.since].latest = at;
        if self.versions.len() > LINEAR_MAX {
            self.note_last();
        }
    }

    #[cold]
    fn note_last(&mut self) {
        match (&mut self.newest, self.versions.len().checked_sub(1)) {
            (Some(newest), Some(at)) => self.versions[at].before = newest.insert(self.versions[at].hash, at),
            _ => self.make_table(),
        }
    }

    fn make_table(&mut self) {
        let mut newest: ByHash<usize> = ByHash::default();
        for (at, version) in self.versions.iter_mut().enumerate() {
            version.before = newest.insert(version.hash, at);
        }
        self.newest = Some(newest);
    }

    /// What the versions that count, and those kept for savepoints, are counted as.
    pub fn size(&self) -> u64 {
        (self.bytes.len() + self.versions.len() * VERSION_BYTES) as u64
    }

    /// Keeps the newest version of each key alone, unless a savepoint needs the others: a counter that is counted up a
    /// million times takes the space of one.
    fn forget_old_versions(&mut self) {
        if self.savepoints > 0 {
            return;
        }
        let mut kept = Overlay::default();
        for version in self.newest_versions().map(|at| &self.versions[at]) {
            let at = kept.bytes.len();
            kept.bytes.extend_from_slice(&self.bytes[version.key..version.value().end]);
            let since = kept.versions.len();
            kept.append(Version { key: at, before: None, since, ..*version });
        }
        (self.bytes, self.versions, self.newest, self.first) = (kept.bytes, kept.versions, kept.newest, 0);
        self.by_hash = None;
    }

    /// Everything of the store and everything staged so far is gone, but for what is in namespaces: that is staged again.
    pub fn clear(&mut self) {
        let first = self.versions.len();
        let newest: Vec<usize> = self.newest_versions().collect();
        for at in newest {
            let version = self.versions[at];
            if is_inner(&self.bytes[version.key()]) {
                self.versions[at].is_newest = false;
                let since = self.versions.len();
                self.append(Version { before: None, since, ..version });
            }
        }
        self.first = first;
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
            spans: self.spans.len(),
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
        self.spans.truncate(savepoint.spans);
        // Of parts of two threads, the one that began later may be taken back later too.
        (self.first, self.cleared) = (savepoint.first.min(self.versions.len()), savepoint.cleared);
        (self.newest, self.by_hash) = (None, None);
        self.emptied.forget();
        if self.versions.len() > LINEAR_MAX {
            self.make_table();
        }
        for at in self.first..self.versions.len() {
            let version = &self.versions[at];
            let newest = self.position(&self.bytes[version.key()], version.hash) == Some(at);
            let since = version.since;
            self.versions[at].is_newest = newest;
            self.versions[since].latest = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn put(value: &[u8]) -> (Meta, &[u8]) {
        (Meta { kind: 0, tag: 0, expires: u64::MAX, large: false }, value)
    }

    fn get(overlay: &Overlay, key: &[u8], hash: u64) -> Option<Option<Vec<u8>>> {
        overlay.get(key, hash).map(|staged| staged.put.map(|_| staged.value.to_vec()))
    }

    /// Walks find what is there, whatever was staged, cleared and taken back since the last one.
    #[test]
    fn walks_by_hash_find_the_newest_versions_alone() {
        let mut overlay = Overlay::new();
        let check = |overlay: &mut Overlay| {
            for (low, high) in [(0, u64::MAX), (3, 7), (5, 5), (8, 40)] {
                let inside = |staged: &Staged<'_>| (low..=high).contains(&staged.hash);
                let of = |staged: Staged<'_>| (staged.hash, staged.key.to_vec(), staged.value.to_vec());
                let mut expected: Vec<_> = overlay.iter().filter(inside).map(of).collect();
                let mut found: Vec<_> = overlay.hashed(low..=high).map(of).collect();
                expected.sort();
                found.sort();
                assert_eq!(found, expected);
            }
        };
        for round in 0..200_u32 {
            let key = (round * 7 % 31).to_le_bytes();
            let staged = (round % 5 != 0).then(|| put(&key[..1]));
            overlay.push((&key, u64::from(key[0] % 13)), staged, (false, false), LIMIT).unwrap();
            check(&mut overlay);
            if round % 20 == 3 {
                let savepoint = overlay.savepoint();
                overlay.push((b"taken back", 5), Some(put(b"x")), (false, false), LIMIT).unwrap();
                if round % 40 == 3 {
                    overlay.clear();
                }
                check(&mut overlay);
                overlay.release(&savepoint, round % 60 == 3);
                check(&mut overlay);
            }
        }
        overlay.forget_old_versions();
        check(&mut overlay);
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
                        overlay.push((&i.to_le_bytes(), hash(i)), Some(put(&value)), (false, false), LIMIT).unwrap();
                    }
                }
                overlay.push((&0u32.to_le_bytes(), hash(0)), None, (false, false), LIMIT).unwrap();
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
                overlay.push((&i.to_le_bytes(), i.into()), Some(put(b"before")), (false, false), LIMIT).unwrap();
            }
            let savepoint = overlay.savepoint();
            for i in 0..50u32 {
                overlay.push((&i.to_le_bytes(), i.into()), Some(put(b"after")), (false, false), LIMIT).unwrap();
            }
            overlay.evicted.push(3);
            overlay.clear();
            overlay.push((b"x", 9999), Some(put(b"cleared")), (false, false), LIMIT).unwrap();
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
            overlay.push((b"counter", 1), Some(put(&i.to_le_bytes())), (false, false), 4096).unwrap();
        }
        assert_eq!(get(&overlay, b"counter", 1), Some(Some(99_999u32.to_le_bytes().to_vec())));
        let savepoint = overlay.savepoint();
        let full = (0..100_000u32)
            .find(|i| overlay.push((b"counter", 1), Some(put(&i.to_le_bytes())), (false, false), 4096).is_err());
        assert!(full.is_some(), "what a savepoint needs is kept");
        overlay.release(&savepoint, false);
        assert_eq!(get(&overlay, b"counter", 1), Some(Some(99_999u32.to_le_bytes().to_vec())));
    }
}
