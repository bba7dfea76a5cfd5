//! The bytes of one simulated file, in pages that are shared with its copies until one of them is written to, and ranges of
//! it that were lent out. Owns the `unsafe` of the simulation. Knows nothing of processes, names or power cuts.
#![allow(unsafe_code)]

use super::poison::sound;
use std::sync::{Arc, Mutex};

/// Bytes of a page: the unit in which space is given, in which a power cut keeps or loses, and which copies share.
pub(super) const PAGE: usize = 4096;

/// One page; `None` stands for zeros.
pub(super) type Page = Option<Arc<[u8; PAGE]>>;

static ZEROS: [u8; PAGE] = [0; PAGE];

/// Zeroed memory of a fixed capacity that costs what was written to. A clone costs a count for each page.
#[derive(Clone)]
pub(super) struct Memory {
    capacity: usize,
    pages: Vec<Page>,
}

impl Memory {
    pub(super) fn new(capacity: usize) -> Memory {
        Memory { capacity, pages: Vec::new() }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// A page as it is now; it stays so, whatever is written later.
    pub(super) fn page(&self, number: usize) -> Page {
        self.pages.get(number).cloned().flatten()
    }

    /// Makes a page what another one is.
    pub(super) fn set_page(&mut self, number: usize, page: Page) {
        if self.pages.len() <= number {
            self.pages.resize(number + 1, None);
        }
        if let Some(slot) = self.pages.get_mut(number) {
            *slot = page;
        }
    }

    /// `N` bytes that lie within one page; past the capacity there are zeros.
    pub(super) fn word<const N: usize>(&self, offset: usize) -> [u8; N] {
        let at = offset % PAGE;
        match self.pages.get(offset / PAGE) {
            Some(Some(page)) => page[at..].first_chunk().copied().unwrap_or([0; N]),
            _ => [0; N],
        }
    }

    /// Copies bytes out; past the capacity there are zeros.
    pub(super) fn copy_out(&self, offset: usize, to: &mut [u8]) {
        let (number, at) = (offset / PAGE, offset % PAGE);
        if at + to.len() <= PAGE {
            match self.pages.get(number).and_then(|page| page.as_deref()) {
                Some(page) => to.copy_from_slice(&page[at..at + to.len()]),
                None => to.fill(0),
            }
            return;
        }
        let mut done = 0;
        while done < to.len() {
            let (number, at) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let count = (PAGE - at).min(to.len() - done);
            let page = self.pages.get(number).and_then(|page| page.as_deref()).unwrap_or(&ZEROS);
            to[done..done + count].copy_from_slice(&page[at..at + count]);
            done += count;
        }
    }

    /// Copies bytes out onto the end of `to`.
    pub(super) fn append_to(&self, offset: usize, len: usize, to: &mut Vec<u8>) {
        let mut done = 0;
        while done < len {
            let (number, at) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let page = self.pages.get(number).and_then(|page| page.as_deref()).unwrap_or(&ZEROS);
            let count = (PAGE - at).min(len - done);
            to.extend_from_slice(&page[at..at + count]);
            done += count;
        }
    }

    /// Copies bytes in; a range past the capacity stays as it is.
    pub(super) fn copy_in(&mut self, offset: usize, bytes: &[u8]) {
        if !self.has(offset, bytes.len()) {
            return;
        }
        let mut done = 0;
        while done < bytes.len() {
            let (number, at) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let piece = &bytes[done..done + (PAGE - at).min(bytes.len() - done)];
            self.write_in_page(number, at, piece);
            done += piece.len();
        }
    }

    fn write_in_page(&mut self, number: usize, at: usize, piece: &[u8]) {
        if self.pages.len() <= number {
            self.pages.resize(number + 1, None);
        }
        let Some(slot) = self.pages.get_mut(number) else { return };
        // Zeros over zeros, as when space is prepared, cost no page.
        if slot.is_none() && piece == &ZEROS[..piece.len()] {
            return;
        }
        let page = slot.get_or_insert_with(|| Arc::new(ZEROS));
        Arc::make_mut(page)[at..at + piece.len()].copy_from_slice(piece);
    }

    fn has(&self, offset: usize, len: usize) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.capacity)
    }
}

/// Copies of ranges that were lent out: a range that is lent is never written again, so a copy is as good, and it has one
/// address for the life of the file.
#[derive(Default)]
pub(super) struct Lent {
    copies: Mutex<Vec<(usize, Box<[u8]>)>>,
}

impl Lent {
    /// Lends bytes that stand at an offset.
    pub(super) fn lend(&self, offset: usize, bytes: Vec<u8>) -> &[u8] {
        let mut copies = sound(self.copies.lock());
        // A test may have damaged the range since it was lent: then the old copy stays for those who have it.
        let known = copies.iter().rposition(|(at, copy)| *at == offset && **copy == *bytes);
        let place = known.unwrap_or_else(|| {
            copies.push((offset, bytes.into_boxed_slice()));
            copies.len() - 1
        });
        let copy = &copies[place].1;
        let (from, len) = (copy.as_ptr(), copy.len());
        // SAFETY: the bytes are those of a box that is neither written to nor removed from `copies` before `self` is
        // dropped, which the result borrows; moving the box within the vector does not move the bytes.
        unsafe { std::slice::from_raw_parts(from, len) }
    }
}
