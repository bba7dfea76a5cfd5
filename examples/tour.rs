//! The calls of `Cache`, one after the other, each printed with what it gave, and what is built on them.
//!
//! ```sh
//! cargo run --release --example tour
//! ```
//!
//! The directory is that of the variable `CACHE_DIR`, and those of a fan-out cache and of a queue are those of `FANOUT_DIR` and
//! `QUEUE_DIR`, or in it; without one, a fresh directory of the system's temporary files that
//! is removed at the end. What stands on stdout is the same in every run; the directory is named on stderr.

#[path = "tour/more.rs"]
mod more;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use larder::{AnyKey, Cache, End, Eviction, SetOptions};
use serde::{Deserialize, Serialize};

/// Prints an expression as it is written here, and its value if it has one.
macro_rules! show {
    ($call:expr) => {
        match (stringify!($call).replace('\n', " "), format!("{:?}", $call)) {
            (call, value) if value == "()" => println!("  {call}"),
            (call, value) => println!("  {call}\n      {value}"),
        }
    };
}

use show;

/// Any type that serde knows is a value.
#[derive(Debug, Serialize, Deserialize)]
struct Player {
    name: String,
    score: u32,
}

/// Stored by every tour, so that the next one knows a directory of its own.
const MARK: &str = "this directory belongs to the tour";

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(directory) = std::env::var_os("CACHE_DIR") {
        return tour(Path::new(&directory));
    }
    let directory = tempfile::Builder::new().prefix("larder-tour-").tempdir()?;
    tour(directory.path())?;
    directory.close()?;
    Ok(())
}

fn tour(directory: &Path) -> Result<(), Box<dyn Error>> {
    eprintln!("directory: {}", directory.display());
    let cache = open(directory)?;
    basic(&cache)?;
    expiry(&cache)?;
    tags(&cache)?;
    counters(&cache)?;
    many_at_once(&cache)?;
    compare_and_set(&cache)?;
    iteration(&cache)?;
    typed_view(&cache)?;
    more::memoized(&cache)?;
    more::transactions(&cache)?;
    more::sorted_map(&cache)?;
    more::between_processes(&cache)?;
    more::long_values(&cache)?;
    more::queue(directory)?;
    more::shards(directory)?;
    statistics(&cache)?;
    settings(&cache, directory)?;
    check(&cache)?;
    Ok(())
}

/// Settings that are given here are stored in the directory and hold for every process.
fn open(directory: &Path) -> Result<Cache, Box<dyn Error>> {
    let cache = Cache::builder(directory).size_limit(1 << 28).lock_timeout(Duration::from_secs(5)).open()?;
    if !cache.is_empty() && !cache.contains(MARK)? {
        return Err("CACHE_DIR holds items and not the tour's mark; the tour would clear it, so name another".into());
    }
    start(&cache)?;
    Ok(cache)
}

/// Every section begins with an empty cache, but for the mark.
fn start(cache: &Cache) -> larder::Result<()> {
    cache.set(MARK, &())?;
    cache.clear()?;
    cache.set(MARK, &())
}

fn basic(cache: &Cache) -> larder::Result<()> {
    println!("basic");
    show!(cache.set("greeting", "hello")?);
    show!(cache.get::<String>("greeting")?);
    show!(cache.get::<String>("absent")?);
    show!(cache.get::<String>("absent")?.unwrap_or("a default".into()));
    show!(cache.contains("greeting")?);
    // Keys are strings, numbers, bytes and tuples of them; 1 and "1" are two keys.
    show!(cache.set(("player", 7), &Player { name: "Ada".into(), score: 99 })?);
    show!(cache.get::<Player>(("player", 7))?);
    // What was stored as another type is an error, never a value that only looks right.
    show!(cache.get::<Vec<u8>>(("player", 7)).map_err(|error| error.to_string()));
    show!(cache.set_bytes("image", &[137, 80, 78, 71])?);
    show!(cache.get_bytes("image")?);
    // Borrowed from the mapped log: no copy is made.
    show!(cache.get_ref("greeting")?.map(|bytes| bytes.len()));
    // Stored only if nothing is there; of several processes that try, one succeeds.
    show!(cache.add("greeting", "good morning")?);
    show!(cache.pop::<String>("greeting")?);
    show!(cache.pop::<String>("greeting")?);
    show!(cache.delete("image")?);
    show!(cache.delete("image")?);
    start(cache)
}

fn expiry(cache: &Cache) -> larder::Result<()> {
    println!("\nexpiry");
    let soon = || SetOptions::new().expire(Duration::from_millis(300));
    show!(cache.set_with("token", "abc", soon())?);
    show!(cache.get::<String>("token")?);
    show!(cache.add_with("turn", "mine", soon())?);
    show!(cache.add_with("turn", "yours", soon())?);
    show!(cache.touch("turn", Some(Duration::from_secs(3600)))?);
    std::thread::sleep(Duration::from_millis(400));
    show!(cache.get::<String>("token")?);
    show!(cache.get::<String>("turn")?);
    show!(cache.entry::<String>("turn")?.map(|entry| entry.expires_at.is_some()));
    // An expired item counts in `len` until something removes it. The mark of the tour counts too.
    show!((cache.len(), cache.len_live()?));
    show!(cache.expire()?);
    show!((cache.len(), cache.len_live()?));
    start(cache)
}

fn tags(cache: &Cache) -> larder::Result<()> {
    println!("\ntags");
    let user = || SetOptions::new().tag("user:42");
    show!(cache.set_with(("profile", 42), "Ada", user())?);
    show!(cache.set_with(("avatar", 42), "ada.png", user())?);
    show!(cache.set_with(("theme", 42), "dark", user())?);
    show!(cache.set("motd", "welcome")?);
    show!(cache.entry::<String>(("theme", 42))?.and_then(|entry| entry.tag));
    show!(cache.keys_tagged::<AnyKey>("user:42")?.count());
    // One commit, however many there are.
    show!(cache.evict("user:42")?);
    show!(cache.get::<String>(("profile", 42))?);
    show!(cache.get::<String>("motd")?);
    start(cache)
}

fn counters(cache: &Cache) -> larder::Result<()> {
    println!("\ncounters");
    show!(cache.incr("visits", 1)?);
    show!(cache.incr("visits", 10)?);
    show!(cache.decr("visits", 1)?);
    // A missing key starts at the default, here 100, and takes the options.
    show!(cache.incr_with("quota", -1, 100, SetOptions::new().expire(Duration::from_secs(60)))?);
    // Four threads, a thousand each: none is lost. Processes would be counted the same way.
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| count_to_thousand(cache))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(larder::Error::aborted("a panic"))))
    })?;
    show!(cache.get::<u64>("shared")?);
    show!(cache.set("largest", &i64::MAX)?);
    show!(cache.incr("largest", 1).map_err(|error| error.to_string()));
    show!(cache.get::<i64>("largest")? == Some(i64::MAX));
    start(cache)
}

fn count_to_thousand(cache: &Cache) -> larder::Result<()> {
    (0..1000).try_for_each(|_| cache.incr("shared", 1).map(|_| ()))
}

fn many_at_once(cache: &Cache) -> larder::Result<()> {
    println!("\nmany at once");
    // One commit: other processes see all five or none.
    show!(cache.set_many((1..=5u32).map(|n| (n, n * n)))?);
    show!(cache.get_many::<u32>([1, 9, 5])?);
    show!(cache.set_many_with([("a", "A"), ("b", "B")], SetOptions::new().tag("letters"))?);
    show!(cache.evict("letters")?);
    show!(cache.delete_many([1, 2, 9])?);
    show!(cache.get_many::<u32>(1..=5u32)?);
    start(cache)
}

fn compare_and_set(cache: &Cache) -> larder::Result<()> {
    println!("\ncompare and set");
    // `None` stands for an absent key: the first call adds, the last removes.
    show!(cache.compare_and_set("leader", None, Some("ada"))?);
    show!(cache.compare_and_set("leader", None, Some("bob"))?);
    show!(cache.compare_and_set("leader", Some("bob"), Some("eve"))?);
    show!(cache.compare_and_set("leader", Some("ada"), Some("bob"))?);
    show!(cache.get::<String>("leader")?);
    show!(cache.compare_and_set("leader", Some("bob"), None)?);
    show!(cache.contains("leader")?);
    start(cache)
}

fn iteration(cache: &Cache) -> larder::Result<()> {
    println!("\niteration");
    // An empty cache, without the mark: what follows goes through all there is.
    show!(cache.clear()?);
    for (city, people) in [("Oslo", 709_000), ("Bergen", 291_000), ("Tromso", 78_000), ("Oslo", 717_000)] {
        cache.set(city, &people)?;
    }
    // Without an order, streaming; sorted here to print the same in every run.
    let mut pairs = cache.iter::<String, u32>().collect::<larder::Result<Vec<_>>>()?;
    pairs.sort();
    show!(pairs);
    show!(cache.keys::<AnyKey>().count());
    show!(cache.keys_sorted::<String>()?.collect::<larder::Result<Vec<_>>>()?);
    // By first insertion: the second Oslo kept the place of the first.
    show!(cache.iter_inserted::<String, u32>()?.collect::<larder::Result<Vec<_>>>()?);
    show!(cache.iter_inserted::<String, u32>()?.next_back().transpose()?);
    show!(cache.peek_item::<String, u32>(End::Oldest)?);
    // With expiry, tag and size: here, all people in places without a tag.
    let mut people = 0;
    for entry in cache.entries::<String, u32>() {
        let (_city, entry) = entry?;
        people += if entry.tag.is_none() { entry.value } else { 0 };
    }
    show!(people);
    start(cache)
}

fn typed_view(cache: &Cache) -> larder::Result<()> {
    println!("\ntyped view");
    // The same store with fixed types: none has to be named at a call.
    let players = cache.typed::<u32, Player>();
    show!(players.set(&1, &Player { name: "Grace".into(), score: 120 })?);
    show!(players.get(&1)?);
    show!(players.get(&2)?);
    show!(players.cache().contains(1)?);
    start(cache)
}

fn statistics(cache: &Cache) -> larder::Result<()> {
    println!("\nstatistics");
    show!(cache.update_settings(|settings| settings.statistics = true)?.statistics);
    cache.reset_stats()?;
    for number in 0..10 {
        cache.set(number, "stored")?;
    }
    for number in 0..15 {
        cache.get::<String>(number)?;
    }
    // Summed over all processes that have this directory open.
    show!(cache.stats()?);
    show!(format!("{:.1} %", cache.stats()?.hit_rate() * 100.0));
    show!(cache.reset_stats()?.hits);
    show!(cache.stats()?.hits);
    show!(cache.len());
    show!(cache.volume() <= cache.settings().size_limit);
    show!(cache.update_settings(|settings| settings.statistics = false)?.statistics);
    start(cache)
}

fn settings(cache: &Cache, directory: &Path) -> larder::Result<()> {
    println!("\nsettings");
    show!(cache.settings());
    show!(cache.update_settings(|settings| settings.size_limit = 64 << 20)?.size_limit);
    // Another handle, as another process would have it: the setting holds there, and so does what is stored.
    let other = Cache::open(directory)?;
    show!(other.settings().size_limit);
    show!(other.contains(MARK)?);
    // Given to the builder, a setting changes for all.
    show!(Cache::builder(directory).eviction(Eviction::None).open()?.settings().eviction);
    show!(cache.settings().eviction);
    show!(cache.update_settings(|settings| settings.size_limit = 1).map_err(|error| error.to_string()));
    let reader = Cache::builder(directory).read_only(true).open()?;
    show!(reader.set("k", "v").map_err(|error| error.to_string()));
    // As it was, for the next tour in this directory.
    cache.update_settings(|settings| {
        settings.size_limit = 1 << 28;
        settings.eviction = Eviction::default();
    })?;
    start(cache)
}

fn check(cache: &Cache) -> larder::Result<()> {
    println!("\ncheck");
    cache.set_many((0..100).map(|number| (number, "item")))?;
    // On disk for good from here on: a power cut takes nothing that was stored before.
    show!(cache.sync()?);
    // Reads and verifies every record, every index entry and every count.
    let report = cache.check()?;
    show!(report.is_clean());
    show!(report.items == cache.len() as u64);
    show!(cache.repair()?.problems);
    show!(cache.clear()?);
    start(cache)
}
