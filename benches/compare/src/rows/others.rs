//! Memoized calls, and changes that wait for the disk.

use crate::draw::key;
use crate::measure::Outcome;
use crate::peers::{Mode, why_not};
use crate::stage::{CALLS_MAX, Figure, Stage, timed};

const RESULTS: u64 = 1000;
const WORD: &str = "of the function";

pub fn memoized(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    let result = |n: u64| format!("{n:0>100}");
    if stage.peer.is_none() {
        stage.open(Mode::default())?;
        for n in 0..RESULTS {
            stage.peer(Mode::default())?.memoize((n, WORD), result(n).as_bytes())?;
        }
    }
    let results: Vec<String> = (0..RESULTS).map(result).collect();
    let Stage { peer: Some(peer), uniform, time, .. } = stage else { return why_not("the store is not open") };
    timed(*time, CALLS_MAX, || {
        let n = uniform.below(RESULTS);
        let found = peer.memoized((n, WORD))?.ok_or("a result is missing")?;
        if found == results[n as usize].as_bytes() { Ok(()) } else { Err("a result is another's".into()) }
    })
}

pub fn sync(stage: &mut Stage, _: u64) -> Outcome<Figure> {
    if stage.peer.is_none() {
        stage.open(Mode { sync: true, ..Mode::default() })?;
        stage.fill(0..RESULTS)?;
    }
    let Stage { peer: Some(peer), uniform, value, time, .. } = stage else { return why_not("the store is not open") };
    timed(*time, CALLS_MAX, || {
        let n = uniform.below(RESULTS);
        peer.set(&key(n), value.next_of(n))
    })
}
