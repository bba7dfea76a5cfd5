//! A leaf where it stands in its block: the keys that were written with it, in order, and those that came behind it since. This
//! file owns the bytes of a leaf; it does not know where blocks are, nor when a bit may change.
//!
//! ```text
//!      0  2  number of entries it was written with
//!      2  2  level: 0
//!      4  4  its length when it was written
//!      8  8  which entries are there, a bit each, in the machine's order: those of the table, then those behind
//!     16  4  each entry it was written with: where its key begins, from the end of this table on
//!            their keys, ascending, one behind the other
//!            each later entry, in the order in which they came: 2 length of its key, the key
//! ```
//! A key comes with its bytes behind the last entry that is there, and then a bit; it goes with its bit alone, and comes back with
//! it. So what a bit says is there does not change while the bit does not, and where the next key goes is told by the bits: by
//! those that are about to be, and by those that are, for a change that comes to nothing has to leave what they lead to.
//! No key is in two entries that are there.

use super::ascending::{Ascending, OFFSET, head_of};
use super::{u16_at, u32_at};

/// Where the bits are.
pub const BITS: usize = 8;
/// Bytes in front of the table.
pub const HEADER: usize = 16;
/// Entries that a leaf can have.
pub const ENTRIES_MAX: usize = 64;
/// Bytes in front of the key of a later entry.
pub const LATER: usize = 2;
/// With more entries than this a leaf has not few.
const FEW: u32 = 16;

/// The bits of a leaf that was just written.
pub fn full(count: usize) -> u64 {
    u64::MAX.checked_shr(64_usize.saturating_sub(count) as u32).unwrap_or(0)
}

/// True if bits say that an entry is there.
#[inline]
pub fn has(bits: u64, entry: usize) -> bool {
    bits >> (entry % ENTRIES_MAX) & 1 != 0
}

/// Bits without that of an entry. `None` if it is the only one.
#[inline]
pub fn without(bits: u64, entry: usize) -> Option<u64> {
    let left = bits & !(1 << (entry % ENTRIES_MAX));
    (left != 0).then_some(left)
}

/// A leaf's block behind its link, or as much of it as its bits lead to.
#[derive(Clone, Copy)]
pub struct Leaf<'b> {
    bytes: &'b [u8],
    /// The entries it was written with, and where their keys end.
    written: Ascending<'b>,
    len: usize,
    bits: u64,
    /// Entries that may not be written over.
    kept: u64,
}

/// Where a key is in a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// It is there.
    There(usize),
    /// Its bytes are, and its bit is not set.
    Gone(usize),
    /// It is not there, and would be this entry, with its bytes here.
    Room { entry: usize, at: usize },
    /// It is not there, and there is no room for it.
    Full,
}

impl<'b> Leaf<'b> {
    /// A leaf of these bytes with these bits. `None` if its table does not fit in them.
    #[inline]
    pub fn of(bytes: &'b [u8], bits: u64) -> Option<Leaf<'b>> {
        let (count, level, len) = (usize::from(u16_at(bytes, 0)), u16_at(bytes, 2), u32_at(bytes, 4) as usize);
        let written = Ascending::of(bytes.get(HEADER..len)?, count)?;
        let is_sound = level == 0 && (1..=ENTRIES_MAX).contains(&count);
        is_sound.then_some(Leaf { bytes, written, len, bits, kept: bits })
    }

    /// The same leaf, whose bits are still others for everybody else.
    #[inline]
    pub fn published(self, bits: u64) -> Leaf<'b> {
        Leaf { kept: self.bits | bits, ..self }
    }

    /// True if it is as it was written.
    pub fn is_as_written(&self) -> bool {
        self.bits == self.all_written()
    }

    /// The bits of the entries that it was written with.
    #[inline]
    fn all_written(&self) -> u64 {
        full(self.written.count())
    }

    #[inline]
    fn is_there(&self, entry: usize) -> bool {
        has(self.bits, entry)
    }

    /// How many entries there can be, by the last that is kept.
    #[inline]
    fn end(&self) -> usize {
        self.written.count().max(ENTRIES_MAX - self.kept.leading_zeros() as usize)
    }

    /// The later entries, up to the last that is kept or fits in the bytes.
    #[inline]
    fn later(&self) -> impl Iterator<Item = (usize, &'b [u8])> + use<'b> {
        let mut rest = self.bytes.get(self.len..).unwrap_or_default();
        (self.written.count()..self.end()).map_while(move |entry| {
            let (len, behind) = rest.split_first_chunk::<LATER>()?;
            let (key, behind) = behind.split_at_checked(u16::from_le_bytes(*len).into())?;
            rest = behind;
            Some((entry, key))
        })
    }

    /// Where a key is, or would go.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Spot {
        let spot = |entry| if self.is_there(entry) { Spot::There(entry) } else { Spot::Gone(entry) };
        if let Ok(entry) = self.written.find(0, key) {
            return spot(entry);
        }
        // The last bytes tell more than the first where keys have much in common.
        let tail = |key: &[u8]| key.last_chunk().map_or(0, |&tail| u32::from_le_bytes(tail));
        let (mut at, own_tail) = (self.len, tail(key));
        for (entry, other) in self.later() {
            if other.len() == key.len() && tail(other) == own_tail && other == key {
                return spot(entry);
            }
            at += LATER + other.len();
        }
        let entry = self.end();
        let is_room = entry < ENTRIES_MAX && at + LATER + key.len() <= self.bytes.len();
        if is_room { Spot::Room { entry, at } } else { Spot::Full }
    }

    /// The keys that are there: those it was written with in their order, then the later ones. Fewer than its bits say if
    /// they do not fit in its bytes.
    #[inline]
    fn keys(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let leaf = *self;
        let written = (0..self.written.count()).filter(move |&i| leaf.is_there(i)).map(move |i| leaf.written.key(i));
        written.chain(leaf.later_keys().map(|(_, key)| key))
    }

    /// The later ones of them, and their entries.
    #[inline]
    fn later_keys(&self) -> impl Iterator<Item = (usize, &'b [u8])> + use<'b> {
        let leaf = *self;
        self.later().filter(move |&(entry, _)| leaf.is_there(entry))
    }

    /// The first of the keys that are there, and its entry.
    pub fn first(&self) -> Option<(usize, &'b [u8])> {
        let first = (self.bits & self.all_written()).trailing_zeros() as usize;
        self.edge((first < self.written.count()).then_some(first), |key, edge| key < edge)
    }

    /// The last of the keys that are there, and its entry.
    pub fn last(&self) -> Option<(usize, &'b [u8])> {
        let last = (self.bits & self.all_written()).checked_ilog2();
        self.edge(last.map(|last| last as usize), |key, edge| key > edge)
    }

    /// The entry of the table that is at an end of it, or the later one that is still further out.
    #[inline(always)]
    fn edge(
        &self,
        written: Option<usize>,
        is_further: impl Fn((u64, &[u8]), (u64, &[u8])) -> bool,
    ) -> Option<(usize, &'b [u8])> {
        let with_head = |key: &'b [u8]| (head_of(key), key);
        let mut edge = written.map(|entry| (entry, with_head(self.written.key(entry))));
        for (entry, key) in self.later_keys() {
            let key = with_head(key);
            if edge.is_none_or(|(_, edge)| is_further(key, edge)) {
                edge = Some((entry, key));
            }
        }
        edge.map(|(entry, (_, key))| (entry, key))
    }

    /// The bits without an entry, if that needs nothing more: not if it is the only one, nor if it was one of few and
    /// between others that take less than `short` bytes, as the leaf is then to look for a neighbour to become one with.
    pub fn without(&self, entry: usize, key: &[u8], short: usize) -> Option<u64> {
        let left = self.without_edge(entry)?;
        let is_between = || [self.first(), self.last()].iter().flatten().all(|&(_, edge)| edge != key);
        let bytes = || HEADER + self.keys().map(|key| OFFSET + key.len()).sum::<usize>();
        let is_short = left.count_ones() <= FEW && bytes() < short;
        (!(is_short && is_between())).then_some(left)
    }

    /// The bits without an entry that is the first or the last. `None` if it is the only one.
    #[inline]
    pub fn without_edge(&self, entry: usize) -> Option<u64> {
        without(self.bits, entry)
    }

    /// The keys that are there, in order, with their entries. `None` as for [`gathered`](Leaf::gathered).
    pub fn ordered(&self) -> Option<Vec<(usize, &'b [u8])>> {
        let written = (0..self.written.count()).filter(|&i| self.is_there(i)).map(|i| (i, self.written.key(i)));
        let with_head = |(entry, key)| (head_of(key), key, entry);
        let mut keys: Vec<(u64, &[u8], usize)> = Vec::with_capacity(ENTRIES_MAX);
        keys.extend(written.chain(self.later_keys()).map(with_head));
        keys.sort_unstable();
        let is_bounded = keys.iter().map(|(_, key, _)| key.len()).sum::<usize>() <= self.bytes.len();
        let is_whole = is_bounded && !keys.is_empty() && keys.len() == self.bits.count_ones() as usize;
        is_whole.then(|| keys.into_iter().map(|(_, key, entry)| (entry, key)).collect())
    }

    /// The keys that are there, in order. `None` if none are, or something does not fit in its bytes.
    pub fn gathered(&self) -> Option<Vec<&'b [u8]>> {
        let mut later = [(0, &[][..]); ENTRIES_MAX];
        let mut count = 0;
        for ((_, key), to) in self.later_keys().zip(&mut later) {
            *to = (head_of(key), key);
            count += 1;
        }
        let later = later.get_mut(..count)?;
        later.sort_unstable();
        let mut later = later.iter().copied().peekable();
        let mut keys: Vec<&[u8]> = Vec::with_capacity(ENTRIES_MAX);
        let mut left = self.bits & self.all_written();
        while left != 0 {
            let key = self.written.key(left.trailing_zeros() as usize);
            let head = if later.peek().is_some() { head_of(key) } else { 0 };
            while let Some((_, before)) = later.next_if(|&before| before < (head, key)) {
                keys.push(before);
            }
            keys.push(key);
            left &= left - 1;
        }
        keys.extend(later.map(|(_, key)| key));
        // Keys of a table that goes back and forth are in several at once.
        let is_bounded = keys.iter().map(|key| key.len()).sum::<usize>() <= self.bytes.len();
        (is_bounded && !keys.is_empty() && keys.len() == self.bits.count_ones() as usize).then_some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tree::Node;
    use std::collections::BTreeSet;

    /// A block with a leaf in it, changed as a commit does.
    struct Block {
        bytes: Vec<u8>,
        bits: u64,
    }

    impl Block {
        fn of(keys: &[&[u8]]) -> Block {
            let mut bytes = Node::leaf_of(keys).bytes().to_vec();
            bytes.resize(1016, 0xEE);
            Block { bytes, bits: full(keys.len()) }
        }

        fn put(&mut self, key: &[u8]) -> bool {
            match Leaf::of(&self.bytes, self.bits).unwrap().find(key) {
                Spot::There(_) => {}
                Spot::Gone(entry) => self.bits |= 1 << entry,
                Spot::Room { entry, at } => {
                    self.bytes[at..at + LATER].copy_from_slice(&(key.len() as u16).to_le_bytes());
                    self.bytes[at + LATER..at + LATER + key.len()].copy_from_slice(key);
                    self.bits |= 1 << entry;
                }
                Spot::Full => return false,
            }
            true
        }
    }

    #[test]
    fn a_changed_leaf_is_a_set_and_gathered_it_is_sorted() {
        let mut random = 1u64;
        let mut dice = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let (mut block, mut model) = (Block::of(&[b"m"]), BTreeSet::from([b"m".to_vec()]));
        let mut gathered = 0;
        for _ in 0..20_000 {
            let key = vec![dice(60) as u8; 1 + dice(12) as usize];
            if dice(5) < 3 {
                if !block.put(&key) {
                    block = Block::of(&Leaf::of(&block.bytes, block.bits).unwrap().gathered().unwrap());
                    gathered += 1;
                    if !block.put(&key) {
                        // Full of what is there: a tree would split it.
                        block = Block::of(&[&key]);
                        model.clear();
                    }
                }
                model.insert(key);
            } else {
                let leaf = Leaf::of(&block.bytes, block.bits).unwrap();
                match leaf.find(&key) {
                    Spot::There(entry) => {
                        assert!(model.contains(&key));
                        if let Some(bits) = leaf.without(entry, &key, 254) {
                            block.bits = bits;
                            model.remove(&key);
                        } else {
                            let is_edge = model.first() == Some(&key) || model.last() == Some(&key);
                            assert!(model.len() == 1 || !is_edge && model.len() <= 1 + FEW as usize);
                        }
                    }
                    _ => assert!(!model.contains(&key)),
                }
            }
            let leaf = Leaf::of(&block.bytes, block.bits).unwrap();
            let ends = [leaf.first(), leaf.last()].map(Option::unwrap);
            assert_eq!(ends.map(|(_, key)| key), [model.first(), model.last()].map(|key| &key.unwrap()[..]));
            for (entry, _) in ends {
                assert_eq!(leaf.without_edge(entry), (model.len() > 1).then_some(block.bits & !(1 << entry)));
            }
            assert!(leaf.gathered().unwrap().into_iter().eq(model.iter().map(|key| &key[..])));
            let ordered = leaf.ordered().unwrap();
            assert!(ordered.iter().map(|(_, key)| *key).eq(model.iter().map(|key| &key[..])));
            assert!(ordered.iter().all(|&(entry, key)| leaf.find(key) == Spot::There(entry)));
        }
        assert!(gathered > 100, "{gathered}");
    }

    #[test]
    fn what_is_still_there_for_others_is_not_written_over() {
        let mut block = Block::of(&[b"m"]);
        assert!(block.put(b"late"));
        let went = Leaf::of(&block.bytes, block.bits & 1).unwrap();
        let (over, behind) = (went.find(b"new"), went.published(block.bits).find(b"new"));
        assert_eq!((over, behind), (Spot::Room { entry: 1, at: 21 }, Spot::Room { entry: 2, at: 27 }));
    }

    #[test]
    fn whatever_the_bytes_and_bits_are_a_leaf_ends() {
        let mut block = Block::of(&[b"ab", b"c", b"def"]);
        assert!(block.put(b"b") && block.put(b"zz"));
        for at in 0..60 {
            for flip in [1, 0x80, 0xFF] {
                block.bytes[at] ^= flip;
                for bits in [block.bits, 0, 1, u64::MAX, 1 << 63] {
                    if let Some(leaf) = Leaf::of(&block.bytes, bits) {
                        let _ = (leaf.find(b"c"), leaf.first(), leaf.last(), leaf.without(1, b"c", 254));
                        assert!(leaf.gathered().is_none_or(|keys| keys.len() == bits.count_ones() as usize));
                        assert_eq!(leaf.gathered().map(|keys| keys.len()), leaf.ordered().map(|keys| keys.len()));
                    }
                }
                block.bytes[at] ^= flip;
            }
        }
        assert!(Leaf::of(&[], 1).is_none() && Leaf::of(&[0; 16], 1).is_none());
        assert_eq!((full(0), full(3), full(64)), (0, 7, u64::MAX));
    }
}
