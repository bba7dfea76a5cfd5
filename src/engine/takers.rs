//! Sleeping until somebody else has done something: has pushed an element, or let go of what one waits for. One word for all
//! that is waited for in a store: bit 31 says that somebody sleeps.
//!
//! Who takes: 1. set the bit; 2. look once more; 3. if there is nothing, sleep while the word is what step 1 left.
//! Who gives: 1. publish; 2. if the bit is set, clear it, count the word up, and wake all.
//!
//! Nobody sleeps through that: of step 1 here and step 2 there one comes first. Is it the taker's, the bit is seen, and the
//! word has changed before it sleeps, or it is woken; is it the other one, the look of step 2 sees what was given. The fences make
//! that so between processors, as the two sides write one word and read another. A taker that dies leaves the bit, which costs
//! the next who gives one call.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::{Os, OsMap};
use crate::storage::state::TAKERS;

use super::store::Store;

const SLEEPS: u32 = 1 << 31;

impl<O: Os> Store<O> {
    /// Wakes all who sleep. After the commit that gives, without the lock.
    #[inline]
    pub fn wake_takers(&self) {
        fence(Ordering::SeqCst);
        let word = self.state.load32(TAKERS);
        if word & SLEEPS != 0 {
            self.wake_takers_now(word);
        }
    }

    #[cold]
    fn wake_takers_now(&self, word: u32) {
        // Whoever changed it meanwhile wakes, or has not looked yet.
        if self.state.compare_exchange32(TAKERS, word, word.wrapping_add(1) & !SLEEPS).is_ok() {
            self.os.wake(&self.state, TAKERS, u32::MAX);
        }
    }

    /// Sleeps until something was given, or for `timeout`, unless there is something already. May wake for no reason.
    ///
    /// # Errors
    /// [`Error::InTransaction`] if this thread is inside of one, or of one of another shard: with its lock held, nobody could give
    /// anything.
    /// [`Error::ReadOnly`] for a handle that may not say that it sleeps.
    pub fn sleep_unless(&self, is_there: &mut dyn FnMut() -> Result<bool>, timeout: Duration) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if self.is_inside_transaction() {
            return Err(Error::InTransaction);
        }
        self.refuse_inside_sibling()?;
        let word = self.state.load32(TAKERS);
        if word & SLEEPS == 0 && self.state.compare_exchange32(TAKERS, word, word | SLEEPS).is_err() {
            return Ok(());
        }
        fence(Ordering::SeqCst);
        if !is_there()? {
            self.os.wait(&self.state, TAKERS, word | SLEEPS, timeout);
        }
        Ok(())
    }
}
