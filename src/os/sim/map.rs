//! Mappings of a simulated process. Knows bounds and steps; what a store does to a page is the business of `disk`.

use super::disk::pieces;
use super::hold::Hold;
use crate::os::OsMap;

/// A mapping of a simulated process.
pub struct SimMap {
    pub(super) hold: Hold,
    pub(super) len: usize,
    pub(super) is_writable: bool,
}

impl SimMap {
    /// True if a range lies in the map, and starts at a multiple of its length if it is a word.
    fn has(&self, offset: usize, len: usize, is_word: bool) -> bool {
        let is_inside = len <= self.len && offset <= self.len - len;
        let is_right = is_inside && (!is_word || offset.is_multiple_of(len));
        debug_assert!(is_right, "{len} bytes at {offset} of a map of {} of {}", self.len, self.hold.path.display());
        is_right
    }

    fn allows_stores(&self) -> bool {
        debug_assert!(self.is_writable, "store to a map for reading of {}", self.hold.path.display());
        self.is_writable
    }

    fn accuse_of_hole(&self, offset: usize) -> ! {
        panic!("store into a hole at {offset} of {}: SIGBUS on a full disk", self.hold.path.display())
    }

    fn word<const N: usize>(&self, offset: usize) -> [u8; N] {
        match self.has(offset, N, true) && self.hold.os.is_alive_here() {
            true => self.hold.node.word(offset),
            false => [0; N],
        }
    }

    /// Changes a word in one step; what it was before, or `inert` if the process is dead.
    fn update<const N: usize>(
        &self,
        offset: usize,
        inert: [u8; N],
        decide: impl FnOnce([u8; N]) -> Option<[u8; N]>,
    ) -> [u8; N] {
        if !self.has(offset, N, true) || !self.allows_stores() {
            return [0; N];
        }
        match self.hold.os.step(|| self.hold.node.update(offset, decide)) {
            Some(Some(before)) => before,
            Some(None) => self.accuse_of_hole(offset),
            None => inert,
        }
    }
}

impl OsMap for SimMap {
    fn len(&self) -> usize {
        self.len
    }

    fn is_writable(&self) -> bool {
        self.is_writable
    }

    fn load(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.word(offset))
    }

    fn load_line(&self, offset: usize) -> [u64; 8] {
        let bytes = self.word::<64>(offset);
        let (words, _) = bytes.as_chunks::<8>();
        std::array::from_fn(|i| words.get(i).copied().map_or(0, u64::from_ne_bytes))
    }

    fn store(&self, offset: usize, value: u64) {
        self.update(offset, [0; 8], |_| Some(value.to_ne_bytes()));
    }

    fn compare_exchange(&self, offset: usize, old: u64, new: u64) -> Result<u64, u64> {
        let bytes = old.to_ne_bytes();
        let before = self.update(offset, bytes, |before| (before == bytes).then_some(new.to_ne_bytes()));
        if before == bytes { Ok(old) } else { Err(u64::from_ne_bytes(before)) }
    }

    fn fetch_add(&self, offset: usize, delta: u64) -> u64 {
        let add = |before| Some(u64::from_ne_bytes(before).wrapping_add(delta).to_ne_bytes());
        u64::from_ne_bytes(self.update(offset, [0; 8], add))
    }

    fn fetch_max(&self, offset: usize, value: u64) -> u64 {
        let raise = |before| (u64::from_ne_bytes(before) < value).then_some(value.to_ne_bytes());
        u64::from_ne_bytes(self.update(offset, [0; 8], raise))
    }

    fn load32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.word(offset))
    }

    fn compare_exchange32(&self, offset: usize, old: u32, new: u32) -> Result<u32, u32> {
        let bytes = old.to_ne_bytes();
        let before = self.update(offset, bytes, |before| (before == bytes).then_some(new.to_ne_bytes()));
        if before == bytes { Ok(old) } else { Err(u32::from_ne_bytes(before)) }
    }

    fn swap32(&self, offset: usize, value: u32) -> u32 {
        u32::from_ne_bytes(self.update(offset, [0; 4], |_| Some(value.to_ne_bytes())))
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        let is_inside = offset.checked_add(to.len()).is_some_and(|end| end <= self.len);
        is_inside && self.hold.os.is_alive_here() && self.hold.node.read(offset as u64, to)
    }

    fn append_to(&self, offset: usize, len: usize, to: &mut Vec<u8>) -> bool {
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        is_inside && self.hold.os.is_alive_here() && self.hold.node.append_to(offset, len, to)
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        if !self.has(offset, bytes.len(), false) || !self.allows_stores() {
            return;
        }
        for (start, piece) in pieces(offset as u64, bytes) {
            if self.hold.os.step(|| self.hold.node.store(start as usize, piece)) == Some(false) {
                self.accuse_of_hole(start as usize);
            }
        }
    }

    fn equals(&self, offset: usize, bytes: &[u8]) -> bool {
        let mut there = Vec::new();
        self.append_to(offset, bytes.len(), &mut there) && there == bytes
    }

    fn prefetch(&self, _offset: usize) {}

    fn immutable(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        if is_inside { self.hold.node.immutable(offset, len) } else { None }
    }
}
