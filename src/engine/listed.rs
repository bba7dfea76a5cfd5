//! Which files a handle says that it has mapped: a list in its presence page, for others to read (`pinned`). It knows nothing
//! of a store, nor what is mapped.
//!
//! The list begins at [`LIST`] of the page (the counters before it are those of `statistics`) and goes on to its end. A word
//! of it:
//!
//! ```text
//! bits 62..64  0: free (then the word is 0); 1: a segment; 2: a table of the index; 3: a large value
//! a segment:   bit 61 main stream, bits 16..61 number, bits 0..16 blocks of 4096 bytes
//! a table:     bits 22..42 generation, bits 0..22 blocks
//! a value:     bits 24..62 id, bits 0..24 blocks
//! ```

use std::sync::{Arc, Weak};

use crate::os::once::WriteOnce;
use crate::os::{Os, OsMap};
use crate::storage::segment::{MAIN, is_main};
use crate::storage::state::Retiree;

/// Where the list begins in a presence page.
pub const LIST: usize = 1048;
const BLOCK: u64 = 4096;
/// The last words of a list, which alone are for large values: callers may hold any number of them.
const VALUES: usize = 120;

/// Bytes of a presence page: one block, and more in a store of more than 512 rows, so that twice the segments that it was
/// made for find a word.
pub fn presence_bytes(rows: usize) -> u64 {
    ((LIST + 8 * (rows / 2 + VALUES)) as u64).next_multiple_of(BLOCK)
}

/// Kind, bits of the number, and bits of the length.
const SEGMENT: (u64, u32, u32) = (1, 46, 16);
const TABLE: (u64, u32, u32) = (2, 20, 22);
const VALUE: (u64, u32, u32) = (3, 38, 24);
const STREAM: u32 = SEGMENT.1 - 1;

/// The word of a file; `None` if its number has no place in one.
fn word_of(file: Retiree, bytes: u64) -> Option<u64> {
    let ((kind, number_bits, length_bits), number) = match file {
        Retiree::Segment(id) if (id & !MAIN) >> STREAM != 0 => return None,
        Retiree::Segment(id) => (SEGMENT, (id & !MAIN) | u64::from(is_main(id)) << STREAM),
        Retiree::Index(generation) => (TABLE, generation),
        Retiree::Value(id) => (VALUE, id),
    };
    let blocks = bytes.div_ceil(BLOCK).min((1 << length_bits) - 1);
    (number >> number_bits == 0).then_some(kind << 62 | number << length_bits | blocks)
}

/// The file of a word, and its length in bytes; `None` for a free word.
pub fn file_of(word: u64) -> Option<(Retiree, u64)> {
    let fields = |(_, number_bits, length_bits): (u64, u32, u32)| {
        let number = word >> length_bits & ((1 << number_bits) - 1);
        (number, (word & ((1 << length_bits) - 1)) * BLOCK)
    };
    let (number, bytes) = fields(match word >> 62 {
        1 => SEGMENT,
        2 => TABLE,
        3 => VALUE,
        _ => return None,
    });
    let file = match word >> 62 {
        1 if number >> STREAM != 0 => Retiree::Segment(number & ((1 << STREAM) - 1) | MAIN),
        1 => Retiree::Segment(number),
        2 => Retiree::Index(number),
        _ => Retiree::Value(number),
    };
    Some((file, bytes))
}

/// That a file is in the list of this handle, until this is dropped. Kept behind the map, so that the map goes first. It may
/// outlive the handle, and the list with it.
pub struct Listed<O: Os>(WriteOnce<Place<O>>);

struct Place<O: Os> {
    os: O,
    presence: Weak<O::Presence>,
    offset: usize,
}

impl<O: Os> Drop for Place<O> {
    fn drop(&mut self) {
        // The page is not mapped in a forked child.
        if !self.os.is_forked()
            && let Some(presence) = self.presence.upgrade()
        {
            O::presence_page(&presence).store(self.offset, 0);
        }
    }
}

impl<O: Os> Listed<O> {
    /// Of a file that has no name yet.
    pub fn nowhere() -> Listed<O> {
        Listed(WriteOnce::new())
    }

    /// Enters a file into a list, if there is a word for it.
    pub fn enter(&self, os: &O, presence: &Arc<O::Presence>, file: Retiree, bytes: usize) {
        let Some(word) = word_of(file, bytes as u64).filter(|_| !os.is_forked()) else { return };
        let page = O::presence_page(presence);
        let words = page.len().saturating_sub(LIST) / 8;
        let take = |place: usize| {
            let offset = LIST + 8 * place;
            (page.load(offset) == 0 && page.compare_exchange(offset, 0, word).is_ok()).then_some(offset)
        };
        let offset = match file {
            Retiree::Value(_) => (words.saturating_sub(VALUES)..words).rev().find_map(take),
            Retiree::Segment(_) | Retiree::Index(_) => (0..words).find_map(take),
        };
        if let Some(offset) = offset {
            self.0.set(Place { os: os.clone(), presence: Arc::downgrade(presence), offset });
        }
    }

    #[cfg(test)]
    pub fn is_nowhere(&self) -> bool {
        self.0.get().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reads_back() {
        let files = [
            Retiree::Segment(1),
            Retiree::Segment((1 << STREAM) - 1),
            Retiree::Segment(1 | MAIN),
            Retiree::Segment(((1 << STREAM) - 1) | MAIN),
            Retiree::Index(0),
            Retiree::Index(0xF_FFFF),
            Retiree::Value(1),
            Retiree::Value((1 << 38) - 1),
        ];
        for file in files {
            for (bytes, taken) in [(0, 0), (1, 4096), (64 << 20, 64 << 20), ((128 << 20) - 1, 128 << 20)] {
                let word = word_of(file, bytes).unwrap();
                assert_eq!(file_of(word), Some((file, taken)), "{word:x}");
            }
        }
        for file in [Retiree::Segment(1 << STREAM), Retiree::Index(1 << 20), Retiree::Value(1 << 38)] {
            assert_eq!(word_of(file, 1), None);
        }
        assert_eq!(file_of(0), None);
        let most = word_of(Retiree::Value(3), u64::MAX).and_then(file_of);
        assert_eq!(most, Some((Retiree::Value(3), ((1 << 24) - 1) * BLOCK)), "a length that has no place is cut");
    }

    #[test]
    fn a_page_has_a_word_for_twice_the_segments_that_a_store_was_made_for() {
        for (rows, bytes) in [(256, 4096), (512, 4096), (1024, 8192), (65_536, 65 * 4096)] {
            assert_eq!(presence_bytes(rows), bytes, "{rows} rows");
        }
    }
}
