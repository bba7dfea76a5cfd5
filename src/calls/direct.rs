//! The calls of a store that is open, or of a transaction that runs on one: each is the engine's own.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::queues::with_put;
use super::within::Within;
use super::{
    Body, Borrowed, Calls, Decide, Facts, How, Raw, Record, Stop, Taken, Wanted, Whole, Written, checked_tag, expiry,
};
use crate::engine::{
    Change, Counter, DecidedValue, Handle, Hold, Kind, Label, Op, OwnedTag, PREFIX, Progress, Put, Report, Shared,
    Space, Sums, Tag, Value, is_inner,
};
use crate::error::Result;
use crate::options::SetOptions;
use crate::os::real::RealOs;
use crate::os::{HoldsMap, OsMap, Pinned};

#[inline(always)]
pub(super) fn facts(record: &Record<'_>) -> Facts {
    let header = record.header();
    Facts {
        kind: header.kind,
        expires: header.expires,
        tag: header.tag,
        sequence: header.sequence,
        order: record.order(),
    }
}

/// Adds a record's value to `to`.
#[inline(always)]
pub(super) fn append_value(store: &Handle<RealOs>, record: &Record<'_>, to: &mut Vec<u8>) -> Result<()> {
    if record.header().is_large() {
        let reference = record.large().ok_or_else(|| record.damaged(store.directory()))?;
        store.append_large(reference, to)?;
    } else if !record.append_value(to) {
        return Err(record.damaged(store.directory()));
    }
    Ok(())
}

/// Copies a record's value into `to`, which is emptied first.
#[inline(always)]
fn copy_value(store: &Handle<RealOs>, record: &Record<'_>, to: &mut Vec<u8>) -> Result<Facts> {
    to.clear();
    append_value(store, record, to)?;
    Ok(facts(record))
}

pub(super) fn borrow(store: &Handle<RealOs>, record: &Record<'_>) -> Result<(Borrowed, u8)> {
    let damaged = || record.damaged(store.directory());
    let bytes = if record.header().is_large() {
        let map = Arc::new(store.map_large(record.large().ok_or_else(damaged)?)?);
        let len = map.held().len();
        Borrowed::File(Pinned::new(map, 0, len).ok_or_else(damaged)?)
    } else if record.is_staged() {
        Borrowed::Copied(record.value().ok_or_else(damaged)?)
    } else {
        Borrowed::Log(record.pin().ok_or_else(damaged)?)
    };
    Ok((bytes, record.header().kind))
}

pub(super) fn hit_or_miss(hit: bool) -> Counter {
    if hit { Counter::Hits } else { Counter::Misses }
}

impl Written for crate::engine::Draft<'_, RealOs> {
    fn value(&self) -> Value<'static> {
        Value::Draft { number: self.number, len: self.len, crc: self.crc }
    }

    fn decided(&self) -> DecidedValue {
        DecidedValue::Draft { number: self.number, len: self.len, crc: self.crc }
    }
}

impl Whole for Handle<RealOs> {
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
        (**self).directory()
    }

    fn now(&self) -> u64 {
        (**self).now()
    }

    fn count(&self, counter: Counter, by: u64) {
        (**self).count(counter, by);
    }

    fn count_always(&self, counter: Counter) {
        self.count_now(counter, 1);
    }

    fn get_many(&self, keys: &[(&[u8], u64)], taken: &mut Taken) -> Result<()> {
        let restart = |taken: &mut Taken| {
            taken.bytes.clear();
            taken.found.fill(None);
        };
        self.read_many(keys, taken, restart, |Taken { bytes, found }, i, record| {
            let start = bytes.len();
            append_value(self, record, bytes)?;
            found[i] = Some((record.header().kind, start..bytes.len()));
            Ok(())
        })?;
        let hits = taken.found.iter().flatten().count() as u64;
        (**self).count(Counter::Hits, hits);
        (**self).count(Counter::Misses, taken.found.len() as u64 - hits);
        Ok(())
    }

    fn batch(&self, ops: &[Op<'_>]) -> Result<u64> {
        Handle::batch(self, ops)
    }

    fn transact(&self, how: How, body: Body<'_>) -> Result<()> {
        let body = |inside: &Handle<RealOs>| Stop::unless(body(Arc::new(inside.clone())));
        Stop::end(Handle::transact(self, (how.timeout, how.holds), body))
    }

    fn len(&self) -> u64 {
        Handle::len(self)
    }

    fn volume(&self) -> u64 {
        (**self).volume()
    }

    fn expire(&self) -> Result<u64> {
        Handle::expire(self)
    }

    fn cull(&self) -> Result<u64> {
        Handle::cull(self)
    }

    fn evict(&self, tag: &str) -> Result<u64> {
        Handle::evict(self, Label::tag(tag))
    }

    fn clear(&self) -> Result<u64> {
        Handle::clear(self)
    }

    fn sync(&self) -> Result<()> {
        Handle::sync(self)
    }

    fn shared_settings(&self) -> Shared {
        (**self).shared_settings()
    }

    fn change_settings(&self, change: &mut dyn FnMut(&mut Shared)) -> Result<Shared> {
        Handle::change_settings(self, change)
    }

    fn sums(&self) -> Result<Sums> {
        (**self).sums()
    }

    fn reset_sums(&self) -> Result<Sums> {
        Handle::reset_sums(self)
    }

    fn space(&self) -> Result<Space> {
        (**self).space()
    }

    fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        Handle::check(self, progress)
    }

    fn repair(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        Handle::repair(self, progress)
    }
}

impl Calls for Handle<RealOs> {
    fn hash(&self, key: &[u8]) -> u64 {
        (**self).hash(key)
    }

    fn get(&self, key: &[u8], to: &mut Vec<u8>) -> Result<Option<Facts>> {
        let found = Handle::read(self, key, (**self).hash(key), |record| copy_value(self, record, to))?;
        (**self).count(hit_or_miss(found.is_some()), 1);
        Ok(found)
    }

    fn read(&self, key: &[u8], to: &mut Vec<u8>) -> Result<Option<Facts>> {
        Handle::read(self, key, (**self).hash(key), |record| copy_value(self, record, to))
    }

    fn peek(&self, key: &[u8], to: &mut Vec<u8>) -> Result<Option<Facts>> {
        self.look(key, (**self).hash(key), |record| copy_value(self, record, to))
    }

    fn uses(&self, key: &[u8]) -> Result<bool> {
        Ok(Handle::read(self, key, (**self).hash(key), |_| Ok(()))?.is_some())
    }

    fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.look(key, (**self).hash(key), |_| Ok(()))?.is_some())
    }

    fn borrow(&self, key: &[u8]) -> Result<Option<(Borrowed, u8)>> {
        let found = Handle::read(self, key, (**self).hash(key), |record| borrow(self, record))?;
        (**self).count(hit_or_miss(found.is_some()), 1);
        Ok(found)
    }

    fn value(&self, record: &Record<'_>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        copy_value(self, record, &mut bytes).map(|_| bytes)
    }

    fn scan(&self, position: u64, wanted: Wanted, found: &mut VecDeque<Raw>) -> Result<Option<u64>> {
        Handle::scan(self, position, found, VecDeque::clear, |found, record| {
            if wanted.tag.is_some_and(|tag| tag != record.header().tag) {
                return Ok(());
            }
            let mut raw = Raw { key: Vec::new(), value: Vec::new(), facts: facts(record) };
            if !record.append_key(&mut raw.key) {
                return Err(record.damaged((**self).directory()));
            }
            match wanted.namespace {
                None if is_inner(&raw.key) => return Ok(()),
                None => {}
                Some(namespace) if raw.key.starts_with(&namespace.prefix()) => {
                    raw.key.drain(..PREFIX);
                }
                Some(_) => return Ok(()),
            }
            if wanted.with_values {
                raw.facts = copy_value(self, record, &mut raw.value)?;
            }
            found.push_back(raw);
            Ok(())
        })
    }

    fn put(&self, key: &[u8], kind: u8, bytes: &[u8], options: &SetOptions<'_>) -> Result<()> {
        let hash = (**self).hash(key);
        let tag = checked_tag(options)?.map_or(Tag::None, |tag| Tag::Named(Label::tag(tag)));
        let expires = expiry(self, options.expire);
        if self.is_large(bytes.len()) {
            let draft = (**self).draft(bytes)?;
            self.put_hashed(key, hash, Put { kind, value: draft.value(), expires, tag })?;
        } else {
            self.put_hashed(key, hash, Put { kind, value: Value::Inline(bytes), expires, tag })?;
        }
        (**self).count(Counter::Stores, 1);
        Ok(())
    }

    fn put_tagged(&self, key: &[u8], value: (u8, &[u8]), expires: Option<u64>, tag: u32) -> Result<()> {
        let hash = (**self).hash(key);
        with_put(self, tag, value.0, value.1, |put| self.put_hashed(key, hash, Put { expires, ..put }))?;
        (**self).count(Counter::Stores, 1);
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<bool> {
        let removed = self.remove_hashed(key, (**self).hash(key))?;
        (**self).count(Counter::Removals, removed.into());
        Ok(removed)
    }

    fn update(&self, key: &[u8], decide: Decide<'_>) -> Result<()> {
        Handle::update(self, key, |present, buffer| Ok((decide(present, buffer)?, ())))
    }

    fn update_held(&self, key: &[u8], hold: Hold, decide: Decide<'_>) -> Result<()> {
        Handle::update_held(self, key, hold, |present, buffer| Ok((decide(present, buffer)?, ())))
    }

    fn draft<'s>(&'s self, bytes: &[u8]) -> Result<Option<Box<dyn Written + 's>>> {
        if self.is_large(bytes.len()) { Ok(Some(Box::new((**self).draft(bytes)?))) } else { Ok(None) }
    }

    fn whole_key<'k>(&self, key: &'k [u8]) -> Result<Cow<'k, [u8]>> {
        Ok(Cow::Borrowed(key))
    }

    fn placed<'c>(&self, change: Change<'c>) -> Result<Change<'c>> {
        Ok(change)
    }

    fn tag_of(&self, options: &SetOptions<'_>) -> Result<OwnedTag> {
        Ok(checked_tag(options)?.map_or(OwnedTag::None, |tag| OwnedTag::Named(Kind::Tag, tag.to_owned())))
    }

    fn tag_name(&self, facts: &Facts) -> Result<Option<String>> {
        Handle::tag_name(self, facts.tag, facts.sequence)
    }

    fn tag_id(&self, name: &str) -> Result<Option<u32>> {
        Handle::tag_id(self, Label::tag(name))
    }

    fn tag_since(&self, name: &str, id: u32) -> Result<Option<u64>> {
        Handle::tag_since(self, Label::tag(name), id)
    }
}
