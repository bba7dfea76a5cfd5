//! A transaction on all shards of a fan-out cache: one on each, all their locks held from the first call to the commit. Of those that
//! staged something, one is committed alone, several as a joint commit.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::os::Os;

use super::super::borrowed::Borrowing;
use super::super::durable::Lead;
use super::super::handle::Handle;
use super::super::lock::{Inside, Locked};
use super::super::shards::Shards;
use super::super::siblings::Joint;
use super::super::store::Store;
use super::overlay::Overlay;
use super::run::{Ending, settle};
use super::{Transaction, finish};
use crate::options::Durability;

/// All shards, and what is held of each.
struct Held<'h, 's, O: Os> {
    stores: &'h [Arc<Store<O>>],
    locked: &'h [Locked<'s, O>],
    leads: &'h [Lead<'s, O>],
}

impl<O: Os> Shards<O> {
    /// Runs a transaction on all shards. `timeout` is for the locks together; without one it is the store's. A lasting one is
    /// whole after a power cut too, and waits for the disk if it has changes in several shards.
    pub fn transact<R, E: From<Error>>(
        &self,
        timeout: Option<Duration>,
        is_lasting: bool,
        body: impl FnOnce(&[Handle<O>]) -> Result<R, E>,
    ) -> Result<R, E> {
        let stores = self.stores();
        let left = self.deadline(timeout);
        let is_lasting = is_lasting || self.first().durability == Durability::Sync;
        for store in &stores {
            store.before_change()?;
            store.make_room_ahead(Some(left()))?;
        }
        if stores.iter().any(|store| store.is_inside_transaction()) {
            return Err(Error::InTransaction.into());
        }
        let leads = Shards::leads(&stores, is_lasting, &left)?;
        let locked = self.lock_all(&stores, &left)?;
        let inside: Vec<Inside> = stores.iter().map(|store| store.enter_transaction()).collect();
        let borrowing: Vec<Borrowing> = stores.iter().map(|store| Borrowing(store.here())).collect();
        let transactions: Vec<Arc<Transaction<O>>> =
            stores.iter().map(|store| Arc::new(Transaction::new(Arc::clone(store)))).collect();
        let ending: Vec<Ending<'_, O>> = transactions.iter().map(|transaction| Ending(transaction)).collect();
        let handles: Vec<Handle<O>> =
            transactions.iter().map(|transaction| Handle::Inside(Arc::clone(transaction))).collect();
        let answer = body(&handles)?;
        let overlays: Vec<Overlay> =
            transactions.iter().map(|transaction| transaction.guard().take().unwrap_or_default()).collect();
        drop(ending);
        let cleared = self.commit(Held { stores: &stores, locked: &locked, leads: &leads }, &overlays, is_lasting)?;
        let newest: Vec<u64> = locked.iter().map(|locked| locked.newest()).collect();
        let changed = overlays.iter().filter(|overlay| !overlay.is_empty()).count();
        drop(borrowing);
        drop(locked);
        drop(inside);
        drop(leads);
        let mut durable = Ok(());
        for (i, (store, overlay)) in stores.iter().zip(overlays).enumerate() {
            if overlay.is_empty() {
                continue;
            }
            settle(store, overlay, cleared[i]);
            // A joint commit of a handle whose changes are durable is lasting, and so it is durable already.
            if changed == 1 {
                durable = store.after_change(newest[i]);
            }
        }
        durable?;
        Ok(answer)
    }

    /// Commits what is staged. Which of the stores were cleared, and their space waits to be given back.
    fn commit(
        &self,
        Held { stores, locked, leads }: Held<'_, '_, O>,
        overlays: &[Overlay],
        is_lasting: bool,
    ) -> Result<Vec<bool>, Error> {
        let changed: Vec<usize> = (0..stores.len()).filter(|&i| !overlays[i].is_empty()).collect();
        let mut cleared = vec![false; stores.len()];
        if let [only] = changed[..] {
            cleared[only] = finish::commit(&stores[only], &locked[only], &overlays[only], leads.get(only))?;
            return Ok(cleared);
        }
        if changed.is_empty() {
            return Ok(cleared);
        }
        let joint = Joint { number: self.next_number(is_lasting)?, is_lasting, is_ready: false };
        let mut drafts = Vec::with_capacity(changed.len());
        for &i in &changed {
            drafts.push(finish::drafts(&stores[i], (&locked[i], leads.get(i)), &overlays[i])?);
        }
        {
            let mut commits = Vec::with_capacity(changed.len());
            for (&i, drafts) in changed.iter().zip(&drafts) {
                let commit = {
                    let held = (&locked[i], leads.get(i));
                    finish::prepare(&stores[i], held, &overlays[i], drafts, Some(joint))?
                };
                commits.extend(Some(commit).filter(|commit| commit.joint.is_some_and(|joint| joint.is_ready)));
            }
            self.publish(joint, &mut commits, leads)?;
        }
        for &i in &changed {
            cleared[i] = finish::give_index_back(&stores[i], &locked[i], &overlays[i]);
        }
        Ok(cleared)
    }
}
