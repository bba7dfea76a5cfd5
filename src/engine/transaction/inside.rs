//! The calls of a running transaction: what is staged first, then the store as it was, without what the transaction cleared
//! or evicted. It writes nothing.

use crate::error::{Error, Result};
use std::borrow::Borrow;

use crate::os::{Os, OsMap};
use crate::storage::namespace::{Kind, Label, Namespace, is_inner, parse};
use crate::storage::record::Header;
use crate::storage::state;
use crate::storage::tag_table;

use super::super::batch::{AHEAD, RECORD_LINES};
use super::super::borrowed;
use super::super::cells::Old;
use super::super::change::{Change, Decision, Op, Put, Tag, Value};
use super::super::commit::Commit;
use super::super::found::Found;
use super::super::read::{Life, Record};
use super::Transaction;
use super::overlay::{Meta, Overlay};

/// Set in the ids of tags that the store does not have yet.
const NEW_TAG: u32 = 1 << 31;

/// While a bucket comes from memory, so many keys are staged.
pub(super) const BUCKET_TAKES: usize = 4;

/// True if the transaction cleared or evicted a record of the store.
pub(super) fn is_ended(overlay: &Overlay, key: &[u8], header: &Header) -> bool {
    (overlay.cleared && !is_inner(key)) || (header.tag != 0 && overlay.evicted.contains(&header.tag))
}

impl<O: Os> Transaction<O> {
    /// Calls `take` with the live record of a key; `None` if there is none. It counts as used.
    pub fn read<R>(
        &self,
        key: &[u8],
        hash: u64,
        mut take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.with(|overlay| self.read_and::<true, R>(overlay, key, hash, &mut take))
    }

    /// The same for who only looks.
    pub fn look<R>(
        &self,
        key: &[u8],
        hash: u64,
        mut take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.with(|overlay| self.read_over(overlay, key, hash, &mut take))
    }

    pub(super) fn read_over<R>(
        &self,
        overlay: &Overlay,
        key: &[u8],
        hash: u64,
        take: &mut impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.read_and::<false, R>(overlay, key, hash, take)
    }

    fn read_and<const USES: bool, R>(
        &self,
        overlay: &Overlay,
        key: &[u8],
        hash: u64,
        take: &mut impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        if let Some(staged) = overlay.get(key, hash) {
            let Some(put) = staged.put.filter(|put| !self.store.has_expired(put.expires)) else {
                return Ok(None);
            };
            let header = staged.header(&put);
            return take(&Found::Staged { header: &header, key, value: staged.value }).map(Some);
        }
        if overlay.cleared && !is_inner(key) {
            return Ok(None);
        }
        let mut take = |record: &Record<'_, O>| {
            if is_ended(overlay, key, &record.header) { Ok(None) } else { take(&Found::Log(record)).map(Some) }
        };
        let read = if USES { self.store.read(key, hash, &mut take) } else { self.store.look(key, hash, &mut take) };
        read.map(Option::flatten)
    }

    /// Calls `take` with the number of each key and its live record.
    pub fn read_many<R>(
        &self,
        keys: &[(&[u8], u64)],
        into: &mut R,
        mut take: impl FnMut(&mut R, usize, &Found<'_, O>) -> Result<()>,
    ) -> Result<()> {
        self.with(|overlay| {
            for (i, &(key, hash)) in keys.iter().enumerate() {
                self.read_and::<true, ()>(overlay, key, hash, &mut |found| take(into, i, found))?;
            }
            Ok(())
        })
    }

    /// Calls `visit` with every live record whose hash is in the bucket at `position`; the position after it.
    pub fn scan<R>(
        &self,
        position: u64,
        into: &mut R,
        restart: impl Fn(&mut R),
        mut visit: impl FnMut(&mut R, &Found<'_, O>) -> Result<()>,
    ) -> Result<Option<u64>> {
        self.with(|overlay| {
            let next = self.store.scan(position, into, restart, |into, record| {
                let mut key = Vec::new();
                record.append_key(&mut key);
                if is_ended(overlay, &key, &record.header) || overlay.get(&key, self.store.hash(&key)).is_some() {
                    return Ok(());
                }
                visit(into, &Found::Log(record))
            })?;
            let last = next.map_or(u64::MAX, |next| next - 1);
            for staged in overlay.hashed(position..=last) {
                let Some(put) = staged.put.filter(|put| !self.store.has_expired(put.expires)) else {
                    continue;
                };
                let header = staged.header(&put);
                let old = self.old(staged.key, staged.hash)?.filter(|old| old.life == Life::Live && !staged.anew);
                let header = old.map_or(header, |old| header.with_order(old.order()));
                visit(into, &Found::Staged { header: &header, key: staged.key, value: staged.value })?;
            }
            Ok(next)
        })
    }

    /// The record of a key in the store.
    fn old(&self, key: &[u8], hash: u64) -> Result<Option<Old>> {
        let held = self.store.held();
        Ok(Commit::new(held.borrow())?.locate(key, hash)?.old)
    }

    /// What a put of a key has to know. First, true if the key was absent when it was staged, or is so now as far as the
    /// transaction knows: it ended the record that the store has. Then, true if its newest staged version is a removal or has
    /// expired.
    fn begins_anew(&self, overlay: &Overlay, key: &[u8], hash: u64) -> Result<(bool, bool)> {
        if let Some(staged) = overlay.get(key, hash) {
            let absent = staged.put.is_none_or(|put| self.store.has_expired(put.expires));
            return Ok((staged.anew || absent, absent));
        }
        let is_cleared = overlay.cleared && !is_inner(key);
        if is_cleared || overlay.evicted.is_empty() {
            return Ok((is_cleared, false));
        }
        Ok((self.old(key, hash)?.is_some_and(|old| is_ended(overlay, key, &old.header)), false))
    }

    /// True if a key is live.
    pub(super) fn is_live(&self, overlay: &Overlay, key: &[u8], hash: u64) -> Result<bool> {
        Ok(self.read_over(overlay, key, hash, &mut |_| Ok(()))?.is_some())
    }

    /// Stages changes of keys. The number that were live before.
    pub fn batch(&self, ops: &[Op<'_>]) -> Result<u64> {
        self.stage(|overlay| {
            let mut live = 0;
            for op in ops {
                let was_live = self.is_live(overlay, op.key, op.hash)?;
                match op.change {
                    Change::Put(put) => self.put(overlay, op.key, op.hash, put)?,
                    // One that is absent may have been evicted.
                    Change::Remove if was_live || self.store.has_evicted() => {
                        self.push(overlay, op.key, op.hash, None)?;
                    }
                    Change::Remove | Change::Keep => continue,
                }
                live += u64::from(was_live);
            }
            Ok(live)
        })
    }

    /// Stages one change.
    pub fn change(&self, op: &Op<'_>) -> Result<()> {
        match op.change {
            Change::Put(put) => self.with(|overlay| self.put(overlay, op.key, op.hash, put)),
            _ => self.batch(std::slice::from_ref(op)).map(drop),
        }
    }

    /// Stages the change that `decide` asks for when it has seen a key's live record.
    pub fn update<R>(
        &self,
        key: &[u8],
        decide: impl FnOnce(Option<&Found<'_, O>>, &mut Vec<u8>) -> Result<(Decision, R)>,
    ) -> Result<R> {
        let hash = self.store.hash(key);
        self.with(|overlay| {
            let mut buffer = Vec::new();
            let mut decide = Some(decide);
            let mut answer = None;
            let mut ask = |found: Option<&Found<'_, O>>, buffer: &mut Vec<u8>| -> Result<()> {
                if let Some(decide) = decide.take() {
                    answer = Some(decide(found, buffer)?);
                }
                Ok(())
            };
            if self.read_over(overlay, key, hash, &mut |found| ask(Some(found), &mut buffer))?.is_none() {
                ask(None, &mut buffer)?;
            }
            let (decision, answer) = answer.ok_or(Error::InTransaction)?;
            match decision.change(&buffer) {
                Change::Keep => {}
                Change::Remove => self.push(overlay, key, hash, None)?,
                Change::Put(put) => self.put(overlay, key, hash, put)?,
            }
            Ok(answer)
        })
    }

    pub(super) fn put(&self, overlay: &mut Overlay, key: &[u8], hash: u64, put: Put<'_>) -> Result<()> {
        let tag = match put.tag {
            Tag::None => 0,
            Tag::Id(id) => id,
            Tag::Named(label) => self.id_of(overlay, label)?,
        };
        let reference;
        let (value, large) = match put.value {
            Value::Inline(bytes) => (bytes, false),
            Value::Same(same) => {
                borrowed::add(self.store.here(), same);
                reference = same.encode();
                (&reference[..], true)
            }
            // Values of a transaction go to files of their own when it is committed.
            Value::Draft { .. } => return Err(Error::InTransaction),
        };
        if value.len() as u64 > self.store.value_max() {
            return Err(Error::ValueTooLarge { bytes: value.len() as u64, limit: self.store.value_max() });
        }
        let meta = Meta { kind: put.kind, tag, expires: put.expires.unwrap_or(u64::MAX), large };
        self.push(overlay, key, hash, Some((meta, value)))
    }

    pub(super) fn push(&self, overlay: &mut Overlay, key: &[u8], hash: u64, put: Option<(Meta, &[u8])>) -> Result<()> {
        self.fetch_ahead(overlay, hash);
        let birth = if put.is_some() { self.begins_anew(overlay, key, hash)? } else { (false, false) };
        overlay.push((key, hash), put, birth, self.limit())
    }

    /// The most that may be staged.
    pub(super) fn limit(&self) -> u64 {
        self.store.state.load(state::SIZE_LIMIT) / 8
    }

    /// Fetches what the commit will look at first: the home bucket of a key that is being staged, and the record of one that
    /// was staged a little before, whose bucket has come by now.
    #[inline]
    fn fetch_ahead(&self, overlay: &Overlay, hash: u64) {
        if overlay.keys_max() < AHEAD
            && let Some(index) = self.view.only_index(self.store.state.load(state::GEOMETRY))
        {
            index.prefetch_home(hash);
            if let Some(hash) = overlay.staged_before(BUCKET_TAKES) {
                self.store.prefetch_record_of(&self.view, index, hash, RECORD_LINES);
            }
        }
    }

    /// The id of a tag; one of the transaction's own if the store has none.
    fn id_of(&self, overlay: &mut Overlay, label: Label<'_>) -> Result<u32> {
        if let Some(id) = self.find_tag(overlay, label)? {
            return Ok(id);
        }
        overlay.names.push((label.kind, label.name.to_owned()));
        Ok(NEW_TAG | (overlay.names.len() as u32 - 1))
    }

    fn find_tag(&self, overlay: &Overlay, label: Label<'_>) -> Result<Option<u32>> {
        if let Some(id) = self.store.tag_id(label)? {
            return Ok(Some(id));
        }
        let own = overlay.names.iter().position(|(kind, name)| (*kind, &**name) == (label.kind, label.name));
        Ok(own.map(|at| NEW_TAG | at as u32))
    }

    /// The id of a tag by name; `None` if it was never used.
    pub fn tag_id(&self, label: Label<'_>) -> Result<Option<u32>> {
        self.with(|overlay| self.find_tag(overlay, label))
    }

    /// The name of a tag. `None` for no tag.
    pub fn tag_name(&self, id: u32) -> Result<Option<String>> {
        match own_tag(id) {
            Some(at) => self.with(|overlay| Ok(overlay.names.get(at).map(|(_, name)| name.clone()))),
            // It has the lock: the item that has the tag is there.
            None => self.store.tag_name(id, u64::MAX),
        }
    }

    /// What `len` of the store will be if the transaction is committed now.
    pub fn len(&self) -> Result<u64> {
        self.with(|overlay| {
            let held = self.store.held();
            let mut commit = Commit::new(held.borrow())?;
            let mut len = if overlay.cleared { 0 } else { commit.state(state::LIVE) };
            for &tag in overlay.evicted.iter().filter(|_| !overlay.cleared) {
                if let Some(place) = tag_table::place_of(tag)
                    && !commit.kind_of_tag_id(tag)?.is_inner()
                {
                    len = len.saturating_sub(commit.items_of_tag(place));
                }
            }
            for staged in overlay.iter().filter(|staged| !is_inner(staged.key)) {
                let old = commit.locate(staged.key, staged.hash)?.old;
                let counted =
                    old.is_some_and(|old| old.life != Life::Gone && !is_ended(overlay, staged.key, &old.header));
                len = len.saturating_add_signed(i64::from(staged.put.is_some()) - i64::from(counted));
            }
            Ok(len)
        })
    }

    /// The items that have the row of a namespace, or of a tag within one, as their tag.
    pub fn items_of(&self, namespace: Namespace) -> Result<u64> {
        self.with(|overlay| {
            let is_ended = overlay.evicted.contains(&namespace.id);
            let mut items = if is_ended { 0 } else { self.store.items_of(namespace)? };
            let held = self.store.held();
            let mut commit = Commit::new(held.borrow())?;
            // In the namespace of a cache, other rows than its own are its tags'.
            let may_have = |key: &[u8]| match (parse(key), namespace.kind) {
                (Some((kind, ..)), Kind::CacheTag) => kind == Kind::Cache,
                (Some((kind, id, _)), of) => (kind, id) == (of, namespace.id),
                (None, _) => false,
            };
            for staged in overlay.iter().filter(|staged| may_have(staged.key)) {
                let old = commit.locate(staged.key, staged.hash)?.old;
                let counted =
                    old.is_some_and(|old| old.life != Life::Gone && !is_ended && old.header.tag == namespace.id);
                let counts = staged.put.is_some_and(|put| put.tag == namespace.id);
                items = items.saturating_add_signed(i64::from(counts) - i64::from(counted));
            }
            Ok(items)
        })
    }

    /// Stages the eviction of a tag. The number of items that counted as live.
    pub fn evict(&self, label: Label<'_>) -> Result<u64> {
        let Some(tag) = self.tag_id(label)? else { return Ok(0) };
        let namespace = Namespace { kind: label.kind, id: tag };
        let count = || if label.kind.is_inner() { self.items_of(namespace) } else { self.len() };
        let before = count()?;
        self.stage(|overlay| {
            let doomed: Vec<(Vec<u8>, u64)> = overlay
                .iter()
                .filter(|staged| staged.put.is_some_and(|put| put.tag == tag))
                .map(|staged| (staged.key.to_vec(), staged.hash))
                .collect();
            for (key, hash) in doomed {
                self.push(overlay, &key, hash, None)?;
            }
            if own_tag(tag).is_none() && !overlay.evicted.contains(&tag) {
                overlay.evicted.push(tag);
            }
            if label.kind == Kind::Deque {
                self.empty_queue(overlay, namespace)?;
            }
            Ok(())
        })?;
        Ok(before.saturating_sub(count()?))
    }

    /// Stages the removal of everything. The number of items that counted as live.
    pub fn clear(&self) -> Result<u64> {
        let items = self.len()?;
        self.with(|overlay| {
            overlay.clear();
            Ok(())
        })?;
        Ok(items)
    }

    /// Removes items that have expired. Those of the store that the transaction has not changed go at once, whatever becomes of
    /// it: nobody can tell them from absent ones, but by `len`.
    pub fn expire(&self) -> Result<u64> {
        self.stage(|overlay| {
            // What is staged over goes with the commit, or stays if there is none.
            let stays =
                |key: &[u8], hash, header: &Header| is_ended(overlay, key, header) || overlay.get(key, hash).is_some();
            let removed = self.store.expire_by(|| Ok(self.store.held()), &stays)?;
            let due: Vec<(Vec<u8>, u64)> = overlay
                .iter()
                .filter(|staged| staged.put.is_some_and(|put| self.store.has_expired(put.expires)))
                .map(|staged| (staged.key.to_vec(), staged.hash))
                .collect();
            for (key, hash) in &due {
                self.push(overlay, key, *hash, None)?;
            }
            Ok(removed + due.len() as u64)
        })
    }
}

/// Where in the transaction's names a tag of its own is.
pub(super) fn own_tag(id: u32) -> Option<usize> {
    (id & NEW_TAG != 0).then_some((id & !NEW_TAG) as usize)
}
