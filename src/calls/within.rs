//! The calls of a cache within a store: those of the store, on the keys and tags of one namespace.
//!
//! A key stands behind the namespace's prefix. An item without a tag has the namespace's row as its tag, one with a tag a row
//! whose name is that of the tag behind the namespace's id and a colon; names of queues, indexes, ledgers and caches within stand
//! behind it and a slash. What is about the whole store is the store's.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::queues::{Setting, Take, WhileOpen};
use super::{
    Body, Borrowed, Calls, Decide, Facts, Grows, How, Orders, Place, Queues, Raw, Record, Source, Streamed, Streams,
    Taken, Wanted, Whole, Written, checked_key, checked_tag, expiry, open_namespace, transact_on,
};
use crate::calls::orders::TakeItem;
use crate::engine::{
    Bound, Change, Counter, End, Hold, Kind, Label, Namespace, Op, OwnedTag, Progress, Put, Report, Shared, Space,
    Span, Stretch, Sums, Tag, Window, is_inner,
};
use crate::error::{Error, Result};
use crate::options::SetOptions;

/// A cache within a store, or within a running transaction on one.
pub struct Within {
    store: Arc<dyn Calls>,
    space: Namespace,
}

impl Within {
    /// The cache of a name, made if there is none.
    pub fn open(store: Arc<dyn Calls>, name: &str) -> Result<Arc<Within>> {
        let space = open_namespace(&*store, Label { kind: Kind::Cache, name })?;
        Ok(Arc::new(Within { store, space }))
    }

    /// A key as the store has it. Those of queues, indexes and ledgers have their prefixes already.
    fn whole<'k>(&self, key: &'k [u8]) -> Cow<'k, [u8]> {
        if is_inner(key) { Cow::Borrowed(key) } else { Cow::Owned([&self.space.prefix()[..], key].concat()) }
    }

    /// The same, if it is not too long for a store.
    fn key<'k>(&self, key: &'k [u8]) -> Result<Cow<'k, [u8]>> {
        let whole = self.whole(key);
        checked_key(&whole)?;
        Ok(whole)
    }

    /// What the name of a tag here begins with in the store: a user's name has no zero in it.
    fn tags(&self) -> String {
        format!("\0{:08x}:", self.space.id)
    }

    /// What the name of something within begins with there.
    fn names(&self) -> String {
        format!("\0{:08x}/", self.space.id)
    }

    fn name(&self, name: &str) -> String {
        self.names() + name
    }

    /// The row of a tag, made if there is none.
    fn tag(&self, name: &str) -> Result<u32> {
        let name = self.tags() + name;
        Ok(open_namespace(&*self.store, Label { kind: Kind::CacheTag, name: &name })?.id)
    }

    fn find_tag(&self, name: &str) -> Result<Option<u32>> {
        let name = self.tags() + name;
        let found = self.store.find_namespace(Label { kind: Kind::CacheTag, name: &name })?;
        Ok(found.map(|tag| tag.id))
    }
}

impl Whole for Within {
    fn of(&self, _: &[u8]) -> &dyn Calls {
        self
    }

    fn part(self: Arc<Self>, _: &[u8]) -> Arc<dyn Calls> {
        self
    }

    fn parts(self: Arc<Self>) -> Vec<Arc<dyn Calls>> {
        vec![self]
    }

    fn within(self: Arc<Self>, name: &str) -> Result<Arc<dyn Whole>> {
        Ok(Within::open(self, name)?)
    }

    fn directory(&self) -> &Path {
        self.store.directory()
    }

    fn now(&self) -> u64 {
        self.store.now()
    }

    fn count(&self, counter: Counter, by: u64) {
        self.store.count(counter, by);
    }

    fn count_always(&self, counter: Counter) {
        self.store.count_always(counter);
    }

    fn get_many(&self, keys: &[(&[u8], u64)], taken: &mut Taken) -> Result<()> {
        let with_hash = |&(key, hash)| Ok((self.key(key)?, hash));
        let whole: Vec<(Cow<'_, [u8]>, u64)> = keys.iter().map(with_hash).collect::<Result<_>>()?;
        let whole: Vec<(&[u8], u64)> = whole.iter().map(|(key, hash)| (&**key, *hash)).collect();
        self.store.get_many(&whole, taken)
    }

    fn batch(&self, ops: &[Op<'_>]) -> Result<u64> {
        let keys: Vec<Cow<'_, [u8]>> = ops.iter().map(|op| self.key(op.key)).collect::<Result<_>>()?;
        let mut whole: Vec<Op<'_>> = Vec::with_capacity(ops.len());
        for (op, key) in ops.iter().zip(&keys) {
            whole.push(Op { key, hash: op.hash, change: self.placed(op.change)? });
        }
        self.store.batch(&whole)
    }

    fn transact(&self, how: How, body: Body<'_>) -> Result<()> {
        let space = self.space;
        self.store.transact(how, &mut |inside| body(Arc::new(Within { store: inside.part(&[]), space })))
    }

    fn len(&self) -> u64 {
        let count = || {
            let mut items = self.store.items_of(self.space)?;
            for (id, _) in self.store.rows_of(Kind::CacheTag, &self.tags())? {
                items += self.store.items_of(Namespace { kind: Kind::CacheTag, id })?;
            }
            Ok::<u64, Error>(items)
        };
        count().unwrap_or(0)
    }

    fn volume(&self) -> u64 {
        self.store.volume()
    }

    fn expire(&self) -> Result<u64> {
        self.store.expire()
    }

    fn cull(&self) -> Result<u64> {
        self.store.cull()
    }

    fn evict(&self, tag: &str) -> Result<u64> {
        let name = self.tags() + tag;
        self.store.empty(Label { kind: Kind::CacheTag, name: &name })
    }

    /// One commit, whatever tags there are.
    fn clear(&self) -> Result<u64> {
        transact_on(&*self.store, How::default(), |inside| {
            let mut items = 0;
            for (_, name) in inside.rows_of(Kind::CacheTag, &self.tags())? {
                items += inside.empty(Label { kind: Kind::CacheTag, name: &name })?;
            }
            let own = Facts { kind: 0, expires: 0, tag: self.space.id, sequence: u64::MAX, order: 0 };
            let name = inside.tag_name(&own)?.unwrap_or_default();
            Ok(items + inside.empty(Label { kind: Kind::Cache, name: &name })?)
        })
    }

    fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    fn shared_settings(&self) -> Shared {
        self.store.shared_settings()
    }

    fn change_settings(&self, change: &mut dyn FnMut(&mut Shared)) -> Result<Shared> {
        self.store.change_settings(change)
    }

    fn sums(&self) -> Result<Sums> {
        self.store.sums()
    }

    fn reset_sums(&self) -> Result<Sums> {
        self.store.reset_sums()
    }

    fn space(&self) -> Result<Space> {
        self.store.space()
    }

    fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        self.store.check(progress)
    }

    fn repair(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        self.store.repair(progress)
    }
}

impl Calls for Within {
    fn hash(&self, key: &[u8]) -> u64 {
        self.store.hash(&self.whole(key))
    }

    fn get(&self, key: &[u8], to: &mut Vec<u8>) -> Result<Option<Facts>> {
        self.store.get(&self.key(key)?, to)
    }

    fn read(&self, key: &[u8], to: &mut Vec<u8>) -> Result<Option<Facts>> {
        self.store.read(&self.key(key)?, to)
    }

    fn peek(&self, key: &[u8], to: &mut Vec<u8>) -> Result<Option<Facts>> {
        self.store.peek(&self.key(key)?, to)
    }

    fn uses(&self, key: &[u8]) -> Result<bool> {
        self.store.uses(&self.key(key)?)
    }

    fn contains(&self, key: &[u8]) -> Result<bool> {
        self.store.contains(&self.key(key)?)
    }

    fn borrow(&self, key: &[u8]) -> Result<Option<(Borrowed, u8)>> {
        self.store.borrow(&self.key(key)?)
    }

    fn value(&self, record: &Record<'_>) -> Result<Vec<u8>> {
        self.store.value(record)
    }

    fn scan(&self, position: u64, wanted: Wanted, found: &mut VecDeque<Raw>) -> Result<Option<u64>> {
        let namespace = wanted.namespace.or(Some(self.space));
        self.store.scan(position, Wanted { namespace, ..wanted }, found)
    }

    fn put(&self, key: &[u8], kind: u8, bytes: &[u8], options: &SetOptions<'_>) -> Result<()> {
        let tag = checked_tag(options)?.map_or(Ok(self.space.id), |tag| self.tag(tag))?;
        self.store.put_tagged(&self.key(key)?, (kind, bytes), expiry(self, options.expire), tag)
    }

    fn put_tagged(&self, key: &[u8], value: (u8, &[u8]), expires: Option<u64>, tag: u32) -> Result<()> {
        self.store.put_tagged(&self.key(key)?, value, expires, tag)
    }

    fn remove(&self, key: &[u8]) -> Result<bool> {
        self.store.remove(&self.key(key)?)
    }

    fn update(&self, key: &[u8], decide: Decide<'_>) -> Result<()> {
        self.store.update(&self.key(key)?, decide)
    }

    fn update_held(&self, key: &[u8], hold: Hold, decide: Decide<'_>) -> Result<()> {
        self.store.update_held(&self.key(key)?, hold, decide)
    }

    fn draft<'s>(&'s self, bytes: &[u8]) -> Result<Option<Box<dyn Written + 's>>> {
        self.store.draft(bytes)
    }

    fn whole_key<'k>(&self, key: &'k [u8]) -> Result<Cow<'k, [u8]>> {
        self.key(key)
    }

    /// What has no tag has the namespace's row.
    fn placed<'c>(&self, change: Change<'c>) -> Result<Change<'c>> {
        let Change::Put(put) = change else { return Ok(change) };
        let id = match put.tag {
            Tag::None => self.space.id,
            Tag::Named(label) if label.kind == Kind::Tag => self.tag(label.name)?,
            _ => return Ok(change),
        };
        Ok(Change::Put(Put { tag: Tag::Id(id), ..put }))
    }

    fn tag_of(&self, options: &SetOptions<'_>) -> Result<OwnedTag> {
        let tag = checked_tag(options)?.map_or(Ok(self.space.id), |tag| self.tag(tag))?;
        Ok(OwnedTag::Id(tag))
    }

    fn tag_name(&self, facts: &Facts) -> Result<Option<String>> {
        if facts.tag == self.space.id {
            return Ok(None);
        }
        let Some(name) = self.store.tag_name(facts)? else { return Ok(None) };
        let name = name.strip_prefix(&self.tags()).or_else(|| name.strip_prefix(&self.names()));
        Ok(name.map(str::to_owned))
    }

    fn tag_id(&self, name: &str) -> Result<Option<u32>> {
        self.find_tag(name)
    }

    /// The row of a tag here stays its own.
    fn tag_since(&self, _name: &str, _id: u32) -> Result<Option<u64>> {
        Ok(Some(0))
    }
}

impl Queues for Within {
    fn namespace(&self, label: Label<'_>, holds: bool) -> Result<Namespace> {
        self.store.namespace(Label { kind: label.kind, name: &self.name(label.name) }, holds)
    }

    fn find_namespace(&self, label: Label<'_>) -> Result<Option<Namespace>> {
        self.store.find_namespace(Label { kind: label.kind, name: &self.name(label.name) })
    }

    fn rows_of(&self, kind: Kind, begin: &str) -> Result<Vec<(u32, String)>> {
        let here = self.names();
        let rows = self.store.rows_of(kind, &self.name(begin))?;
        let named = |(id, name): (u32, String)| name.strip_prefix(&here).map(|name| (id, name.to_owned()));
        Ok(rows.into_iter().filter_map(named).collect())
    }

    fn setting(&self, namespace: Namespace, known: u64) -> Result<Option<Setting>> {
        self.store.setting(namespace, known)
    }

    fn set_setting(&self, namespace: Namespace, label: Label<'_>, value: u64) -> Result<()> {
        self.store.set_setting(namespace, Label { kind: label.kind, name: &self.name(label.name) }, value)
    }

    fn span(&self, queue: Namespace) -> Result<Span> {
        self.store.span(queue)
    }

    fn element(&self, queue: Namespace, place: Place, to: &mut Vec<u8>) -> Result<Option<Facts>> {
        self.store.element(queue, place, to)
    }

    fn push(&self, queue: Namespace, end: End, kind: u8, bytes: &[u8], bound: Bound) -> Result<bool> {
        self.store.push(queue, end, kind, bytes, bound)
    }

    fn pop_within(&self, queue: Namespace, end: End, timeout: Option<Duration>, take: Take<'_>) -> Result<bool> {
        self.store.pop_within(queue, end, timeout, take)
    }

    fn replace(&self, queue: Namespace, place: Place, kind: u8, bytes: &[u8]) -> Result<bool> {
        self.store.replace(queue, place, kind, bytes)
    }

    fn empty(&self, label: Label<'_>) -> Result<u64> {
        self.store.empty(Label { kind: label.kind, name: &self.name(label.name) })
    }

    fn sleep_unless(&self, is_there: &mut dyn FnMut() -> Result<bool>, timeout: Duration) -> Result<()> {
        self.store.sleep_unless(is_there, timeout)
    }

    fn wake(&self) {
        self.store.wake();
    }

    fn is_inside(&self) -> bool {
        self.store.is_inside()
    }

    fn lock_timeout(&self) -> Duration {
        self.store.lock_timeout()
    }

    fn owner(&self) -> u32 {
        self.store.owner()
    }

    fn id(&self) -> u64 {
        self.store.id()
    }

    fn is_beside(&self, id: u64) -> bool {
        self.store.is_beside(id)
    }

    fn is_owner_alive(&self, owner: u32, sequence: u64) -> bool {
        self.store.is_owner_alive(owner, sequence)
    }

    fn clock(&self) -> u64 {
        self.store.clock()
    }

    fn may_start_threads(&self) -> bool {
        self.store.may_start_threads()
    }

    fn while_open(&self) -> WhileOpen {
        self.store.while_open()
    }
}

impl Orders for Within {
    fn stretch(
        &self,
        index: Namespace,
        window: &Window,
        end: End,
        wanted: (usize, bool),
        to: &mut Stretch,
    ) -> Result<()> {
        self.store.stretch(index, window, end, wanted, to)
    }

    fn pop_in_order(&self, index: Namespace, end: End, take: TakeItem<'_>) -> Result<bool> {
        self.store.pop_in_order(index, end, take)
    }

    fn items_of(&self, namespace: Namespace) -> Result<u64> {
        self.store.items_of(namespace)
    }

    fn put_in(&self, namespace: Namespace, key: &[u8], kind: u8, bytes: &[u8]) -> Result<bool> {
        self.store.put_in(namespace, key, kind, bytes)
    }
}

impl Streams for Within {
    fn gets_file(&self, len: usize) -> bool {
        self.store.gets_file(len)
    }

    fn begin(&self) -> Result<Box<dyn Grows>> {
        self.store.begin()
    }

    fn put_streamed(&self, key: &[u8], streamed: Streamed<'_>) -> Result<()> {
        self.store.put_streamed(&self.key(key)?, streamed)
    }

    fn source(&self, key: &[u8], verifies: fn(u8) -> bool) -> Result<Option<(Source, u8)>> {
        self.store.source(&self.key(key)?, verifies)
    }
}
