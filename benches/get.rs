//! What does reading an item cost: one that is hot, one of a million, one that is absent, many at once?

mod stage;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use larder::Cache;
use stage::{Uniform, filled, items, key};

/// Keys of one `get_many`.
const MANY: u64 = 32;
/// Keys that stay in the processor's caches.
const HOT: u64 = 64;

fn hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("get hot");
    for (name, len) in [("100 B", 100), ("1 KiB", 1024)] {
        let (cache, _directory) = filled(HOT, len);
        let keys: Vec<[u8; 16]> = (0..HOT).map(key).collect();
        let mut turn = keys.iter().cycle();
        let mut next = move || *turn.next().expect("a cycle does not end");
        group.bench_function(format!("get_bytes {name}"), |b| b.iter(|| hit(&cache, next())));
        group.bench_function(format!("get_ref {name}"), |b| {
            b.iter(|| black_box(cache.get_ref(next())).expect("readable").expect("present").len())
        });
    }
    let (cache, _directory) = filled(0, 0);
    for i in 0..HOT {
        cache.set(i, &format!("{i:0100}")).expect("stored");
    }
    let mut turn = (0..HOT).cycle();
    let mut next = move || turn.next().expect("a cycle does not end");
    group.bench_function("get::<String> 100 B by u64", |b| {
        b.iter(|| black_box(cache.get::<String>(next())).expect("readable").expect("present"))
    });
    group.finish();
}

fn uniform(criterion: &mut Criterion) {
    let items = items();
    let mut group = criterion.benchmark_group(format!("get uniform over {items}"));
    for (name, len) in [("100 B", 100), ("1 KiB", 1024)] {
        let (cache, _directory) = filled(items, len);
        (0..items).for_each(|i| drop(hit(&cache, key(i))));
        let mut draws = Uniform::below(items);
        group.bench_function(format!("get_bytes {name}"), |b| b.iter(|| hit(&cache, key(draws.draw()))));
        group.bench_function(format!("get_ref {name}"), |b| {
            b.iter(|| black_box(cache.get_ref(key(draws.draw()))).expect("readable").expect("present").len())
        });
        group.bench_function(format!("get_many of {MANY}, per key, {name}"), |b| {
            b.iter_custom(|keys| many(&cache, keys, &mut draws))
        });
        if len == 100 {
            group.bench_function("get_bytes, absent", |b| {
                b.iter(|| assert!(cache.get_bytes(key(items + draws.draw())).expect("readable").is_none()))
            });
        }
    }
    group.finish();
}

fn hit(cache: &Cache, key: [u8; 16]) -> Vec<u8> {
    black_box(cache.get_bytes(key)).expect("readable").expect("present")
}

/// The time for this many keys, in groups of [`MANY`]. What is under a key is a byte string, which only strings and byte
/// strings of serde decode; the text of the benchmark's values is not looked at.
fn many(cache: &Cache, keys: u64, draws: &mut Uniform) -> Duration {
    let groups = keys.div_ceil(MANY);
    let start = Instant::now();
    for _ in 0..groups {
        let found = cache.get_many::<ByteBuffer>((0..MANY).map(|_| key(draws.draw()))).expect("readable");
        assert!(black_box(found).iter().all(Option::is_some));
    }
    start.elapsed().mul_f64(keys as f64 / (groups * MANY) as f64)
}

/// An owned byte string, as `get_bytes` gives it.
struct ByteBuffer(#[expect(dead_code, reason = "made to be measured")] Vec<u8>);

impl<'de> serde::Deserialize<'de> for ByteBuffer {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteBuffer;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<ByteBuffer, E> {
                Ok(ByteBuffer(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<ByteBuffer, E> {
                Ok(ByteBuffer(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3)).sample_size(30);
    targets = hot, uniform
}
criterion_main!(benches);
