//! What is built on a cache: memoized functions, transactions, queues, sorted maps, shards, locks, long values. It knows nothing of
//! the rest of the tour.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use larder::recipes::{Averager, BoundedSemaphore, Lock, Throttle};
use larder::{Cache, Deque, FanoutCache, Index, Memoize, SetOptions};
use serde::{Deserialize, Serialize};

use crate::{Player, show, start};

pub fn memoized(cache: &Cache) -> larder::Result<()> {
    println!("\nmemoized functions");
    static LOOKED_UP: AtomicU32 = AtomicU32::new(0);
    let rate = |from: &str, to: &str| {
        LOOKED_UP.fetch_add(1, Ordering::Relaxed);
        // Asked somewhere, which takes its time.
        std::thread::sleep(Duration::from_millis(50));
        (from.len() + 1) as f64 / to.len() as f64
    };
    let rates = cache.memoize(Memoize::new("exchange rate").expire(Duration::from_secs(600)).tag("rates"));
    show!(rates.call(("EUR", "USD"), || rate("EUR", "USD")));
    // From disk, in this process and in every other one.
    show!(rates.call(("EUR", "USD"), || rate("EUR", "USD")));
    show!(rates.call(("USD", "EUR"), || rate("USD", "EUR")));
    show!(LOOKED_UP.load(Ordering::Relaxed));
    // Of a failure nothing is kept.
    show!(rates.try_call(("EUR", "XXX"), || Err::<f64, String>("no such currency".into())));
    show!(cache.evict("rates")?);
    show!(rates.call(("EUR", "USD"), || rate("EUR", "USD")));
    show!(LOOKED_UP.load(Ordering::Relaxed));
    // Without a function: computed once, however many threads and processes ask at the same time.
    let minute = SetOptions::new().expire(Duration::from_secs(60));
    show!(cache.get_or_insert_with("report", minute, || "a long story".to_string())?);
    start(cache)
}

pub fn transactions(cache: &Cache) -> larder::Result<()> {
    println!("\ntransactions");
    show!(cache.transact(|tx| {
        tx.set(("balance", "ada"), &100)?;
        tx.set(("balance", "grace"), &50)
    })?);
    let transfer = |amount: i64| {
        cache.transact(|tx| {
            let left = tx.decr(("balance", "ada"), amount)?;
            tx.incr(("balance", "grace"), amount)?;
            if left < 0 { Err(larder::Error::aborted("not enough")) } else { Ok(left) }
        })
    };
    show!(transfer(30)?);
    // Taken back as a whole.
    show!(transfer(300).map_err(|error| error.to_string()));
    show!(cache.get_many::<i64>([("balance", "ada"), ("balance", "grace")])?);
    start(cache)
}

/// Opens a directory that a variable of the environment names, or one below that of the tour, and begins with nothing.
fn named(variable: &str, directory: &Path, default: &str) -> std::path::PathBuf {
    std::env::var_os(variable).map_or_else(|| directory.join(default), Into::into)
}

pub fn shards(directory: &Path) -> larder::Result<()> {
    println!("\nshards");
    let cache = FanoutCache::builder(named("FANOUT_DIR", directory, "fanout")).shards(4).open()?;
    cache.clear()?;
    for number in 0..20 {
        cache.set_with(("item", number), &number, SetOptions::new().expire(Duration::from_secs(60)))?;
    }
    show!((0..20).filter_map(|number| cache.get::<i32>(("item", number)).ok().flatten()).count());
    show!((cache.shards(), cache.shard_lens().iter().sum::<usize>()));
    // Over shards, and whole for everybody, after a crash, and after a power cut.
    show!(cache.transact(|tx| (0..5).try_for_each(|number| tx.delete(("item", number)).map(drop)))?);
    show!(cache.len());
    show!(cache.volume() <= cache.settings().size_limit);
    cache.clear().map(drop)
}

#[derive(Debug, Serialize, Deserialize)]
struct Task {
    id: u32,
    what: String,
}

pub fn queue(directory: &Path) -> larder::Result<()> {
    println!("\nqueues");
    let tasks: Deque<Task> = Deque::open(named("QUEUE_DIR", directory, "queue"))?;
    tasks.clear()?;
    show!(tasks.extend((1..=5).map(|id| Task { id, what: format!("resize {id}") }))?);
    show!(tasks.len());
    show!(tasks.pop_front()?);
    // Mine for a minute; if this process dies, it comes back to the front.
    if let Some(task) = tasks.lease_front(Duration::from_secs(60))? {
        show!(task.value().what.len());
        show!(task.ack()?);
    }
    let mut left = Vec::new();
    while let Some(task) = tasks.pop_front()? {
        left.push(task.id);
    }
    show!(left);
    show!(tasks.pop_front_wait(Duration::from_millis(5))?.is_none());
    Ok(())
}

pub fn sorted_map(cache: &Cache) -> larder::Result<()> {
    println!("\na sorted map");
    let players: Index<String, Player> = cache.index("players")?;
    for (id, name, score) in [("u3", "Edsger", 70), ("u1", "Ada", 99), ("u2", "Grace", 120)] {
        players.insert(id, &Player { name: name.into(), score })?;
    }
    show!(players.keys().collect::<larder::Result<Vec<_>>>()?);
    show!(players.get("u2")?);
    show!(players.range("u2"..).count());
    show!(players.pop_first()?.map(|(key, _)| key));
    show!(players.clear()?);
    start(cache)
}

pub fn between_processes(cache: &Cache) -> larder::Result<()> {
    println!("\nbetween processes");
    let lock = Lock::new(cache, "nightly")?;
    let held = lock.lock()?;
    show!(lock.try_lock()?.is_none());
    drop(held);
    let few = BoundedSemaphore::new(cache, "downloads", 2)?;
    let _two = (few.acquire()?, few.acquire()?);
    show!(few.try_acquire()?.is_none());
    let slow = Throttle::new(cache, "requests", 1, Duration::from_millis(200))?;
    show!((slow.try_pass()?, slow.try_pass()?));
    let mean = Averager::new(cache, "latency")?;
    mean.pop()?;
    [2.0, 4.0].into_iter().try_for_each(|number| mean.add(number))?;
    show!(mean.get()?);
    start(cache)
}

pub fn long_values(cache: &Cache) -> Result<(), Box<dyn std::error::Error>> {
    println!("\nlong values, piece by piece");
    let mut writer = cache.writer("log", SetOptions::new())?;
    for line in 0..20_000 {
        writeln!(writer, "line {line:06}")?;
    }
    // Nobody sees any of it before this.
    show!(writer.commit()?);
    if let Some(mut reader) = cache.reader("log")? {
        let mut line = [0; 11];
        show!(reader.seek(SeekFrom::Start(12 * 12_345))?);
        reader.read_exact(&mut line)?;
        show!(std::str::from_utf8(&line)?);
    }
    start(cache)?;
    Ok(())
}
