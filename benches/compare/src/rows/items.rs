//! Single items and batches of them, in a store that is filled.

use crate::draw::{Zipf, key, number_version, stamp};
use crate::measure::Outcome;
use crate::peers::{Mode, why_not};
use crate::stage::{BATCH_BYTES_MAX, CALLS_MAX, Figure, Stage, timed};

/// Above the numbers of all items.
const ABSENT: u64 = 1 << 40;
const COUNTER: u64 = 1 << 41;
const COUNTERS: u64 = 64;

/// Borrows the parts of a stage that a row uses at a time.
macro_rules! parts {
    ($stage:ident: $peer:ident, $($part:ident),*) => {
        $stage.peer(Mode::default())?;
        let Stage { peer: Some($peer), $($part,)* .. } = $stage else { return why_not("the store is not open") };
    };
}

pub fn get(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    parts!(stage: peer, uniform, value, items, time);
    timed(*time, CALLS_MAX, || {
        let n = uniform.below(*items);
        let found = peer.get(&key(n))?.ok_or("an item is missing")?;
        if value.is_of(n, &found) { Ok(()) } else { Err("an item is not what was stored".into()) }
    })
}

pub fn get_zipf(stage: &mut Stage, round: u64) -> Outcome<Figure> {
    if stage.zipf.is_none() {
        stage.zipf = Some(Zipf::new(round, stage.items));
    }
    parts!(stage: peer, zipf, value, time);
    let zipf = zipf.as_mut().ok_or("there are draws")?;
    timed(*time, CALLS_MAX, || {
        let n = zipf.draw();
        let found = peer.get(&key(n))?.ok_or("an item is missing")?;
        if value.is_of(n, &found) { Ok(()) } else { Err("an item is not what was stored".into()) }
    })
}

pub fn get_absent(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    parts!(stage: peer, uniform, items, time);
    timed(*time, CALLS_MAX, || match peer.get(&key(ABSENT + uniform.below(*items)))? {
        None => Ok(()),
        Some(_) => Err("an item is there that nobody stored".into()),
    })
}

pub fn overwrite(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    parts!(stage: peer, uniform, value, items, time);
    timed(*time, CALLS_MAX, || {
        let n = uniform.below(*items);
        peer.set(&key(n), value.next_of(n))
    })
}

/// At most a quarter more than there were, in each of the two passes; `delete` takes them again.
pub fn add(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    parts!(stage: peer, value, items, time, added);
    timed(*time, (*items / 4).max(500), || {
        let n = added.1;
        added.1 += 1;
        peer.set(&key(n), value.of(n))
    })
}

pub fn delete(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    let (first, end) = stage.added;
    if end - first < 1000 {
        stage.fill(end..end + 1000)?;
        stage.added.1 += 1000;
    }
    parts!(stage: peer, value, time, added);
    if !value.is_of(added.0, &peer.get(&key(added.0))?.ok_or("an added item is missing")?) {
        return Err("an added item is not what was stored".into());
    }
    let first = added.0;
    let figure = timed(*time, (added.1 - added.0) / 2, || {
        added.0 += 1;
        if peer.delete(&key(added.0 - 1))? { Ok(()) } else { Err("an added item is missing".into()) }
    })?;
    if peer.get(&key(first))?.is_some() {
        return Err("an item is there that was deleted".into());
    }
    while added.0 < added.1 {
        peer.delete(&key(added.0))?;
        added.0 += 1;
    }
    Ok(figure)
}

fn batch(stage: &mut Stage, size: usize, round: u64) -> Outcome<Figure> {
    if size * stage.len > BATCH_BYTES_MAX {
        return why_not("more than 32 MiB in one commit");
    }
    parts!(stage: peer, uniform, value, items, time);
    let mut pairs = vec![(key(0), value.of(0).to_vec()); size];
    let mut version = round << 32;
    let figure = timed(*time, CALLS_MAX, || {
        for (at, bytes) in &mut pairs {
            let n = uniform.below(*items);
            *at = key(n);
            stamp(bytes, n);
            version += 1;
            number_version(bytes, version);
        }
        peer.set_many(&pairs)
    })?;
    Ok(figure.per(size as f64))
}

pub fn batch_10(stage: &mut Stage, round: u64) -> Outcome<Figure> {
    batch(stage, 10, round)
}

pub fn batch_1000(stage: &mut Stage, round: u64) -> Outcome<Figure> {
    batch(stage, 1000, round)
}

pub fn incr(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    parts!(stage: peer, uniform, counters, time);
    counters.resize(COUNTERS as usize, 0);
    timed(*time, CALLS_MAX, || {
        let n = uniform.below(COUNTERS);
        counters[n as usize] += 1;
        let count = peer.incr(&key(COUNTER + n))?;
        if count == counters[n as usize] { Ok(()) } else { Err("a counter is not what it was raised to".into()) }
    })
}
