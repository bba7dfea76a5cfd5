//! What does changing an item cost: a new one, one of a million that is replaced, ten at once, a counter, a removal?

mod stage;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use larder::Cache;
use stage::{Bytes, Directory, Uniform, filled, items, key, open, rounds, timed, value};

fn new_store() -> (Cache, Directory) {
    let directory = Directory::new();
    (open(directory.path()), directory)
}

/// From empty to full: the index grows on the way, and the log is written to fresh pages.
fn new(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("set new");
    for (name, len, count) in [("100 B", 100, items()), ("1 KiB", 1024, items()), ("64 KiB", 65536, items() / 100)] {
        let bytes = value(len);
        rounds(&mut group, &format!("set_bytes {name}, {count} from empty"), new_store, |(cache, _)| {
            let work = || (0..count).for_each(|i| cache.set_bytes(key(i), &bytes).expect("stored"));
            (timed(work), count)
        });
    }
    let text = "x".repeat(100);
    let count = items();
    rounds(&mut group, &format!("set::<str> 100 B by u64, {count} from empty"), new_store, |(cache, _)| {
        let work = || (0..count).for_each(|i| cache.set(stage::mix(i), text.as_str()).expect("stored"));
        (timed(work), count)
    });
    let bytes = value(100);
    rounds(&mut group, &format!("set_many of 10 x 100 B, {count} from empty"), new_store, |(cache, _)| {
        let batch = |i| cache.set_many((i * 10..i * 10 + 10).map(|i| (key(i), Bytes(&bytes))));
        (timed(|| (0..count / 10).for_each(|i| batch(i).expect("stored"))), count / 10)
    });
    group.finish();
}

fn overwrite(criterion: &mut Criterion) {
    let items = items();
    let mut group = criterion.benchmark_group(format!("overwrite uniform over {items}"));
    for (name, len) in [("100 B", 100), ("1 KiB", 1024)] {
        let bytes = value(len);
        let mut draws = Uniform::below(items);
        rounds(
            &mut group,
            &format!("set_bytes {name}"),
            || filled(items, len),
            |(cache, _)| {
                let work = || (0..items).for_each(|_| cache.set_bytes(key(draws.draw()), &bytes).expect("stored"));
                (timed(work), items)
            },
        );
    }
    let bytes = value(100);
    let mut draws = Uniform::below(items);
    rounds(
        &mut group,
        "set_many of 10 x 100 B",
        || filled(items, 100),
        |(cache, _)| {
            let mut batch = || {
                // A key that is drawn twice counts once; that is as rare as ten draws of a million make it.
                let pairs: [_; 10] = std::array::from_fn(|_| (key(draws.draw()), Bytes(&bytes)));
                cache.set_many(pairs).expect("stored");
            };
            (timed(|| (0..items / 10).for_each(|_| batch())), items / 10)
        },
    );
    let mut draws = Uniform::below(items);
    rounds(
        &mut group,
        "transact of 10 x set_bytes 100 B",
        || filled(items, 100),
        |(cache, _)| {
            let mut transaction = || {
                let ten = |tx: &larder::Transaction| (0..10).try_for_each(|_| tx.set_bytes(key(draws.draw()), &bytes));
                cache.transact(ten).expect("stored");
            };
            (timed(|| (0..items / 10).for_each(|_| transaction())), items / 10)
        },
    );
    group.finish();
}

fn count_and_remove(criterion: &mut Criterion) {
    let items = items();
    let mut group = criterion.benchmark_group("change");
    rounds(&mut group, "incr, one key", new_store, |(cache, _)| {
        let time = timed(|| (0..items).for_each(|_| _ = black_box(cache.incr("counter", 1)).expect("counted")));
        (time, items)
    });
    rounds(
        &mut group,
        &format!("delete, all of {items}"),
        || filled(items, 100),
        |(cache, _)| {
            let work = || (0..items).for_each(|i| assert!(cache.delete(key(i)).expect("removed")));
            (timed(work), items)
        },
    );
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(1));
    targets = new, overwrite, count_and_remove
}
criterion_main!(benches);
