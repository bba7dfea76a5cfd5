//! The calls of several stores that are one: each key is in the store that its hash falls to, and what concerns all is done in
//! all of them.
//!
//! Tags have rows in every store that has an item with them, and a cache within has a namespace in each. Queues, indexes and
//! ledgers are whole in one store, that of the hash of their name.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::direct::hit_or_miss;
use super::{Body, Calls, How, Stop, Taken, Whole, append_value, transact};
use crate::engine::{Counter, Group, Handle, Op, Progress, Report, Shards, Shared, Space, Sums, split_limit};
use crate::error::{Error, Result};
use crate::os::real::RealOs;
use crate::storage::fanout::{Fanout, OVERHEAD};

/// What the stores are together.
enum Base {
    Shards(Arc<Shards<RealOs>>),
    /// A running transaction.
    Inside,
}

/// Several stores, or caches within them, by the number that a hash gives.
pub struct Fan {
    directory: Arc<Path>,
    fanout: Fanout,
    parts: Vec<Arc<dyn Calls>>,
    base: Base,
    /// The names of the caches within, from the outermost on.
    names: Vec<String>,
}

impl Fan {
    pub fn new(shards: Arc<Shards<RealOs>>) -> Fan {
        let parts = shards.handles().into_iter().map(|handle| Arc::new(handle) as Arc<dyn Calls>).collect();
        let (directory, fanout) = (shards.root().into(), shards.fanout);
        Fan { directory, fanout, parts, base: Base::Shards(shards), names: Vec::new() }
    }

    /// The same within a running transaction.
    fn inside(&self, handles: &[Handle<RealOs>]) -> Result<Arc<dyn Whole>> {
        let parts = handles.iter().map(|handle| Arc::new(handle.clone()) as Arc<dyn Calls>).collect();
        let (directory, fanout) = (Arc::clone(&self.directory), self.fanout);
        let outer: Arc<dyn Whole> = Arc::new(Fan { directory, fanout, parts, base: Base::Inside, names: Vec::new() });
        self.names.iter().try_fold(outer, |outer, name| outer.within(name))
    }

    fn number_of(&self, key: &[u8]) -> usize {
        self.fanout.shard_of(key)
    }

    /// The sum of what each store says.
    fn sum(&self, of: impl Fn(&dyn Calls) -> Result<u64>) -> Result<u64> {
        self.parts.iter().try_fold(0, |sum, part| Ok(sum + of(&**part)?))
    }

    /// The same as one change of all.
    fn sum_together(&self, of: impl Fn(&dyn Calls) -> Result<u64>) -> Result<u64> {
        transact(self, How { may_tear: true, ..How::default() }, |inside| {
            inside.parts().iter().try_fold(0, |sum, part| Ok(sum + of(&**part)?))
        })
    }

    /// Runs `body` while each store from `first` on can take back what it does.
    fn nested(&self, first: usize, body: Body<'_>) -> Result<()> {
        let mut outcome = Ok(());
        let Some(part) = self.parts.get(first) else {
            let (parts, names) = (self.parts.clone(), self.names.clone());
            let (directory, fanout) = (Arc::clone(&self.directory), self.fanout);
            let keeps = body(Arc::new(Fan { directory, fanout, parts, base: Base::Inside, names }));
            return if keeps { Ok(()) } else { Err(Error::InTransaction) };
        };
        part.transact(How::default(), &mut |_| {
            outcome = self.nested(first + 1, body);
            outcome.is_ok()
        })?;
        outcome
    }

    /// The changes of each store that has some, as it has them.
    fn groups<'o>(&self, ops: &[Op<'o>], numbers: &[usize], keys: &'o [Cow<'o, [u8]>]) -> Result<Vec<Group<'o>>> {
        let mut groups: Vec<Group<'o>> = Vec::new();
        let mut place = vec![usize::MAX; self.parts.len()];
        for ((op, key), &number) in ops.iter().zip(keys).zip(numbers) {
            let change = self.parts[number].placed(op.change)?;
            if place[number] == usize::MAX {
                place[number] = groups.len();
                groups.push((number, Vec::new()));
            }
            groups[place[number]].1.push(Op { key, hash: op.hash, change });
        }
        Ok(groups)
    }
}

impl Whole for Fan {
    fn of(&self, key: &[u8]) -> &dyn Calls {
        &*self.parts[self.number_of(key)]
    }

    fn part(self: Arc<Self>, key: &[u8]) -> Arc<dyn Calls> {
        Arc::clone(&self.parts[self.number_of(key)])
    }

    fn parts(self: Arc<Self>) -> Vec<Arc<dyn Calls>> {
        self.parts.clone()
    }

    fn within(self: Arc<Self>, name: &str) -> Result<Arc<dyn Whole>> {
        let within = |part: &Arc<dyn Calls>| Ok(Arc::clone(part).within(name)?.part(&[]));
        let parts = self.parts.iter().map(within).collect::<Result<Vec<_>>>()?;
        let base = match &self.base {
            Base::Shards(shards) => Base::Shards(Arc::clone(shards)),
            Base::Inside => Base::Inside,
        };
        let mut names = self.names.clone();
        names.push(name.to_owned());
        Ok(Arc::new(Fan { directory: Arc::clone(&self.directory), fanout: self.fanout, parts, base, names }))
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn now(&self) -> u64 {
        self.parts[0].now()
    }

    fn count(&self, counter: Counter, by: u64) {
        self.parts[0].count(counter, by);
    }

    fn count_always(&self, counter: Counter) {
        self.parts[0].count_always(counter);
    }

    fn get_many(&self, keys: &[(&[u8], u64)], taken: &mut Taken) -> Result<()> {
        let mut wanted: Vec<Vec<(&[u8], u64)>> = vec![Vec::new(); self.parts.len()];
        let mut places: Vec<Vec<usize>> = vec![Vec::new(); self.parts.len()];
        let numbers: Vec<usize> = keys.iter().map(|&(key, _)| self.number_of(key)).collect();
        let whole: Vec<Cow<'_, [u8]>> = keys
            .iter()
            .zip(&numbers)
            .map(|(&(key, _), &number)| self.parts[number].whole_key(key))
            .collect::<Result<_>>()?;
        for (i, (key, &number)) in whole.iter().zip(&numbers).enumerate() {
            wanted[number].push((key, keys[i].1));
            places[number].push(i);
        }
        let Base::Shards(shards) = &self.base else {
            // Nothing changes in a transaction.
            for (i, &(key, _)) in keys.iter().enumerate() {
                let mut bytes = Vec::new();
                if let Some(facts) = self.of(key).get(key, &mut bytes)? {
                    let start = taken.bytes.len();
                    taken.bytes.append(&mut bytes);
                    taken.found[i] = Some((facts.kind, start..taken.bytes.len()));
                }
            }
            return Ok(());
        };
        let restart = |taken: &mut Taken| {
            taken.bytes.clear();
            taken.found.fill(None);
        };
        let handles = shards.handles();
        shards.read_many(&wanted, taken, restart, |Taken { bytes, found }, (shard, number), record| {
            let start = bytes.len();
            append_value(&handles[shard], record, bytes)?;
            found[places[shard][number]] = Some((record.header().kind, start..bytes.len()));
            Ok(())
        })?;
        for (number, places) in places.iter().enumerate() {
            let hits = places.iter().filter(|&&i| taken.found[i].is_some()).count() as u64;
            self.parts[number].count(hit_or_miss(true), hits);
            self.parts[number].count(hit_or_miss(false), places.len() as u64 - hits);
        }
        Ok(())
    }

    fn batch(&self, ops: &[Op<'_>]) -> Result<u64> {
        let numbers: Vec<usize> = ops.iter().map(|op| self.number_of(op.key)).collect();
        let whole: Vec<Cow<'_, [u8]>> = ops
            .iter()
            .zip(&numbers)
            .map(|(op, &number)| self.parts[number].whole_key(op.key))
            .collect::<Result<_>>()?;
        let groups = self.groups(ops, &numbers, &whole)?;
        match (&self.base, &groups[..]) {
            (_, [(number, ops)]) => self.parts[*number].batch(ops),
            (Base::Shards(shards), groups) => shards.batch(groups),
            (Base::Inside, groups) => {
                let mut live = Ok(0);
                let ended = self.nested(0, &mut |_| {
                    live = groups.iter().try_fold(0, |live, (number, ops)| Ok(live + self.parts[*number].batch(ops)?));
                    live.is_ok()
                });
                live.and_then(|live| ended.map(|()| live))
            }
        }
    }

    fn transact(&self, how: How, body: Body<'_>) -> Result<()> {
        let Base::Shards(shards) = &self.base else {
            let mut is_taken_back = false;
            let ended = self.nested(0, &mut |inside| {
                let keep = body(inside);
                is_taken_back = !keep;
                keep
            });
            // What the body did not want is no failure.
            return if is_taken_back { Ok(()) } else { ended };
        };
        let inside = |handles: &[Handle<RealOs>]| Stop::unless(body(self.inside(handles)?));
        Stop::end(shards.transact(how.timeout, !how.may_tear, inside))
    }

    fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len()).sum()
    }

    fn volume(&self) -> u64 {
        self.parts.iter().map(|part| part.volume()).sum::<u64>() + OVERHEAD
    }

    fn expire(&self) -> Result<u64> {
        self.sum(|part| part.expire())
    }

    fn cull(&self) -> Result<u64> {
        self.sum(|part| part.cull())
    }

    fn evict(&self, tag: &str) -> Result<u64> {
        self.sum_together(|part| part.evict(tag))
    }

    fn clear(&self) -> Result<u64> {
        match self.sum_together(|part| part.clear()) {
            // A disk that has failed refuses what is to be durable in several shards. Clearing is what helps, one by one.
            Err(Error::Io(_)) => {
                // Whatever becomes of one, the others are cleared too.
                let cleared: Vec<Result<u64>> = self.parts.iter().map(|part| part.clear()).collect();
                cleared.into_iter().sum()
            }
            cleared => cleared,
        }
    }

    fn sync(&self) -> Result<()> {
        self.parts.iter().try_for_each(|part| part.sync())
    }

    fn shared_settings(&self) -> Shared {
        let limit = self.parts.iter().map(|part| part.shared_settings().size_limit).sum::<u64>() + OVERHEAD;
        Shared { size_limit: limit, ..self.parts[0].shared_settings() }
    }

    fn change_settings(&self, change: &mut dyn FnMut(&mut Shared)) -> Result<Shared> {
        let before = self.shared_settings();
        let mut after = before;
        change(&mut after);
        let limit_of = split_limit(after.size_limit, self.fanout.shards)?;
        for (i, part) in self.parts.iter().enumerate() {
            part.change_settings(&mut |shared| {
                shared.take_changes(&before, &Shared { size_limit: before.size_limit, ..after });
                if after.size_limit != before.size_limit {
                    shared.size_limit = limit_of(i);
                }
            })?;
        }
        Ok(self.shared_settings())
    }

    fn sums(&self) -> Result<Sums> {
        total(self.parts.iter().map(|part| part.sums()))
    }

    fn reset_sums(&self) -> Result<Sums> {
        total(self.parts.iter().map(|part| part.reset_sums()))
    }

    fn space(&self) -> Result<Space> {
        let mut all = Space::default();
        for part in &self.parts {
            let Space { stored, moved, live, dead, free, segments, pinned } = part.space()?;
            all.stored += stored;
            all.moved += moved;
            all.live += live;
            all.dead += dead;
            all.free += free;
            all.segments += segments;
            all.pinned += pinned;
        }
        Ok(all)
    }

    fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        let reports = self.parts.iter().map(|part| part.check(progress));
        reports.collect::<Result<Vec<Report>>>().map(Report::of_all)
    }

    fn repair(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        let reports = self.parts.iter().map(|part| part.repair(progress));
        reports.collect::<Result<Vec<Report>>>().map(Report::of_all)
    }
}

fn total(mut all: impl Iterator<Item = Result<Sums>>) -> Result<Sums> {
    all.try_fold(Sums::default(), |mut total, sums| {
        for (total, sum) in total.iter_mut().zip(sums?) {
            *total += sum;
        }
        Ok(total)
    })
}
