//! The tag table of a rebuild: its chunks, and the names in it.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::location::Location;
use crate::storage::namespace::{Kind, Label, parse_name};
use crate::storage::paths::Name;
use crate::storage::record::Header;
use crate::storage::state::LIVE_NAME;
use crate::storage::tag_table::{self, TagHash};

use super::Replay;

/// Says that a row is not free, whose name is lost, if none was met so far.
fn keep_in_use<M: OsMap>(chunk: &M, offset: usize) {
    if chunk.load(offset + tag_table::row::HASH_LOW) == 0 && !seeded!("rebuild_frees_rows_that_others_are_behind") {
        chunk.store(offset + tag_table::row::HASH_LOW, tag_table::LOST);
    }
}

impl<O: Os> Replay<'_, O> {
    /// Where the name of an item's tag is lost, its row may only be used again by a tag that leaves a mark, or the item would be
    /// that one's to the next rebuild.
    pub(super) fn keep_rows(&mut self) -> Result<()> {
        let unnamed = std::mem::take(&mut self.unnamed);
        self.make_chunks_for(&unnamed, self.named.len() + unnamed.len())?;
        for &id in &unnamed {
            if let Some((map, place)) = self.tag_row(id) {
                keep_in_use(map, place.offset);
            }
        }
        Ok(())
    }

    /// Bytes of the items that are never evicted.
    pub fn lasting_bytes(&self) -> u64 {
        let lasting = self.ends.inner().filter(|(_, kind)| kind.is_kept());
        let bytes = lasting.filter_map(|(id, _)| {
            let (map, place) = self.tag_row(id)?;
            Some(map.load(place.offset + tag_table::row::BYTES))
        });
        bytes.fold(0, u64::saturating_add)
    }

    pub(super) fn define_tag(&mut self, location: Location, header: &Header) {
        let (at, len) = header.value_range(location.offset());
        let mut name = Vec::new();
        let _ = self.chain[location.slot()].map.append_to(at, len, &mut name);
        let Some(kind) = Kind::from_bits(header.kind.into()) else { return };
        let Some((_, name)) = parse_name(kind, &name) else { return };
        if !self.ends.names.count(header.tag, kind, header.sequence) {
            return;
        }
        let hash = TagHash::new(self.seed, Label { kind, name });
        // A row that was taken over had another name before.
        let named = self.names.entry(header.tag).or_default();
        if header.sequence < *named {
            return;
        }
        *named = header.sequence;
        let Some((map, place)) = self.tag_row(header.tag) else { return };
        for offset in tag_table::probed_before(hash, place) {
            keep_in_use(map, offset);
        }
        map.store(place.offset + tag_table::row::HASH_LOW, hash.low);
        map.store(place.offset + tag_table::row::HASH_HIGH, hash.high);
        if !kind.is_inner() {
            map.store(place.offset + tag_table::row::COUNTED_SINCE, self.ends.cleared);
        }
        let evicted = self.ends.evicted.get(&header.tag).copied().unwrap_or(0);
        map.store(place.offset + tag_table::row::EVICTED, evicted);
        let before = Location::from_bits(map.load(place.offset + tag_table::row::NAME));
        map.store(place.offset + tag_table::row::NAME, location.bits());
        // A name that was written again counts where it stands now.
        if !before.is_none()
            && let Some(row) = self.rows.get_mut(before.slot())
        {
            row.live = row.live.saturating_sub(LIVE_NAME as u64);
        }
        self.rows[location.slot()].live += LIVE_NAME as u64;
    }

    /// Makes the tag table before anything is replayed: a name that was written again may stand behind everything that
    /// is about its tag.
    pub(super) fn make_chunks(&mut self) -> Result<()> {
        let all = self.chain.iter().flat_map(|segment| &segment.tags);
        let names = all.filter(|&&(id, kind, sequence)| self.ends.names.count(id, kind, sequence));
        let ids: HashSet<u32> = names.map(|&(id, ..)| id).collect();
        self.make_chunks_for(&ids, ids.len())?;
        self.named = ids;
        Ok(())
    }

    /// Makes the chunks in which the rows of these ids are, of a table of so many names.
    fn make_chunks_for(&mut self, ids: &HashSet<u32>, names: usize) -> Result<()> {
        let chunks = ids.iter().filter_map(|&id| Some(tag_table::place_of(id)?.chunk));
        // A chunk that so few names could not have come to is damage.
        let last = chunks.filter(|&chunk| tag_table::can_come_to(chunk, names)).max();
        while last.is_some_and(|last| self.tags.len() <= last) {
            self.make_chunk()?;
        }
        Ok(())
    }

    fn make_chunk(&mut self) -> Result<()> {
        let chunk = self.tags.len();
        let path = self.paths.of(Name::Tags(chunk as u64));
        let bytes = tag_table::chunk_bytes(chunk);
        let make = || {
            let file = self.os.open(&path, OpenMode::Create)?;
            file.allocate(0, bytes as u64)?;
            file.map(bytes, Access::Write)
        };
        self.tags.push(make().map_err(|e| Error::io("create", &path, e))?);
        Ok(())
    }
}
