//! Making one commit of everything that a transaction has staged: step 5 of `transaction`.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::namespace::Label;
use crate::storage::record::{Draft, LargeReference, Type};
use crate::storage::state;
use crate::storage::tag_table;

use super::super::batch::{AHEAD, RECORD_LINES};
use super::super::change::{Change, Op, Put, Tag, Value};
use super::super::commit::Commit;
use super::super::durable::Lead;
use super::super::large;
use super::super::limit::Purpose;
use super::super::lock::Locked;
use super::super::read::Life;
use super::super::siblings::Joint;
use super::super::store::Store;
use super::inside::{BUCKET_TAKES, is_ended, own_tag};
use super::overlay::{Overlay, Staged};

/// Commits what is staged. True if the store was cleared, and its space waits to be given back.
pub(super) fn commit<O: Os>(
    store: &Store<O>,
    locked: &Locked<'_, O>,
    overlay: &Overlay,
    lead: Option<&Lead<'_, O>>,
) -> Result<bool> {
    if overlay.is_empty() {
        return Ok(false);
    }
    let drafts = drafts(store, (locked, lead), overlay)?;
    drop(prepare(store, (locked, lead), overlay, &drafts, None)?);
    Ok(give_index_back(store, locked, overlay))
}

/// Steps 3 to 8 of a commit of what is staged; of a part of a joint commit, all that can fail.
pub(super) fn prepare<'l, O: Os>(
    store: &Store<O>,
    (locked, lead): (&'l Locked<'_, O>, Option<&Lead<'_, O>>),
    overlay: &Overlay,
    drafts: &[Option<large::Draft<'_, O>>],
    joint: Option<Joint>,
) -> Result<Commit<'l, O>> {
    if store.os.is_forked() {
        return Err(Error::Forked);
    }
    let purpose = if overlay.count().puts == 0 || overlay.gives_up { Purpose::Free } else { Purpose::Store };
    let mut patience = store.patience();
    loop {
        match publish(store, locked, overlay, drafts, joint) {
            Err(Error::Full)
                if patience.lasts(store.volume()) && store.make_room_inside((locked, lead), purpose)? => {}
            outcome => return outcome,
        }
    }
}

/// After a commit that cleared the store. True if its space waits to be given back.
pub(super) fn give_index_back<O: Os>(store: &Store<O>, locked: &Locked<'_, O>, overlay: &Overlay) -> bool {
    let is_whole = overlay.cleared && store.state.load(state::NAMESPACES) == 0;
    if is_whole && overlay.count().keys == 0 {
        // As in `clear`: the store is empty whatever becomes of this.
        let _ = store.replace_index(locked);
    }
    is_whole
}

/// A draft file for each value that gets a file of its own; nothing at all if none does.
pub(super) fn drafts<'s, O: Os>(
    store: &'s Store<O>,
    (locked, lead): (&Locked<'_, O>, Option<&Lead<'_, O>>),
    overlay: &Overlay,
) -> Result<Vec<Option<large::Draft<'s, O>>>> {
    if !store.is_large(overlay.longest()) {
        return Ok(Vec::new());
    }
    let draft = |staged: Staged<'_>| match staged.put {
        Some(put) if !put.large && store.is_large(staged.value.len()) => {
            store.draft_with(staged.value, || store.make_room_inside((locked, lead), Purpose::Store)).map(Some)
        }
        _ => Ok(None),
    };
    overlay.iter().map(draft).collect()
}

#[inline]
fn op<'o, O: Os>(overlay: &'o Overlay, staged: &Staged<'o>, draft: Option<&large::Draft<'_, O>>) -> Op<'o> {
    let change = match staged.put {
        None => Change::Remove,
        Some(put) => {
            let value = match draft {
                Some(draft) => Value::Draft { number: draft.number, len: draft.len, crc: draft.crc },
                None if put.large => Value::Same(LargeReference::decode(staged.value)),
                None => Value::Inline(staged.value),
            };
            let tag = match own_tag(put.tag).map(|at| overlay.names.get(at)) {
                Some(Some((kind, name))) => Tag::Named(Label { kind: *kind, name }),
                Some(None) => Tag::None,
                None if put.tag == 0 => Tag::None,
                None => Tag::Id(put.tag),
            };
            Change::Put(Put { kind: put.kind, value, expires: put.expires(), tag })
        }
    };
    Op { key: staged.key, hash: staged.hash, change }
}

fn publish<'l, O: Os>(
    store: &Store<O>,
    locked: &'l Locked<'_, O>,
    overlay: &Overlay,
    drafts: &[Option<large::Draft<'_, O>>],
    joint: Option<Joint>,
) -> Result<Commit<'l, O>> {
    let ops =
        || overlay.iter().enumerate().map(|(i, staged)| op(overlay, &staged, drafts.get(i).and_then(Option::as_ref)));
    let count = overlay.count();
    fetch_rest(store, overlay)?;
    let is_marked = overlay.cleared || !overlay.evicted.is_empty() || count.moves;
    if overlay.cleared {
        locked.leave_suspects()?;
    }
    let mut commit = locked.begin(count.puts)?;
    commit.joint = joint;
    commit.gives_up = overlay.gives_up;
    commit.held_tags = held_tags(overlay);
    commit.stage_queues(overlay);
    if !is_marked && count.keys == 0 {
        // What is left is where queues begin, whose elements at the ends were lost.
        commit.publish()?;
        return Ok(commit);
    }
    if is_marked {
        commit.carry_out_marked(overlay, &ops().collect::<Vec<_>>())?;
        return Ok(commit);
    }
    match ops().next() {
        Some(op) if count.keys == 1 => commit.carry_out(&[op])?,
        _ => {
            let is_fetched = overlay.keys_max() <= AHEAD;
            let ahead = |i| if is_fetched { None } else { overlay.hash_about(i) };
            commit.carry_out_many(ops(), ahead)?
        }
    };
    Ok(commit)
}

/// The ids of tags that a transaction refers to, if it has new tags too: they may not get the rows of those.
fn held_tags(overlay: &Overlay) -> Vec<u32> {
    if overlay.names.is_empty() {
        return Vec::new();
    }
    let put = overlay.iter().filter_map(|staged| staged.put).map(|put| put.tag);
    let ids = put.filter(|&tag| tag != 0 && own_tag(tag).is_none()).chain(overlay.evicted.iter().copied());
    let unique: HashSet<u32> = ids.collect();
    unique.into_iter().collect()
}

/// Fetches what was not fetched while it was staged, or is perhaps gone from the processor's caches by now.
fn fetch_rest<O: Os>(store: &Store<O>, overlay: &Overlay) -> Result<()> {
    let view = store.enter()?;
    let Some(index) = view.only_index(store.state.load(state::GEOMETRY)) else { return Ok(()) };
    if overlay.keys_max() > AHEAD {
        for staged in overlay.iter().take(AHEAD) {
            index.prefetch_home(staged.hash);
        }
        for staged in overlay.iter().take(AHEAD / 2) {
            store.prefetch_record_of(&view, index, staged.hash, RECORD_LINES);
        }
        return Ok(());
    }
    for hash in (1..=BUCKET_TAKES).filter_map(|back| overlay.staged_before(back)) {
        store.prefetch_record_of(&view, index, hash, RECORD_LINES);
    }
    Ok(())
}

impl<O: Os> Commit<'_, O> {
    /// Stages what became of queues, but for the numbers of their elements, which are counted with these.
    fn stage_queues(&mut self, overlay: &Overlay) {
        for (queue, span, lost) in overlay.queues() {
            let before = self.span(queue);
            self.stage_span(queue, before, span);
            self.stage_lost(queue, lost);
        }
    }

    /// Steps 3 to 8 for marks, and for the changes of keys behind them.
    fn carry_out_marked(&mut self, overlay: &Overlay, ops: &[Op<'_>]) -> Result<()> {
        let marks = usize::from(overlay.cleared) + overlay.evicted.len();
        let at_least = if overlay.cleared { Purpose::Renew } else { Purpose::Free };
        let batch = self.begin_batch(ops.iter().copied(), marks, at_least)?;
        if overlay.cleared {
            self.append(&Draft::bare(Type::Cleared, self.sequence))?;
            self.stage_clear();
        }
        for &tag in &overlay.evicted {
            // What was cleared needs no other mark.
            if let Some(place) = tag_table::place_of(tag)
                && (!overlay.cleared || self.kind_of_tag_id(tag)?.is_inner())
            {
                self.append(&Draft { tag, ..Draft::bare(Type::TagEvicted, self.sequence) })?;
                self.stage_eviction(place)?;
            }
        }
        let mut removed = Vec::new();
        for (op, staged) in ops.iter().zip(overlay.iter()) {
            let mut place = self.locate(op.key, op.hash)?;
            if let Some(old) = &mut place.old {
                old.anew = staged.anew;
                if is_ended(overlay, op.key, &old.header) {
                    old.life = if old.life == Life::Live { Life::Ending } else { Life::Gone };
                }
            }
            match &op.change {
                Change::Put(put) => self.put(op, put, &place, false)?,
                Change::Remove
                    if place.old.as_ref().is_some_and(|old| matches!(old.life, Life::Live | Life::Expired)) =>
                {
                    self.remove(op, &place, false, &mut removed)?;
                }
                Change::Remove => drop(self.remove_evicted(op, &place, false)?),
                Change::Keep => {}
            }
        }
        self.publish_batch(batch, removed)
    }
}
