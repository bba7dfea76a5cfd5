//! What an `Index` costs: putting keys in random order, reading them, going through them, and popping the first, with a million
//! pairs. Prints medians of rounds of the same program. `cargo bench --bench index`

use std::time::Instant;

use larder::Index;

const ITEMS: u64 = 1_000_000;
const SCANS: usize = 5;

/// Every number below `ITEMS` once, in an order that looks like none: the factor has no divisor in common with it.
fn shuffled(i: u64) -> u64 {
    i.wrapping_mul(654_321_987) % ITEMS
}

fn micros(since: Instant, calls: u64) -> f64 {
    since.elapsed().as_secs_f64() * 1e6 / calls as f64
}

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let index = Index::<u64, String>::builder(&directory).size_limit(2 << 30).open().expect("an index");
    let value = "v".repeat(100);
    let start = Instant::now();
    for i in 0..ITEMS {
        index.insert(shuffled(i), &value).expect("room");
    }
    let items = index.len() as u64;
    println!("insert, random order, growing to {items}: {:.3} us", micros(start, ITEMS));
    let start = Instant::now();
    for i in 0..200_000 {
        index.insert(shuffled(i * 3 + 1), &value).expect("room");
    }
    println!("insert over a key that is there: {:.3} us", micros(start, 200_000));
    let start = Instant::now();
    for i in 0..400_000 {
        assert!(index.get(shuffled(i * 7 + 5)).expect("a read").is_some());
    }
    println!("get, uniform: {:.3} us", micros(start, 400_000));
    let rate = |name: &str, scan: &dyn Fn() -> usize| {
        let mut rates: Vec<f64> = (0..SCANS)
            .map(|_| {
                let start = Instant::now();
                let found = scan();
                assert_eq!(found as u64, items);
                found as f64 / start.elapsed().as_secs_f64() / 1e6
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        println!("{name}: {:.2} M items/s (median of {SCANS})", rates[SCANS / 2]);
    };
    rate("keys", &|| index.keys().filter(|key| key.is_ok()).count());
    rate("range, keys and values of 100 B", &|| index.range(..).filter(|pair| pair.is_ok()).count());
    rate("range, from the back", &|| index.range(..).rev().filter(|pair| pair.is_ok()).count());
    let start = Instant::now();
    for _ in 0..400_000 {
        assert!(index.pop_first().expect("a pop").is_some());
    }
    println!("pop_first: {:.3} us", micros(start, 400_000));
    println!("on disk: {:.1} B a pair of those put", index.volume() as f64 / items as f64);
}
