//! What a row works on: a store, open, with so many items of one length; and how calls are timed.
//!
//! Calls are made twice. First as fast as they return: how many there were in the time gives what a call takes in the mean.
//! Then by a schedule, at half of that rate: each call is due at a moment that does not depend on how long others took, and
//! its time counts both from when it began (service) and from when it was due (response). A store that stalls for a
//! while so pays for all who would have come meanwhile, and the response leaves out nothing that a caller would see.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::draw::{Uniform, Value, Zipf, key};
use crate::histogram::Histogram;
use crate::measure::Outcome;
use crate::peers::{self, Mode, Peer, Queue, Sorted};

/// Calls of a pass at most.
pub const CALLS_MAX: u64 = 1_000_000;
/// Of the schedule, to the time that a call takes in the mean.
const SLACK: f64 = 2.0;
/// Items of one batch while a store is filled.
const FILL_BATCH: u64 = 1000;
/// Bytes of one batch at most.
pub const BATCH_BYTES_MAX: usize = 32 << 20;

/// What a row found out in one round: nanoseconds a call, unless the row says otherwise; and the times of single calls.
#[derive(Default)]
pub struct Figure {
    pub value: f64,
    pub service: Histogram,
    pub response: Histogram,
}

impl Figure {
    pub fn of(value: f64) -> Figure {
        Figure { value, ..Figure::default() }
    }

    /// Of what a call does several.
    pub fn per(mut self, units: f64) -> Figure {
        self.value /= units;
        self
    }
}

pub struct Stage {
    pub name: String,
    pub directory: PathBuf,
    pub items: u64,
    pub len: usize,
    /// Of one pass.
    pub time: Duration,
    pub value: Value,
    pub uniform: Uniform,
    /// Items that were added beside those of the beginning: from the first number to the second.
    pub added: (u64, u64),
    pub counters: Vec<i64>,
    pub peer: Option<Box<dyn Peer>>,
    pub queue: Option<Box<dyn Queue>>,
    pub sorted: Option<Box<dyn Sorted>>,
    pub zipf: Option<Zipf>,
}

impl Stage {
    pub fn new(name: &str, directory: PathBuf, (items, len): (u64, usize), time: Duration) -> Stage {
        Stage {
            name: name.to_owned(),
            directory,
            items,
            len,
            time,
            value: Value::new(len),
            uniform: Uniform::seeded(items),
            added: (items, items),
            counters: Vec::new(),
            peer: None,
            queue: None,
            sorted: None,
            zipf: None,
        }
    }

    pub fn open(&mut self, mode: Mode) -> Outcome<()> {
        self.peer = Some(peers::open(&self.name, &self.directory, mode)?);
        Ok(())
    }

    /// The store, opened in this mode if it is not open.
    pub fn peer(&mut self, mode: Mode) -> Outcome<&mut dyn Peer> {
        if self.peer.is_none() {
            self.open(mode)?;
        }
        Ok(self.peer.as_mut().ok_or("the store is open")?.as_mut())
    }

    /// Puts the items of these numbers, in batches.
    pub fn fill(&mut self, numbers: std::ops::Range<u64>) -> Outcome<()> {
        let batch = FILL_BATCH.min((BATCH_BYTES_MAX / self.len) as u64).max(1);
        let mut start = numbers.start;
        while start < numbers.end {
            let end = (start + batch).min(numbers.end);
            let pairs: Vec<_> = (start..end).map(|n| (key(n), self.value.of(n).to_vec())).collect();
            self.peer(Mode::default())?.set_many(&pairs)?;
            start = end;
        }
        Ok(())
    }

    /// Reads items in turn and compares every byte, until the time is over.
    pub fn warm(&mut self, time: Duration) -> Outcome<()> {
        let start = Instant::now();
        let Stage { peer: Some(peer), value, items, .. } = self else { return Ok(()) };
        for n in 0..*items {
            let found = peer.get(&key(n))?.ok_or("an item is missing")?;
            if !value.is_whole(n, &found) {
                return Err(format!("item {n} is not what was stored").into());
            }
            if n % 64 == 0 && start.elapsed() > time {
                break;
            }
        }
        Ok(())
    }
}

/// Makes calls for so long, or so many.
fn flat_out(time: Duration, most: u64, call: &mut dyn FnMut() -> Outcome<()>) -> Outcome<(u64, Duration)> {
    let start = Instant::now();
    let (mut count, mut chunk) = (0, 1);
    loop {
        let before = start.elapsed();
        for _ in 0..chunk.min(most - count) {
            call()?;
        }
        count += chunk.min(most - count);
        let elapsed = start.elapsed();
        if elapsed >= time || count >= most {
            return Ok((count, elapsed));
        }
        // The clock is read once a millisecond or so.
        if elapsed - before < Duration::from_millis(1) {
            chunk *= 2;
        }
    }
}

/// Times calls in the two ways, each for so long, or so many calls.
pub fn timed(time: Duration, most: u64, mut call: impl FnMut() -> Outcome<()>) -> Outcome<Figure> {
    let most = most.max(1);
    let (count, elapsed) = flat_out(time, most, &mut call)?;
    let mean = elapsed.as_nanos() as f64 / count as f64;
    let interval = mean * SLACK;
    let count = ((time.as_nanos() as f64 / interval) as u64).clamp(1, most);
    let mut figure = Figure::of(mean);
    let start = Instant::now();
    for n in 0..count {
        let due = (n as f64 * interval) as u64;
        let mut begun = start.elapsed().as_nanos() as u64;
        while begun < due {
            std::hint::spin_loop();
            begun = start.elapsed().as_nanos() as u64;
        }
        call()?;
        let ended = start.elapsed().as_nanos() as u64;
        figure.service.add(ended - begun);
        figure.response.add(ended - due);
    }
    Ok(figure)
}
