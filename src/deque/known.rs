//! What a handle knows of its queue's setting: a version and a value that belong together, whoever of several threads has read
//! an older one. Without a lock, which a child of `fork` could find taken for ever.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::UNBOUNDED;
use crate::calls::Setting;

/// The setting that was read last.
#[derive(Debug)]
pub(super) struct Known {
    /// Odd while the others change.
    moment: AtomicU64,
    version: AtomicU64,
    value: AtomicU64,
}

impl Known {
    /// Version 0, which is that of no setting.
    pub(super) fn nothing() -> Known {
        Known { moment: AtomicU64::new(0), version: AtomicU64::new(0), value: AtomicU64::new(UNBOUNDED) }
    }

    /// What is known; version 0 for nothing.
    #[inline]
    pub(super) fn load(&self) -> Setting {
        let moment = self.moment.load(Ordering::Acquire);
        let setting =
            Setting { version: self.version.load(Ordering::Relaxed), value: self.value.load(Ordering::Relaxed) };
        // Whoever has seen a word of a change sees at least the moment of its beginning after this.
        fence(Ordering::Acquire);
        let is_whole = moment.is_multiple_of(2) && self.moment.load(Ordering::Relaxed) == moment;
        if is_whole { setting } else { Setting { version: 0, value: UNBOUNDED } }
    }

    /// Keeps a setting, unless another thread keeps one at this moment: then that may be known, or nothing.
    pub(super) fn store(&self, setting: Setting) {
        let moment = self.moment.load(Ordering::Relaxed);
        let begins = moment.is_multiple_of(2)
            && self.moment.compare_exchange(moment, moment + 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if begins {
            fence(Ordering::Release);
            self.version.store(setting.version, Ordering::Relaxed);
            self.value.store(setting.value, Ordering::Relaxed);
            self.moment.store(moment + 2, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_threads_keep_is_never_mixed() {
        let known = Known::nothing();
        let whole = |setting: Setting| match setting.version {
            0 => setting.value == UNBOUNDED,
            version => setting.value == version * 7,
        };
        assert!(whole(known.load()));
        std::thread::scope(|scope| {
            for first in 1..=2 {
                let known = &known;
                scope.spawn(move || {
                    for version in (first..20_000).step_by(2) {
                        known.store(Setting { version, value: version * 7 });
                        assert!(whole(known.load()));
                    }
                });
            }
        });
        assert!(known.load().version != 0 && whole(known.load()));
    }

    #[test]
    fn while_it_changes_nothing_is_known() {
        let known = Known::nothing();
        known.store(Setting { version: 5, value: 3 });
        assert_eq!(known.load(), Setting { version: 5, value: 3 });
        known.moment.store(3, Ordering::Relaxed);
        assert_eq!(known.load(), Setting { version: 0, value: UNBOUNDED });
        known.store(Setting { version: 6, value: 4 });
        known.moment.store(4, Ordering::Relaxed);
        assert_eq!(known.load(), Setting { version: 5, value: 3 });
    }
}
