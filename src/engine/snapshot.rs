//! Reading many keys as of one moment, without a lock if nobody removes keys meanwhile.
//!
//! 1. `S = VISIBLE`.
//! 2. For each key: the record its cell leads to if its sequence is at most S, else the record that one replaced, if its
//!    sequence is at most S: the versions of a key follow each other, so it is the one of S. Else from the start.
//! 3. A key without a record may have been removed after S: unless `VISIBLE` is S still, from the start.
//!
//! After [`RETRIES`] starts the lock is taken; then nothing changes.

use std::sync::Arc;

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::index::{self, CELLS};
use crate::storage::location::{Entry, Location};
use crate::storage::state::{self, Marks};
use crate::storage::tag_table;

use super::read::{Life, Missing, Record, Try};
use super::store::Store;
use super::view::{Index, View};

const RETRIES: usize = 8;
/// Keys whose buckets are fetched ahead of their turn.
const AHEAD: usize = 16;

impl<O: Os> Store<O> {
    /// Calls `take` with the number of each key and its live record, all as of one moment. `restart` is called when what
    /// was taken does not count.
    pub fn read_many<R>(
        &self,
        keys: &[(&[u8], u64)],
        into: &mut R,
        restart: impl Fn(&mut R),
        mut take: impl FnMut(&mut R, usize, &Record<'_, O>) -> Result<()>,
    ) -> Result<()> {
        let mut locked = None;
        let (mut tries, mut files) = (0, 0);
        loop {
            let view = self.enter()?;
            match self.try_read_many(&view, keys, None, into, &mut take)? {
                Try::Done(()) => return Ok(()),
                // Under the lock nothing moves, so a file that is missing then is damage.
                Try::Map(missing) if locked.is_some() => self.map_missing_under_lock(missing)?,
                Try::Map(missing) => {
                    drop(view);
                    self.map_missing(missing)?;
                    files += 1;
                }
                Try::Again if locked.is_some() => return Err(self.unsettled()),
                Try::Again => tries += 1,
            }
            restart(into);
            if (tries > RETRIES || files > self.rows + RETRIES) && locked.is_none() {
                locked = Some(self.lock_to_read()?);
            }
        }
    }

    /// One attempt, as of a moment that is given, or of now.
    pub(super) fn try_read_many<R>(
        &self,
        view: &Arc<View<O>>,
        keys: &[(&[u8], u64)],
        moment: Option<u64>,
        into: &mut R,
        take: &mut impl FnMut(&mut R, usize, &Record<'_, O>) -> Result<()>,
    ) -> Result<Try<()>> {
        let moment = moment.unwrap_or_else(|| self.visible());
        let mut missed = false;
        let word = self.state.load(state::GEOMETRY);
        for &(_, hash) in keys.iter().take(AHEAD) {
            self.prefetch_home(view, word, hash);
        }
        for &(_, hash) in keys.iter().take(AHEAD / 2) {
            self.prefetch_record(view, word, hash);
        }
        for (i, &(key, hash)) in keys.iter().enumerate() {
            if let Some(&(_, ahead)) = keys.get(i + AHEAD) {
                self.prefetch_home(view, word, ahead);
            }
            if let Some(&(_, ahead)) = keys.get(i + AHEAD / 2) {
                self.prefetch_record(view, word, ahead);
            }
            let hit = match self.find(view, key, hash)? {
                Try::Done(Some(hit)) => hit,
                Try::Done(None) => {
                    missed = true;
                    continue;
                }
                Try::Again => return Ok(Try::Again),
                Try::Map(missing) => return Ok(Try::Map(missing)),
            };
            let record = match self.as_of(view, key, &hit.record, moment) {
                Try::Done(Some(record)) => record,
                Try::Done(None) => {
                    missed = true;
                    continue;
                }
                Try::Again => return Ok(Try::Again),
                Try::Map(missing) => return Ok(Try::Map(missing)),
            };
            match self.life_as_of(view, &record, moment) {
                Try::Done(Life::Live) => {
                    if let Err(error) = take(into, i, &record) {
                        // What failed may have been replaced since, or have been the one of the moment and not the newest
                        // before: then it is no failure.
                        let newest = record.header.sequence == hit.record.header.sequence;
                        return if newest && self.is_current(&hit) { Err(error) } else { Ok(Try::Again) };
                    }
                    hit.mark_used(self);
                }
                Try::Done(_) => missed = true,
                Try::Again => return Ok(Try::Again),
                Try::Map(missing) => return Ok(Try::Map(missing)),
            }
        }
        Ok(if missed && self.visible() != moment { Try::Again } else { Try::Done(()) })
    }

    /// The record of a key at a moment.
    fn as_of<'v>(
        &self,
        view: &'v View<O>,
        key: &[u8],
        newest: &Record<'v, O>,
        moment: u64,
    ) -> Try<Option<Record<'v, O>>> {
        let Record { segment, offset, header } = *newest;
        if header.sequence <= moment {
            return Try::Done(Some(Record { segment, offset, header }));
        }
        let location = Location::from_bits(header.previous);
        if location.is_none() {
            return Try::Done(None);
        }
        let id = self.segment_in(location.slot());
        let Some(segment) = view.segment(location.slot(), id) else {
            return if id == 0 { Try::Again } else { Try::Map(Missing::Segment(location.slot(), id)) };
        };
        // A segment that has come into the slot since holds only younger records.
        let found = self.record_at(segment, location).filter(|record| {
            let (at, len) = record.header.key_range(record.offset);
            record.header.sequence <= moment && len == key.len() && segment.map.equals(at, key)
        });
        found.map_or(Try::Again, |record| Try::Done(Some(record)))
    }

    /// Whether a record was live at a moment. If a mark came after it and is visible, it is begun again.
    fn life_as_of(&self, view: &View<O>, record: &Record<'_, O>, moment: u64) -> Try<Life> {
        let life = match self.life(view, &record.header) {
            Try::Done(life) => life,
            other => return other,
        };
        let cleared = Marks::cleared(&self.state);
        let tag = tag_table::place_of(record.header.tag)
            .and_then(|place| Some(tag_table::marks(&**view.tags(place.chunk)?, place.offset)));
        let newest = cleared.newest.max(tag.map_or(0, |marks| marks.newest));
        // A mark that came after the moment decides nothing about it. While the moment is the newest, such a mark is not visible, and the
        // one before it has decided.
        if newest > moment && self.visible() != moment { Try::Again } else { Try::Done(life) }
    }

    /// Fetches the home bucket of a hash.
    #[inline(always)]
    pub(super) fn prefetch_home(&self, view: &View<O>, word: u64, hash: u64) {
        if let Ok(Try::Done(index)) = self.index_of(view, word, hash) {
            index.prefetch_home(hash);
        }
    }

    /// Fetches the record that the first matching cell of a home bucket leads to.
    #[inline(always)]
    pub(super) fn prefetch_record(&self, view: &View<O>, word: u64, hash: u64) {
        if let Ok(Try::Done(index)) = self.index_of(view, word, hash) {
            self.prefetch_record_of(view, index, hash, [0, 64, 128]);
        }
    }

    /// The same, for lines at these places of the record, where the table is known; and where it is, or none.
    #[inline(always)]
    pub(super) fn prefetch_record_of<const LINES: usize>(
        &self,
        view: &View<O>,
        index: &Index<O>,
        hash: u64,
        lines: [usize; LINES],
    ) -> Location {
        let tag = index.table.tag(hash);
        let line = index.map.load_line(index::bucket_offset(index.table.home(hash)));
        let found = index::matching(&line, tag);
        if found == 0 {
            return Location::from_bits(0);
        }
        let location = Entry::from_bits(line[found.trailing_zeros() as usize % CELLS]).location();
        if let Some(segment) = view.segment(location.slot(), self.segment_in(location.slot())) {
            for line in &lines {
                segment.map.prefetch(location.offset() + line);
            }
        }
        location
    }
}
