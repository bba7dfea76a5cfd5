//! The second queue of a queue: the elements that are leased, each behind a header. It does not know who leases, nor why a lease
//! ends.
//!
//! ```text
//!      0  8  token: id of the handle that holds it in the high half, a number of that handle's in the low one
//!      8  8  until when, nanoseconds since 1970
//!     16  1  kind of the element's value
//!     17     its bytes
//! ```
//! The token names a lease, and the position says where it was last seen. One that is over leaves an empty element of another
//! kind, which goes once it is at an end.
//!
//! - **L1** Each token is there once at most: whatever moves an element, or gives it another token, is one transaction.
//! - **L2** Of what is over no more is left than some times the number of leases there are, however long one of them is held.
//!   Once there are more than [`FEW`] elements, each [`TURNS`]th that ends takes the one in front, if that is held by somebody who
//!   is there, to the back, and what has ended behind it goes. As many ends later as there are leases, times [`TURNS`], none is left
//!   of those that had ended before.
//!
//! Who holds one that was moved finds it by its token: a look at each element, of which there are not many (L2).

use crate::calls::{Calls, Place};
use crate::engine::{Bound, End, Namespace};
use crate::error::Result;

/// The kinds of elements of the second queue. They are no kinds of values.
pub(super) const HELD: u8 = 254;
const DONE: u8 = 255;
const HEADER: usize = 17;
/// So many elements are looked through in no time.
const FEW: u64 = 64;
/// Moving an element costs what storing it costs.
const TURNS: u64 = 4;
/// Elements that are over and go with one that ends. There may be any number, and a transaction has its limit.
const TRIMMED_MAX: usize = 64;

/// A lease as the second queue has it.
pub(super) struct Held {
    pub token: u64,
    pub until: u64,
    pub kind: u8,
}

impl Held {
    fn decode(kind: u8, bytes: &[u8]) -> Option<Held> {
        let (header, _) = bytes.split_first_chunk::<HEADER>().filter(|_| kind == HELD)?;
        let word = |at| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        Some(Held { token: word(0), until: word(8), kind: header[16] })
    }

    pub fn encode(&self, bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::with_capacity(HEADER + bytes.len());
        all.extend_from_slice(&self.token.to_le_bytes());
        all.extend_from_slice(&self.until.to_le_bytes());
        all.push(self.kind);
        all.extend_from_slice(bytes);
        all
    }

    /// The handle that holds it.
    pub fn owner(&self) -> u32 {
        (self.token >> 32) as u32
    }
}

/// A lease, and where it was found.
pub(super) struct Found {
    pub position: u64,
    pub held: Held,
    /// The bytes of its element.
    pub bytes: Vec<u8>,
}

/// Calls `visit` with the position and the sequence, the header and the bytes of each element that is leased, until it says no.
pub(super) fn each(
    store: &dyn Calls,
    queue: Namespace,
    mut visit: impl FnMut((u64, u64), Held, &[u8]) -> bool,
) -> Result<()> {
    let span = store.span(queue)?;
    let mut bytes = Vec::new();
    for position in (0..span.len).map(|number| span.first.wrapping_add(number)) {
        let Some(facts) = store.element(queue, Place::Position(position), &mut bytes)? else { continue };
        if let Some(held) = Held::decode(facts.kind, &bytes)
            && !visit((position, facts.sequence), held, &bytes[HEADER..])
        {
            break;
        }
    }
    Ok(())
}

/// The lease that a token names, if it is at a position.
pub(super) fn held_at(store: &dyn Calls, queue: Namespace, position: u64, token: u64) -> Result<Option<Found>> {
    let mut bytes = Vec::new();
    let facts = store.element(queue, Place::Position(position), &mut bytes)?;
    let held = facts.and_then(|facts| Held::decode(facts.kind, &bytes)).filter(|held| held.token == token);
    Ok(held.map(|held| {
        bytes.drain(..HEADER);
        Found { position, held, bytes }
    }))
}

/// The lease that a token names, if it is there still. It was seen at `position`.
pub(super) fn find(store: &dyn Calls, queue: Namespace, position: u64, token: u64) -> Result<Option<Found>> {
    let mut found = held_at(store, queue, position, token)?;
    if found.is_some() {
        return Ok(found);
    }
    each(store, queue, |(position, _), held, bytes| {
        if held.token == token {
            found = Some(Found { position, held, bytes: bytes.to_vec() });
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Ends a lease, and removes what has ended at both ends. Inside a transaction.
pub(super) fn end(store: &dyn Calls, queue: Namespace, found: &Found) -> Result<()> {
    store.replace(queue, Place::Position(found.position), DONE, &[])?;
    trim(store, queue)?;
    if store.span(queue)?.len > FEW && found.held.token.is_multiple_of(TURNS) && move_first(store, queue)? {
        trim(store, queue)?;
    }
    Ok(())
}

/// Removes what has ended at both ends.
fn trim(store: &dyn Calls, queue: Namespace) -> Result<()> {
    let mut bytes = Vec::new();
    for end in [End::Front, End::Back] {
        for _ in 0..TRIMMED_MAX {
            if store.element(queue, Place::At(end), &mut bytes)?.is_none_or(|facts| facts.kind != DONE) {
                break;
            }
            store.pop(queue, end, &mut |_, _| Ok(()))?;
        }
    }
    Ok(())
}

/// Takes the first element to the back. False if that is not to be: one whose holder is gone keeps its commit's number, which
/// tells it from one of a later handle with the same id.
fn move_first(store: &dyn Calls, queue: Namespace) -> Result<bool> {
    let mut bytes = Vec::new();
    let Some(facts) = store.element(queue, Place::At(End::Front), &mut bytes)? else { return Ok(false) };
    let held = Held::decode(facts.kind, &bytes).filter(|held| store.is_owner_alive(held.owner(), facts.sequence));
    if held.is_none() || seeded!("leases_pile_up") {
        return Ok(false);
    }
    store.pop(queue, End::Front, &mut |_, _| Ok(()))?;
    store.push(queue, End::Back, HELD, &bytes, Bound::NONE)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use super::super::Deque;

    const LONG: Duration = Duration::from_secs(3600);

    /// Elements that are kept for leases, those among them that are over.
    fn kept<T>(deque: &Deque<T>) -> u64 {
        deque.store.span(deque.find_leases().unwrap().unwrap()).unwrap().len
    }

    #[test]
    fn what_is_acknowledged_does_not_pile_up_behind_a_long_lease() {
        let directory = tempfile::tempdir().unwrap();
        let (deque, other) = (Deque::<u32>::open(&directory).unwrap(), Deque::<u32>::open(&directory).unwrap());
        deque.push_back(&0).unwrap();
        let long = deque.lease_front(LONG).unwrap().unwrap();
        deque.extend(1..3000).unwrap();
        // Always another one behind what is acknowledged.
        let mut before = other.lease_front(LONG).unwrap().unwrap();
        while let Some(next) = other.lease_front(LONG).unwrap() {
            std::mem::replace(&mut before, next).ack().unwrap();
        }
        assert!(kept(&deque) < 100, "{} are kept for two leases", kept(&deque));
        assert_eq!(deque.leased().unwrap(), 2);
        // It was moved meanwhile, and is as much its holder's as ever.
        long.extend(LONG).unwrap();
        before.ack().unwrap();
        drop(long);
        assert_eq!((deque.pop_front().unwrap(), deque.len(), deque.leased().unwrap()), (Some(0), 0, 0));
    }

    #[test]
    fn many_leases_that_end_in_any_order_end_once_each() {
        for seed in 1..=4u64 {
            let directory = tempfile::tempdir().unwrap();
            let handles = [Deque::<u32>::open(&directory).unwrap(), Deque::<u32>::open(&directory).unwrap()];
            let mut state = seed;
            let mut random = move |below: usize| {
                state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                (state >> 33) as usize % below
            };
            let (mut pushed, mut waiting, mut acknowledged) = (0, VecDeque::new(), Vec::new());
            let mut leases = Vec::new();
            for _ in 0..4000 {
                let deque = &handles[random(2)];
                match random(10) {
                    // Up to three hundred are held at once: far more than are looked through in no time.
                    0..=4 if leases.len() < 300 => {
                        deque.push_back(&pushed).unwrap();
                        waiting.push_back(pushed);
                        pushed += 1;
                        let lease = deque.lease_front(LONG).unwrap().unwrap();
                        assert_eq!(Some(*lease.value()), waiting.pop_front(), "seed {seed}");
                        leases.push(lease);
                    }
                    0..=7 if !leases.is_empty() => {
                        let lease = leases.swap_remove(random(leases.len()));
                        acknowledged.push(*lease.value());
                        lease.ack().unwrap();
                    }
                    8 if !leases.is_empty() => {
                        let lease = leases.swap_remove(random(leases.len()));
                        waiting.push_front(*lease.value());
                        drop(lease);
                    }
                    9 if !leases.is_empty() => leases[random(leases.len())].extend(LONG).unwrap(),
                    _ => {}
                }
            }
            assert_eq!(handles[0].leased().unwrap(), leases.len(), "seed {seed}");
            assert!(kept(&handles[0]) <= 6 * leases.len() as u64 + 100, "seed {seed}: {} are kept", kept(&handles[0]));
            drop(leases);
            while let Some(rest) = handles[0].pop_front().unwrap() {
                acknowledged.push(rest);
            }
            acknowledged.sort_unstable();
            assert!(acknowledged.into_iter().eq(0..pushed), "seed {seed}");
            assert!(handles[1].check().unwrap().is_clean());
        }
    }
}
