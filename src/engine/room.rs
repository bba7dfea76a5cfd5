//! Room in the log: where the bytes of a batch go, and the files that hold them. It does not know what the bytes are.
//!
//! A segment is made as long as it may ever get and allocated in windows, each zeroed by one large write under the lock:
//! that takes the space (a full disk is an error here, never a signal later), and lets the kernel use large pages, so
//! that the small records that follow cost a copy and no page fault each. Records of [`WRITE_MIN`] bytes and more are
//! written with one call into space that nobody zeroed. Under `Durability::Sync` all are written by calls.
//!
//! All of it is staged: a segment that was made for a commit that failed is made again by the next, under the same id.

use std::sync::Arc;

use crate::error::{Corruption, Error, Result};
use crate::options::{Durability, MAX_KEY_BYTES};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::location::{Location, SEGMENT_BYTES_MAX, Tail};
use crate::storage::paths::Name;
use crate::storage::record::{self, Draft, HEAD_MAX, Type};
use crate::storage::segment::{self, Head, MAIN, is_main};
use crate::storage::state::{self, Retiree, row, row_word};

use super::commit::{Commit, Made, signed};
use super::limit::{BLOCK, Purpose, segment_bytes, segment_for_copies};
use super::view::{Ahead, Segment};

/// The most bytes zeroed at a time.
const WINDOW: u64 = 64 << 10;
static ZEROS: [u8; WINDOW as usize] = [0; WINDOW as usize];
/// Records at least this long are written by a call, shorter ones through the map: measured on ext4, where a first
/// touch of a mapped page costs as much as writing two pages does.
const WRITE_MIN: usize = 8 << 10;
/// Checksums of a batch's members that are kept before they are checked together, in bytes.
const CRCS_MAX: usize = 1 << 10;

impl<O: Os> Commit<'_, O> {
    /// Makes sure that `bytes` can be appended in one piece; `whole` if they are one record. A put leaves a block behind it,
    /// so that something can be removed when the disk has no block to give.
    pub fn reserve(&mut self, bytes: usize, whole: bool, purpose: Purpose) -> Result<()> {
        let slot = self.tail.slot;
        let left_free = if purpose == Purpose::Store { BLOCK } else { 0 };
        let end = self.tail.offset + bytes as u64 + left_free;
        let capacity = self.state(row_word(slot, row::CAPACITY));
        // A segment that cannot be mapped for appending is left as it is, and another one begun.
        if !self.is_own(slot) || end > capacity || self.map_active().is_err() {
            return self.roll(bytes as u64, whole, purpose);
        }
        let allocated = self.state(row_word(slot, row::ALLOCATED));
        if end <= allocated {
            return Ok(());
        }
        let written_whole = whole && bytes >= WRITE_MIN;
        // Of a record that is written by a call, only what it covers is allocated.
        let (least, wanted) = if written_whole { (end - left_free, end - left_free) } else { (end, end + WINDOW / 2) };
        let least = window_end(least, true, capacity).max(allocated);
        let upto = window_end(wanted, written_whole, capacity).max(allocated);
        let upto = allocated + self.admit_some(upto - allocated, least - allocated, purpose)?;
        if !written_whole {
            self.map_active()?;
            if let Some(segment) = self.active() {
                zero(segment, allocated, upto).map_err(|e| self.failed("append to", segment.id, e))?;
            }
        }
        self.stage_state(row_word(slot, row::ALLOCATED), upto);
        self.add_state(state::VOLUME, signed(upto - allocated));
        Ok(())
    }

    /// The length of a segment that this commit begins, if what it is for is not longer.
    fn usual_segment(&self) -> u64 {
        let limit = self.state(state::SIZE_LIMIT);
        if self.main && self.store.loses_nothing() { segment_for_copies(limit) } else { segment_bytes(limit) }
    }

    /// Bytes that can be appended in one piece to a segment of the usual length.
    pub(super) fn free_in_new_segment(&self) -> usize {
        usize::try_from(self.usual_segment() - BLOCK).unwrap_or(usize::MAX) - segment::HEAD
    }

    /// Bytes from the tail to the end of its segment.
    pub(super) fn free_behind_tail(&self) -> usize {
        let slot = self.tail.slot;
        let capacity = if self.is_own(slot) { self.state(row_word(slot, row::CAPACITY)) } else { 0 };
        usize::try_from(capacity.saturating_sub(self.tail.offset)).unwrap_or(usize::MAX)
    }

    /// True if a slot holds a segment of the stream that this commit writes to.
    #[inline]
    fn is_own(&self, slot: usize) -> bool {
        let id = self.state(row_word(slot, row::ID));
        id != 0 && segment::is_main(id) == self.main
    }

    /// Writes a record at the tail, where [`Commit::reserve`] made room for it. A small one of a batch is only encoded, and
    /// written with those around it.
    #[inline]
    pub fn append(&mut self, draft: &Draft<'_>) -> Result<Location> {
        if self.batch_nonce.is_none() { self.append_now(draft) } else { self.append_member(draft) }
    }

    /// The same for a member of a batch, compiled for the fields that its caller knows.
    #[inline(always)]
    pub(super) fn append_member(&mut self, draft: &Draft<'_>) -> Result<Location> {
        let is_small = draft.key.len() + draft.value.len() + HEAD_MAX < WRITE_MIN;
        let Some(nonce) = self.batch_nonce.filter(|_| is_small) else { return self.append_now(draft) };
        let at = self.tail;
        let before = self.staged.bytes.len();
        let crc = draft.encode(record::salt(nonce, at.offset as usize), &mut self.staged.bytes);
        self.count_member(crc);
        let len = self.staged.bytes.len();
        self.tail.offset += (len - before) as u64;
        if len >= WRITE_MIN {
            self.write_encoded()?;
        }
        Ok(Location::new(at.slot, at.offset))
    }

    #[inline]
    fn count_member(&mut self, crc: [u8; 4]) {
        self.members += 1;
        self.staged.crcs.extend_from_slice(&crc);
        if self.staged.crcs.len() >= CRCS_MAX {
            self.take_crcs();
        }
    }

    /// Brings the check of the batch up to date.
    pub(super) fn take_crcs(&mut self) {
        self.check = record::check_with(self.check, &self.staged.crcs);
        self.staged.crcs.clear();
    }

    /// Writes the records that are encoded: they end at the tail.
    #[inline(never)]
    pub(super) fn write_encoded(&mut self) -> Result<()> {
        let len = self.staged.bytes.len();
        if len == 0 {
            return Ok(());
        }
        if self.active().is_none() {
            self.map_active_now()?;
        }
        let offset = self.tail.offset - len as u64;
        let Some(segment) = self.active().filter(|segment| offset as usize + len <= segment.map.len()) else {
            return Err(self.no_room_at_tail());
        };
        let written = self.write_log(segment, offset, &self.staged.bytes, false);
        // A write that failed may have written something.
        if self.written.is_none() {
            self.written = Some(Tail { offset, ..self.tail });
        }
        written?;
        self.staged.bytes.clear();
        Ok(())
    }

    /// Writes a record at the tail at once.
    #[inline(never)]
    fn append_now(&mut self, draft: &Draft<'_>) -> Result<Location> {
        if draft.key.len() > MAX_KEY_BYTES {
            // Its length would not fit into the record's head, and what is behind the record could not be found.
            return Err(Error::KeyTooLarge { bytes: draft.key.len() });
        }
        if !self.staged.bytes.is_empty() {
            self.write_encoded()?;
        }
        let opens = draft.alone || draft.kind_of_record == Type::Batch;
        let in_epoch;
        let draft = if opens && (self.epoch != 0 || self.tail.epoch != 0) {
            in_epoch = Draft { epoch: (self.epoch, u64::from(self.epoch) != self.tail.epoch), ..*draft };
            &in_epoch
        } else {
            draft
        };
        let mut bytes = std::mem::take(&mut self.staged.bytes);
        let written = match self.active() {
            Some(segment) => self.write_at_tail(segment, draft, &mut bytes),
            None => {
                self.staged.bytes = bytes;
                return self.append_unmapped(draft);
            }
        };
        bytes.clear();
        self.staged.bytes = bytes;
        let tail = self.tail;
        if self.written.is_none() {
            self.written = Some(tail);
        }
        let (size, crc) = written?;
        if !opens {
            self.count_member(crc);
        }
        self.tail.offset += size as u64;
        Ok(Location::new(tail.slot, tail.offset))
    }

    #[cold]
    fn append_unmapped(&mut self, draft: &Draft<'_>) -> Result<Location> {
        self.map_active_now()?;
        if self.active().is_some() { self.append_now(draft) } else { Err(self.no_room_at_tail()) }
    }

    /// Writes a record into the mapped segment; its length and the bytes of its checksum.
    #[inline(always)]
    fn write_at_tail(&self, segment: &Segment<O>, draft: &Draft<'_>, bytes: &mut Vec<u8>) -> Result<(usize, [u8; 4])> {
        let offset = self.tail.offset as usize;
        let size = draft.size();
        if offset + size > segment.map.len() {
            return Err(self.no_room_at_tail());
        }
        let crc = draft.encode(record::salt(segment.nonce, offset), bytes);
        self.write_log(segment, self.tail.offset, bytes, size >= WRITE_MIN)?;
        Ok((size, crc))
    }

    /// Writes records where they go, by a call or through the map. What is about to be made durable goes by a call however short
    /// it is: of what is changed through a map the kernel writes whole large pages, 64 KiB for a commit of 100 bytes.
    #[inline(always)]
    fn write_log(&self, segment: &Segment<O>, offset: u64, bytes: &[u8], by_call: bool) -> Result<()> {
        match &segment.file {
            Some(file) if by_call || self.store.durability == Durability::Sync => {
                file.write_at(bytes, offset).map_err(|e| self.failed("append to", segment.id, e))
            }
            _ => {
                segment.map.write(offset as usize, bytes);
                Ok(())
            }
        }
    }

    /// The nonce of the segment that the tail is in.
    pub(super) fn nonce_at_tail(&mut self) -> Result<u64> {
        self.map_active()?;
        self.active().map(|segment| segment.nonce).ok_or_else(|| self.no_room_at_tail())
    }

    #[cold]
    fn no_room_at_tail(&self) -> Error {
        let id = self.state(row_word(self.tail.slot, row::ID));
        Error::corrupt(&self.store.paths.of(Name::Segment(id)), self.tail.offset, Corruption::Bounds)
    }

    /// The segment that the tail is in, once [`Commit::map_active`] has mapped it for writing.
    #[inline(always)]
    fn active(&self) -> Option<&Arc<Segment<O>>> {
        let slot = self.tail.slot;
        self.segment(slot, self.state(row_word(slot, row::ID))).filter(|segment| segment.map.is_writable())
    }

    #[inline]
    fn map_active(&mut self) -> Result<()> {
        if self.active().is_some() { Ok(()) } else { self.map_active_now() }
    }

    #[cold]
    fn map_active_now(&mut self) -> Result<()> {
        let slot = self.tail.slot;
        let id = self.state(row_word(slot, row::ID));
        self.store.map_segment(slot, id, Access::Write)?;
        self.refresh_view();
        Ok(())
    }

    /// Seals the segment that the tail is in and begins another.
    pub(super) fn begin_segment(&mut self, purpose: Purpose) -> Result<()> {
        self.roll(0, false, purpose)
    }

    /// Seals the segment that the tail is in and begins another, long enough for `bytes`.
    #[cold]
    fn roll(&mut self, bytes: u64, whole: bool, purpose: Purpose) -> Result<()> {
        if !self.main {
            self.retire_dead_segments();
        }
        let needed = (bytes + segment::HEAD as u64).next_multiple_of(BLOCK);
        let capacity = self.usual_segment().max(needed + BLOCK);
        if capacity >= SEGMENT_BYTES_MAX {
            return Err(Error::TransactionTooLarge { bytes, limit: SEGMENT_BYTES_MAX - BLOCK });
        }
        let written_whole = whole && bytes >= WRITE_MIN as u64;
        let ahead = self.take_ahead(capacity);
        let (first, least) = match &ahead {
            Some(_) => (capacity, capacity),
            None if written_whole => (needed, needed),
            None => {
                let left_free = if purpose == Purpose::Store { BLOCK } else { 0 };
                (window_end(needed + WINDOW / 2, false, capacity), (needed + left_free).min(capacity))
            }
        };
        let admitted = self.admit_some(first, least, purpose);
        let (first, slot) = match admitted.and_then(|first| Ok((first, self.free_slot(self.tail.slot)?))) {
            Ok(both) => both,
            Err(error) => {
                ahead.inspect(|ahead| self.store.drop_ahead(ahead));
                return Err(error);
            }
        };

        let sealed = self.tail;
        let previous = if self.is_own(sealed.slot) { self.state(row_word(sealed.slot, row::ID)) } else { 0 };
        let (next, stream) = if self.main { (state::NEXT_MAIN, MAIN) } else { (state::NEXT_SEGMENT, 0) };
        let id = self.state(next) | stream;
        let head = Head {
            capacity: capacity as u32,
            store: self.store.store_id,
            id,
            nonce: self.store.os.random(),
            previous,
            previous_end: if previous == 0 || seeded!("segment_does_not_say_where_the_last_ended") {
                0
            } else {
                sealed.offset as u32
            },
            born: self.sequence - 1,
        };
        let created = match ahead {
            Some(ahead) => self.name_segment(&head, ahead)?,
            None => self.create_segment(&head, if written_whole { BLOCK } else { first })?,
        };
        self.made.push(Made::Segment { slot, id });
        let created = Arc::new(created);
        self.made_segment = Some(Arc::clone(&created));
        self.store.install_segment(slot, created);
        self.refresh_view();

        if previous != 0 {
            self.stage_state(row_word(sealed.slot, row::END), sealed.offset);
            self.stage_state(row_word(sealed.slot, row::NEWEST), self.sequence - 1);
        }
        self.stage_row(slot, id, capacity, first);
        self.add_state(next, 1);
        self.add_state(state::VOLUME, signed(first));
        self.tail = Tail { slot, offset: segment::HEAD as u64, ..self.tail };
        Ok(())
    }

    /// The row of a new segment.
    fn stage_row(&mut self, slot: usize, id: u64, capacity: u64, allocated: u64) {
        for (word, value) in [
            (row::ID, id),
            (row::END, 0),
            (row::CAPACITY, capacity),
            (row::ALLOCATED, allocated),
            (row::LIVE, 0),
            (row::EXPIRES_MIN, 0),
            (row::DEAD, 0),
            (row::NEWEST, 0),
        ] {
            self.stage_state(row_word(slot, word), value);
        }
    }

    /// A segment that was made ahead, if there is one of that length. What is set aside for it is this commit's until it is over.
    fn take_ahead(&mut self, capacity: u64) -> Option<Ahead<O>> {
        let ahead = self.store.take_ahead(capacity)?;
        self.made_ahead += ahead.bytes;
        self.adopted += ahead.bytes;
        Some(ahead)
    }

    fn name_segment(&self, head: &Head, ahead: Ahead<O>) -> Result<Segment<O>> {
        let named = self.store.name_ahead(ahead, head.id, head.nonce, &head.encode());
        named.map_err(|e| self.failed("create", head.id, e))
    }

    fn create_segment(&self, head: &Head, zeroed: u64) -> Result<Segment<O>> {
        let path = self.store.paths.of(Name::Segment(head.id));
        let create = || {
            // A file of this name is what a commit left that never happened; nobody was ever led into it.
            let _ = self.store.os.remove(&path);
            let file = self.store.os.open(&path, OpenMode::Create)?;
            let mut first = ZEROS[..zeroed.min(WINDOW) as usize].to_vec();
            first[..segment::HEAD].copy_from_slice(&head.encode());
            file.write_at(&first, 0)?;
            file.extend(head.capacity.into())?;
            let listed = self.store.list(Retiree::Segment(head.id), head.capacity as usize);
            let map = file.map(head.capacity as usize, Access::Write)?;
            let segment = Segment::new(head.id, head.nonce, map, Some(file), listed);
            zero(&segment, first.len() as u64, zeroed)?;
            Ok(segment)
        };
        create().map_err(|e| {
            self.store.remove_unpublished_segment(&path);
            Error::io("create", &path, e)
        })
    }

    /// Makes the file of a chunk of a table that grows, of so many bytes, once it was admitted to allocate some of them. Nothing of it
    /// stays if that fails.
    pub(super) fn make_chunk_file(&mut self, name: Name, len: u64, allocated: u64, made: Made) -> Result<()> {
        let path = self.store.paths.of(name);
        let make = || {
            // What a commit left that never happened.
            let _ = self.store.os.remove(&path);
            let file = self.store.os.open(&path, OpenMode::Create)?;
            file.extend(len)?;
            file.allocate(0, allocated)?;
            file.map(len as usize, Access::Read)
        };
        make().map_err(|e| {
            let _ = self.store.os.remove(&path);
            Error::io("create", &path, e)
        })?;
        self.made.push(made);
        self.add_state(state::VOLUME, signed(allocated));
        Ok(())
    }

    /// A row without a segment, looked for behind `after` so that slots are reused as late as possible.
    fn free_slot(&self, after: usize) -> Result<usize> {
        let rows = self.store.rows;
        (1..=rows)
            .map(|step| (after + step) % rows)
            .find(|&slot| self.state(row_word(slot, row::ID)) == 0)
            .ok_or(Error::Full)
    }

    /// Retires the oldest segments of each stream as long as nothing in them counts. Oldest first: then whatever a removal
    /// in them removed is gone already, and nothing can come back when the index is rebuilt from the rest.
    ///
    /// No index entry may lead into them, nor have done so before this commit; and if there is a main stream, which they may
    /// have marks about, a `clear` must have been since, and of the main stream everything must be gone that is older: a power
    /// cut may take the `clear`. Others are victims of compaction, and so are all where there are namespaces, which no `clear`
    /// ends.
    pub(super) fn retire_dead_segments(&mut self) {
        let has_main = is_main(self.store.segment_in(Tail::from_bits(self.state(state::MAIN_TAIL)).slot));
        if has_main {
            let open = Tail::from_bits(self.state(state::MAIN_TAIL)).slot;
            while self.can_retire() && self.retire_oldest(true, open, true) {}
            let oldest = self.oldest_of(true).map_or(u64::MAX, |(id, _)| id & !MAIN);
            if oldest < self.state(state::MAIN_CLEARED) && !seeded!("cleared_segments_leave_the_main_stream") {
                return;
            }
        }
        let open = Tail::from_bits(self.state(state::TAIL)).slot;
        while self.can_retire() && self.retire_oldest(false, open, has_main) {}
    }

    /// The oldest segment of a stream, and its slot.
    fn oldest_of(&self, main: bool) -> Option<(u64, usize)> {
        let rows = (0..self.store.rows).map(|slot| (self.state(row_word(slot, row::ID)), slot));
        rows.filter(|&(id, _)| id != 0 && is_main(id) == main).min()
    }

    fn retire_oldest(&mut self, main: bool, open: usize, has_main: bool) -> bool {
        let Some((id, slot)) = self.oldest_of(main) else { return false };
        let names = if seeded!("segments_with_names_go") { u64::from(u32::MAX) } else { u64::MAX };
        if slot == open || slot == self.tail.slot || self.state(row_word(slot, row::LIVE)) & names != 0 {
            return false;
        }
        if self.is_led_into(slot) {
            return false;
        }
        let is_cleared = self.state(row_word(slot, row::NEWEST)) < self.state(state::CLEARED);
        if has_main && (!is_cleared || self.has_namespaces()) {
            return false;
        }
        let bytes = self.state(row_word(slot, row::ALLOCATED));
        self.stage_state(row_word(slot, row::ID), 0);
        self.retire(Retiree::Segment(id), bytes);
        true
    }

    /// True if, before this commit, a cell leads into the segment of a slot. Its row is not to be freed then: who reads may
    /// meet the free row before the cell that this commit changes, and would take what is there for gone (I9).
    pub(super) fn is_led_into(&self, slot: usize) -> bool {
        !seeded!("rows_freed_with_their_cells") && self.store.is_led_into(slot)
    }

    fn failed(&self, action: &'static str, id: u64, error: std::io::Error) -> Error {
        Error::io(action, &self.store.paths.of(Name::Segment(id)), error)
    }
}

/// Where the window ends that covers the bytes below `wanted`: at a multiple of the window's length, or of a block if
/// it is not going to be zeroed, and never beyond the segment.
fn window_end(wanted: u64, exact: bool, capacity: u64) -> u64 {
    let window = WINDOW.min((capacity / 4).next_multiple_of(BLOCK));
    wanted.next_multiple_of(if exact { BLOCK } else { window }).min(capacity)
}

/// Writes zeros over a part of a segment.
pub fn zero<O: Os>(segment: &Segment<O>, from: u64, to: u64) -> std::io::Result<()> {
    let Some(file) = &segment.file else { return Err(std::io::ErrorKind::PermissionDenied.into()) };
    write_zeros(file, from, to)
}

/// Writes zeros over a part of a file.
pub fn write_zeros<F: OsFile>(file: &F, from: u64, to: u64) -> std::io::Result<()> {
    let mut at = from;
    while at < to {
        let step = (to - at).min(WINDOW);
        file.write_at(&ZEROS[..step as usize], at)?;
        at += step;
    }
    Ok(())
}
