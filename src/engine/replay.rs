//! Replaying verified records into an empty index and empty tag chunks that nobody else sees. It does not know where the
//! segments come from, nor what becomes of the result.

mod anchors;
mod tags;

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::os::{OpenMode, Os, OsMap};
use crate::storage::index::{self, CELLS, CHAIN_MAX, Table};
use crate::storage::location::{Entry, Location};
use crate::storage::manifest::Manifest;
use crate::storage::namespace::Kind;
use crate::storage::paths::{Name, Paths};
use crate::storage::record::{Header, LargeReference, Type};
use crate::storage::segment::is_main;
use crate::storage::tag_table::{self, RowPlace};

use super::ends::Ends;
use super::large::{file_space, is_whole};
use super::log::{Batches, Found, Member};
use super::voids::Cut;

/// A segment of the chain, verified up to its end.
pub struct Chained<O: Os> {
    pub id: u64,
    pub nonce: u64,
    pub born: u64,
    pub map: O::Map,
    pub allocated: u64,
    pub end: u64,
    /// Up to where everything was durable: damage before it ends nothing.
    pub sure: u64,
    pub puts: u64,
    pub newest: u64,
    /// That of its last batch, if it is known.
    pub epoch: Option<u8>,
    /// Tags whose names stand in it.
    pub tags: Vec<(u32, Kind, u64)>,
    /// There is damage before its end.
    pub has_damage: bool,
}

/// What a segment's row will say.
#[derive(Clone, Copy, Default)]
pub struct RowCounts {
    pub live: u64,
    pub expires_min: u64,
    /// Bytes of the records that cells lead to.
    pub bytes: u64,
}

/// A replay under way, and its result.
pub struct Replay<'c, O: Os> {
    os: &'c O,
    paths: &'c Paths,
    seed: u64,
    pub table: Table,
    pub(super) index: &'c O::Map,
    chain: &'c [Chained<O>],
    tags: Vec<O::Map>,
    pub rows: Vec<RowCounts>,
    pub live: u64,
    /// Items of namespaces.
    pub inner: u64,
    pub ends: &'c Ends,
    cut: &'c Cut,
    /// The newest commit replayed so far.
    newest: u64,
    /// Tags whose names the log has.
    named: HashSet<u32>,
    /// Tags that items have and whose names the log has not.
    unnamed: HashSet<u32>,
    /// The sequence of each name that has been met.
    names: HashMap<u32, u64>,
    pub values: HashSet<u64>,
    /// The largest id of a value that the log or a file's name mentions: no id is used twice.
    pub last_value: u64,
    pub value_bytes: u64,
    /// The part of it whose records stand in the main stream.
    pub main_value_bytes: u64,
    pub(super) key: Vec<u8>,
    /// Cells in use.
    cells: u64,
    /// Records that were looked at and not replayed yet.
    ahead: Vec<Ahead>,
}

/// Records whose buckets are fetched before the first of them is replayed.
const AHEAD: usize = 32;

/// A record to be replayed.
struct Ahead {
    location: Location,
    header: Header,
    /// The hash of its key, if it is about one.
    hash: u64,
}

/// Where a key's cell is, or where it would go.
#[derive(Clone, Copy)]
enum Spot {
    /// Its cell, and the record it leads to.
    Taken(usize, Location),
    Free(usize),
    /// Every bucket of the chain is full; the last one begins here.
    Full(usize),
}

impl<'c, O: Os> Replay<'c, O> {
    pub fn new(
        os: &'c O,
        paths: &'c Paths,
        manifest: &Manifest,
        table: Table,
        index: &'c O::Map,
        (chain, ends, cut): (&'c [Chained<O>], &'c Ends, &'c Cut),
    ) -> Self {
        Replay {
            os,
            paths,
            seed: manifest.seed,
            table,
            index,
            chain,
            tags: Vec::new(),
            rows: vec![RowCounts::default(); chain.len()],
            live: 0,
            inner: 0,
            ends,
            cut,
            newest: 0,
            named: HashSet::new(),
            unnamed: HashSet::new(),
            names: HashMap::new(),
            values: HashSet::new(),
            last_value: 0,
            value_bytes: 0,
            main_value_bytes: 0,
            key: Vec::new(),
            cells: 0,
            ahead: Vec::with_capacity(AHEAD),
        }
    }

    pub fn chunks(&self) -> usize {
        self.tags.len()
    }

    /// Space of the tag chunks that were made.
    pub fn tag_bytes(&self) -> u64 {
        (0..self.tags.len()).map(|chunk| tag_table::chunk_bytes(chunk) as u64).sum()
    }

    /// Replays both streams, that of commits last: what it has is at least as new.
    pub fn run(&mut self) -> Result<()> {
        let root = self.paths.root();
        let names = self.os.list(root).map_err(|e| Error::io("list", root, e))?;
        let values = names.iter().filter_map(|name| match Name::parse(name) {
            Some(Name::Value(id)) => Some(id),
            _ => None,
        });
        self.last_value = values.max().unwrap_or(0);
        self.make_chunks()?;
        for (slot, segment) in self.chain.iter().enumerate() {
            let end = usize::try_from(segment.end).unwrap_or(0);
            let is_main = is_main(segment.id);
            let mut batches = Batches::of(&segment.map, segment.id, segment.nonce, end);
            batches.was_verified = !segment.has_damage;
            while let Some(found) = batches.next(usize::try_from(segment.sure).unwrap_or(0)) {
                match found {
                    Found::Batch(members) => {
                        for member in members {
                            if is_main && !self.cut.has(member.header.sequence) {
                                continue;
                            }
                            self.newest = self.newest.max(if is_main { 0 } else { member.header.sequence });
                            let record = self.look_ahead(slot, member);
                            self.ahead.push(record);
                            if self.ahead.len() == AHEAD {
                                self.apply_all()?;
                            }
                        }
                    }
                    Found::Lost(members) => {
                        self.apply_all()?;
                        members.iter().for_each(|member| self.take_away(slot, member));
                    }
                }
            }
        }
        self.apply_all()?;
        self.keep_rows()?;
        self.index.store(index::CELLS_USED, self.cells);
        self.anchor();
        Ok(())
    }

    /// Fetches the home bucket of a record's key.
    fn look_ahead(&mut self, slot: usize, member: &Member) -> Ahead {
        let location = Location::new(slot, member.offset as u64);
        let header = member.header;
        let mut hash = 0;
        if matches!(header.kind_of_record, Type::Put | Type::Removal) {
            self.read_key(location, &header);
            hash = xxhash_rust::xxh3::xxh3_64_with_seed(&self.key, self.seed);
            self.index.prefetch(index::bucket_offset(self.table.home(hash)));
        }
        Ahead { location, header, hash }
    }

    /// Replays the records that were looked at ahead, in their order.
    fn apply_all(&mut self) -> Result<()> {
        let mut ahead = std::mem::take(&mut self.ahead);
        for record in &ahead {
            self.fetch_old(record.hash);
        }
        for record in &ahead {
            self.apply(record)?;
        }
        ahead.clear();
        self.ahead = ahead;
        Ok(())
    }

    /// Fetches the record that the first matching cell of a home bucket leads to.
    fn fetch_old(&self, hash: u64) {
        let line = self.index.load_line(index::bucket_offset(self.table.home(hash)));
        let found = index::matching(&line, self.table.tag(hash));
        let entry = Entry::from_bits(line.get(found.trailing_zeros() as usize).copied().unwrap_or(0));
        if found != 0
            && !entry.is_empty()
            && let Some(segment) = self.chain.get(entry.location().slot())
        {
            segment.map.prefetch(entry.location().offset());
            segment.map.prefetch(entry.location().offset() + 64);
        }
    }

    fn apply(&mut self, record: &Ahead) -> Result<()> {
        let Ahead { location, header, hash } = record;
        match header.kind_of_record {
            Type::Put => self.put(*location, header, *hash)?,
            Type::Removal if !seeded!("rebuild_forgets_removals") => self.remove(*location, header, *hash),
            Type::TagDefined => self.define_tag(*location, header),
            Type::Batch | Type::Removal | Type::TagEvicted | Type::Cleared | Type::Dead | Type::Joint => {}
        }
        Ok(())
    }

    /// True if a record is older than what a cell leads to, or is the original of what was moved to the main stream since. Of two
    /// copies there the later one counts: its segment stays for longer, and in one that goes sooner the other is as good as dead.
    fn is_older(&self, (location, header): (Location, &Header), there: Location) -> bool {
        let is_copy = self.is_in_main(location) && !seeded!("the_first_copy_counts");
        self.header_at(there)
            .is_some_and(|there| header.sequence < there.sequence || (header.sequence == there.sequence && !is_copy))
    }

    fn remove(&mut self, location: Location, header: &Header, hash: u64) {
        self.read_key(location, header);
        if let Spot::Taken(cell, old) = self.find(hash)
            && !self.is_older((location, header), old)
        {
            self.count_out(old);
            self.index.store(cell, 0);
            self.cells = self.cells.saturating_sub(1);
        }
    }

    /// Replays what is left of a record that was lost: whatever it did to a key, a tag or everything, older items are not
    /// there after it. Its sequence may be damaged; it was one more than the last at least.
    fn take_away(&mut self, slot: usize, member: &Member) {
        let mut header = member.header;
        header.sequence = self.newest.saturating_add(1);
        match header.kind_of_record {
            Type::Put | Type::Removal => {
                let Ahead { location, hash, .. } = self.look_ahead(slot, member);
                self.remove(location, &header, hash);
            }
            // These were gathered with the rest.
            Type::TagEvicted | Type::Cleared | Type::TagDefined | Type::Batch | Type::Dead | Type::Joint => {}
        }
    }

    fn put(&mut self, location: Location, header: &Header, hash: u64) -> Result<()> {
        if self.ends.end(header) {
            self.remove(location, header, hash);
            return Ok(());
        }
        if self.is_in_main(location) && self.ends.end_copy(hash, header) {
            return Ok(());
        }
        self.read_key(location, header);
        let spot = self.find(hash);
        if let Spot::Taken(_, old) = spot {
            if self.is_older((location, header), old) {
                return Ok(());
            }
            self.count_out(old);
        }
        // After the old record is counted out: both may refer to one file.
        // An item whose tag's name is lost could not be evicted by it: it is absent too.
        let is_named = header.tag == 0 || self.named.contains(&header.tag);
        if !is_named {
            self.unnamed.insert(header.tag);
        }
        let readable = is_named && self.large(location, header).map_or(Ok(true), |large| self.adopt_value(large))?;
        let entry = if readable { Entry::new(self.table.tag(hash), location).bits() } else { 0 };
        match spot {
            Spot::Taken(cell, _) => self.index.store(cell, entry),
            Spot::Free(cell) if readable => {
                self.index.store(cell, entry);
                self.cells += 1;
            }
            Spot::Full(last) if readable => self.extend_chain(last, entry)?,
            Spot::Free(_) | Spot::Full(_) => {}
        }
        if readable {
            self.count_in(location, header);
        }
        Ok(())
    }

    pub(super) fn read_key(&mut self, location: Location, header: &Header) {
        self.key.clear();
        let (at, len) = header.key_range(location.offset());
        if let Some(segment) = self.chain.get(location.slot()) {
            let _ = segment.map.append_to(at, len, &mut self.key);
        }
    }

    pub(super) fn header_at(&self, location: Location) -> Option<Header> {
        let segment = self.chain.get(location.slot())?;
        Header::read(&segment.map, location.offset(), usize::try_from(segment.end).ok()?)
    }

    /// Where the key in `self.key` has its cell, or a new one would go.
    fn find(&self, hash: u64) -> Spot {
        let tag = self.table.tag(hash);
        let mut bucket = index::bucket_offset(self.table.home(hash));
        let mut free = None;
        for left in (0..CHAIN_MAX).rev() {
            let line = self.index.load_line(bucket);
            let mut found = index::matching(&line, tag);
            while found != 0 {
                let i = found.trailing_zeros() as usize;
                found &= found - 1;
                let entry = Entry::from_bits(line.get(i).copied().unwrap_or(0));
                let location = entry.location();
                let Some(header) = self.header_at(location).filter(|_| !entry.is_empty()) else { continue };
                let (at, len) = header.key_range(location.offset());
                if len == self.key.len() && self.chain[location.slot()].map.equals(at, &self.key) {
                    return Spot::Taken(bucket + 8 * i, location);
                }
            }
            if free.is_none() {
                free = line[..CELLS].iter().position(|&bits| bits == 0).map(|i| bucket + 8 * i);
            }
            match self.table.next_bucket(line[CELLS]) {
                Some(next) if left > 0 => bucket = next,
                _ => break,
            }
        }
        free.map_or(Spot::Full(bucket), Spot::Free)
    }

    /// Adds a bucket behind the last of a chain, with an entry in it.
    fn extend_chain(&mut self, last: usize, entry: u64) -> Result<()> {
        let used = self.index.load(index::OVERFLOW_USED);
        let bucket = self.table.homes() + used;
        if bucket >= self.table.buckets() {
            return Err(Error::Full);
        }
        self.index.store(index::OVERFLOW_USED, used + 1);
        self.index.store(index::bucket_offset(bucket), entry);
        self.index.store(index::link_of(last), bucket);
        self.cells += 1;
        Ok(())
    }

    fn large(&self, location: Location, header: &Header) -> Option<LargeReference> {
        if !header.is_large() {
            return None;
        }
        let (at, len) = header.value_range(location.offset());
        let mut bytes = Vec::new();
        let _ = self.chain.get(location.slot())?.map.append_to(at, len, &mut bytes);
        Some(LargeReference::decode(&bytes))
    }

    /// True if the file of a large value is there and whole.
    fn adopt_value(&mut self, large: LargeReference) -> Result<bool> {
        self.last_value = self.last_value.max(large.file);
        let path = self.paths.of(Name::Value(large.file));
        let whole = match self.os.open(&path, OpenMode::Read) {
            Ok(file) => is_whole(&file, large).map_err(|e| Error::io("read", &path, e))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
            // What cannot be looked at now may be whole: it must not be swept as missing.
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let whole = whole || seeded!("rebuild_trusts_large_values");
        if whole && self.values.insert(large.file) {
            self.value_bytes = self.value_bytes.saturating_add(file_space(large.len));
        }
        Ok(whole)
    }

    fn is_in_main(&self, location: Location) -> bool {
        self.chain.get(location.slot()).is_some_and(|segment| is_main(segment.id))
    }

    pub(super) fn tag_row(&self, id: u32) -> Option<(&O::Map, RowPlace)> {
        let place = tag_table::place_of(id)?;
        Some((self.tags.get(place.chunk)?, place))
    }

    fn add_to_tag(&self, id: u32, items: i64, bytes: i64) {
        let Some((map, place)) = self.tag_row(id) else { return };
        for (word, delta) in [(tag_table::row::LIVE, items), (tag_table::row::BYTES, bytes)] {
            let at = place.offset + word;
            map.store(at, map.load(at).saturating_add_signed(delta));
        }
    }

    /// The count of items that one with such a tag is in.
    fn count_of(&mut self, tag: u32) -> &mut u64 {
        if self.ends.is_inner(tag) { &mut self.inner } else { &mut self.live }
    }

    fn count_in(&mut self, location: Location, header: &Header) {
        *self.count_of(header.tag) += 1;
        let row = &mut self.rows[location.slot()];
        row.live += 1;
        row.bytes += header.size() as u64;
        if header.expires != u64::MAX {
            let expires = header.expires.max(1);
            row.expires_min = if row.expires_min == 0 { expires } else { row.expires_min.min(expires) };
        }
        let space = self.large(location, header).map_or(0, |large| file_space(large.len));
        if self.is_in_main(location) {
            self.main_value_bytes = self.main_value_bytes.saturating_add(space);
        }
        self.add_to_tag(header.tag, 1, header.size() as i64 + space as i64);
    }

    /// Counts out the record that a cell led to, dead or alive.
    fn count_out(&mut self, location: Location) {
        let Some(header) = self.header_at(location) else { return };
        let row = &mut self.rows[location.slot()];
        row.live = row.live.saturating_sub(1);
        row.bytes = row.bytes.saturating_sub(header.size() as u64);
        let mut space = 0;
        if let Some(large) = self.large(location, &header) {
            space = file_space(large.len);
            if self.values.remove(&large.file) {
                self.value_bytes = self.value_bytes.saturating_sub(space);
            }
            if self.is_in_main(location) {
                self.main_value_bytes = self.main_value_bytes.saturating_sub(space);
            }
        }
        let count = self.count_of(header.tag);
        *count = count.saturating_sub(1);
        self.add_to_tag(header.tag, -1, -(header.size() as i64 + space as i64));
    }
}
