//! Stores that are full.

use crate::draw::{Zipf, key};
use crate::measure::Outcome;
use crate::peers::{Mode, why_not};
use crate::stage::{CALLS_MAX, Figure, Stage, timed};

const LIMIT: u64 = 16 << 20;
/// Items that more than fill it, whatever a store needs beside them.
const FULL: u64 = 150_000;

/// A store at its limit, and how many items were put into it.
fn filled(stage: &mut Stage, lru: bool) -> Outcome<()> {
    if stage.peer.is_none() {
        stage.open(Mode { limit: Some(LIMIT), lru, ..Mode::default() })?;
        stage.fill(0..FULL)?;
        // Batches outrun a store that lets a few items go with each call: singles bring it to the limit.
        let until = std::time::Instant::now() + stage.time;
        stage.added = (0, FULL);
        while std::time::Instant::now() < until {
            set_next(stage)?;
        }
    }
    Ok(())
}

fn set_next(stage: &mut Stage) -> Outcome<()> {
    let Stage { peer: Some(peer), value, added, .. } = stage else { return why_not("the store is not open") };
    added.1 += 1;
    peer.set(&key(added.1 - 1), value.of(added.1 - 1))
}

pub fn quota(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    filled(stage, false)?;
    let figure = timed(stage.time, CALLS_MAX, || set_next(stage))?;
    let last = stage.added.1 - 1;
    let found = stage.peer(Mode::default())?.get(&key(last))?.ok_or("the newest item is missing")?;
    if stage.value.is_of(last, &found) { Ok(figure) } else { Err("an item is not what was stored".into()) }
}

pub fn lru(stage: &mut Stage, round: u64) -> Outcome<Figure> {
    filled(stage, true)?;
    if stage.zipf.is_none() {
        stage.zipf = Some(Zipf::new(round, FULL));
    }
    let Stage { peer: Some(peer), zipf: Some(zipf), value, time, .. } = stage else {
        return why_not("the store is not open");
    };
    timed(*time, CALLS_MAX, || {
        let n = zipf.draw();
        match peer.get(&key(n))? {
            Some(found) if value.is_of(n, &found) => Ok(()),
            Some(_) => Err("an item is not what was stored".into()),
            None => peer.set(&key(n), value.of(n)),
        }
    })
}
