//! Shared mappings. With `once`, `text` and a call in `real`, this is all `unsafe` of a release build.
//!
//! What makes it sound, and where it is established:
//! - `base..base + len` stays mapped while the `MmapRaw` lives, and it lives as long as `self`; [`RealMap::of`] checks that the
//!   file was at least `len` bytes long, and files of a store never shrink.
//! - every access passes [`RealMap::at`], which checks bounds.
//! - words that processes share are only ever touched as atomics of one size; other bytes are written before the
//!   Release store that leads a reader to them, and never after.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};

use crate::os::{Access, OsMap};

/// A shared mapping of a file.
pub struct RealMap {
    map: MmapRaw,
    len: usize,
    writable: bool,
}

impl RealMap {
    pub(super) fn of(file: &File, len: usize, access: Access) -> io::Result<RealMap> {
        if file.metadata()?.len() < len as u64 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mut options = MmapOptions::new();
        options.len(len);
        let writable = access == Access::Write;
        let map = if writable { options.map_raw(file)? } else { options.map_raw_read_only(file)? };
        Ok(RealMap { map, len, writable })
    }

    /// Leaves the mapping out of children made by `fork`, and with it the file lock that it keeps alive.
    pub(super) fn keep_from_children(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        self.map.advise(memmap2::Advice::DontFork)?;
        Ok(())
    }

    /// The address of `len` bytes at `offset`, or `None` out of bounds.
    #[inline(always)]
    fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: `offset <= end <= self.len`, so the result stays inside the mapping.
        Some(unsafe { self.map.as_mut_ptr().add(offset) })
    }

    #[inline(always)]
    fn word(&self, offset: usize) -> Option<&AtomicU64> {
        let address = self.at(offset, 8).filter(|_| offset.is_multiple_of(8));
        debug_assert!(address.is_some(), "word at {offset} of {}", self.len);
        // SAFETY: `at` found 8 bytes inside the mapping, which is page aligned, and `offset` is a multiple of 8; every
        // process touches words as atomics of this size, and the reference cannot outlive `self`.
        address.map(|a| unsafe { AtomicU64::from_ptr(a.cast()) })
    }

    #[inline(always)]
    fn word32(&self, offset: usize) -> Option<&AtomicU32> {
        let address = self.at(offset, 4).filter(|_| offset.is_multiple_of(4));
        debug_assert!(address.is_some(), "word at {offset} of {}", self.len);
        // SAFETY: as in `word`, with 4 bytes; a 32-bit word is never touched as part of a 64-bit one.
        address.map(|a| unsafe { AtomicU32::from_ptr(a.cast()) })
    }

    #[inline(always)]
    fn writable_word(&self, offset: usize) -> Option<&AtomicU64> {
        debug_assert!(self.writable);
        if self.writable { self.word(offset) } else { None }
    }

    pub(super) fn wait32(&self, offset: usize, expected: u32, timeout: Duration) {
        let Some(word) = self.word32(offset) else { return };
        #[cfg(target_os = "linux")]
        {
            use rustix::thread::futex;
            let timeout = rustix::time::Timespec {
                tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            };
            // Any outcome, an interruption too, means: look again.
            let _ = futex::wait(word, futex::Flags::empty(), expected, Some(&timeout));
        }
        #[cfg(not(target_os = "linux"))]
        if word.load(Ordering::Acquire) == expected {
            std::thread::sleep(timeout.min(Duration::from_micros(200)));
        }
    }

    pub(super) fn wake32(&self, offset: usize, count: u32) {
        #[cfg(target_os = "linux")]
        if let Some(word) = self.word32(offset) {
            use rustix::thread::futex;
            let _ = futex::wake(word, futex::Flags::empty(), count);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, count);
    }
}

/// An unaligned 64-bit load of bytes that nobody writes any more.
#[inline(always)]
fn load_unaligned(address: *const u8) -> u64 {
    // SAFETY: both callers pass an address with at least 8 readable bytes behind it, which they checked.
    unsafe { address.cast::<u64>().read_unaligned() }
}

/// True if `len` bytes at `a` and `b` agree. Whole words first, the rest by an overlapping last word.
#[inline(always)]
fn same(a: *const u8, b: &[u8]) -> bool {
    let len = b.len();
    let mut at = 0;
    while at + 8 <= len {
        if load_unaligned(a.wrapping_add(at)) != load_unaligned(b.as_ptr().wrapping_add(at)) {
            return false;
        }
        at += 8;
    }
    if len >= 8 {
        return load_unaligned(a.wrapping_add(len - 8)) == load_unaligned(b.as_ptr().wrapping_add(len - 8));
    }
    while at < len {
        // SAFETY: `at < len`, and the caller of `same` checked that `len` bytes at `a` are mapped.
        let byte = unsafe { a.wrapping_add(at).read() };
        if byte != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

impl OsMap for RealMap {
    fn len(&self) -> usize {
        self.len
    }

    fn is_writable(&self) -> bool {
        self.writable
    }

    #[inline(always)]
    fn load(&self, offset: usize) -> u64 {
        self.word(offset).map_or(0, |w| w.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn load_line(&self, offset: usize) -> [u64; 8] {
        let line = self.at(offset, 64).filter(|_| offset.is_multiple_of(8));
        debug_assert!(line.is_some(), "line at {offset} of {}", self.len);
        let Some(line) = line else { return [0; 8] };
        std::array::from_fn(|i| {
            let address = line.wrapping_add(8 * i);
            // SAFETY: as in `word`: `at` found 64 bytes inside the mapping, and `address` is the i-th of their eight words.
            unsafe { AtomicU64::from_ptr(address.cast()) }.load(Ordering::Acquire)
        })
    }

    #[inline(always)]
    fn store(&self, offset: usize, value: u64) {
        if let Some(word) = self.writable_word(offset) {
            word.store(value, Ordering::Release);
        }
    }

    #[inline(always)]
    fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        let address = self.at(offset, 8 * N).filter(|_| self.writable && offset.is_multiple_of(8));
        debug_assert!(address.is_some(), "{N} words at {offset} of {}", self.len);
        let Some(address) = address else { return };
        for (i, &value) in words.iter().enumerate() {
            let address = address.wrapping_add(8 * i);
            // SAFETY: as in `word`: `at` found `N` words inside the mapping, and `address` is the i-th of them.
            unsafe { AtomicU64::from_ptr(address.cast()) }.store(value, Ordering::Release);
        }
    }

    fn compare_exchange(&self, offset: usize, old: u64, new: u64) -> Result<u64, u64> {
        match self.writable_word(offset) {
            Some(word) => word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire),
            None => Err(0),
        }
    }

    #[inline(always)]
    fn fetch_add(&self, offset: usize, delta: u64) -> u64 {
        self.writable_word(offset).map_or(0, |w| w.fetch_add(delta, Ordering::Relaxed))
    }

    fn fetch_max(&self, offset: usize, value: u64) -> u64 {
        self.writable_word(offset).map_or(0, |w| w.fetch_max(value, Ordering::AcqRel))
    }

    #[inline(always)]
    fn load32(&self, offset: usize) -> u32 {
        self.word32(offset).map_or(0, |w| w.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn compare_exchange32(&self, offset: usize, old: u32, new: u32) -> Result<u32, u32> {
        match self.word32(offset).filter(|_| self.writable) {
            Some(word) => word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire),
            None => Err(0),
        }
    }

    #[inline(always)]
    fn swap32(&self, offset: usize, value: u32) -> u32 {
        self.word32(offset).filter(|_| self.writable).map_or(0, |w| w.swap(value, Ordering::AcqRel))
    }

    #[inline(always)]
    fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        let Some(from) = self.at(offset, to.len()) else { return false };
        // SAFETY: `at` found `to.len()` bytes inside the mapping; `to` is private memory, so the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
        true
    }

    #[inline(always)]
    fn append_to(&self, offset: usize, len: usize, to: &mut Vec<u8>) -> bool {
        let Some(from) = self.at(offset, len) else { return false };
        // An empty vector is replaced rather than grown: that is one allocation and no arithmetic about growth.
        if to.capacity() == 0 {
            *to = Vec::with_capacity(len);
        } else {
            to.reserve(len);
        }
        let spare = to.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: `at` found `len` bytes inside the mapping, `reserve` made `len` bytes of room, and private memory does
        // not overlap the mapping.
        unsafe { std::ptr::copy_nonoverlapping(from, spare, len) };
        let filled = to.len() + len;
        // SAFETY: the copy above initialised the `len` bytes behind the old length.
        unsafe { to.set_len(filled) };
        true
    }

    #[inline(always)]
    fn write(&self, offset: usize, bytes: &[u8]) {
        let address = self.at(offset, bytes.len()).filter(|_| self.writable);
        debug_assert!(address.is_some(), "{} bytes at {offset} of {}", bytes.len(), self.len);
        let Some(to) = address else { return };
        // SAFETY: `at` found `bytes.len()` bytes inside a writable mapping; the caller holds the writer lock, no reader
        // has been led to this range yet, and private memory does not overlap the mapping.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    #[inline(always)]
    fn equals(&self, offset: usize, bytes: &[u8]) -> bool {
        self.at(offset, bytes.len()).is_some_and(|a| same(a, bytes))
    }

    #[inline(always)]
    fn prefetch(&self, offset: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(address) = self.at(offset, 1) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a prefetch is a hint; it reads nothing and cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = offset;
    }

    #[inline(always)]
    fn immutable(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let address = self.at(offset, len)?;
        // SAFETY: `at` found `len` bytes inside the mapping, which lives as long as `self`; that nobody writes them any
        // more is the contract of this method, kept by `Pinned`'s callers (committed log bytes are immutable).
        Some(unsafe { std::slice::from_raw_parts(address, len) })
    }
}

/// A page that the kernel fills with zeros in a forked child.
pub(super) struct ForkCanary {
    page: MmapRaw,
}

impl ForkCanary {
    pub(super) fn new() -> io::Result<ForkCanary> {
        let page = MmapRaw::from(memmap2::MmapMut::map_anon(4096)?);
        #[cfg(target_os = "linux")]
        // SAFETY: the range is the whole private anonymous page that was just mapped; the advice changes what a forked
        // child sees, nothing here.
        unsafe {
            rustix::mm::madvise(page.as_mut_ptr().cast(), 4096, rustix::mm::Advice::LinuxWipeOnFork)?
        };
        let canary = ForkCanary { page };
        canary.word().store(1, Ordering::Relaxed);
        Ok(canary)
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped, aligned and private to this process while `self` lives; it is only touched here.
        unsafe { AtomicU64::from_ptr(self.page.as_mut_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn is_wiped(&self) -> bool {
        self.word().load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(len: usize) -> RealMap {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len as u64).unwrap();
        RealMap::of(&file, len, Access::Write).unwrap()
    }

    #[test]
    fn bounds_are_checked_for_every_access() {
        let map = mapping(4096);
        let mut bytes = [0; 8];
        assert!(map.read(4088, &mut bytes));
        assert!(!map.read(4089, &mut bytes));
        assert!(!map.read(usize::MAX - 3, &mut bytes));
        assert!(!map.append_to(4000, 97, &mut Vec::new()));
        assert!(!map.equals(4093, b"abcd"));
        assert!(map.immutable(0, 4097).is_none());
        map.prefetch(usize::MAX);
    }

    #[test]
    fn equality_looks_at_every_byte_of_every_length() {
        let map = mapping(4096);
        let bytes: Vec<u8> = (0..64).collect();
        map.write(3, &bytes);
        for len in 0..64 {
            assert!(map.equals(3, &bytes[..len]));
            for wrong in 0..len {
                let mut other = bytes[..len].to_vec();
                other[wrong] ^= 1;
                assert!(!map.equals(3, &other), "length {len}, byte {wrong}");
            }
        }
    }

    #[test]
    fn a_file_shorter_than_the_mapping_is_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        assert!(RealMap::of(&file, 101, Access::Read).is_err());
    }
}
