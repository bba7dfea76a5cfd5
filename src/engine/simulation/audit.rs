//! Looking at everything a store holds, and at every word that is kept beside it: what must agree whenever the lock is
//! free. It knows nothing of how the store came to be as it is.

use std::collections::BTreeMap;

use super::super::read::Record;
use super::super::store::Store;
use super::acts::{Contents, Item, key_bytes, value_bytes};
use crate::os::OsMap;
use crate::os::sim::{SimMap, SimOs};
use crate::storage::index;
use crate::storage::namespace::Kind;
use crate::storage::paths::Name;
use crate::storage::record::{Header, LargeReference, Type};
use crate::storage::state::{self, RETIREES, RETIREES_MAX, Retiree, row, row_word};
use crate::storage::tag_table::{self, ROW_BYTES};
use crate::storage::tree;

/// Volume that a store charges for manifest, presences and directories.
const OVERHEAD: u64 = 64 << 10;

/// Everything that is live, by going through the index; each item is looked up by its key too.
pub fn live(store: &Store<SimOs>) -> Contents {
    let mut found = Vec::new();
    let mut position = Some(0);
    while let Some(at) = position {
        let start = found.len();
        let visit = |into: &mut Vec<(u32, Item)>, record: &Record<'_, SimOs>| {
            into.push(seen(store, record));
            Ok(())
        };
        position = store.scan(at, &mut found, |into| into.truncate(start), visit).unwrap();
    }
    let contents: Contents = found.iter().copied().collect();
    assert_eq!(contents.len(), found.len(), "a key was met twice");
    for (&key, item) in &contents {
        assert_eq!(lookup(store, key).as_ref(), Some(item), "key {key} by its name");
    }
    contents
}

/// The keys that live, in the order of their insertion.
pub fn inserted_order(store: &Store<SimOs>) -> Vec<u32> {
    let mut found = Vec::new();
    let mut position = Some(0);
    while let Some(at) = position {
        let start = found.len();
        let visit = |into: &mut Vec<(u64, u32)>, record: &Record<'_, SimOs>| {
            into.push((record.order(), seen(store, record).0));
            Ok(())
        };
        position = store.scan(at, &mut found, |into| into.truncate(start), visit).unwrap();
    }
    found.sort_unstable();
    found.into_iter().map(|(_, key)| key).collect()
}

/// What a key holds.
pub fn lookup(store: &Store<SimOs>, key: u32) -> Option<Item> {
    let key = key_bytes(key);
    store.read(&key, store.hash(&key), |record| Ok(seen(store, record).1)).unwrap()
}

pub fn seen(store: &Store<SimOs>, record: &Record<'_, SimOs>) -> (u32, Item) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    assert!(record.append_key(&mut key) && record.append_value(&mut value));
    let key: u32 = std::str::from_utf8(&key).unwrap().strip_prefix("key ").unwrap().parse().unwrap();
    if record.header.is_large() {
        value = store.read_large(LargeReference::decode(&value)).unwrap();
    }
    let tag = store
        .tag_name(record.header.tag, record.header.sequence)
        .unwrap()
        .map(|name| name.strip_prefix("tag ").unwrap().parse().unwrap());
    let expires = Some(record.header.expires).filter(|&at| at != u64::MAX);
    let version = u32::from_le_bytes(value[..4].try_into().unwrap());
    let item = Item { version, len: value.len(), tag, expires };
    assert!(value == value_bytes(key, item), "the value of key {key} is not what was put");
    (key, item)
}

/// What the index and the files say, counted anew.
#[derive(Default)]
struct Count {
    items: u64,
    /// Those of namespaces.
    inner: u64,
    lasting_bytes: u64,
    tags: BTreeMap<u32, (u64, u64)>,
    slots: BTreeMap<usize, u64>,
    names: BTreeMap<usize, u64>,
    files: u64,
}

/// Checks every word that is kept beside the items against a count anew.
///
/// # Panics
/// If one of them is wrong.
pub fn audit(store: &Store<SimOs>) {
    // What a dead owner left is finished by whoever takes the lock.
    drop(store.lock().unwrap());
    let word = |offset| store.state.load(offset);
    assert_eq!((word(state::PENDING), store.state.load32(state::LOCK)), (0, 0));
    let mut count = Count::default();
    let geometry = store.geometry().unwrap();
    let table_of = |table| (table, store.map_index(table).unwrap());
    let (current, next) = (table_of(geometry.current), geometry.next.map(|(next, moved)| (table_of(next), moved)));
    for home in 0..geometry.current.homes() {
        match &next {
            Some(((next, index), moved)) if home < *moved => {
                let halves = next.level - geometry.current.level;
                (0..1 << halves).for_each(|half| {
                    count_home(store, &index.map, *next, (home << halves) + half, &mut count);
                });
            }
            _ => count_home(store, &current.1.map, current.0, home, &mut count),
        }
    }
    let mut volume = OVERHEAD + store.state.len() as u64 + current.1.map.load(index::ALLOCATED);
    volume += next.map_or(0, |((_, mapped), _)| mapped.map.load(index::ALLOCATED));
    volume += audit_tags(store, &mut count);
    volume += (0..word(state::ORDER_CHUNKS) as usize).map(tree::chunk_bytes).sum::<u64>() - word(state::ORDER_LEFT);
    for slot in (0..store.rows).filter(|&slot| store.segment_in(slot) != 0) {
        let live = word(row_word(slot, row::LIVE));
        let counted = (count.slots.remove(&slot).unwrap_or(0), count.names.remove(&slot).unwrap_or(0));
        assert_eq!((live & 0xFFFF_FFFF, live >> 32), counted, "live records and names of the segment in slot {slot}");
        volume += word(row_word(slot, row::ALLOCATED));
    }
    assert!(count.slots.is_empty() && count.names.is_empty(), "something leads into a free slot");
    assert_eq!((store.len(), word(state::INNER)), (count.items, count.inner), "items, and those of namespaces");
    assert_eq!(word(state::LASTING_BYTES), count.lasting_bytes, "bytes of what is never evicted");
    assert_eq!(word(state::LARGE_BYTES), count.files, "bytes of large values");
    volume += count.files + word(state::DEAD_LARGE_BYTES) + word(state::STRAYS);
    let ring = (0..RETIREES_MAX).map(|i| RETIREES + i * 16).filter(|&at| word(at) != 0);
    volume += ring.map(|at| word(at + 8)).sum::<u64>();
    assert_eq!(store.volume(), volume, "volume");
    audit_names(store);
}

fn count_home(store: &Store<SimOs>, map: &SimMap, table: index::Table, home: u64, count: &mut Count) {
    for (_, entry) in index::entries_of(map, table, home) {
        let location = entry.location();
        let slot = location.slot();
        let id = store.segment_in(slot);
        assert_ne!(id, 0, "an entry leads into the free slot {slot}");
        let view = store.view.load_full();
        let segment = match view.segment(slot, id) {
            Some(segment) => std::sync::Arc::clone(segment),
            None => store.map_segment(slot, id, crate::os::Access::Read).unwrap(),
        };
        let header = Header::read(&segment.map, location.offset(), store.readable(slot, &segment)).unwrap();
        *count.slots.entry(slot).or_default() += 1;
        if header.kind_of_record == Type::Removal {
            // Its owner died before it emptied the cell.
            continue;
        }
        assert_eq!(header.kind_of_record, Type::Put, "an entry leads to what is no item");
        let mut space = 0;
        if header.is_large() {
            let (at, len) = header.value_range(location.offset());
            let mut bytes = Vec::new();
            assert!(segment.map.append_to(at, len, &mut bytes));
            let reference = LargeReference::decode(&bytes);
            assert!(reference.file < store.state.load(state::NEXT_VALUE));
            space = reference.len.next_multiple_of(4096);
            // What was evicted keeps its file until something leads elsewhere; what was cleared has lost it.
            if reference.file >= store.state.load(state::VALUE_FLOOR) {
                count.files += space;
            }
        }
        if is_dead(store, &header) {
            continue;
        }
        let kind = kind_of(store, header.tag);
        *(if kind.is_inner() { &mut count.inner } else { &mut count.items }) += 1;
        count.lasting_bytes += if kind.is_lasting() { header.size() as u64 + space } else { 0 };
        if header.tag != 0 {
            let (items, bytes) = count.tags.entry(header.tag).or_default();
            (*items, *bytes) = (*items + 1, *bytes + header.size() as u64 + space);
        }
    }
}

/// True if the record was cleared or evicted.
fn is_dead(store: &Store<SimOs>, header: &Header) -> bool {
    if header.sequence < store.state.load(state::CLEARED) && !kind_of(store, header.tag).is_inner() {
        return true;
    }
    tag_table::place_of(header.tag).is_some_and(|place| {
        let chunk = store.map_tags(place.chunk).unwrap();
        header.sequence < chunk.load(place.offset + tag_table::row::EVICTED)
    })
}

fn kind_of(store: &Store<SimOs>, tag: u32) -> Kind {
    tag_table::place_of(tag).map_or(Kind::Tag, |place| {
        let chunk = store.map_tags(place.chunk).unwrap();
        tag_table::kind_of(chunk.load(place.offset + tag_table::row::HASH_HIGH))
    })
}

/// Counts of all tags, and where their names are; the space of the table.
fn audit_tags(store: &Store<SimOs>, count: &mut Count) -> u64 {
    let mut bytes = 0;
    for chunk in 0..store.state.load(state::TAG_CHUNKS) as usize {
        let map = store.map_tags(chunk).unwrap();
        bytes += tag_table::chunk_bytes(chunk) as u64;
        for offset in (0..tag_table::chunk_bytes(chunk)).step_by(ROW_BYTES) {
            let word = |word| map.load(offset + word);
            if word(tag_table::row::HASH_LOW) == 0 {
                continue;
            }
            let id = tag_table::id_of(tag_table::RowPlace { chunk, offset });
            let kind = kind_of(store, id);
            let current = kind.is_inner() || word(tag_table::row::COUNTED_SINCE) == store.state.load(state::CLEARED);
            let kept = if current { (word(tag_table::row::LIVE), word(tag_table::row::BYTES)) } else { (0, 0) };
            let mut found = count.tags.remove(&id).unwrap_or_default();
            if kind == Kind::Deque && kept.0 > found.0 {
                // Positions whose elements were lost with the files of their values count until they are popped.
                found.0 = kept.0;
            }
            assert_eq!(kept, found, "items and bytes of tag {id}");
            let name = crate::storage::location::Location::from_bits(word(tag_table::row::NAME));
            if !name.is_none() {
                *count.names.entry(name.slot()).or_default() += 1;
            }
        }
    }
    assert!(count.tags.is_empty(), "items of tags that are not in the table");
    bytes
}

/// Every file that the words name is there.
fn audit_names(store: &Store<SimOs>) {
    let there = store.os.machine().paths();
    let exists = |name| there.contains(&store.paths.of(name));
    for slot in 0..store.rows {
        let id = store.segment_in(slot);
        assert!(id == 0 || exists(Name::Segment(id)), "segment {id}");
    }
    for i in 0..RETIREES_MAX {
        if let Some(Retiree::Segment(id)) = Retiree::from_bits(store.state.load(RETIREES + i * 16)) {
            assert!((0..store.rows).all(|slot| store.segment_in(slot) != id), "segment {id} is retired and in use");
        }
    }
}

/// Bytes of linked files that the store's volume does not know of, and bytes that it counts and that are not there.
pub fn drift(store: &Store<SimOs>) -> (u64, u64) {
    let (linked, volume) = (store.os.machine().linked_bytes(), store.volume());
    (linked.saturating_sub(volume), volume.saturating_sub(linked))
}
