//! Many items that go by one call: those of a tag, those that are due, all.

use std::time::{Duration, Instant};

use crate::draw::key;
use crate::measure::Outcome;
use crate::peers::{Mode, why_not};
use crate::stage::{Figure, Stage};

const STAY: u64 = 10_000;
const TAGGED: u64 = 10_000;
const DUE: u64 = 2_000;
const ALL: u64 = 50_000;
/// Within this time the slowest store has put what is to be due then.
const UNTIL_DUE: Duration = Duration::from_secs(4);

/// Nanoseconds of a call, and what it gives.
fn clocked<R>(call: impl FnOnce() -> Outcome<R>) -> Outcome<(f64, R)> {
    let start = Instant::now();
    let answer = call()?;
    Ok((start.elapsed().as_nanos() as f64, answer))
}

/// A store in which some items stay.
fn begun(stage: &mut Stage, mode: Mode) -> Outcome<()> {
    if stage.peer.is_none() {
        stage.open(mode)?;
        stage.fill(0..STAY)?;
    }
    Ok(())
}

pub fn evict(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    begun(stage, Mode { tags: true, ..Mode::default() })?;
    let Stage { peer: Some(peer), value, .. } = stage else { return why_not("the store is not open") };
    for n in STAY..STAY + TAGGED {
        peer.set_tagged(&key(n), value.of(n), "tag")?;
    }
    let (nanos, count) = clocked(|| peer.evict("tag"))?;
    if count != TAGGED || peer.get(&key(STAY))?.is_some() || peer.get(&key(0))?.is_none() {
        return Err(format!("{count} items went by a tag that {TAGGED} had").into());
    }
    Ok(Figure::of(nanos))
}

pub fn expire(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    begun(stage, Mode::default())?;
    let Stage { peer: Some(peer), value, .. } = stage else { return why_not("the store is not open") };
    // The first call of a handle may have to find out where they are.
    peer.expire()?;
    let due = Instant::now() + UNTIL_DUE;
    for n in STAY..STAY + DUE {
        // No two at the same moment: diskcache goes on behind the moment at which a batch ended, and skips what shares it.
        let its = due + Duration::from_micros(n - STAY);
        peer.set_expiring(&key(n), value.of(n), its.saturating_duration_since(Instant::now()))?;
    }
    std::thread::sleep((due + Duration::from_millis(20)).saturating_duration_since(Instant::now()));
    let (nanos, count) = clocked(|| peer.expire())?;
    if !(DUE / 2..=DUE).contains(&count) || peer.get(&key(STAY))?.is_some() || peer.get(&key(0))?.is_none() {
        return Err(format!("{count} items went of {DUE} that were due").into());
    }
    Ok(Figure::of(nanos).per(count as f64))
}

pub fn clear(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    stage.peer(Mode::default())?;
    stage.fill(0..ALL)?;
    let Stage { peer: Some(peer), .. } = stage else { return why_not("the store is not open") };
    let (nanos, ()) = clocked(|| peer.clear())?;
    if peer.get(&key(ALL / 2))?.is_some() {
        return Err("an item is there after a clear".into());
    }
    Ok(Figure::of(nanos))
}
