//! What a store may hold after a power cut: the moments since the last sync, and what may be missing of them. It knows
//! nothing of machines, and of operations only what they did to the model.

use super::acts::{Act, Contents, Item};

/// What was held after each operation since the last sync.
pub struct History {
    /// The oldest is what the last sync made durable.
    states: Vec<Contents>,
    /// What is there if a batch that never was in effect outlives the power cut: by itself, or in the place of the one
    /// commit that was to overwrite it. DESIGN.md, section 8, "No burnt numbers".
    strays: Vec<Stray>,
    /// True once a file that held something went since the last sync.
    pub retired: bool,
    /// The oldest state is what a rebuild found, and no sync has vouched for it since.
    pub is_found: bool,
}

struct Stray {
    contents: Contents,
    /// What came before it.
    at: usize,
    /// Whether later commits can stand behind it: then it has taken the place of one, which it is still to skip.
    follows: bool,
    skips: bool,
    /// Nothing was committed since.
    is_last: bool,
}

/// How the contents found relate to the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are those of this many operations after the last sync.
    Exact(usize),
    /// The same, but some are missing: large values whose file was never synced.
    Unsynced,
    /// Some are missing that were replaced or removed later, whose files went with what followed lost. None of them had
    /// been synced.
    Replaced,
    /// A batch that was never in effect is there.
    Stray,
}

impl History {
    pub fn new(contents: Contents) -> History {
        History { states: vec![contents], strays: Vec::new(), retired: false, is_found: false }
    }

    pub fn newest(&self) -> &Contents {
        &self.states[self.states.len() - 1]
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// An operation was carried out, and led there.
    pub fn push(&mut self, act: &Act, time: u64, contents: Contents) {
        let is_same = contents == *self.newest();
        let writes =
            matches!(act, Act::Put(..) | Act::Update(..) | Act::Clear) || !(is_same || matches!(act, Act::Expire));
        for stray in self.strays.iter_mut().filter(|_| writes) {
            stray.is_last = false;
            if stray.follows && !std::mem::take(&mut stray.skips) {
                act.model(&mut stray.contents, time);
            }
        }
        self.states.push(contents);
    }

    /// An operation was not carried out, and may have left its batch behind the end of the log.
    pub fn push_stray(&mut self, act: &Act, time: u64) {
        let mut contents = self.newest().clone();
        act.model(&mut contents, time);
        for follows in [false, true] {
            let at = self.states.len() - 1;
            self.strays.push(Stray { contents: contents.clone(), at, follows, skips: follows, is_last: true });
        }
    }

    /// Everything up to now is durable.
    pub fn sync(&mut self) {
        let newest = self.states.pop().unwrap_or_default();
        self.strays.retain(|stray| stray.is_last);
        self.strays.iter_mut().for_each(|stray| stray.at = 0);
        self.states = vec![newest];
        self.retired = false;
        self.is_found = false;
    }

    /// What the contents found are, if a store may hold them.
    pub fn judge(&self, seen: &Contents, time: u64) -> Option<Verdict> {
        let is_live = |item: &Item| item.expires.is_none_or(|at| time < at);
        let is = |contents: &Contents| contents.iter().filter(|(_, item)| is_live(item)).eq(seen.iter());
        if let Some(at) = self.states.iter().rposition(is) {
            return Some(Verdict::Exact(at));
        }
        if self.strays.iter().any(|stray| is(&stray.contents)) {
            return Some(Verdict::Stray);
        }
        (0..self.states.len()).rev().find_map(|at| self.judge_missing(&self.states[at], at, seen, &is_live)).or_else(
            || {
                let within = |stray: &Stray| self.judge_missing(&stray.contents, stray.at, seen, &is_live).is_some();
                self.strays.iter().any(within).then_some(Verdict::Stray)
            },
        )
    }

    /// How the contents found differ from the moment that is nearest.
    pub fn explain(&self, seen: &Contents) -> String {
        let differ = |contents: &Contents| {
            let keys: std::collections::BTreeSet<u32> = contents.keys().chain(seen.keys()).copied().collect();
            keys.into_iter().filter(|key| contents.get(key) != seen.get(key)).collect::<Vec<u32>>()
        };
        let nearest = (0..self.states.len()).min_by_key(|&at| differ(&self.states[at]).len()).unwrap_or(0);
        let one = |key: &u32| {
            let all: Vec<_> = self.states.iter().map(|state| state.get(key).map(|item| item.version)).collect();
            format!("key {key}: found {:?}, then {:?}, over time {all:?}", seen.get(key), self.states[nearest].get(key))
        };
        let differences: Vec<String> = differ(&self.states[nearest]).iter().map(one).collect();
        let (count, retired) = (self.states.len(), self.retired);
        format!("nearest to {nearest} of {count} (files retired: {retired}): {}", differences.join("; "))
    }

    fn judge_missing(
        &self,
        contents: &Contents,
        at: usize,
        seen: &Contents,
        is_live: &impl Fn(&Item) -> bool,
    ) -> Option<Verdict> {
        if !seen.iter().all(|(key, item)| contents.get(key) == Some(item)) {
            return None;
        }
        let synced = &self.states[0];
        let mut verdict = Verdict::Unsynced;
        for (key, item) in contents.iter().filter(|(key, item)| is_live(item) && !seen.contains_key(key)) {
            let was_synced = synced.get(key) == Some(item);
            if !was_synced && item.len >= super::workload::LARGE {
                continue;
            }
            let is_replaced = self.states[at..].iter().any(|later| later.get(key) != Some(item));
            if (was_synced && !self.is_found) || !is_replaced || !self.retired {
                return None;
            }
            verdict = Verdict::Replaced;
        }
        Some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::super::acts::put;
    use super::*;

    fn history() -> History {
        let mut history = History::new(Contents::new());
        let mut contents = Contents::new();
        for act in [put(1, 1, 8), put(2, 2, 8), put(1, 3, 8)] {
            act.model(&mut contents, 0);
            history.push(&act, 0, contents.clone());
        }
        history
    }

    fn held(acts: &[Act]) -> Contents {
        let mut contents = Contents::new();
        for act in acts {
            act.model(&mut contents, 0);
        }
        contents
    }

    #[test]
    fn a_prefix_is_one_and_a_hole_is_none() {
        let history = history();
        assert_eq!(history.judge(&held(&[]), 0), Some(Verdict::Exact(0)));
        assert_eq!(history.judge(&held(&[put(1, 1, 8), put(2, 2, 8)]), 0), Some(Verdict::Exact(2)));
        assert_eq!(history.judge(&held(&[put(2, 2, 8)]), 0), None);
        assert_eq!(history.judge(&held(&[put(1, 3, 8)]), 0), None);
    }

    #[test]
    fn what_was_synced_may_not_be_missing() {
        let mut history = history();
        history.sync();
        assert_eq!(history.judge(&held(&[put(1, 1, 8), put(2, 2, 8)]), 0), None);
        assert_eq!(history.judge(&held(&[put(1, 3, 8), put(2, 2, 8)]), 0), Some(Verdict::Exact(0)));
    }

    #[test]
    fn a_batch_that_never_was_may_be_alone_or_in_the_place_of_the_next_and_nowhere_else() {
        let mut history = history();
        history.push_stray(&put(3, 4, 8), 0);
        let mut contents = history.newest().clone();
        for act in [put(4, 5, 8), put(5, 6, 8)] {
            act.model(&mut contents, 0);
            history.push(&act, 0, contents.clone());
        }
        let before = [put(2, 2, 8), put(1, 3, 8)];
        let after = |acts: &[Act]| held(&[&before, acts].concat());
        assert_eq!(history.judge(&after(&[put(3, 4, 8)]), 0), Some(Verdict::Stray));
        assert_eq!(history.judge(&after(&[put(3, 4, 8), put(5, 6, 8)]), 0), Some(Verdict::Stray));
        assert_eq!(history.judge(&after(&[put(3, 4, 8), put(4, 5, 8)]), 0), None);
        history.sync();
        assert_eq!(history.judge(&after(&[put(3, 4, 8)]), 0), None);
    }
}
