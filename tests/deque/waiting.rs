//! Waiting for an element.

use std::time::{Duration, Instant};

use larder::{Deque, Error};

const LONG: Duration = Duration::from_secs(600);

#[test]
fn each_element_goes_to_one_of_those_that_wait() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<u64>::open(&directory).unwrap();
    let takers: Vec<_> = (0..4)
        .map(|i| {
            // Handles of their own, as other processes have.
            let deque = Deque::<u64>::open(&directory).unwrap();
            std::thread::spawn(move || {
                let mut taken = Vec::new();
                loop {
                    let wait = if i % 2 == 0 { Deque::pop_front_wait } else { Deque::pop_back_wait };
                    match wait(&deque, LONG).unwrap().expect("one comes in time") {
                        u64::MAX => return taken,
                        element => taken.push(element),
                    }
                }
            })
        })
        .collect();
    for element in 0..400 {
        if element % 3 == 0 {
            deque.push_front(&element).unwrap()
        } else {
            deque.push_back(&element).unwrap()
        }
        if element % 50 == 0 {
            // Whoever is not asleep yet goes to sleep meanwhile, or takes what is there.
            while !deque.is_empty() {
                std::thread::yield_now();
            }
        }
    }
    while !deque.is_empty() {
        std::thread::yield_now();
    }
    (0..4).for_each(|_| deque.push_back(&u64::MAX).unwrap());
    let mut taken: Vec<u64> = takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect();
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..400));
}

#[test]
fn who_waits_in_vain_is_told_so_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<u64>::open(&directory).unwrap();
    let start = Instant::now();
    assert_eq!(deque.pop_front_wait(Duration::from_millis(20)).unwrap(), None);
    assert!(start.elapsed() >= Duration::from_millis(20));
    let outcome = deque.transact(|deque| deque.pop_front_wait(LONG));
    assert!(matches!(outcome, Err(Error::InTransaction)), "{outcome:?}");
}

#[test]
fn a_transaction_wakes_who_waits() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<u64>::open(&directory).unwrap();
    let taker = deque.clone();
    let taker = std::thread::spawn(move || taker.pop_front_wait(LONG).unwrap());
    deque.transact(|deque| deque.extend([7])).unwrap();
    assert_eq!(taker.join().unwrap(), Some(7));
}

/// Somebody has the lock for longer than anybody wants to wait.
#[test]
fn who_waits_for_an_element_does_not_wait_for_a_long_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<u32>::open(&directory).unwrap();
    let other = Deque::<u32>::open(&directory).unwrap();
    deque.push_back(&0).unwrap();
    let short = Duration::from_millis(1);
    // The first lease of a queue makes the place for leases.
    deque.lease_front(LONG).unwrap().unwrap().ack().unwrap();
    deque.extend([1, 2]).unwrap();
    deque
        .transact(|_| {
            std::thread::scope(|scope| {
                let waits = scope.spawn(|| {
                    let popped = (other.pop_front_wait(short), other.pop_back_wait(short));
                    let leased = other.lease_front_wait(short, short);
                    assert!(matches!((popped, leased), ((Ok(None), Ok(None)), Ok(None))));
                });
                waits.join().unwrap();
            });
            Ok(())
        })
        .unwrap();
    assert_eq!(other.pop_front_wait(Duration::ZERO).unwrap(), Some(1));
    assert_eq!(*other.lease_front_wait(short, Duration::ZERO).unwrap().unwrap().value(), 2);
    // Whose own time-out for the lock is shorter is told so.
    let hasty = Deque::<u32>::builder(&directory).lock_timeout(short).open().unwrap();
    let told =
        deque.transact(|_| Ok(std::thread::scope(|scope| scope.spawn(|| hasty.pop_front_wait(LONG)).join().unwrap())));
    assert!(matches!(told.unwrap(), Err(Error::Timeout)));
}
