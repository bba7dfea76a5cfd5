//! Which files this process has mapped. A [`View`] is an immutable snapshot of all maps; mapping one more file makes a
//! new view. Readers hold the view they began with, so nothing is unmapped under them; a map goes when the last view
//! or pinned value that holds it does.
//!
//! This file does not know what the maps are read for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::os::{HoldsMap, Os, OsMap};
use crate::storage::index::{Geometry, Table, bucket_offset};
use crate::storage::redo::Place;

use super::listed::Listed;

/// A mapped segment.
pub struct Segment<O: Os> {
    pub id: u64,
    pub nonce: u64,
    pub map: O::Map,
    /// Kept by whoever may append: the way in for large records.
    pub file: Option<O::File>,
    pub(super) listed: Listed<O>,
    /// Its file is one that a commit made which never happened: another one may have its id since.
    disowned: AtomicBool,
}

impl<O: Os> Segment<O> {
    pub fn new(id: u64, nonce: u64, map: O::Map, file: Option<O::File>, listed: Listed<O>) -> Segment<O> {
        Segment { id, nonce, map, file, listed, disowned: AtomicBool::new(false) }
    }

    /// Says to whoever has it that no row means it.
    pub fn disown(&self) {
        self.disowned.store(true, Ordering::Relaxed);
    }
}

/// A segment that has no name yet, all zeros.
pub struct Ahead<O: Os> {
    /// The number of the draft that it is.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
    pub segment: Segment<O>,
}

impl<O: Os> HoldsMap for Segment<O> {
    type Map = O::Map;
    fn held(&self) -> &O::Map {
        &self.map
    }
}

/// The mapped file of a large value.
pub struct LargeValue<O: Os> {
    map: O::Map,
    _listed: Listed<O>,
}

impl<O: Os> LargeValue<O> {
    pub fn new(map: O::Map, listed: Listed<O>) -> LargeValue<O> {
        LargeValue { map, _listed: listed }
    }
}

impl<O: Os> HoldsMap for LargeValue<O> {
    type Map = O::Map;
    fn held(&self) -> &O::Map {
        &self.map
    }
}

/// A mapped index file.
pub struct Index<O: Os> {
    pub table: Table,
    /// The geometry word while this table is the only one.
    word: u64,
    pub map: O::Map,
    pub(super) listed: Listed<O>,
}

impl<O: Os> Index<O> {
    pub fn new(table: Table, map: O::Map, listed: Listed<O>) -> Index<O> {
        Index { table, word: Geometry { current: table, next: None }.bits(), map, listed }
    }

    /// Fetches the home bucket of a hash.
    #[inline(always)]
    pub fn prefetch_home(&self, hash: u64) {
        self.map.prefetch(bucket_offset(self.table.home(hash)));
    }
}

/// Every file this process has mapped, as of some moment.
pub struct View<O: Os> {
    /// The state's count of retired files when this view was cleaned last.
    pub retired: u64,
    /// How many files this process had forgotten that commits had made which never happened: who writes takes no older view. Who reads
    /// is told by the segment itself.
    pub(super) forgotten: u64,
    pub(super) segments: Vec<Option<Arc<Segment<O>>>>,
    pub(super) indexes: Vec<Arc<Index<O>>>,
    pub(super) tags: Vec<Arc<O::Map>>,
    pub(super) orders: Vec<Arc<O::Map>>,
}

impl<O: Os> Clone for View<O> {
    fn clone(&self) -> Self {
        View {
            retired: self.retired,
            forgotten: self.forgotten,
            segments: self.segments.clone(),
            indexes: self.indexes.clone(),
            tags: self.tags.clone(),
            orders: self.orders.clone(),
        }
    }
}

impl<O: Os> View<O> {
    pub fn empty(rows: usize) -> View<O> {
        View {
            retired: 0,
            forgotten: 0,
            segments: (0..rows).map(|_| None).collect(),
            indexes: Vec::new(),
            tags: Vec::new(),
            orders: Vec::new(),
        }
    }

    /// The map of the segment that is in a slot now, by the id its row names.
    #[inline(always)]
    pub fn segment(&self, slot: usize, id: u64) -> Option<&Arc<Segment<O>>> {
        self.segments
            .get(slot)?
            .as_ref()
            .filter(|segment| segment.id == id && !segment.disowned.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub fn index(&self, table: Table) -> Option<&Arc<Index<O>>> {
        self.indexes.iter().find(|index| index.table == table)
    }

    /// The index of a geometry word that names one table; `None` if it names two, or one that is not mapped.
    #[inline(always)]
    pub fn only_index(&self, word: u64) -> Option<&Arc<Index<O>>> {
        self.indexes.iter().find(|index| index.word == word)
    }

    /// A chunk of the tag table.
    #[inline(always)]
    pub fn tags(&self, chunk: usize) -> Option<&Arc<O::Map>> {
        self.tags.get(chunk)
    }

    /// A chunk of the nodes that keep keys in order.
    #[inline(always)]
    pub fn order(&self, chunk: usize) -> Option<&Arc<O::Map>> {
        self.orders.get(chunk)
    }

    /// The map that a redo address leads into, if it is mapped.
    #[inline(always)]
    pub fn map_of<'a>(&'a self, place: Place, state: &'a O::Map) -> Option<&'a O::Map> {
        match place {
            Place::State => Some(state),
            Place::Index(generation) => self.indexes.iter().find(|i| i.table.generation == generation).map(|i| &i.map),
            Place::Tags(chunk) => self.tags.get(chunk as usize).map(|map| &**map),
            Place::Order(chunk) => self.orders.get(chunk as usize).map(|map| &**map),
        }
    }
}
