//! Queues inside a transaction: their spans are staged beside the elements.

use crate::error::Result;
use crate::os::Os;
use crate::storage::namespace::{Label, Namespace, element};

use super::super::change::Put;
use super::super::found::Found;
use super::super::queue::{DROPPED_MAX, End, Span, over};
use super::super::statistics::Sums;
use super::Transaction;
use super::overlay::Overlay;

impl Overlay {
    /// What is staged of a queue.
    fn queue(&self, queue: Namespace) -> Option<(Span, u64)> {
        self.spans.iter().rev().find(|(of, ..)| *of == queue).map(|&(_, span, lost)| (span, lost))
    }

    fn stage_queue(&mut self, queue: Namespace, span: Span, lost: u64) {
        // One that a savepoint needs is kept.
        match self.spans.last_mut() {
            Some(last) if self.savepoints == 0 && last.0 == queue => *last = (queue, span, lost),
            _ => self.spans.push((queue, span, lost)),
        }
    }

    /// The queues that were changed, and what became of them.
    pub fn queues(&self) -> Vec<(Namespace, Span, u64)> {
        let mut last: Vec<(Namespace, Span, u64)> = Vec::new();
        for staged in self.spans.iter().rev() {
            if last.iter().all(|(of, ..)| *of != staged.0) {
                last.push(*staged);
            }
        }
        last
    }
}

impl<O: Os> Transaction<O> {
    /// The namespace of a name, made if there is none, by a commit of its own. Whatever thread asks stands for the one that has
    /// the lock meanwhile.
    pub fn namespace(&self, label: Label<'_>, holds: bool) -> Result<Namespace> {
        self.with(|_| {
            let _inside = self.store.enter_transaction();
            self.store.namespace_inside(label, holds)
        })
    }

    /// Begins the statistics anew.
    pub fn reset_sums(&self) -> Result<Sums> {
        self.with(|_| self.store.reset_sums())
    }

    fn queue(&self, overlay: &Overlay, queue: Namespace) -> Result<(Span, u64)> {
        match overlay.queue(queue) {
            Some(staged) => Ok(staged),
            None => Ok((self.store.span(queue)?, 0)),
        }
    }

    /// The positions that have elements.
    pub fn span(&self, queue: Namespace) -> Result<Span> {
        self.with(|overlay| Ok(self.queue(overlay, queue)?.0))
    }

    /// As [`Store::read_queue`](super::super::store::Store::read_queue).
    pub fn read_queue<R>(
        &self,
        queue: Namespace,
        place: impl Fn(Span) -> Option<u64>,
        mut take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.with(|overlay| {
            let Some(position) = place(self.queue(overlay, queue)?.0) else { return Ok(None) };
            let key = element(queue.id, position);
            self.read_over(overlay, &key, self.store.hash(&key), &mut take)
        })
    }

    /// As [`Store::push`](super::super::store::Store::push). The transaction has the lock: what a queue is set to stays.
    pub fn push_element(&self, queue: Namespace, end: End, put: Put<'_>, most: u64) -> Result<()> {
        if most == 0 {
            return Ok(());
        }
        self.stage(|overlay| {
            let (before, mut lost) = self.queue(overlay, queue)?;
            let (position, after) = before.pushed(end);
            let key = element(queue.id, position);
            self.put(overlay, &key, self.store.hash(&key), put)?;
            let room = self.room_to_drop(overlay);
            let (keys, left) = over(queue, end.other(), after, most, room);
            // The one that a push drops when it puts one in takes nothing away from the others.
            overlay.dropped += (keys.len() as u64).saturating_sub(1);
            for key in keys {
                lost += u64::from(!self.take_out(overlay, &key)?);
            }
            overlay.stage_queue(queue, left, lost);
            Ok(())
        })
    }

    /// Elements that a push may drop: one, so that a queue does not grow, and as many more as the transaction may still drop
    /// of what was over the bound before it. Half of the transaction's space is left to what is put.
    fn room_to_drop(&self, overlay: &Overlay) -> u64 {
        let is_half_full = overlay.size() > self.limit() / 2;
        if is_half_full { 1 } else { 1 + DROPPED_MAX.saturating_sub(overlay.dropped) }
    }

    /// As [`Store::pop`](super::super::store::Store::pop).
    pub fn pop_element<R>(
        &self,
        queue: Namespace,
        end: End,
        mut take: impl FnMut(&Found<'_, O>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.stage(|overlay| {
            let (before, mut lost) = self.queue(overlay, queue)?;
            let (mut left, mut taken) = (before, None);
            while let (Some(position), None) = (left.at(end), &taken) {
                left = left.popped(end);
                let key = element(queue.id, position);
                let hash = self.store.hash(&key);
                taken = self.read_over(overlay, &key, hash, &mut take)?;
                match taken {
                    Some(_) => self.push(overlay, &key, hash, None)?,
                    None => lost += 1,
                }
            }
            if left != before {
                overlay.stage_queue(queue, left, lost);
            }
            Ok(taken)
        })
    }

    /// As [`Store::replace`](super::super::store::Store::replace).
    pub fn replace_element(&self, queue: Namespace, place: impl Fn(Span) -> Option<u64>, put: Put<'_>) -> Result<bool> {
        self.stage(|overlay| {
            let Some(position) = place(self.queue(overlay, queue)?.0) else { return Ok(false) };
            let key = element(queue.id, position);
            self.put(overlay, &key, self.store.hash(&key), put)?;
            Ok(true)
        })
    }

    /// Removes an element. False if it was lost.
    fn take_out(&self, overlay: &mut Overlay, key: &[u8]) -> Result<bool> {
        let hash = self.store.hash(key);
        let live = self.is_live(overlay, key, hash)?;
        if live {
            self.push(overlay, key, hash, None)?;
        }
        Ok(live)
    }

    /// Removes all elements.
    pub(super) fn empty_queue(&self, overlay: &mut Overlay, queue: Namespace) -> Result<()> {
        let (span, _) = self.queue(overlay, queue)?;
        overlay.stage_queue(queue, Span { len: 0, ..span }, 0);
        Ok(())
    }
}
