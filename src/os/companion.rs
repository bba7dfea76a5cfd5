//! A thread in the background, and how it is called, sent to rest and ended. It does not know what the thread does.
//!
//! Calling one that is awake is one exchange of a word, and one that was called already one load; only for one that is asleep
//! the kernel is asked. None of it is for a child of `fork`, which has the words and not the thread.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::Os;

/// Values of the word.
const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const CALLED: u32 = 2;

/// How long [`Companion::end`] waits for a thread that is in the middle of something, at most.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where a thread is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    None,
    Running(Option<ThreadId>),
    Ended,
}

/// A thread in the background, at most one in the life of this value.
pub struct Companion {
    word: AtomicU32,
    runs: AtomicBool,
    ends: AtomicBool,
    stage: Mutex<Stage>,
    changed: Condvar,
}

/// Says that the thread has ended, however it ends.
struct Ending(Arc<Companion>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.runs.store(false, Ordering::Release);
        *self.0.stage() = Stage::Ended;
        self.0.changed.notify_all();
    }
}

impl Companion {
    /// Without a thread.
    pub fn new() -> Arc<Companion> {
        Arc::new(Companion {
            word: AtomicU32::new(AWAKE),
            runs: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            stage: Mutex::new(Stage::None),
            changed: Condvar::new(),
        })
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while there is a thread that has not ended.
    #[inline]
    pub fn runs(&self) -> bool {
        self.runs.load(Ordering::Acquire)
    }

    /// Starts the thread, if there never was one. What fails is left at that: there is none then.
    pub fn start<O: Os>(self: &Arc<Self>, os: &O, body: impl FnOnce(&Companion) + Send + 'static) -> io::Result<()> {
        let mut stage = self.stage();
        if *stage != Stage::None || self.ends.load(Ordering::Acquire) {
            return Ok(());
        }
        *stage = Stage::Running(None);
        drop(stage);
        self.runs.store(true, Ordering::Release);
        let ending = Ending(Arc::clone(self));
        os.spawn(move || {
            let companion = Arc::clone(&ending.0);
            if let Stage::Running(thread) = &mut *companion.stage() {
                *thread = Some(thread::current().id());
            }
            // It drops what it has before it says that it has ended.
            body(&companion);
            drop(ending);
        })
    }

    /// Makes the thread look for something to do, now or once it is done with what it is at.
    #[inline]
    pub fn call(&self) {
        if self.word.load(Ordering::Acquire) != CALLED && self.word.swap(CALLED, Ordering::AcqRel) == ASLEEP {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        // Whoever has just said that it is asleep holds this until it is.
        drop(self.stage());
        self.changed.notify_all();
    }

    /// For the thread: sleeps until it is called, or for so long. False if it is to end.
    pub fn rest(&self, most: Option<Duration>) -> bool {
        let start = Instant::now();
        let mut stage = self.stage();
        if self.word.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            while self.word.load(Ordering::Acquire) == ASLEEP {
                let left = most.map(|most| most.saturating_sub(start.elapsed()));
                if left == Some(Duration::ZERO) {
                    break;
                }
                stage = match left {
                    Some(left) => self.changed.wait_timeout(stage, left).map_or_else(|e| e.into_inner().0, |(s, _)| s),
                    None => self.changed.wait(stage).unwrap_or_else(PoisonError::into_inner),
                };
            }
        }
        self.word.store(AWAKE, Ordering::Release);
        drop(stage);
        !self.is_to_end()
    }

    /// True if the thread is to end.
    #[inline]
    pub fn is_to_end(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    /// Ends the thread and waits until it has, but not for ever: one that waits for a disk or for a process that stands
    /// still ends by itself later. None can be started from here on.
    pub fn end(&self) {
        self.ends.store(true, Ordering::Release);
        self.call();
        let start = Instant::now();
        let mut stage = self.stage();
        while let Stage::Running(thread) = *stage {
            let left = FAREWELL.saturating_sub(start.elapsed());
            if left.is_zero() || thread == Some(thread::current().id()) {
                return;
            }
            stage = self.changed.wait_timeout(stage, left).map_or_else(|e| e.into_inner().0, |(s, _)| s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::real::RealOs;
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc::channel;

    #[test]
    fn a_call_is_heard_asleep_and_awake_and_the_end_waits_for_what_the_thread_has() {
        let companion = Companion::new();
        let (rounds, had) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
        let (done, heard) = channel();
        let (counted, held) = (Arc::clone(&rounds), Arc::clone(&had));
        assert!(!companion.runs());
        companion
            .start(&RealOs::new().unwrap(), move |companion| {
                let held = held;
                while companion.rest(None) {
                    counted.fetch_add(1, Ordering::Relaxed);
                    done.send(()).unwrap();
                }
                drop(held);
            })
            .unwrap();
        assert!(companion.runs());
        for round in 1..100 {
            companion.call();
            heard.recv().unwrap();
            assert!(rounds.load(Ordering::Relaxed) >= round);
        }
        companion.end();
        assert!(!companion.runs() && Arc::strong_count(&had) == 1);
        assert_eq!(rounds.load(Ordering::Relaxed), 99);
    }

    #[test]
    fn nothing_starts_twice_or_after_the_end_and_a_thread_that_panics_has_ended() {
        let os = RealOs::new().unwrap();
        let companion = Companion::new();
        companion.start(&os, |companion| while companion.rest(None) {}).unwrap();
        companion.start(&os, |_| unreachable!("a second one")).unwrap();
        companion.end();
        companion.start(&os, |_| unreachable!("after the end")).unwrap();
        let other = Companion::new();
        other.start(&os, |_| panic!("on purpose")).unwrap();
        while other.runs() {
            std::thread::yield_now();
        }
        other.end();
    }

    #[test]
    fn a_rest_ends_by_itself_after_its_time() {
        let companion = Companion::new();
        let start = Instant::now();
        assert!(companion.rest(Some(Duration::from_millis(5))));
        assert!(start.elapsed() >= Duration::from_millis(5));
        companion.call();
        assert!(companion.rest(None));
    }
}
