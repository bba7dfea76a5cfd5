//! Mapping one more file, and dropping the maps of files that are out of use. It does not know what the maps are read
//! for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Corruption, Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::index::{self, Table};
use crate::storage::location::SEGMENT_BYTES_MAX;
use crate::storage::paths::Name;
use crate::storage::segment::{self, Head};
use crate::storage::state::{self, Retiree};
use crate::storage::{tag_table, tree};

use super::commit::Made;
use super::store::Store;
use super::view::{Index, Segment, View};

/// To unmap a table of this many bytes takes long enough to leave it to the thread, as its last owner also gives the blocks
/// of the file back: some ten milliseconds for 300 MiB.
const LONG: u64 = 1 << 20;
/// The thread looks so often whether somebody still reads a table, before it lets go of it.
const LOOKS: u32 = 64;

impl<O: Os> Store<O> {
    fn replace_view(&self, change: impl FnOnce(&mut View<O>)) {
        let _one_at_a_time = self.remap.lock().unwrap_or_else(|e| e.into_inner());
        let mut view = View::clone(&self.view.load());
        change(&mut view);
        self.view.store(Arc::new(view));
    }

    /// Maps the segment that a slot's row names, for appending too if `access` says so.
    pub(super) fn map_segment(&self, slot: usize, id: u64, access: Access) -> Result<Arc<Segment<O>>> {
        if let Some(segment) = self.view.load().segment(slot, id)
            && (access == Access::Read || segment.map.is_writable())
        {
            return Ok(Arc::clone(segment));
        }
        let path = self.paths.of(Name::Segment(id));
        let mode = if access == Access::Write { OpenMode::Write } else { OpenMode::Read };
        let file = self.os.open(&path, mode).map_err(|e| Error::io("open", &path, e))?;
        let mut bytes = [0; segment::HEAD];
        file.read_at(&mut bytes, 0).map_err(|e| self.short("read", &path, e))?;
        let head = Head::decode(&bytes, self.store_id, id).map_err(|what| Error::corrupt(&path, 0, what))?;
        let capacity = u64::from(head.capacity);
        if capacity < segment::HEAD as u64 || capacity > SEGMENT_BYTES_MAX {
            return Err(Error::corrupt(&path, 12, Corruption::Bounds));
        }
        // A file that lost its end with the power was sealed where it is whole; nothing leads beyond. It is read as far as
        // it goes, and not appended to.
        let len = file.len().map_err(|e| Error::io("measure", &path, e))?.min(capacity);
        if len < capacity && access == Access::Write {
            return Err(Error::corrupt(&path, len, Corruption::Truncated));
        }
        let len = usize::try_from(len).map_err(|_| Error::corrupt(&path, 12, Corruption::Bounds))?;
        let listed = self.list(Retiree::Segment(id), len);
        let map = file.map(len, access).map_err(|e| self.short("map", &path, e))?;
        let file = (access == Access::Write).then_some(file);
        let segment = Arc::new(Segment::new(id, head.nonce, map, file, listed));
        self.install_segment(slot, Arc::clone(&segment));
        Ok(segment)
    }

    pub(super) fn install_segment(&self, slot: usize, segment: Arc<Segment<O>>) {
        self.replace_view(|view| {
            if let Some(place) = view.segments.get_mut(slot) {
                // A mapping for reading does not take the place of the one that its writer has.
                let keeps = place.as_ref().is_some_and(|old| old.id == segment.id && old.map.is_writable());
                if !keeps || segment.map.is_writable() {
                    *place = Some(segment);
                }
            }
        });
    }

    /// Maps the file of an index table.
    pub(super) fn map_index(&self, table: Table) -> Result<Arc<Index<O>>> {
        if let Some(index) = self.view.load().index(table) {
            return Ok(Arc::clone(index));
        }
        let path = self.paths.of(Name::Index(table.generation.into()));
        let access = self.access();
        let mode = if access == Access::Write { OpenMode::Write } else { OpenMode::Read };
        let file = self.os.open(&path, mode).map_err(|e| Error::io("open", &path, e))?;
        let mut head = [0; index::HEAD];
        file.read_at(&mut head, 0).map_err(|e| self.short("read", &path, e))?;
        if !table.is_head(self.store_id, &head) {
            return Err(Error::corrupt(&path, 0, Corruption::Identity));
        }
        let len = usize::try_from(table.file_bytes()).map_err(|_| Error::corrupt(&path, 12, Corruption::Bounds))?;
        let listed = self.list(Retiree::Index(table.generation.into()), len);
        let map = file.map(len, access).map_err(|e| self.short("map", &path, e))?;
        let index = Arc::new(Index::new(table, map, listed));
        self.install_index(Arc::clone(&index));
        Ok(index)
    }

    pub(super) fn install_index(&self, index: Arc<Index<O>>) {
        self.replace_view(|view| {
            view.indexes.retain(|other| other.table.generation != index.table.generation);
            view.indexes.push(index);
        });
    }

    /// Maps the chunks of the tag table up to and including `chunk`.
    pub(super) fn map_tags(&self, chunk: usize) -> Result<Arc<O::Map>> {
        loop {
            let view = self.view.load_full();
            if let Some(map) = view.tags(chunk) {
                return Ok(Arc::clone(map));
            }
            let missing = view.tags.len();
            let path = self.paths.of(Name::Tags(missing as u64));
            let access = self.access();
            let mode = if access == Access::Write { OpenMode::Write } else { OpenMode::Read };
            let file = self.os.open(&path, mode).map_err(|e| Error::io("open", &path, e))?;
            let len = tag_table::chunk_bytes(missing);
            let map = Arc::new(file.map(len, access).map_err(|e| self.short("map", &path, e))?);
            self.replace_view(|view| {
                if view.tags.len() == missing {
                    view.tags.push(map);
                }
            });
        }
    }

    /// Maps the chunks of the nodes that keep keys in order, up to and including `chunk`.
    pub(super) fn map_order(&self, chunk: usize) -> Result<Arc<O::Map>> {
        loop {
            let view = self.view.load_full();
            if let Some(map) = view.order(chunk) {
                return Ok(Arc::clone(map));
            }
            let missing = view.orders.len();
            let path = self.paths.of(Name::Order(missing as u64));
            let access = self.access();
            let mode = if access == Access::Write { OpenMode::Write } else { OpenMode::Read };
            let file = self.os.open(&path, mode).map_err(|e| Error::io("open", &path, e))?;
            let len = tree::chunk_bytes(missing) as usize;
            let map = Arc::new(file.map(len, access).map_err(|e| self.short("map", &path, e))?);
            self.replace_view(|view| {
                if view.orders.len() == missing {
                    view.orders.push(map);
                }
            });
        }
    }

    /// Drops the maps of files that are retired, so that the kernel can give their space back.
    #[cold]
    pub(super) fn drop_retired_maps(&self) {
        let retired = self.state.load(state::RETIRED);
        let mut long = Vec::new();
        self.replace_view(|view| {
            view.retired = retired;
            // Read here, where no other thread replaces the view: a table that has come since must not be dropped.
            let tables = self.geometry().map(|g| (g.current, g.next.map(|(next, _)| next)));
            for (slot, segment) in view.segments.iter_mut().enumerate() {
                let id = self.state.load(state::row_word(slot, state::row::ID));
                if segment.as_ref().is_some_and(|s| s.id != id) {
                    *segment = None;
                }
            }
            if let Ok((current, next)) = tables {
                let is_used = |index: &Arc<Index<O>>| index.table == current || Some(index.table) == next;
                long.extend(
                    view.indexes.iter().filter(|index| !is_used(index) && index.table.home_bytes() >= LONG).cloned(),
                );
                view.indexes.retain(is_used);
            }
        });
        // Where nothing is evicted, a thread that gives space back a little later than it could is space that somebody is refused.
        if !long.is_empty() && self.duty.allowed && !self.loses_nothing() {
            self.leave_to_thread(long);
        }
    }

    /// Has the thread drop maps, which may be the last ones of files that are gone.
    fn leave_to_thread(&self, maps: Vec<Arc<Index<O>>>) {
        self.parting.lock().unwrap_or_else(|e| e.into_inner()).extend(maps.into_iter().map(|map| (map, 0)));
        self.call_upkeep();
        if !self.duty.is_done_by_thread() {
            drop(self.take_parting());
        }
    }

    fn take_parting(&self) -> Vec<(Arc<Index<O>>, u32)> {
        std::mem::take(&mut *self.parting.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// For the thread: drops the maps that were left to it, but for those that somebody reads; whoever does so for long drops
    /// them. True if there are some left, to look at again.
    pub(super) fn drop_parting(&self) -> bool {
        let mut parting = self.take_parting();
        parting.retain_mut(|(map, looks)| {
            *looks += 1;
            Arc::strong_count(map) > 1 && *looks < LOOKS
        });
        let is_read = !parting.is_empty();
        self.parting.lock().unwrap_or_else(|e| e.into_inner()).extend(parting);
        is_read
    }

    /// Undoes the making of a file by a commit that failed: another process, or this one, may make one of the same name. Whoever took a
    /// view before may have a map of it, and looks for that under the lock (`is_outdated`).
    pub(super) fn forget(&self, made: Made) {
        let name = match made {
            Made::Segment { id, .. } => Name::Segment(id),
            Made::Index(table) => Name::Index(table.generation.into()),
            Made::Tags(chunk) => Name::Tags(chunk as u64),
            Made::Order(chunk) => Name::Order(chunk as u64),
            Made::Value { id, .. } => Name::Value(id),
            Made::Claimed(end) => return self.release_nodes(self.order_space(), end),
        };
        self.replace_view(|view| {
            view.forgotten = self.forgotten.fetch_add(1, Ordering::Relaxed) + 1;
            match made {
                Made::Segment { slot, id } => {
                    if let Some(place) = view.segments.get_mut(slot) {
                        place.take_if(|segment| segment.id == id).into_iter().for_each(|segment| segment.disown());
                    }
                }
                Made::Index(table) => view.indexes.retain(|index| index.table != table),
                Made::Tags(chunk) => view.tags.truncate(chunk),
                Made::Order(chunk) => view.orders.truncate(chunk),
                Made::Value { .. } | Made::Claimed(_) => {}
            }
        });
        let path = self.paths.of(name);
        let undone = match made {
            // It is a draft again, so that its writer can try once more; dropping the draft removes it.
            Made::Value { draft, .. } => {
                self.os.rename(&path, &self.paths.of(Name::ValueDraft(self.owner.into(), draft)))
            }
            Made::Segment { .. } => return self.remove_unpublished_segment(&path),
            _ => self.os.remove(&path),
        };
        // The next owner of the lock tries again before it writes anything.
        if undone.is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound) {
            self.state.fetch_max(state::UNSWEPT, 1);
        }
    }

    /// True if a view may have maps of files that a commit of this process made and that were forgotten since. Under the lock nobody
    /// forgets one.
    #[inline]
    pub(super) fn is_outdated(&self, view: &View<O>) -> bool {
        view.forgotten != self.forgotten.load(Ordering::Relaxed)
    }

    fn access(&self) -> Access {
        if self.read_only { Access::Read } else { Access::Write }
    }

    /// A file that ends before its header says is damage, not an operating system failure.
    fn short(&self, action: &'static str, path: &std::path::Path, error: std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::corrupt(path, 0, Corruption::Truncated),
            _ => Error::io(action, path, error),
        }
    }
}
