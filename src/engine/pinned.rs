//! Files that are unlinked and mapped still: their space is taken until the last map of them goes, and the volume does not
//! count it. It does not know what files are mapped for.
//!
//! 1. A handle writes into its presence page which file it is about to map, and empties the word once the map is gone. Maps
//!    are made and dropped by file, not by item: nothing of this is on the way of a read that maps nothing.
//! 2. Whoever asks reads the lists of all handles that live, then what the volume counts: the rows, the tables of the
//!    index, and what waits to be unlinked. What is listed and not counted is pinned.
//!
//! So what a process keeps is known however long it stands still, and a dead one keeps nothing. The order in 2 is such that
//! a file on its way from the rows to the disk's free space is found in one place or the other.
//!
//! Files are listed by their length, which may be more than they take at their ends. What finds no free word, or has a number
//! too large for it, is not listed, and then not pinned. Nor is what handles have mapped that announce nothing: read-only
//! ones, and what outlives them; nor are maps that a child of `fork` has from its parent.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::os::{OpenMode, Os, OsFile, OsMap};
use crate::storage::index::is_generation_before;
use crate::storage::paths::{Name, Paths};
use crate::storage::segment::{MAIN, is_main};
use crate::storage::state::{GEOMETRY, NEXT_MAIN, NEXT_SEGMENT, NEXT_VALUE, PENDING, RETIRED, Retiree};

use super::listed::{LIST, Listed, file_of, presence_bytes};
use super::store::Store;

/// Looks for a moment at which no commit is under way.
const TRIES: usize = 64;

/// What the volume counts, at one moment.
struct Counted {
    /// Sorted, as [`Retiree::bits`].
    files: Vec<u64>,
    /// The generation of the current table, if the word for it is whole.
    generation: Option<u32>,
    /// The number of the next segment of either stream.
    next: [u64; 2],
    next_value: u64,
}

impl Counted {
    /// True for a file that there was, and that the volume does not count. Of a value that is not known to wait for it, only
    /// the directory knows whether it was unlinked.
    fn has_lost(&self, file: Retiree) -> bool {
        let was_there = match file {
            Retiree::Segment(id) => (1..self.next[usize::from(is_main(id))]).contains(&(id & !MAIN)),
            // One that is newer is being made.
            Retiree::Index(generation) => {
                self.generation.is_some_and(|current| is_generation_before(generation as u32, current))
            }
            Retiree::Value(id) => id < self.next_value,
        };
        was_there && self.files.binary_search(&file.bits()).is_err()
    }
}

impl<O: Os> Store<O> {
    /// Step 1, for a file that is about to be mapped.
    pub(super) fn list(&self, file: Retiree, bytes: usize) -> Listed<O> {
        let listed = Listed::nowhere();
        self.enter_into_list(&listed, file, bytes);
        listed
    }

    fn enter_into_list(&self, listed: &Listed<O>, file: Retiree, bytes: usize) {
        if let Some(presence) = &self.presence {
            listed.enter(&self.os, presence, file, bytes);
        }
    }

    /// Lists what was mapped before this handle had a list.
    pub(super) fn list_what_is_mapped(&self) {
        let view = self.view.load();
        for segment in view.segments.iter().flatten() {
            self.enter_into_list(&segment.listed, Retiree::Segment(segment.id), segment.map.len());
        }
        for index in &view.indexes {
            self.enter_into_list(&index.listed, Retiree::Index(index.table.generation.into()), index.map.len());
        }
    }

    /// Bytes of files that are unlinked and that some handle has mapped. What this handle does not need goes first.
    pub(super) fn pinned(&self) -> Result<u64> {
        drop(self.enter()?);
        let listed = self.listed()?;
        let counted = self.counted();
        let pinned = listed.into_iter().filter(|&(bits, _)| {
            Retiree::from_bits(bits).is_some_and(|file| {
                counted.has_lost(file) && (!matches!(file, Retiree::Value(_)) || self.is_unlinked(file))
            })
        });
        Ok(pinned.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(bytes)))
    }

    /// What the living have listed, each file once: its [`Retiree::bits`] and its length.
    fn listed(&self) -> Result<BTreeMap<u64, u64>> {
        let directory = self.paths.of(Name::Presences);
        let names = self.os.list(&directory).map_err(|e| Error::io("list", &directory, e))?;
        let mut page = vec![0; presence_bytes(self.rows) as usize - LIST];
        let mut listed = BTreeMap::new();
        for owner in names.iter().filter_map(|name| Paths::parse_presence(name)) {
            let path = self.paths.presence(owner);
            let file = self.os.open(&path, OpenMode::Read);
            if file.and_then(|file| file.read_at(&mut page, LIST as u64)).is_err() || !self.os.is_alive(&path) {
                continue;
            }
            let words = page.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word));
            listed.extend(words.filter_map(file_of).map(|(file, bytes)| (file.bits(), bytes)));
        }
        Ok(listed)
    }

    /// Waits for no commit: after [`TRIES`] tries, what one of them is about may be missing.
    fn counted(&self) -> Counted {
        let version = || [PENDING, RETIRED, NEXT_SEGMENT, NEXT_MAIN, GEOMETRY].map(|word| self.state.load(word));
        for _ in 0..TRIES {
            let before = version();
            let counted = self.counted_now();
            if before[0] == 0 && version() == before {
                return counted;
            }
        }
        self.counted_now()
    }

    fn counted_now(&self) -> Counted {
        let geometry = self.geometry().ok();
        let tables = geometry.iter().flat_map(|g| [Some(g.current), g.next.map(|(next, _)| next)]).flatten();
        let tables = tables.map(|table| Retiree::Index(table.generation.into()).bits());
        let segments = (0..self.rows).map(|slot| self.segment_in(slot)).filter(|&id| id != 0);
        let mut files: Vec<u64> = segments.map(|id| Retiree::Segment(id).bits()).chain(tables).collect();
        // After the rows: what a commit takes out of them, it writes here.
        files.extend(self.retirees().map(|(_, bits)| bits));
        files.sort_unstable();
        Counted {
            files,
            generation: geometry.map(|geometry| geometry.current.generation),
            next: [NEXT_SEGMENT, NEXT_MAIN].map(|word| self.state.load(word)),
            next_value: self.state.load(NEXT_VALUE),
        }
    }

    fn is_unlinked(&self, file: Retiree) -> bool {
        let found = self.os.open(&self.path_of(file), OpenMode::Read);
        found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }
}
