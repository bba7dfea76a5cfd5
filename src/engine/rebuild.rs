//! Rebuilding everything that is derived, from the log alone. For an opener under the open lock, when nobody else lives.
//!
//! 1. Chain: segments by ascending id, each naming the one before it and where that one ended. Batches are verified in
//!    order; the first break ends the log: what is behind it may be younger than what is missing, and is dropped. So a
//!    prefix of the commits survives, each whole. But what the file `synced` says was durable is no place for a break:
//!    damage there came later. It costs the batch that it is in, or a whole segment if it is in its head, and
//!    reading goes on behind it.
//!    The keys of a lost batch become absent, as far as they can still be read: no older version of them rises. Where not
//!    even they can be read, older versions of what was changed there are back, as after `repair`; `check` names the place.
//! 2. Replay the records of the chain into a new index, new tag chunks and a new state file under a draft name.
//! 3. Seal the last segment at the break, so that nothing is ever written over what was there.
//!    What could not be made durable before stays so: those words are taken over from a state file of this boot.
//! 4. The state file gets its name. Until then nothing that is looked at has changed, and a crash begins anew.
//!
//! Nothing here edits a byte of the log.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::index::{FILL, Geometry, LEVEL_MAX, LEVEL_MIN, Table};
use crate::storage::location::{SEGMENT_BYTES_MAX, Tail};
use crate::storage::manifest::Manifest;
use crate::storage::paths::{Name, Paths};
use crate::storage::record::Type;
use crate::storage::segment::{self, Head};
use crate::storage::state::{self, row, row_word};
use crate::storage::synced::{self, Mark};

use super::log::{Batches, Found, Member};
use super::repair::OVERHEAD;
use super::replay::{Chained, Replay};

/// The generation of a rebuilt index.
const GENERATION: u32 = 1;

/// Makes a new state file for a store, with everything that its log says. Of an empty directory too.
/// `doubts` are words of the old one about what could not be made durable.
pub fn rebuild<O: Os>(os: &O, paths: &Paths, manifest: &Manifest, doubts: &[(usize, u64)]) -> Result<O::Map> {
    let mark = read_mark(os, paths, manifest)?;
    let (chain, dropped) = read_chain(os, paths, manifest, mark)?;
    // A state file with doubts stays until another one knows them: it was marked as suspect, and nobody trusts it.
    sweep_derived(os, paths, &dropped, doubts.is_empty())?;
    let records: u64 = chain.iter().map(|s| s.puts).sum();
    let mut level = LEVEL_MIN;
    // With a quarter to spare, so that the overflow buckets suffice whatever the hashes are.
    while level < LEVEL_MAX && FILL << level < records + records / 4 {
        level += 1;
    }
    let table = Table { generation: GENERATION, level, base: level };
    let index = make_index(os, paths, manifest, table)?;
    let mut replay = Replay::new(os, paths, manifest, table, &index, &chain);
    replay.run()?;
    let values: HashSet<u64> = replay.values.clone();
    // What the log does not name is in nobody's way, and would be in nobody's count once the state file has its name.
    sweep_values(os, paths, &values)?;
    let found = Rebuilt { replay: &replay, chain: &chain, mark, doubts };
    write_state(os, paths, manifest, &found)
}

/// What goes into the state file.
struct Rebuilt<'r, 'c, O: Os> {
    replay: &'r Replay<'c, O>,
    chain: &'r [Chained<O>],
    mark: Option<Mark>,
    doubts: &'r [(usize, u64)],
}

/// How far the log was durable, as far as that is known.
fn read_mark<O: Os>(os: &O, paths: &Paths, manifest: &Manifest) -> Result<Option<Mark>> {
    let path = paths.of(Name::Synced);
    let file = match os.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", &path, e)),
    };
    let mut bytes = [0; synced::BYTES];
    match file.read_at(&mut bytes, 0) {
        Ok(()) => Ok(Mark::newest(&bytes, manifest.store).0),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(Error::io("read", &path, e)),
    }
}

/// Step 1. Also the segments that are not part of the chain, in the order in which they are to be removed.
fn read_chain<O: Os>(
    os: &O,
    paths: &Paths,
    manifest: &Manifest,
    mark: Option<Mark>,
) -> Result<(Vec<Chained<O>>, Vec<u64>)> {
    let names = os.list(paths.root()).map_err(|e| Error::io("list", paths.root(), e))?;
    let id_of = |name: &String| match Name::parse(name) {
        Some(Name::Segment(id)) => Some(id),
        _ => None,
    };
    let mut ids: Vec<u64> = names.iter().filter_map(id_of).collect();
    ids.sort_unstable();
    // Segments are unlinked oldest first, so what stands before a missing id waits to be unlinked.
    let gap = ids.windows(2).collect::<Vec<_>>().iter().rposition(|pair| pair[1] != pair[0] + 1).map_or(0, |at| at + 1);
    let retired: Vec<u64> = ids.drain(..gap).collect();
    let all = ids.clone();
    let mut ids = ids.into_iter();
    // The next segment with a whole head, and whether damaged ones that were durable stood before it.
    let mut whole = || {
        let mut skipped = false;
        for id in ids.by_ref() {
            match open_segment(os, paths, manifest, id)? {
                Some(opened) => return Ok(Some((opened, skipped))),
                None if mark.is_some_and(|mark| id < mark.segment) => skipped = true,
                None => return Ok(None),
            }
        }
        Ok::<_, Error>(None)
    };
    let mut chain: Vec<Chained<O>> = Vec::new();
    let mut next = whole()?.map(|(opened, _)| opened);
    while let Some((head, map, allocated)) = next.take() {
        let follows = whole()?.filter(|((after, ..), skipped)| *skipped || after.previous == head.id);
        let limit = match &follows {
            Some(((after, ..), false)) => u64::from(after.previous_end),
            _ => allocated,
        };
        let sure = durable_part(mark, &head, limit);
        let before = chain.last().and_then(|last| last.epoch);
        let Verified { end, puts, newest, epoch, tags } = verify(&map, head.nonce, limit, sure, before);
        let is_whole = end == limit;
        let (id, nonce, born) = (head.id, head.nonce, head.born);
        chain.push(Chained { id, nonce, born, map, allocated, end, sure, puts, newest, epoch, tags });
        if is_whole && chain.len() < manifest.rows as usize {
            next = follows.map(|(opened, _)| opened);
        }
    }
    // The oldest first of those in front of the chain, the youngest first of those behind it: wherever a crash stops this,
    // what is left has no gap, and none of the chain is taken for what waits to be unlinked. For the same reason a damaged
    // segment between sound ones stays, though nothing leads into it, until those before it have gone.
    let last = chain.last().map_or(0, |segment| segment.id);
    let behind = all.into_iter().rev().take_while(|&id| id > last);
    let mut dropped: Vec<u64> = retired.into_iter().chain(behind).collect();
    if seeded!("dropped_segments_go_oldest_first") {
        dropped.sort_unstable();
    }
    Ok((chain, dropped))
}

/// Up to where everything in a segment was durable once.
fn durable_part(mark: Option<Mark>, head: &Head, limit: u64) -> u64 {
    match mark {
        Some(mark) if head.id < mark.segment => limit,
        Some(mark) if head.id == mark.segment && head.nonce == mark.nonce => mark.offset.min(limit),
        _ => 0,
    }
}

type Opened<O> = (Head, <O as Os>::Map, u64);

/// A segment that is one; `None` for a file that is damaged from the start.
fn open_segment<O: Os>(os: &O, paths: &Paths, manifest: &Manifest, id: u64) -> Result<Option<Opened<O>>> {
    let path = paths.of(Name::Segment(id));
    let file = os.open(&path, OpenMode::Read).map_err(|e| Error::io("open", &path, e))?;
    let mut bytes = [0; segment::HEAD];
    match file.read_at(&mut bytes, 0) {
        Ok(()) => {}
        // Only a file that is too short is damage: a failure to read may pass.
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(Error::io("read", &path, e)),
    }
    let Ok(head) = Head::decode(&bytes, manifest.store, id) else { return Ok(None) };
    if u64::from(head.capacity) > SEGMENT_BYTES_MAX {
        return Ok(None);
    }
    let len = file.len().map_err(|e| Error::io("measure", &path, e))?;
    let allocated = file.allocated().map_err(|e| Error::io("measure", &path, e))?;
    // A file that lost its end is read as far as it goes.
    let readable = len.min(head.capacity.into());
    let map = file.map(usize::try_from(readable).unwrap_or(0), Access::Read).map_err(|e| Error::io("map", &path, e))?;
    Ok(Some((head, map, allocated.min(readable))))
}

/// What the whole batches of a segment hold.
#[derive(Default)]
struct Verified {
    end: u64,
    puts: u64,
    newest: u64,
    epoch: Option<u8>,
    tags: Vec<u32>,
}

/// Reads the batches of a segment as far as they are whole, or were durable.
fn verify<M: OsMap>(map: &M, nonce: u64, limit: u64, sure: u64, epoch: Option<u8>) -> Verified {
    let mut batches = Batches::new(map, nonce, usize::try_from(limit).unwrap_or(0));
    batches.epoch = epoch;
    let mut found = Verified::default();
    while let Some(found_there) = batches.next(usize::try_from(sure).unwrap_or(0)) {
        let Found::Batch(members) = found_there else { continue };
        for Member { header, .. } in members {
            found.puts += u64::from(header.kind_of_record == Type::Put);
            found.newest = found.newest.max(header.sequence);
            if header.kind_of_record == Type::TagDefined {
                found.tags.push(header.tag);
            }
        }
    }
    found.end = batches.offset as u64;
    found.epoch = batches.epoch;
    found
}

/// Removes everything that is derived, and the segments that are not part of the chain, in the order given.
fn sweep_derived<O: Os>(os: &O, paths: &Paths, dropped: &[u64], state_too: bool) -> Result<()> {
    let names = os.list(paths.root()).map_err(|e| Error::io("list", paths.root(), e))?;
    for name in names.iter().filter_map(|name| Name::parse(name)) {
        let derived = match name {
            Name::State => state_too,
            Name::StateDraft | Name::Index(_) | Name::Tags(_) | Name::Spill(_) => true,
            Name::ValueDraft(..) => true,
            _ => false,
        };
        if derived {
            let path = paths.of(name);
            os.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
    }
    for &id in dropped {
        let path = paths.of(Name::Segment(id));
        os.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
    }
    Ok(())
}

fn sweep_values<O: Os>(os: &O, paths: &Paths, used: &HashSet<u64>) -> Result<()> {
    let names = os.list(paths.root()).map_err(|e| Error::io("list", paths.root(), e))?;
    for name in names.iter().filter_map(|name| Name::parse(name)) {
        if let Name::Value(id) = name
            && !used.contains(&id)
        {
            let _ = os.remove(&paths.of(name));
        }
    }
    Ok(())
}

fn make_index<O: Os>(os: &O, paths: &Paths, manifest: &Manifest, table: Table) -> Result<O::Map> {
    let path = paths.of(Name::Index(table.generation.into()));
    let make = || {
        let file = os.open(&path, OpenMode::Create)?;
        // All of it, overflow buckets too: the replay stops for nothing.
        file.allocate(0, table.file_bytes())?;
        file.write_at(&table.encode_head(manifest.store), 0)?;
        let map = file.map(usize::try_from(table.file_bytes()).unwrap_or(usize::MAX), Access::Write)?;
        map.store(crate::storage::index::ALLOCATED, table.file_bytes());
        Ok(map)
    };
    make().map_err(|e| Error::io("create", &path, e))
}

/// Steps 3 and 4.
fn write_state<O: Os>(os: &O, paths: &Paths, manifest: &Manifest, found: &Rebuilt<'_, '_, O>) -> Result<O::Map> {
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
    let next_segment = chain.last().map_or(1, |last| last.id + 1);
    let next_value = replay.last_value.saturating_add(1);
    let mut volume = OVERHEAD + map.len() as u64 + replay.table.file_bytes() + replay.tag_bytes() + replay.value_bytes;
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
            (row::EXPIRES_MAX, counts.expires_max),
            (row::NEWEST, segment.newest),
        ] {
            map.store(row_word(slot, word), value);
        }
        volume += segment.allocated;
    }
    let epoch = chain.last().and_then(|last| last.epoch).unwrap_or(0);
    let tail = chain.last().map_or(Tail { slot: 0, offset: 0, epoch }, |last| Tail {
        slot: chain.len() - 1,
        offset: last.end,
        epoch,
    });
    let newest = chain.iter().map(|s| s.newest.max(s.born)).max().unwrap_or(0);
    // The youngest commit may be lost to damage; its number is not given twice.
    let newest = found.mark.map_or(newest, |mark| newest.max(mark.sequence));
    for (word, value) in [
        (state::VISIBLE, newest),
        (state::GEOMETRY, Geometry { current: replay.table, next: None }.bits()),
        (state::CLEARED, replay.cleared),
        (state::SIZE_LIMIT, manifest.size_limit),
        (state::EVICTION, manifest.eviction.into()),
        (state::STATISTICS, manifest.statistics.into()),
        (state::LIVE, replay.live),
        (state::VOLUME, volume),
        (state::TAIL, tail.bits()),
        (state::NEXT_SEGMENT, next_segment),
        (state::NEXT_VALUE, next_value),
        (state::TAG_CHUNKS, replay.chunks() as u64),
        (state::LARGE_BYTES, replay.value_bytes),
        (state::NEXT_OWNER, 1),
        (state::EPOCH, epoch.into()),
    ] {
        map.store(word, value);
    }
    for &(word, value) in found.doubts {
        let last = chain.last().map_or(0, |last| last.id);
        map.store(word, if word == state::SYNCED_SEGMENT { value.min(last) } else { value });
    }
}
