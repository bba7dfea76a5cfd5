//! The bytes of one simulated file at one address for life, so that ranges of it can be lent out. Owns the `unsafe` of
//! the simulation, but for the promise that a lent range is never written, which `disk` passes on from its caller.
//! Knows nothing of pages, processes or names.
#![allow(unsafe_code)]

use memmap2::{MmapOptions, MmapRaw};
use std::io;

/// Zeroed memory of a fixed capacity that costs what was written to.
///
/// It sits inside a lock, and whoever reads or writes it through these methods holds that lock, so no two accesses
/// race. The one exception is a range lent by [`Memory::start_of`], which nobody writes while it is lent.
pub(super) struct Memory {
    raw: MmapRaw,
}

impl Memory {
    pub(super) fn new(capacity: usize) -> io::Result<Memory> {
        let map = MmapOptions::new().len(capacity).no_reserve_swap().map_anon()?;
        // A huge page for each of thousands of small files would be paid in zeroing; where advice is not taken, the
        // simulation is only slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::NoHugePage);
        Ok(Memory { raw: MmapRaw::from(map) })
    }

    pub(super) fn capacity(&self) -> usize {
        self.raw.len()
    }

    /// The address of a range that lies within the capacity.
    pub(super) fn start_of(&self, offset: usize, len: usize) -> Option<*const u8> {
        let end = offset.checked_add(len)?;
        (end <= self.capacity()).then(|| self.raw.as_ptr().wrapping_add(offset))
    }

    /// Copies bytes out; a range past the capacity leaves `to` as it is.
    pub(super) fn copy_out(&self, offset: usize, to: &mut [u8]) {
        let Some(from) = self.start_of(offset, to.len()) else { return };
        // SAFETY: `start_of` checked that the range is mapped; `&self` comes out of the file's lock, so nobody writes
        // it, and `to` is an exclusive borrow of other memory.
        unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) }
    }

    /// Copies bytes in; a range past the capacity stays as it is.
    pub(super) fn copy_in(&mut self, offset: usize, bytes: &[u8]) {
        if self.start_of(offset, bytes.len()).is_none() {
            return;
        }
        let to = self.raw.as_mut_ptr().wrapping_add(offset);
        // SAFETY: `start_of` checked that the range is mapped, and the mapping is writable; `&mut self` comes out of
        // the file's lock, so nobody else is at it; a range lent as immutable is never written, by the contract of
        // `OsMap::immutable`, and no byte beside `bytes` is touched.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// Lends a range for as long as the file that owns this memory lives.
    ///
    /// # Safety
    /// `from` is what [`Memory::start_of`] gave for `len`, the memory outlives `'a`, and nobody writes the range in
    /// `'a`.
    pub(super) unsafe fn lend<'a>(from: *const u8, len: usize) -> &'a [u8] {
        // SAFETY: the caller vouches for the three conditions above; bytes need no alignment and have no invalid value.
        unsafe { std::slice::from_raw_parts(from, len) }
    }
}
