//! `tests/benchmark_core.py` of python-diskcache: 1 to 8 processes, each with its own draws, 90 % get, 9 % set, 1 % delete over a
//! hundred keys; the same draws, the same values, and as there a thousand operations of each process before any is counted.

use std::path::Path;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::crew::{Worker, run};
use crate::histogram::Histogram;
use crate::measure::Outcome;
use crate::peers::{self, Mode, Peer};
use crate::python_random::PythonRandom;

const KEYS: u32 = 100;
const WARM_UP: u64 = 1000;
pub const CALLS: [&str; 3] = ["get", "set", "delete"];

/// What a run of several processes gave.
#[derive(Clone, Default)]
pub struct Mix {
    /// Seconds from the first to the last, and the times of all calls added up, of each round.
    pub walls: Vec<f64>,
    pub sums: Vec<f64>,
    /// Operations of a round.
    pub operations: u64,
    pub calls: [Histogram; 3],
    pub misses: [u64; 3],
}

/// Seconds on a clock that all processes share.
fn seconds() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// What a process is going to do: which call, for which key, and how often its number stands in the value.
struct Draw {
    call: usize,
    key: u32,
    repeat: u32,
}

fn draws(seed: u32, count: u64) -> Vec<Draw> {
    let mut random = PythonRandom::seeded(seed);
    let mut draw = || {
        let (key, repeat, unit) = (random.below(KEYS), 1 + random.below(99), random.unit());
        let call = if unit < 0.9 {
            0
        } else if unit < 0.99 {
            1
        } else {
            2
        };
        Draw { call, key, repeat }
    };
    (0..count).map(|_| draw()).collect()
}

/// Whether a value is the text of a number, some times over.
fn is_some_value(value: &[u8]) -> bool {
    let repeats =
        |period: usize| value.len().is_multiple_of(period) && value[period..] == value[..value.len() - period];
    value.first().is_some_and(u8::is_ascii_digit) && (1..=value.len().min(8)).any(repeats)
}

fn load(peer: &mut dyn Peer) -> Outcome<()> {
    (0..KEYS).map(|key| key.to_string()).try_for_each(|key| peer.set(key.as_bytes(), key.as_bytes()))
}

/// What a process does: `NAME DIRECTORY SEED OPERATIONS`, or nothing but put the first values if there are no operations.
pub fn process(arguments: &[String]) -> Outcome<()> {
    let [name, directory, seed, count] = arguments else { return Err("four arguments".into()) };
    let (seed, count): (u32, u64) = (seed.parse()?, count.parse()?);
    let mut peer = peers::open(name, Path::new(directory), Mode::default())?;
    if count == 0 || name == "floor" {
        load(peer.as_mut())?;
    }
    if count == 0 {
        return Ok(());
    }
    let draws = draws(seed, count);
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let (mut times, mut misses, mut sum) = ([const { Vec::new() }; 3], [0u64; 3], 0);
    times.iter_mut().for_each(|times| times.reserve(draws.len()));
    let mut value = Vec::new();
    let start = seconds();
    for (n, draw) in draws.iter().enumerate() {
        let (key, number) = (draw.key.to_string(), n.to_string());
        value.clear();
        (0..draw.repeat).for_each(|_| value.extend_from_slice(number.as_bytes()));
        let begun = Instant::now();
        let (is_miss, found) = match draw.call {
            0 => {
                let found = peer.get(key.as_bytes())?;
                (found.is_none(), found)
            }
            1 => (peer.set(key.as_bytes(), &value).map(|()| false)?, None),
            _ => (!peer.delete(key.as_bytes())?, None),
        };
        let nanos = begun.elapsed().as_nanos() as u64;
        if found.is_some_and(|found| !is_some_value(&found)) {
            return Err("a value is there that nobody stored".into());
        }
        if n as u64 > WARM_UP {
            times[draw.call].push(nanos);
            misses[draw.call] += u64::from(is_miss);
            sum += nanos;
        }
    }
    let end = seconds();
    let [get, set, delete] = times.map(|times| {
        let mut histogram = Histogram::default();
        times.into_iter().for_each(|nanos| histogram.add(nanos));
        histogram.to_text()
    });
    let [m0, m1, m2] = misses;
    println!("{start} {end} {} {m0} {m1} {m2} {get} {set} {delete}", sum as f64 * 1e-9);
    Ok(())
}

/// One round: so many processes, each so many operations, in a new directory.
pub fn round(name: &str, parent: &Path, processes: usize, operations: u64, mix: &mut Mix) -> Outcome<()> {
    let directory = tempfile::tempdir_in(parent)?;
    let store = directory.path().join("store");
    let path = store.to_str().ok_or("the directory has a name of text")?;
    let part = |seed: usize, count: u64| ["core", name, path, &seed.to_string(), &count.to_string()].map(str::to_owned);
    if name != "floor" {
        run(&part(0, 0))?;
    }
    let mut crew: Vec<Worker> =
        (0..processes).map(|seed| Worker::start(&part(seed, operations))).collect::<Outcome<_>>()?;
    for worker in &mut crew {
        if worker.hear()? != "ready" {
            return Err("a process is not ready".into());
        }
    }
    crew.iter_mut().try_for_each(|worker| worker.tell("go"))?;
    let (mut first, mut last, mut sum) = (f64::MAX, f64::MIN, 0.0);
    for worker in &mut crew {
        let answer = worker.hear()?;
        let words: Vec<&str> = answer.split(' ').collect();
        let [start, end, time, m0, m1, m2, calls @ ..] = words.as_slice() else {
            return Err(format!("a process ended: {answer}").into());
        };
        first = start.parse::<f64>()?.min(first);
        last = end.parse::<f64>()?.max(last);
        sum += time.parse::<f64>()?;
        for (sum, text) in mix.misses.iter_mut().zip([m0, m1, m2]) {
            *sum += text.parse::<u64>()?;
        }
        for (sum, text) in mix.calls.iter_mut().zip(calls) {
            sum.merge(Histogram::parse(text)?);
        }
    }
    mix.walls.push(last - first);
    mix.sums.push(sum);
    mix.operations = operations * processes as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_diskcache() {
        // What the original counts with the seed 0, without its first 1001 operations.
        let counts = draws(0, 100_000).iter().skip(1001).fold([0; 3], |mut counts, draw| {
            counts[draw.call] += 1;
            counts
        });
        assert_eq!(counts, [89_115, 8_941, 943]);
    }
}
