//! The state file of a store that was rebuilt. It does not know how anything in it was found (`rebuild`).

use crate::error::{Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::index::{ALLOCATED, Geometry};
use crate::storage::location::Tail;
use crate::storage::manifest::Manifest;
use crate::storage::paths::{Name, Paths};
use crate::storage::segment::{self, MAIN};
use crate::storage::state::{self, row, row_word};

use super::repair::OVERHEAD;
use super::replay::{Chained, Replay};

/// What goes into the state file.
pub struct Rebuilt<'r, 'c, O: Os> {
    pub replay: &'r Replay<'c, O>,
    pub chain: &'r [Chained<O>],
    pub newest: u64,
    /// A number that no segment of the main stream had.
    pub next_main: u64,
    pub was_synced: bool,
    /// Of the large values that nothing leads to.
    pub stray_bytes: u64,
    pub doubts: &'r [(usize, u64)],
}

/// Makes the state file; once it has its name, it counts.
pub fn write_state<O: Os>(os: &O, paths: &Paths, manifest: &Manifest, found: &Rebuilt<'_, '_, O>) -> Result<O::Map> {
    let draft = paths.of(Name::StateDraft);
    let bytes = state::file_bytes(manifest.rows as usize);
    let make = || {
        let file = os.open(&draft, OpenMode::Create)?;
        file.allocate(0, bytes as u64)?;
        let identity = file.identity()?;
        file.write_at(&state::encode_head(manifest.store, manifest.rows, &identity), 0)?;
        let map = file.map(bytes, Access::Write)?;
        fill_state(&map, manifest, found);
        os.rename(&draft, &paths.of(Name::State))?;
        Ok(map)
    };
    make().map_err(|e: std::io::Error| Error::io("create", &draft, e))
}

fn fill_state<O: Os>(map: &O::Map, manifest: &Manifest, found: &Rebuilt<'_, '_, O>) {
    let (replay, chain) = (found.replay, found.chain);
    let last_of = |stream| chain.iter().rposition(|segment| segment.id & MAIN == stream);
    let next_of = |stream| last_of(stream).map_or(1, |at| (chain[at].id & !MAIN) + 1);
    let next_value = replay.last_value.saturating_add(1);
    let mut volume =
        OVERHEAD + map.len() as u64 + replay.index.load(ALLOCATED) + replay.tag_bytes() + replay.value_bytes;
    volume += found.stray_bytes;
    for (slot, segment) in chain.iter().enumerate() {
        let counts = &replay.rows[slot];
        // The last segment is not appended to again: what stands behind its end may be a batch of its own.
        for (word, value) in [
            (row::ID, segment.id),
            (row::END, segment.end),
            (row::CAPACITY, if seeded!("rebuild_does_not_seal") { segment.allocated } else { segment.end }),
            (row::ALLOCATED, segment.allocated),
            (row::LIVE, counts.live),
            (row::EXPIRES_MIN, counts.expires_min),
            (row::DEAD, segment.end.saturating_sub(segment::HEAD as u64 + counts.bytes)),
            (row::NEWEST, segment.newest),
        ] {
            map.store(row_word(slot, word), value);
        }
        volume += segment.allocated;
    }
    let (has_main, epoch) = (last_of(MAIN).is_some(), last_of(0).and_then(|at| chain[at].epoch).unwrap_or(0));
    let tail_of = |stream, epoch| {
        last_of(stream).map_or(Tail { slot: 0, offset: 0, epoch }, |slot| Tail { slot, offset: chain[slot].end, epoch })
    };
    for (word, value) in [
        (state::VISIBLE, found.newest),
        (state::BORN, found.newest),
        (state::WAS_SYNCED, found.was_synced.into()),
        (state::STRAYS, found.stray_bytes),
        (state::ORDER_STALE, replay.ends.has_orders().into()),
        (state::GEOMETRY, Geometry { current: replay.table, next: None }.bits()),
        (state::CLEARED, replay.ends.cleared),
        (state::SIZE_LIMIT, manifest.size_limit),
        (state::EVICTION, manifest.eviction.into()),
        (state::STATISTICS, manifest.statistics.into()),
        (state::LIVE, replay.live),
        (state::INNER, replay.inner),
        (state::LASTING_BYTES, replay.lasting_bytes()),
        (state::NAMESPACES, replay.ends.namespaces()),
        (state::VOLUME, volume),
        (state::TAIL, tail_of(0, epoch.into()).bits()),
        (state::NEXT_SEGMENT, next_of(0)),
        (state::MAIN_TAIL, tail_of(MAIN, 0).bits()),
        (state::NEXT_MAIN, found.next_main),
        (state::MAIN_CLEARED, found.next_main),
        (state::MAIN_LARGE_BYTES, replay.main_value_bytes),
        // What was carried and is not durable yet may be anywhere there; without a main stream, nothing found replaces what is there.
        (state::CARRIED, if has_main { found.newest } else { 0 }),
        (state::NEXT_VALUE, next_value),
        (state::TAG_CHUNKS, replay.chunks() as u64),
        (state::LARGE_BYTES, replay.value_bytes),
        (state::NEXT_OWNER, 1),
        (state::FOUND, if has_main { next_of(0) } else { 0 }),
        (state::EPOCH, epoch.into()),
    ] {
        map.store(word, value);
    }
    store_doubts::<O>(map, found.doubts, [next_of(0) - 1, next_of(MAIN) - 1]);
}

/// Takes over the words about what could not be made durable, none beyond the last segments of the streams.
fn store_doubts<O: Os>(map: &O::Map, doubts: &[(usize, u64)], [last, last_of_main]: [u64; 2]) {
    for &(word, value) in doubts {
        let last = match word {
            state::SYNCED_SEGMENT => last,
            state::SYNCED_MAIN | state::CARRIED_UPTO => last_of_main,
            _ => u64::MAX,
        };
        map.store(word, value.min(last));
    }
}
