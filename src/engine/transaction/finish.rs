//! Making one commit of everything that a transaction has staged: step 5 of `transaction`.

use crate::error::{Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::record::{Draft, LargeReference, Type};
use crate::storage::state;
use crate::storage::tag_table;

use super::super::change::{Change, Op, Put, Tag, Value};
use super::super::commit::Commit;
use super::super::large;
use super::super::lock::Locked;
use super::super::read::Life;
use super::super::room::Purpose;
use super::super::store::Store;
use super::inside::{is_ended, own_tag};
use super::overlay::{Overlay, Staged};

/// Commits what is staged. True if the store was cleared, and its space waits to be given back.
pub(super) fn commit<O: Os>(store: &Store<O>, locked: &Locked<'_, O>, overlay: &Overlay) -> Result<bool> {
    if overlay.is_empty() {
        return Ok(false);
    }
    if store.os.is_forked() {
        return Err(Error::Forked);
    }
    let drafts = drafts(store, locked, overlay)?;
    let ops: Vec<Op<'_>> = overlay.iter().zip(&drafts).map(|(staged, draft)| op(overlay, &staged, draft)).collect();
    let mut outcome = publish(store, locked, overlay, &ops);
    while matches!(outcome, Err(Error::Full)) && store.make_room_inside(locked)? {
        outcome = publish(store, locked, overlay, &ops);
    }
    outcome?;
    if overlay.cleared && ops.is_empty() {
        // As in `clear`: the store is empty whatever becomes of this.
        let _ = store.replace_index(locked);
    }
    Ok(overlay.cleared)
}

/// A draft file for each value that gets a file of its own.
fn drafts<'s, O: Os>(
    store: &'s Store<O>,
    locked: &Locked<'_, O>,
    overlay: &Overlay,
) -> Result<Vec<Option<large::Draft<'s, O>>>> {
    let draft = |staged: Staged<'_>| match staged.header {
        Some(header) if !header.is_large() && store.is_large(staged.value.len()) => {
            store.draft_with(staged.value, || store.make_room_inside(locked)).map(Some)
        }
        _ => Ok(None),
    };
    overlay.iter().map(draft).collect()
}

fn op<'o, O: Os>(overlay: &'o Overlay, staged: &Staged<'o>, draft: &Option<large::Draft<'_, O>>) -> Op<'o> {
    let change = match staged.header {
        None => Change::Remove,
        Some(header) => {
            let value = match draft {
                Some(draft) => Value::Draft { number: draft.number, len: draft.len, crc: draft.crc },
                None if header.is_large() => Value::Same(LargeReference::decode(staged.value)),
                None => Value::Inline(staged.value),
            };
            let tag = match own_tag(header.tag).map(|at| overlay.names.get(at)) {
                Some(Some(name)) => Tag::Named(name),
                Some(None) => Tag::None,
                None if header.tag == 0 => Tag::None,
                None => Tag::Id(header.tag),
            };
            let expires = Some(header.expires).filter(|&at| at != u64::MAX);
            Change::Put(Put { kind: header.kind, value, expires, tag })
        }
    };
    Op { key: staged.key, hash: staged.hash, change }
}

fn publish<O: Os>(store: &Store<O>, locked: &Locked<'_, O>, overlay: &Overlay, ops: &[Op<'_>]) -> Result<()> {
    let view = store.enter()?;
    store.fetch_first(&view, ops);
    drop(view);
    let puts = ops.iter().filter(|op| matches!(op.change, Change::Put(_))).count() as u64;
    // A removal here counts out what has expired too: inside, it replaced what the transaction had put over it.
    let moves = |staged: Staged<'_>| staged.anew || staged.header.is_none();
    let plain = !overlay.cleared && overlay.evicted.is_empty() && !overlay.iter().any(moves);
    if plain {
        return locked.begin(puts)?.carry_out(ops).map(drop);
    }
    if overlay.cleared {
        locked.leave_suspects()?;
    }
    debug_assert!(store.state.load(state::PENDING) == 0, "the lock was taken, so nothing is half done");
    locked.begin(puts)?.carry_out_marked(overlay, ops)
}

impl<O: Os> Commit<'_, O> {
    /// Steps 3 to 8 for marks, and for the changes of keys behind them.
    fn carry_out_marked(mut self, overlay: &Overlay, ops: &[Op<'_>]) -> Result<()> {
        // What was cleared needs no other mark.
        let marks = if overlay.cleared { 1 } else { overlay.evicted.len() };
        let at_least = if overlay.cleared { Purpose::Renew } else { Purpose::Free };
        let batch = self.begin_batch(ops, marks, at_least)?;
        if overlay.cleared {
            self.append(&Draft::bare(Type::Cleared, self.sequence))?;
            self.stage_clear();
        } else {
            for &tag in &overlay.evicted {
                if let Some(place) = tag_table::place_of(tag) {
                    self.append(&Draft { tag, ..Draft::bare(Type::TagEvicted, self.sequence) })?;
                    self.stage_eviction(place);
                }
            }
        }
        let mut removed = Vec::new();
        for (op, staged) in ops.iter().zip(overlay.iter()) {
            let mut place = self.locate(op.key, op.hash)?;
            if let Some(old) = &mut place.old {
                old.anew = staged.anew;
                if is_ended(overlay, &old.header) {
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
                Change::Remove | Change::Keep => {}
            }
        }
        if self.end_batch(batch)? {
            self.publish()?;
            if !removed.is_empty() {
                self.empty_removed(&removed);
            }
        }
        Ok(())
    }
}
