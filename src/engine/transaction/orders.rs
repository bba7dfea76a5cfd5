//! Indexes inside a transaction: the keys of the store, without what is removed and with what is put.

use std::ops::Bound;

use crate::error::Result;
use crate::os::Os;
use crate::storage::namespace::{Namespace, PREFIX, prefix};
use crate::storage::record::LargeReference;

use super::super::found::Found;
use super::super::order_read::{Stretch, Window};
use super::super::queue::End;
use super::Transaction;
use super::overlay::Overlay;

impl<O: Os> Transaction<O> {
    /// As [`Store::stretch`](super::super::store::Store::stretch).
    pub fn stretch(
        &self,
        index: Namespace,
        window: &Window,
        end: End,
        wanted: (usize, bool),
        to: &mut Stretch,
    ) -> Result<()> {
        self.with(|overlay| {
            let window = overlay.emptied.narrow(index.id, window);
            let mut left = window.clone();
            to.clear();
            while !left.is_empty() {
                #[cfg(test)]
                {
                    overlay.looks += 1;
                }
                self.stretch_over(overlay, index, &left, end, wanted, to)?;
                // What is removed may be all that a leaf has.
                if !to.items.is_empty() || to.fence.is_none() {
                    break;
                }
                left.without(end, to.fence.take());
            }
            if left != window {
                overlay.emptied.note(index.id, end, &window, &left);
            }
            Ok(())
        })
    }

    fn stretch_over(
        &self,
        overlay: &Overlay,
        index: Namespace,
        window: &Window,
        end: End,
        (most, values): (usize, bool),
        to: &mut Stretch,
    ) -> Result<()> {
        to.clear();
        let mut stored = Stretch::default();
        if !overlay.evicted.contains(&index.id) {
            self.store.stretch(index, window, end, (most, values), &mut stored)?;
        }
        let mut part = window.clone();
        match (end, &stored.fence) {
            (End::Front, Some(fence)) => part.high = Some(fence.clone()),
            (End::Back, Some(fence)) => part.low.clone_from(fence),
            (_, None) => {}
        }
        let whole = |key: &[u8]| [&prefix(index.kind, index.id)[..], key].concat();
        if let Some(bound) = self.staged_bound(overlay, index, &part, end, most) {
            narrow(&mut stored, end, &bound);
            match end {
                End::Front => part.high = Some(bound),
                End::Back => part.low = bound,
            }
        }
        let low = whole(&part.low);
        let mut staged = overlay
            .ordered
            .range(low..)
            .take_while(|key| key.starts_with(&prefix(index.kind, index.id)))
            .map(|key| &key[PREFIX..])
            .take_while(|key| part.high.as_ref().is_none_or(|high| **key < **high))
            .peekable();
        let mut old = stored.items.iter().peekable();
        loop {
            let next_old = old.peek().map(|item| stored.key(item));
            let takes_staged = match (staged.peek(), next_old) {
                (None, None) => break,
                (Some(key), Some(there)) if **key == *there => {
                    // The staged version counts, if it was not taken back.
                    old.next_if(|_| overlay.get(&whole(key), self.store.hash(&whole(key))).is_some());
                    if old.peek().is_some_and(|item| *stored.key(item) == **key) {
                        staged.next();
                    }
                    continue;
                }
                (Some(key), Some(there)) => **key < *there,
                (Some(_), None) => true,
                (None, Some(_)) => false,
            };
            match (takes_staged, staged.next_if(|_| takes_staged)) {
                (true, Some(key)) => self.add_staged(overlay, &whole(key), values, to)?,
                _ => old.next().into_iter().for_each(|item| to.add(stored.key(item), item.kind, stored.value(item))),
            }
        }
        to.fence = stored.fence.take();
        Ok(())
    }

    /// Where there are as many staged keys from an end of a window on as are wanted; `None` if there are no more in it.
    fn staged_bound(
        &self,
        overlay: &Overlay,
        index: Namespace,
        part: &Window,
        end: End,
        most: usize,
    ) -> Option<Vec<u8>> {
        let prefix = prefix(index.kind, index.id);
        let low = [&prefix[..], &part.low].concat();
        let high = part.high.as_ref().map_or(Bound::Unbounded, |high| Bound::Excluded([&prefix[..], high].concat()));
        if matches!(&high, Bound::Excluded(high) if *high <= low) {
            return None;
        }
        let keys = overlay.ordered.range((Bound::Included(low), high)).filter(|key| key.starts_with(&prefix));
        let is_there = |key: &&Vec<u8>| overlay.get(key, self.store.hash(key)).is_some_and(|one| one.put.is_some());
        let own = |key: &Vec<u8>| key[PREFIX..].to_vec();
        match end {
            End::Front => keys.filter(is_there).nth(most.checked_sub(1)?).map(|key| [&own(key)[..], &[0]].concat()),
            End::Back => keys.rev().filter(is_there).nth(most.checked_sub(1)?).map(own),
        }
    }

    fn add_staged(&self, overlay: &Overlay, key: &[u8], values: bool, to: &mut Stretch) -> Result<()> {
        // A version that was taken back is none.
        let Some(staged) = overlay.get(key, self.store.hash(key)) else { return Ok(()) };
        let Some(put) = staged.put else { return Ok(()) };
        let key = &key[PREFIX..];
        match (values, put.large) {
            (false, _) => to.add_key(&[], key),
            (true, false) => to.add(key, put.kind, staged.value),
            (true, true) => {
                let large = LargeReference::decode(staged.value);
                to.add(key, put.kind, &self.store.read_large(large)?);
            }
        }
        Ok(())
    }

    /// As [`Store::pop_in_order`](super::super::store::Store::pop_in_order).
    pub fn pop_in_order<R>(
        &self,
        index: Namespace,
        end: End,
        mut take: impl FnMut(&[u8], &Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        let mut to = Stretch::default();
        self.stretch(index, &Window::default(), end, (1, false), &mut to)?;
        let item = if end == End::Front { to.items.first() } else { to.items.last() };
        let Some(item) = item else { return Ok(None) };
        let key = [&prefix(index.kind, index.id)[..], to.key(item)].concat();
        let hash = self.store.hash(&key);
        self.stage(|overlay| {
            let taken = self.read_over(overlay, &key, hash, &mut |found| take(&key[PREFIX..], found))?;
            if taken.is_some() {
                self.push(overlay, &key, hash, None)?;
                overlay.emptied.take(index.id, end, &key[PREFIX..]);
            }
            Ok(taken)
        })
    }

    /// How often the transaction has looked at an index.
    #[cfg(test)]
    pub fn looks(&self) -> Result<u64> {
        self.with(|overlay| Ok(overlay.looks))
    }
}

/// Takes what is beyond a bound, seen from an end, out of what was found.
fn narrow(stored: &mut Stretch, end: End, bound: &[u8]) {
    let below = stored.items.iter().take_while(|item| *stored.key(item) < *bound).count();
    match end {
        End::Front => stored.items.truncate(below),
        End::Back => drop(stored.items.drain(..below)),
    }
    stored.fence = Some(bound.to_vec());
}
