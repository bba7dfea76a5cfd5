//! Rebuilding everything that is derived, from the log alone. For an opener under the open lock, when nobody else lives.
//!
//! 1. Chain: segments by ascending id, each naming the one before it and where that one ended. Batches are verified in
//!    order; the first break ends the log: what is behind it may be younger than what is missing, and is dropped. So a
//!    prefix of the commits survives, each whole. But what the file `synced` says was durable is no place for a break:
//!    damage there came later. It costs the batch that it is in, or a whole segment if it is in its head, and
//!    reading goes on behind it.
//!    The keys of a lost batch become absent, as far as they can still be read: no older version of them rises. Where not
//!    even they can be read, older versions of what was changed there are back, as after `repair`; `check` names the place.
//! 2. Replay the records of the chain into a new index, new tag chunks and a new state file under a draft name. Segments without damage
//!    are not verified again: nobody else is there to change them, lengths are looked at all the same, and whoever reads a value
//!    verifies it.
//! 3. Seal the last segment at the break, so that nothing is ever written over what was there.
//!    What could not be made durable before stays so: those words are taken over from a state file of this boot.
//! 4. What of the main stream is younger than the end of the commit stream is left out, and the file `void` says so, durably, to
//!    every later rebuild (K9 in `voids`).
//! 5. The state file gets its name (`rebuilt`). Until then nothing that is looked at has changed, and a crash begins anew.
//!
//! Nothing here edits a byte of the log, but that in a shard the batch of a joint commit that was not decided gets an empty header,
//! durably (J4 in `joint`): what is decided later must not count it.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, Result};
use crate::options::Eviction;
use crate::os::{Access, OpenMode, Os, OsFile, OsMap};
use crate::storage::index::{ALLOCATED, FILL, LEVEL_MAX, LEVEL_MIN, OVERFLOW_USED, Table, bucket_offset};
use crate::storage::location::SEGMENT_BYTES_MAX;
use crate::storage::manifest::Manifest;
use crate::storage::namespace::Kind;
use crate::storage::paths::{Name, Paths};
use crate::storage::record::{DEAD_VALUE, HEADER, Header, JOINT_VALUE, Type};
use crate::storage::segment::{self, Head, MAIN};
use crate::storage::state::HAS_LASTING;
use crate::storage::synced::{self, Mark};

use super::decided;
use super::ends::Ends;
use super::growth::WINDOW;
use super::limit::segment_bytes;
use super::log::{Batches, Found, Member};
use super::rebuilt::{Rebuilt, write_state};
use super::replay::{Chained, Replay};

use super::strays::{Stray, sweep_values, unused_values};
use super::voids::{Cut, read_voids, write_voids};

/// The generation of a rebuilt index.
const GENERATION: u32 = 1;

/// Makes a new state file for a store, with everything that its log says. Of an empty directory too.
/// `doubts` are words of the old one about what could not be made durable.
///
/// Also the large values that nothing leads to and that are still there, as `strays` wants them: where somebody has synced,
/// what ended them may not be durable yet.
pub fn rebuild<O: Os>(
    os: &O,
    paths: &Paths,
    manifest: &Manifest,
    doubts: &[(usize, u64)],
) -> Result<(O::Map, Vec<Stray>)> {
    let (mark, was_synced) = read_mark(os, paths, manifest)?;
    let mut ends = Ends::default();
    let (commits, mut dropped) = read_chain(os, paths, manifest, mark, &mut ends)?;
    let newest = commits.iter().map(|s| s.newest.max(s.born)).max().unwrap_or(0);
    // The youngest commit may be lost to damage; its number is not given twice.
    let newest = mark.map_or(newest, |mark| newest.max(mark.sequence));
    let cut = Cut { newest, voids: read_voids(os, paths, manifest.store)? };
    let (mut chain, survivors) = read_main(os, paths, manifest, &mut ends, &cut)?;
    chain.truncate((manifest.rows as usize).saturating_sub(commits.len()));
    // What cannot be read of the main stream would be in nobody's count.
    let all_of_main = ids_of_stream(os, paths, MAIN)?;
    dropped.extend(all_of_main.iter().filter(|id| chain.iter().all(|segment| segment.id != **id)));
    chain.extend(commits);
    // A state file with doubts stays until another one knows them: it was marked as suspect, and nobody trusts it.
    sweep_derived(os, paths, &dropped, doubts.is_empty())?;
    replay_all(os, paths, manifest, (&chain, &ends, &cut), |replay| {
        let values: HashSet<u64> = replay.values.clone();
        // What the log does not name would be in nobody's count once the state file has its name.
        let strays = if was_synced {
            unused_values(os, paths, &values)?
        } else {
            sweep_values(os, paths, &values)?;
            Vec::new()
        };
        write_voids(os, paths, manifest.store, &cut, (survivors, &all_of_main))?;
        // A batch of the main stream has a number too, and it may be younger than what is left of the other.
        let newest = newest.max(survivors);
        let next_main = all_of_main.last().map_or(1, |id| (id & !MAIN) + 1);
        let stray_bytes = strays.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let found = Rebuilt { replay, chain: &chain, newest, next_main, was_synced, stray_bytes, doubts };
        Ok((write_state(os, paths, manifest, &found)?, strays))
    })
}

/// Step 2, and what comes of it. A table that is made for all records that the log has, dead ones too, and with a quarter to spare, so
/// that its overflow buckets suffice whatever the hashes are, may be larger than the one that there was: if nothing may be evicted, what
/// takes that room is never given back, and removals need some. So where it is much of a store that is more than half full, one of
/// half its length is tried, as it was enough before.
fn replay_all<O: Os, R>(
    os: &O,
    paths: &Paths,
    manifest: &Manifest,
    all: (&[Chained<O>], &Ends, &Cut),
    then: impl FnOnce(&Replay<'_, O>) -> Result<R>,
) -> Result<R> {
    let records: u64 = all.0.iter().map(|s| s.puts).sum();
    let taken: u64 = all.0.iter().map(|s| s.allocated).sum();
    let loses_nothing = manifest.eviction == Eviction::None.to_bits() || all.1.namespaces() & HAS_LASTING != 0;
    let mut level = LEVEL_MIN;
    while level < LEVEL_MAX && FILL << level < records + records / 4 {
        level += 1;
    }
    let mut attempt = if loses_nothing && level > LEVEL_MIN { Attempt::First } else { Attempt::Last };
    loop {
        let table = Table { generation: GENERATION, level, base: level };
        let index = make_index(os, paths, manifest, table)?;
        let mut replay = Replay::new(os, paths, manifest, table, &index, all);
        let outcome = replay.run();
        let is_much = || table.file_bytes() / 2 > segment_bytes(manifest.size_limit);
        let is_full = || taken + table.file_bytes() + replay.value_bytes > manifest.size_limit / 2;
        match (attempt, outcome) {
            (Attempt::Half, Err(Error::Full)) => (level, attempt) = (level + 1, Attempt::Last),
            (Attempt::First, Ok(())) if is_much() && is_full() => (level, attempt) = (level - 1, Attempt::Half),
            (_, outcome) => {
                outcome?;
                give_back_overflow(os, paths, table, &index);
                return then(&replay);
            }
        }
        sweep_derived(os, paths, &[], false)?;
    }
}

/// Which table it is.
#[derive(Clone, Copy)]
enum Attempt {
    First,
    Half,
    Last,
}

/// Gives the space of the overflow buckets back that were not needed, where the file system can.
fn give_back_overflow<O: Os>(os: &O, paths: &Paths, table: Table, index: &O::Map) {
    let used = bucket_offset(table.homes() + index.load(OVERFLOW_USED)) as u64;
    let end = used.next_multiple_of(WINDOW).min(table.file_bytes());
    let path = paths.of(Name::Index(table.generation.into()));
    let released = os.open(&path, OpenMode::Write).and_then(|file| file.release(end, table.file_bytes() - end));
    if released.is_ok() {
        index.store(ALLOCATED, end);
    }
}

/// How far the log was durable, as far as that is known, and whether anybody has asked for it to be.
fn read_mark<O: Os>(os: &O, paths: &Paths, manifest: &Manifest) -> Result<(Option<Mark>, bool)> {
    let path = paths.of(Name::Synced);
    let file = match os.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((None, false)),
        Err(e) => return Err(Error::io("open", &path, e)),
    };
    let mut bytes = [0; synced::BYTES];
    match file.read_at(&mut bytes, 0) {
        Ok(()) => Ok((Mark::newest(&bytes, manifest.store).0, true)),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok((None, true)),
        Err(e) => Err(Error::io("read", &path, e)),
    }
}

/// Step 1. Also the segments that are not part of the chain, in the order in which they are to be removed.
fn read_chain<O: Os>(
    os: &O,
    paths: &Paths,
    manifest: &Manifest,
    mark: Option<Mark>,
    ends: &mut Ends,
) -> Result<(Vec<Chained<O>>, Vec<u64>)> {
    let decided = decided::decided_for(os, paths.root(), manifest.kind)?;
    let (is_shard, decided) = (decided.is_some(), decided.unwrap_or(0));
    let mut ids = ids_of_stream(os, paths, 0)?;
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
        let path = paths.of(Name::Segment(head.id));
        let mut batches = Batches::of(&map, head.id, head.nonce, usize::try_from(limit).unwrap_or(0));
        batches.epoch = before;
        let since = chain.last().map_or(0, |last| last.newest);
        let Verified { end, puts, newest, epoch, tags, undecided, has_damage } =
            verify(batches, (sure, decided), since, ends);
        if is_shard && end + HEADER as u64 <= allocated && !seeded!("undecided_batch_stays") {
            void(os, &path, end, undecided)?;
        }
        let is_whole = end == limit;
        let (id, nonce, born) = (head.id, head.nonce, head.born);
        chain.push(Chained { id, nonce, born, map, allocated, end, sure, puts, newest, epoch, tags, has_damage });
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
    tags: Vec<(u32, Kind, u64)>,
    /// What follows is part of a joint commit that was not decided.
    undecided: bool,
    /// There is damage before its end.
    has_damage: bool,
}

/// The row that a name is of, as what, and since when.
fn name_of(header: &Header) -> Option<(u32, Kind, u64)> {
    Kind::from_bits(header.kind.into()).map(|kind| (header.tag, kind, header.sequence))
}

/// Writes an empty header over a batch that is no commit, durably: a later decision must not count it. Where a header is empty, who
/// emptied it may have died before that was durable.
fn void<O: Os>(os: &O, path: &Path, offset: u64, is_undecided: bool) -> Result<()> {
    let file = os.open(path, OpenMode::Write).map_err(|e| Error::io("open", path, e))?;
    let mut header = [0; HEADER];
    file.read_at(&mut header, offset).map_err(|e| Error::io("read", path, e))?;
    if !is_undecided && header != [0; HEADER] {
        return Ok(());
    }
    file.write_at(&[0; HEADER], offset).map_err(|e| Error::io("write", path, e))?;
    file.sync().map_err(|e| Error::not_written(path, e))
}

/// True if a batch is part of a joint commit with a number above the one that was decided.
fn is_undecided<M: OsMap>(map: &M, members: &[Member], decided: u64) -> bool {
    let Some(first) = members.first().filter(|first| first.header.kind_of_record == Type::Joint) else { return false };
    let mut number = [0; JOINT_VALUE];
    map.read(first.header.value_range(first.offset).0, &mut number) && u64::from_le_bytes(number) > decided
}

/// Reads the batches of a segment of the commit stream as far as they are whole, or were durable. `newest` is the newest
/// commit before it; `decided` the number of the last joint one that counts.
fn verify<M: OsMap>(
    mut batches: Batches<'_, M>,
    (sure, decided): (u64, u64),
    newest: u64,
    ends: &mut Ends,
) -> Verified {
    let mut found = Verified { newest, ..Verified::default() };
    let map = batches.map();
    loop {
        let (begin, epoch) = (batches.offset, batches.epoch);
        let Some(found_there) = batches.next(usize::try_from(sure).unwrap_or(0)) else { break };
        match found_there {
            // What was durable once is no end of the log: if it seems not to have been decided, that file is damaged.
            Found::Batch(members) if begin as u64 >= sure && is_undecided(map, members, decided) => {
                (batches.offset, batches.epoch) = (begin, epoch);
                found.undecided = true;
                break;
            }
            Found::Batch(members) => {
                for Member { header, .. } in members {
                    found.puts += u64::from(header.kind_of_record == Type::Put);
                    found.newest = found.newest.max(header.sequence);
                    if header.kind_of_record == Type::TagDefined {
                        found.tags.extend(name_of(header));
                    }
                    ends.learn(header, header.sequence);
                }
            }
            // Their sequences may be damaged; they were one more than the last at least.
            Found::Lost(members) => {
                found.has_damage = true;
                members.iter().for_each(|member| ends.learn_lost(&member.header, found.newest.saturating_add(1)));
            }
        }
    }
    found.end = batches.offset as u64;
    found.epoch = batches.epoch;
    found
}

/// The segments of the main stream, each up to the first batch that is not whole, and the newest number of a batch in it.
/// What `cut` does not have does not count.
///
/// A segment that is missing or damaged costs what stood in it and no more: each record in it is the copy of one that
/// was committed, and what ended it since is in the commit stream, or was carried over into this one.
fn read_main<O: Os>(
    os: &O,
    paths: &Paths,
    manifest: &Manifest,
    ends: &mut Ends,
    cut: &Cut,
) -> Result<(Vec<Chained<O>>, u64)> {
    let mut opened = Vec::new();
    for id in ids_of_stream(os, paths, MAIN)? {
        opened.extend(open_segment(os, paths, manifest, id)?);
    }
    let followed: Vec<Option<u64>> = (0..opened.len())
        .map(|i| {
            let (head, ..): &Opened<O> = opened.get(i + 1)?;
            (head.previous == opened[i].0.id).then_some(head.previous_end.into())
        })
        .collect();
    let mut newest = 0;
    let mut chain = Vec::new();
    for ((head, map, allocated), end) in opened.into_iter().zip(followed) {
        let limit = end.unwrap_or(allocated).min(allocated);
        let mut batches = Batches::of(&map, head.id, head.nonce, usize::try_from(limit).unwrap_or(0));
        let mut found = Verified::default();
        while let Some(members) = batches.next_batch() {
            for Member { header, offset } in members.iter().filter(|member| cut.has(member.header.sequence)) {
                found.puts += u64::from(header.kind_of_record == Type::Put);
                match header.kind_of_record {
                    Type::TagDefined => {
                        found.tags.extend(name_of(header));
                        ends.learn(header, header.sequence);
                    }
                    Type::Dead => {
                        let mut hash = [0; DEAD_VALUE];
                        if map.read(header.value_range(*offset).0, &mut hash) {
                            ends.learn_dead(u64::from_le_bytes(hash), header.sequence);
                        }
                    }
                    _ => ends.learn(header, header.sequence),
                }
            }
        }
        newest = newest.max(batches.newest);
        let (id, nonce, born) = (head.id, head.nonce, head.born);
        let end = batches.offset as u64;
        let Verified { puts, tags, .. } = found;
        let newest = batches.newest;
        let has_damage = false;
        chain.push(Chained {
            id,
            nonce,
            born,
            map,
            allocated,
            end,
            sure: 0,
            puts,
            newest,
            epoch: None,
            tags,
            has_damage,
        });
    }
    Ok((chain, newest))
}

/// The ids of a stream's segments, ascending.
fn ids_of_stream<O: Os>(os: &O, paths: &Paths, stream: u64) -> Result<Vec<u64>> {
    let names = os.list(paths.root()).map_err(|e| Error::io("list", paths.root(), e))?;
    let id_of = |name: &String| match Name::parse(name) {
        Some(Name::Segment(id)) if id & MAIN == stream => Some(id),
        _ => None,
    };
    let mut ids: Vec<u64> = names.iter().filter_map(id_of).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Removes everything that is derived, and the segments that are not part of the chain, in the order given.
fn sweep_derived<O: Os>(os: &O, paths: &Paths, dropped: &[u64], state_too: bool) -> Result<()> {
    let names = os.list(paths.root()).map_err(|e| Error::io("list", paths.root(), e))?;
    for name in names.iter().filter_map(|name| Name::parse(name)) {
        let derived = match name {
            Name::State => state_too,
            Name::StateDraft | Name::VoidDraft | Name::Index(_) | Name::Tags(_) | Name::Order(_) | Name::Spill(_) => {
                true
            }
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

fn make_index<O: Os>(os: &O, paths: &Paths, manifest: &Manifest, table: Table) -> Result<O::Map> {
    let path = paths.of(Name::Index(table.generation.into()));
    let make = || {
        let file = os.open(&path, OpenMode::Create)?;
        // All of it, overflow buckets too: the replay stops for nothing.
        file.allocate(0, table.file_bytes())?;
        file.write_at(&table.encode_head(manifest.store), 0)?;
        let map = file.map(usize::try_from(table.file_bytes()).unwrap_or(usize::MAX), Access::Write)?;
        map.store(ALLOCATED, table.file_bytes());
        Ok(map)
    };
    make().map_err(|e| Error::io("create", &path, e))
}
