//! Queues and sorted maps.

use crate::draw::mix;
use crate::measure::Outcome;
use crate::peers::{self, Sorted};
use crate::stage::{CALLS_MAX, Figure, Stage, timed};

/// Pairs of the map. Their keys are even numbers, so that odd ones are new.
const PAIRS: u64 = 100_000;
/// Pairs of one walk.
const WALK: u64 = 10_000;
/// Keys that may be new or may be popped in one pass.
const SOME: u64 = 10_000;

pub fn deque(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    let queue = match &mut stage.queue {
        Some(queue) => queue,
        none => none.insert(peers::open_queue(&stage.name, &stage.directory)?),
    };
    let mut value = format!("{:0>100}", 0);
    let mut n = 0u64;
    timed(stage.time, CALLS_MAX, || {
        n += 1;
        value.replace_range(80.., &format!("{n:020}"));
        queue.push_back(&value)?;
        match queue.pop_front()? {
            Some(found) if found == value => Ok(()),
            _ => Err("an element is not what was pushed".into()),
        }
    })
}

fn sorted<'a>(stage: &'a mut Stage, value: &str) -> Outcome<&'a mut dyn Sorted> {
    if stage.sorted.is_none() {
        let mut map = peers::open_sorted(&stage.name, &stage.directory)?;
        map.fill(&mut (0..PAIRS).map(|n| 2 * n), value)?;
        stage.sorted = Some(map);
    }
    Ok(stage.sorted.as_mut().ok_or("the map is open")?.as_mut())
}

fn value() -> String {
    "x".repeat(100)
}

pub fn insert(stage: &mut Stage, round: u64) -> Outcome<Figure> {
    let (time, value) = (stage.time, value());
    let map = sorted(stage, &value)?;
    let mut n = round * 2 * SOME;
    timed(time, SOME, || {
        n += 1;
        map.insert(2 * (mix(n) % (1 << 40)) + 1, &value)
    })
}

pub fn range(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    let (time, value) = (stage.time, value());
    let map = sorted(stage, &value)?;
    let figure = timed(time, CALLS_MAX, || match map.walk(WALK)? {
        // SQLite is asked for a hundred keys at a time, so that it may give some more.
        (count, bytes) if (WALK..WALK + 100).contains(&count) && bytes == count * value.len() as u64 => Ok(()),
        (count, _) => Err(format!("{count} pairs in place of {WALK}").into()),
    })?;
    Ok(figure.per(WALK as f64))
}

/// What was popped is put back.
pub fn pop_first(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    let (time, value) = (stage.time, value());
    let map = sorted(stage, &value)?;
    let mut next = 0;
    let figure = timed(time, SOME, || match map.pop_first()? {
        Some((key, found)) if key == next && found == value => {
            next += 2;
            Ok(())
        }
        pair => Err(format!("not the first pair: {:?}", pair.map(|pair| pair.0)).into()),
    })?;
    map.fill(&mut (0..next).step_by(2), &value)?;
    Ok(figure)
}
