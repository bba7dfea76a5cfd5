//! A change that is decided under the lock, by what is there. It does not know who decides, nor by what.

use std::cell::Cell;

use crate::error::{Error, Result};
use crate::os::Os;

use super::cells::{KeyPlace, Present};
use super::change::{Change, Decision, Hold, Op};
use super::commit::Commit;
use super::limit::Purpose;
use super::read::Life;
use super::store::Store;

impl<O: Os> Store<O> {
    /// Looks at a key's live record under the lock, and makes the change that `decide` asks for by one commit.
    pub fn update<R>(
        &self,
        key: &[u8],
        decide: impl FnMut(Option<&Present<'_, O>>, &mut Vec<u8>) -> Result<(Decision, R)>,
    ) -> Result<R> {
        self.before_change()?;
        let (answer, newest) = self.update_as(Hold::default(), key, decide)?;
        self.epilogue();
        self.after_change(newest)?;
        Ok(answer)
    }

    /// The same for what says who holds something. It needs not be durable, for what a power cut takes back has nobody left who
    /// holds it. And nobody's listener is called once it is done: if that panicked, something would be held and nobody have it.
    pub fn update_held<R>(
        &self,
        key: &[u8],
        hold: Hold,
        decide: impl FnMut(Option<&Present<'_, O>>, &mut Vec<u8>) -> Result<(Decision, R)>,
    ) -> Result<R> {
        let (answer, _) = self.update_as(hold, key, decide)?;
        self.epilogue_untold();
        Ok(answer)
    }

    /// The commit of an update: the answer, and the newest commit when it was over.
    fn update_as<R>(
        &self,
        hold: Hold,
        key: &[u8],
        mut decide: impl FnMut(Option<&Present<'_, O>>, &mut Vec<u8>) -> Result<(Decision, R)>,
    ) -> Result<(R, u64)> {
        let hash = self.hash(key);
        let mut buffer = Vec::new();
        let mut decided: Option<((Decision, R), Option<u64>)> = None;
        let purpose = Cell::new(Purpose::Store);
        let mut attempt = || -> Result<u64> {
            let view = self.enter()?;
            self.fetch_first(&view, &[Op { key, hash, change: Change::Keep }]);
            let locked = self.lock_within(hold.timeout.unwrap_or(self.lock_timeout))?;
            let (view, tail) = locked.begin_with(view, 1)?;
            let mut commit = Commit::with(&locked, view, tail);
            commit.gives_up = hold.gives_up;
            let mut place = KeyPlace::default();
            commit.locate_into(&mut place, key, hash)?;
            let old = place.old.as_ref().filter(|old| old.life == Life::Live);
            let sequence = old.map(|old| old.header.sequence);
            // What was decided before there was room holds for what was there then.
            if decided.as_ref().is_none_or(|(_, then)| *then != sequence) {
                let live = old.and_then(|old| commit.open_old(old));
                buffer.clear();
                decided = Some((decide(live.as_ref(), &mut buffer)?, sequence));
            }
            let Some(((decision, _), _)) = &decided else { return Err(Error::Full) };
            let change = decision.change(&buffer);
            if hold.gives_up || matches!(change, Change::Remove) {
                purpose.set(Purpose::Free);
            }
            if !matches!(change, Change::Keep) && commit.change_alone(&Op { key, hash, change }, &place)? {
                commit.publish()?;
            }
            drop(commit);
            Ok(locked.newest())
        };
        let newest = match attempt() {
            Err(Error::Full) if hold.timeout.is_none() => self.until_there_is_room(purpose.get(), attempt)?,
            outcome => outcome?,
        };
        let Some(((_, answer), _)) = decided else { return Err(Error::Full) };
        Ok((answer, newest))
    }
}
