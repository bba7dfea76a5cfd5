//! Single flight: of all who ask for a value that is missing, in all processes, one computes it and the others wait for that.
//!
//! Who computes has a *claim*, a note under the hash of the key that has its token.
//!
//! 1. Look: if the value is there, that is the answer.
//! 2. Take the claim, unless somebody has it who lives.
//! 3. With the claim: look again, for the last holder may have stored the value between 1 and 2. If it is missing still, compute
//!    it, store it, let go of the claim, in this order. Without: sleep until the claim changes or for a nap, and begin anew.
//!
//! - **F1** The value is computed by one at a time: who holds the claim is the only one, and a claim passes on only when it was
//!   let go or its holder is dead.
//! - **F2** Nobody computes what is there: what was stored before a claim was taken is seen by the look that follows.
//! - **F3** A claim ends with its holder, whatever ends that: it is let go when the computation returns, fails or panics, and
//!   who waits looks four times a second whether the holder's process is there.
//!
//! Two keys whose hashes of 128 bits agree wait for each other, and one that is computed inside the other is refused as if it were
//! the same.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::calls::Calls;
use crate::engine::Hold;
use crate::error::{Error, Result};
use crate::ledger::{Change, Deadline, Ledger, Note};

/// The name of the notes: no name of a user's has a zero in it.
const CLAIMS: &str = "\0claims";

/// The name of a claim.
type Name = [u8; 16];

thread_local! {
    /// What this thread is computing: stores, the notes in them, and names of claims.
    static COMPUTING: RefCell<Vec<(u64, u32, Name)>> = const { RefCell::new(Vec::new()) };
}

/// A claim that this thread holds. Dropped, it is let go.
pub(crate) struct Claim {
    ledger: Ledger,
    store: u64,
    name: Name,
    token: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        COMPUTING
            .with_borrow_mut(|computing| computing.retain(|held| *held != (self.store, self.ledger.id(), self.name)));
        let token = self.token;
        self.ledger.release(&self.name, token, move |note| {
            if token_of(&note) == Some(token) { Change::Erase } else { Change::Keep }
        });
    }
}

fn token_of(note: &Note) -> Option<u64> {
    Some(u64::from_le_bytes(note.bytes.as_slice().try_into().ok()?))
}

/// True if who has a claim lives.
fn is_claimed(ledger: &Ledger, note: &Note) -> bool {
    token_of(note).is_some_and(|token| ledger.is_held(token, note.sequence))
}

/// Asks for the claim on a key.
pub(crate) enum Attempt {
    Claimed(Claim),
    /// Somebody else has it, by the commit of that sequence.
    Busy(u64),
}

/// The claims of a store, for one key.
pub(crate) struct Claims {
    ledger: Ledger,
    store: u64,
    name: Name,
}

impl Claims {
    /// # Errors
    /// [`Error::InTransaction`] inside of one, [`Error::Recursive`] if this thread has the claim already.
    pub fn of(store: &Arc<dyn Calls>, key: &[u8]) -> Result<Claims> {
        let ledger = Ledger::open(store, CLAIMS, |ledger, note| !is_claimed(ledger, note))?;
        let name = xxhash_rust::xxh3::xxh3_128(key).to_le_bytes();
        let claims = Claims { ledger, store: store.id(), name };
        if COMPUTING.with_borrow(|computing| computing.contains(&(claims.store, claims.ledger.id(), name))) {
            return Err(Error::Recursive);
        }
        Ok(claims)
    }

    /// Step 2.
    pub fn take(&self) -> Result<Attempt> {
        self.ledger.catch_up();
        let found = self.ledger.read(&self.name)?;
        if let Some(note) = &found
            && is_claimed(&self.ledger, note)
        {
            return Ok(Attempt::Busy(note.sequence));
        }
        let token = self.ledger.token();
        let busy = self.ledger.change_held(&self.name, Hold::default(), |note| {
            Ok(match &note {
                // Somebody was quicker.
                Some(other) if note != found => (Change::Keep, Some(other.sequence)),
                _ => (Change::Write(token.to_le_bytes().to_vec()), None),
            })
        })?;
        Ok(match busy {
            Some(sequence) => Attempt::Busy(sequence),
            None => {
                COMPUTING.with_borrow_mut(|computing| computing.push((self.store, self.ledger.id(), self.name)));
                Attempt::Claimed(Claim { ledger: self.ledger.clone(), store: self.store, name: self.name, token })
            }
        })
    }

    /// Sleeps until the claim of a commit may have changed.
    pub fn sleep(&self, sequence: u64, deadline: Deadline) -> Result<()> {
        self.ledger.sleep(&self.name, sequence, deadline, Duration::MAX)
    }
}

/// How a call came to its value.
pub(crate) enum Landing<V, E> {
    Found(V),
    /// By computing it. To be stored while the claim is held.
    Computed(Result<V, E>, Claim),
}

/// The value under a key, found by `look` or computed if it is missing. An error of the store's gives back what was to compute.
pub(crate) fn attempt<V, E, F: FnOnce() -> Result<V, E>>(
    store: &Arc<dyn Calls>,
    key: &[u8],
    wait: Option<Duration>,
    mut look: impl FnMut() -> Result<Option<V>>,
    compute: F,
) -> Result<Landing<V, E>, (Error, F)> {
    match land(store, key, wait, &mut look) {
        Ok(Landed::Value(value)) => Ok(Landing::Found(value)),
        Ok(Landed::Claim(claim)) => Ok(Landing::Computed(compute(), claim)),
        Err(error) => Err((error, compute)),
    }
}

enum Landed<V> {
    Value(V),
    /// It is missing, and this thread computes it.
    Claim(Claim),
}

fn land<V>(
    store: &Arc<dyn Calls>,
    key: &[u8],
    wait: Option<Duration>,
    look: &mut impl FnMut() -> Result<Option<V>>,
) -> Result<Landed<V>> {
    let claims = Claims::of(store, key)?;
    let deadline = Deadline::after(wait);
    loop {
        match claims.take()? {
            Attempt::Claimed(claim) => return Ok(look()?.map_or(Landed::Claim(claim), Landed::Value)),
            Attempt::Busy(sequence) => claims.sleep(sequence, deadline)?,
        }
        if let Some(value) = look()? {
            return Ok(Landed::Value(value));
        }
    }
}
