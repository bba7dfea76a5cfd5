//! Where the elements are that a queue has leased: in an index beside it. It knows neither who may have one nor of what type it is.
//!
//! A key of the index, whose numbers are big-endian, names a lease:
//!
//! ```text
//!      0  8  when it was given, nanoseconds since 1970
//!      8  4  id of the handle that holds it
//!     12  4  a number of that handle's process
//! ```
//! and its value is the element, behind a header:
//!
//! ```text
//!      0  8  until when, nanoseconds since 1970
//!      8  1  kind of the element's value
//!      9     its bytes
//! ```
//! Ids of handles begin anew once a store had to be rebuilt, and numbers with each process: it is the time that has no two leases
//! with one key even so. It also has those that were given first stand first.
//!
//! L1. An element has one holder: who takes a lease over that has ended, or whose holder is gone, removes it and puts the element
//!     under a key of its own, by one commit, and only if what it found to be over has not been written anew since.
//! L2. A lease is ended, prolonged and given back by its key alone, so that who has lost it finds nothing.
//! L3. A lease that has ended leaves nothing behind.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::calls::Calls;
use crate::engine::{End, Namespace, Stretch, Window};
use crate::error::Result;

/// The kind of the values. It is none of a user's.
const HELD: u8 = 254;
const HEADER: usize = 9;
/// How many leases are looked at together.
const TOGETHER: usize = 64;

/// The number of the next lease of this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The key of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    given: u64,
    pub owner: u32,
    number: u32,
}

impl Ticket {
    /// One that nobody has had in this store.
    pub fn new(store: &dyn Calls) -> Ticket {
        Ticket { given: store.now(), owner: store.owner(), number: NUMBER.fetch_add(1, Ordering::Relaxed) }
    }

    fn decode(key: &[u8]) -> Option<Ticket> {
        let (&given, rest) = key.split_first_chunk()?;
        let (&owner, rest) = rest.split_first_chunk()?;
        let number = rest.try_into().ok()?;
        Some(Ticket {
            given: u64::from_be_bytes(given),
            owner: u32::from_be_bytes(owner),
            number: u32::from_be_bytes(number),
        })
    }

    /// The key as the store has it.
    fn key(self, space: Namespace) -> Vec<u8> {
        let mut key = space.prefix().to_vec();
        key.extend_from_slice(&self.given.to_be_bytes());
        key.extend_from_slice(&self.owner.to_be_bytes());
        key.extend_from_slice(&self.number.to_be_bytes());
        key
    }

    /// Writes down that it holds what [`encode`] has made.
    pub fn put(self, store: &dyn Calls, space: Namespace, held: &[u8]) -> Result<()> {
        store.put_in(space, &self.key(space), HELD, held).map(drop)
    }

    /// Has nothing left of it. False if it was over.
    pub fn erase(self, store: &dyn Calls, space: Namespace) -> Result<bool> {
        store.remove(&self.key(space))
    }
}

/// A lease as the index has it.
pub(super) struct Held {
    pub until: u64,
    pub kind: u8,
    /// That of the commit that gave it or prolonged it.
    pub sequence: u64,
    pub bytes: Vec<u8>,
}

impl Held {
    /// What a lease holds; `None` if it is over.
    pub fn find(store: &dyn Calls, space: Namespace, ticket: Ticket) -> Result<Option<Held>> {
        let mut bytes = Vec::new();
        let Some(facts) = store.peek(&ticket.key(space), &mut bytes)? else { return Ok(None) };
        let Some((&until, rest)) = bytes.split_first_chunk().filter(|_| facts.kind == HELD) else { return Ok(None) };
        let Some(&kind) = rest.first() else { return Ok(None) };
        bytes.drain(..HEADER);
        Ok(Some(Held { until: u64::from_le_bytes(until), kind, sequence: facts.sequence, bytes }))
    }
}

/// What a lease is to hold: an element's kind and bytes, until when.
pub(super) fn encode(until: u64, kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut held = Vec::with_capacity(HEADER + bytes.len());
    held.extend_from_slice(&until.to_le_bytes());
    held.push(kind);
    held.extend_from_slice(bytes);
    held
}

/// Calls `visit` with each lease, those that were given first first, until it says no.
pub(super) fn each(store: &dyn Calls, space: Namespace, mut visit: impl FnMut(Ticket, Held) -> bool) -> Result<()> {
    let (mut window, mut some) = (Window::default(), Stretch::default());
    while !window.is_empty() {
        store.stretch(space, &window, End::Front, (TOGETHER, false), &mut some)?;
        for ticket in some.items.iter().filter_map(|item| Ticket::decode(some.key(item))) {
            if let Some(held) = Held::find(store, space, ticket)?
                && !visit(ticket, held)
            {
                return Ok(());
            }
        }
        window.without(End::Front, some.fence.take());
    }
    Ok(())
}
