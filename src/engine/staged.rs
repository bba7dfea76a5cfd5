//! The words that a commit is going to change, and finding one among them. It does not know what the words mean, nor what
//! they are now.
//!
//! Nearly every word that a commit looks at is one that it does not change. A filter says so at the cost of one bit test:
//! of the words and buckets whose bit is not set, none is staged.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{Deref, DerefMut};

use crate::storage::index::BUCKET_BYTES;
use crate::storage::redo::{Address, Change};

/// Up to this many staged words are searched one by one.
const LINEAR_MAX: usize = 24;
/// Buffers for more of them than this are not kept for the next commit.
const KEPT_MAX: usize = 4096;
/// Bits of the filter of buckets.
const BUCKET_BITS: usize = 512;
/// With more cells than this the filter would let too many through, and a second one helps out …
const CELLS_MAX: usize = 64;
/// … of so many bits.
const WIDE_BITS: usize = 1 << 15;

/// Where staged words are in their list.
type Places = HashMap<Address, usize, BuildHasherDefault<AddressHasher>>;

/// Spreads addresses over a table that lives for one commit: they are a file and an offset, and nobody chooses them.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// A list of changes, each word once.
struct List {
    changes: Vec<Change>,
    /// Where each word is, once there are too many to search.
    places: Option<Box<Places>>,
    /// The table that was used last, empty.
    spare: Option<Box<Places>>,
}

impl List {
    const fn new() -> List {
        List { changes: Vec::new(), places: None, spare: None }
    }

    /// Not inlined: it is rare, and those who ask have better uses for their registers.
    #[inline(never)]
    fn position(&self, address: Address) -> Option<usize> {
        match &self.places {
            None => self.changes.iter().position(|c| c.address == address),
            Some(places) => places.get(&address).copied(),
        }
    }

    #[inline]
    fn push(&mut self, change: Change) {
        self.changes.push(change);
        if self.changes.len() > LINEAR_MAX {
            self.note_last();
        }
    }

    #[cold]
    fn note_last(&mut self) {
        let all = || self.changes.iter().enumerate().map(|(i, change)| (change.address, i));
        match &mut self.places {
            Some(places) => places.extend(all().next_back()),
            None => {
                let mut places = self.spare.take().unwrap_or_default();
                places.extend(all());
                self.places = Some(places);
            }
        }
    }

    fn clear(&mut self) {
        self.changes.clear();
        if let Some(mut places) = self.places.take()
            && places.capacity() <= KEPT_MAX
        {
            places.clear();
            self.spare = Some(places);
        }
    }
}

thread_local! {
    /// What outlives a commit, so that a small one allocates nothing.
    static SPARE: Cell<Option<Box<Words>>> = const { Cell::new(None) };
}

/// The staged words of a commit. They are moved from one commit of a thread to the next, never copied: what was stored
/// a moment ago in small pieces takes a processor long to read in large ones.
pub(super) struct Staged(Option<Box<Words>>);

/// Not where words are staged: there it would have its registers saved each time.
#[cold]
#[inline(never)]
fn begin(none: &mut Option<Box<Words>>) -> &mut Words {
    none.get_or_insert_default()
}

/// Nothing is staged.
static NOTHING: Words = Words::new();

impl Deref for Staged {
    type Target = Words;

    #[inline(always)]
    fn deref(&self) -> &Words {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Staged {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Words {
        match &mut self.0 {
            Some(words) => words,
            none => begin(none),
        }
    }
}

/// What is staged.
pub(super) struct Words {
    /// Structure words: applied first, so that a reader that meets a new cell finds what it needs to follow it.
    changes: List,
    /// Index cells: applied last.
    cells: List,
    /// The filter of structure words.
    words: u64,
    /// The filter of buckets in which a cell or the link is staged.
    buckets: [u64; BUCKET_BITS / 64],
    /// The same with more bits, for a large batch.
    wide: Option<Box<[u64; WIDE_BITS / 64]>>,
    /// Records that are encoded and not written yet.
    pub bytes: Vec<u8>,
    /// Checksums of a batch's members that are not in its check yet.
    pub crcs: Vec<u8>,
}

/// The bit of a structure word. Words that are staged together are neighbours, so the low bits tell them apart.
#[inline(always)]
fn bit_of(address: Address) -> u64 {
    1 << (address.bits() % 64)
}

/// The bit of the bucket that a word of an index file is in, in a filter of so many bits.
#[inline(always)]
fn bucket_bit(offset: usize, bits: usize) -> (usize, u64) {
    let bit = offset / BUCKET_BYTES % bits;
    (bit / 64, 1 << (bit % 64))
}

impl Staged {
    /// Nothing, with the buffers that this thread used last.
    #[inline]
    pub fn new() -> Staged {
        Staged(Some(SPARE.take().unwrap_or_default()))
    }

    /// Leaves the buffers to the next commit of this thread, if they are not too large to keep.
    #[inline]
    pub fn give_back(&mut self) {
        if let Some(mut words) = self.0.take()
            && words.changes.changes.capacity().max(words.cells.changes.capacity()) <= KEPT_MAX
            && words.bytes.capacity() <= 1 << 16
        {
            words.clear();
            words.bytes.clear();
            words.crcs.clear();
            SPARE.set(Some(words));
        }
    }
}

impl Default for Words {
    fn default() -> Words {
        Words::new()
    }
}

impl Words {
    const fn new() -> Words {
        Words {
            changes: List::new(),
            cells: List::new(),
            words: 0,
            buckets: [0; BUCKET_BITS / 64],
            wide: None,
            bytes: Vec::new(),
            crcs: Vec::new(),
        }
    }

    /// A structure word, if it is staged.
    #[inline(always)]
    pub fn word(&self, address: Address) -> Option<u64> {
        if self.words & bit_of(address) == 0 {
            return None;
        }
        self.changes.position(address).and_then(|at| self.changes.changes.get(at)).map(|change| change.new)
    }

    /// The staged value of a structure word, to be changed.
    #[inline(always)]
    pub fn word_mut(&mut self, address: Address) -> Option<&mut u64> {
        if self.words & bit_of(address) == 0 {
            return None;
        }
        let at = self.changes.position(address)?;
        self.changes.changes.get_mut(at).map(|change| &mut change.new)
    }

    /// Stages a structure word that is not staged yet.
    #[inline]
    pub fn add_word(&mut self, change: Change) {
        self.words |= bit_of(change.address);
        self.changes.push(change);
    }

    /// Stages a cell. Each cell once.
    #[inline]
    pub fn add_cell(&mut self, offset: usize, change: Change) {
        self.touch_bucket(offset);
        self.cells.push(change);
    }

    /// Remembers that a cell or the link of a bucket is staged.
    #[inline]
    pub fn touch_bucket(&mut self, offset: usize) {
        let (word, bit) = bucket_bit(offset, BUCKET_BITS);
        self.buckets[word] |= bit;
        if self.cells.changes.len() >= CELLS_MAX {
            self.touch_wide(offset);
        }
    }

    #[cold]
    fn touch_wide(&mut self, offset: usize) {
        let mut wide = self.wide.take().unwrap_or_else(|| {
            let mut wide = Box::new([0; WIDE_BITS / 64]);
            for change in self.all().into_iter().flatten() {
                let (word, bit) = bucket_bit(change.address.offset(), WIDE_BITS);
                wide[word] |= bit;
            }
            wide
        });
        let (word, bit) = bucket_bit(offset, WIDE_BITS);
        wide[word] |= bit;
        self.wide = Some(wide);
    }

    /// False if neither a cell nor the link of the bucket at `offset` is staged, in whichever file.
    #[inline(always)]
    pub fn may_touch(&self, offset: usize) -> bool {
        let (word, bit) = bucket_bit(offset, BUCKET_BITS);
        self.buckets[word] & bit != 0 && self.may_touch_wide(offset)
    }

    #[inline(never)]
    fn may_touch_wide(&self, offset: usize) -> bool {
        let (word, bit) = bucket_bit(offset, WIDE_BITS);
        self.wide.as_ref().is_none_or(|wide| wide[word] & bit != 0)
    }

    /// A cell, if it is staged.
    #[inline]
    pub fn cell(&self, address: Address) -> Option<u64> {
        self.cells.position(address).and_then(|at| self.cells.changes.get(at)).map(|change| change.new)
    }

    /// All changes in the order in which they are stored: structure words, then cells.
    #[inline]
    pub fn all(&self) -> [&[Change]; 2] {
        [&self.changes.changes, &self.cells.changes]
    }

    /// Number of changes.
    #[inline]
    pub fn len(&self) -> usize {
        self.changes.changes.len() + self.cells.changes.len()
    }

    /// Forgets all of it.
    #[inline]
    pub fn clear(&mut self) {
        if self.len() == 0 {
            return;
        }
        self.changes.clear();
        self.cells.clear();
        self.words = 0;
        self.buckets = [0; BUCKET_BITS / 64];
        self.wide = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::redo::Place;

    /// Of each of many buckets the cell in the middle.
    fn offset(bucket: usize) -> usize {
        4096 + bucket * BUCKET_BYTES + 24
    }

    fn change(place: Place, offset: usize, new: u64) -> Change {
        Change { address: Address::new(place, offset), old: 0, new }
    }

    #[test]
    fn no_staged_cell_is_missed_however_many_there_are() {
        for count in [1, LINEAR_MAX, LINEAR_MAX + 1, CELLS_MAX, CELLS_MAX + 1, 1000] {
            let mut staged = Staged::new();
            for i in 0..count {
                // Far apart, so that both filters have bits that several buckets share.
                let at = offset(i * 577);
                staged.add_cell(at, change(Place::Index(3), at, i as u64 + 1));
            }
            for i in 0..count {
                let at = offset(i * 577);
                assert!(staged.may_touch(at / BUCKET_BYTES * BUCKET_BYTES), "{i} of {count}");
                assert_eq!(staged.cell(Address::new(Place::Index(3), at)), Some(i as u64 + 1));
                assert_eq!(staged.cell(Address::new(Place::Index(4), at)), None);
            }
            let others = (0..1000).filter(|i| staged.may_touch(offset(i * 577 + 1))).count();
            assert!(others < 200, "{others} of 1000 buckets are taken for touched ones after {count}");
        }
    }

    #[test]
    fn words_of_different_files_are_not_taken_for_each_other() {
        let mut staged = Staged::new();
        for i in 0..100 {
            staged.add_word(change(Place::Tags(0), i * 8, i as u64));
        }
        assert_eq!(staged.word(Address::new(Place::Tags(0), 99 * 8)), Some(99));
        assert_eq!(staged.word(Address::new(Place::Tags(1), 99 * 8)), None);
        assert_eq!(staged.word(Address::new(Place::State, 99 * 8)), None);
        staged.clear();
        assert_eq!(staged.word(Address::new(Place::Tags(0), 99 * 8)), None);
        // The table is there again, and nothing of what was in it.
        (100..200).for_each(|i| staged.add_word(change(Place::Tags(0), i * 8, i as u64)));
        assert_eq!(staged.word(Address::new(Place::Tags(0), 35 * 8)), None);
        assert_eq!(staged.word(Address::new(Place::Tags(0), 135 * 8)), Some(135));
        staged.clear();
        assert!(!staged.may_touch(offset(0)));
    }
}
