//! Going through all items without a lock. A cursor is a position in hash space: a home bucket is a range of hashes, so
//! the position holds across growth, and a key that stays is met exactly once.

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::index::{self, Geometry};
use crate::storage::state;

use super::read::{Life, Record, Try};
use super::store::Store;
use super::view::View;

/// Tries of one bucket before the lock decides.
const RETRIES: usize = 64;

impl<O: Os> Store<O> {
    /// Calls `visit` with every live record whose key's hash is in the bucket at `position`, and gives the position that
    /// comes after it; `None` at the end. If something moved, `restart` is called and the bucket is begun again.
    pub fn scan<R>(
        &self,
        position: u64,
        into: &mut R,
        restart: impl Fn(&mut R),
        mut visit: impl FnMut(&mut R, &Record<'_, O>) -> Result<()>,
    ) -> Result<Option<u64>> {
        let mut locked = None;
        let mut tries = 0;
        loop {
            let view = self.enter()?;
            match self.try_scan(&view, position, into, &mut visit)? {
                Try::Done(next) => return Ok(next),
                // Under the lock nothing moves, so a file that is missing then is damage.
                Try::Map(missing) if locked.is_some() => self.map_missing_under_lock(missing)?,
                Try::Map(missing) => {
                    drop(view);
                    self.map_missing(missing)?;
                }
                Try::Again if locked.is_some() => return Err(self.unsettled()),
                Try::Again => {}
            }
            restart(into);
            tries += 1;
            if tries > RETRIES && locked.is_none() {
                locked = Some(self.lock_to_read()?);
            }
        }
    }

    fn try_scan<R>(
        &self,
        view: &View<O>,
        position: u64,
        into: &mut R,
        visit: &mut impl FnMut(&mut R, &Record<'_, O>) -> Result<()>,
    ) -> Result<Try<Option<u64>>> {
        let word = self.state.load(state::GEOMETRY);
        let Some(geometry) = Geometry::from_bits(word) else { return self.geometry().map(|_| Try::Again) };
        let table = geometry.table_of(position);
        let Some(index) = view.index(table) else { return Ok(Try::Map(super::read::Missing::Index(table))) };
        let home = table.home(position);
        let shift = 64 - table.level;
        let begins_inside = home << shift != position;
        for (cell, entry) in index::entries_of(&index.map, table, home) {
            let slot = entry.location().slot();
            let id = self.segment_in(slot);
            let leads = || index.map.load(cell) == entry.bits() && self.still_holds(word, table, position);
            if !leads() {
                return Ok(Try::Again);
            }
            let Some(segment) = view.segment(slot, id) else {
                if id == 0 {
                    continue;
                }
                return Ok(Try::Map(super::read::Missing::Segment(slot, id)));
            };
            let Some(newest) = self.record_at(segment, entry.location()) else {
                if self.segment_in(slot) != id {
                    return Ok(Try::Again);
                }
                continue;
            };
            let mut key = Vec::new();
            newest.append_key(&mut key);
            if begins_inside && self.hash(&key) < position {
                continue;
            }
            let previous;
            let record = if self.accepts(&newest.header) {
                &newest
            } else {
                previous = match self.before(view, &key, &newest.header)? {
                    Try::Done(Some(record)) => record,
                    Try::Done(None) => continue,
                    Try::Again => return Ok(Try::Again),
                    Try::Map(missing) => return Ok(Try::Map(missing)),
                };
                &previous
            };
            let is_same = || leads() && self.still_counts(&newest.header, &record.header);
            match self.life(view, &record.header) {
                Try::Done(Life::Live) => {
                    if let Err(error) = visit(into, record) {
                        // What failed may have been replaced meanwhile: then it is no failure.
                        return if is_same() { Err(error) } else { Ok(Try::Again) };
                    }
                }
                // What is dead may have been replaced meanwhile: then the key is there all the same.
                Try::Done(_) if !is_same() => return Ok(Try::Again),
                Try::Done(_) => {}
                Try::Again => return Ok(Try::Again),
                Try::Map(missing) => return Ok(Try::Map(missing)),
            }
        }
        if !self.still_holds(word, table, position) {
            return Ok(Try::Again);
        }
        Ok(Try::Done((home + 1).checked_shl(shift).filter(|&next| next != 0 && home + 1 < table.homes())))
    }
}
