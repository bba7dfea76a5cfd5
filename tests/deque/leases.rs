//! Leases of one process; what becomes of those of dead ones is in `processes`.

use std::cell::RefCell;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

use larder::{Deque, Error};
use serde::{Deserialize, Deserializer, Serialize};

const LONG: Duration = Duration::from_secs(3600);
/// Where the state file has its clock.
const CLOCK: u64 = 416;
/// Where it has the newest commit that everybody sees, and the newest of those that were there when it was made.
const VISIBLE: u64 = 320;
const BORN: u64 = 976;
/// How many elements and pairs there are in it.
const INNER: u64 = 944;
/// How often what needs luck to go wrong is tried.
const ROUNDS: u32 = 200;

fn queue() -> (tempfile::TempDir, Deque<u32>) {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::open(&directory).unwrap();
    deque.extend(0..5).unwrap();
    (directory, deque)
}

thread_local! {
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// An element that lets something happen when this thread decodes it the next time.
#[derive(Serialize)]
struct Slow(u32);

impl Slow {
    fn meanwhile(happens: impl FnOnce() + 'static) {
        MEANWHILE.set(Some(Box::new(happens)));
    }
}

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Slow, D::Error> {
        if let Some(happens) = MEANWHILE.take() {
            happens();
        }
        u32::deserialize(deserializer).map(Slow)
    }
}

#[test]
fn what_is_dropped_comes_back_to_the_front_and_what_is_done_does_not() {
    let (directory, deque) = queue();
    let first = deque.lease_front(LONG).unwrap().unwrap();
    let second = deque.lease_front(LONG).unwrap().unwrap();
    assert_eq!((*first.value(), *second.value(), deque.len(), deque.leased().unwrap()), (0, 1, 3, 2));
    first.ack().unwrap();
    drop(second);
    assert_eq!((deque.front().unwrap(), deque.len(), deque.leased().unwrap()), (Some(1), 4, 0));
    drop(deque);
    let deque = Deque::<u32>::open(&directory).unwrap();
    assert_eq!(deque.len(), 4);
    assert!(deque.check().unwrap().is_clean());
}

#[test]
fn a_lease_that_has_run_out_passes_on_and_only_one_counts() {
    let (_directory, deque) = queue();
    let slow = deque.lease_front(Duration::ZERO).unwrap().unwrap();
    let other = Deque::<u32>::open(_directory.path()).unwrap();
    let quick = other.lease_front(LONG).unwrap().unwrap();
    assert_eq!((*slow.value(), *quick.value()), (0, 0));
    assert!(matches!(slow.extend(LONG), Err(Error::LeaseLost)));
    assert!(matches!(slow.ack(), Err(Error::LeaseLost)));
    assert_eq!(deque.leased().unwrap(), 1);
    quick.ack().unwrap();
    assert_eq!((deque.len(), deque.leased().unwrap()), (4, 0));
}

#[test]
fn a_lease_that_is_prolonged_is_not_given_again() {
    let (_directory, deque) = queue();
    let job = deque.lease_front(Duration::ZERO).unwrap().unwrap();
    job.extend(LONG).unwrap();
    let next = deque.lease_front(LONG).unwrap().unwrap();
    assert_eq!((*job.value(), *next.value()), (0, 1));
    job.ack().unwrap();
    next.ack().unwrap();
    assert_eq!(deque.len(), 3);
}

#[test]
fn a_lease_that_is_prolonged_while_another_one_is_about_to_take_it_over_stays() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<Slow>::builder(&directory).lock_timeout(Duration::from_secs(2)).open().unwrap();
    deque.extend([Slow(0), Slow(1)]).unwrap();
    let other = Deque::<Slow>::open(&directory).unwrap();
    let job = deque.lease_front(Duration::ZERO).unwrap().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    Slow::meanwhile(move || tell.send((job.extend(LONG), job)).unwrap());
    let next = other.lease_front(LONG).unwrap().unwrap();
    let (extended, job) = told.recv().unwrap();
    extended.unwrap();
    assert_eq!((job.value().0, next.value().0), (0, 1));
    next.ack().unwrap();
    assert!(other.lease_front(LONG).unwrap().is_none());
    job.ack().unwrap();
    assert_eq!(deque.leased().unwrap(), 0);
}

/// Sets the clock of the store in a directory to so long after the machine's. It never goes back: this is what the store notes of
/// the latest time at which something was found expired.
fn advance_clock(directory: &Path, ahead: Duration) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let state = std::fs::OpenOptions::new().write(true).open(directory.join("state")).unwrap();
    state.write_all_at(&u64::try_from((now + ahead).as_nanos()).unwrap().to_le_bytes(), CLOCK).unwrap();
}

#[test]
fn the_time_of_a_lease_begins_when_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<Slow>::open(&directory).unwrap();
    let other = Deque::<Slow>::open(&directory).unwrap();
    deque.push_back(&Slow(7)).unwrap();
    let path = directory.path().to_owned();
    // What is decoded is decoded under the lock: a time that was computed before it was had is over.
    Slow::meanwhile(move || advance_clock(&path, 2 * LONG));
    let first = deque.lease_front(LONG).unwrap().unwrap();
    assert!(other.lease_front(LONG).unwrap().is_none());
    advance_clock(directory.path(), 4 * LONG);
    let second = other.lease_front(LONG).unwrap().unwrap();
    assert!(matches!(first.ack(), Err(Error::LeaseLost)));
    second.ack().unwrap();
}

#[test]
fn what_came_back_and_cannot_be_decoded_hides_nothing_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let words = Deque::<String>::open(&directory).unwrap();
    words.push_back("word").unwrap();
    let word = words.lease_front(Duration::ZERO).unwrap().unwrap();
    let numbers = Deque::<u32>::open(&directory).unwrap();
    assert!(numbers.lease_front(LONG).unwrap_err().is_type());
    assert!(numbers.lease_front_wait(LONG, LONG).unwrap_err().is_type());
    numbers.extend([1, 2]).unwrap();
    // Handles that have not looked yet look now: neither what is in the queue nor what came back behind the word is hidden.
    let fresh = || Deque::<u32>::open(&directory).unwrap();
    let (first, second) = (fresh(), fresh());
    let slow = first.lease_front(Duration::ZERO).unwrap().unwrap();
    let quick = second.lease_front(LONG).unwrap().unwrap();
    assert_eq!((*slow.value(), *quick.value()), (1, 1));
    let last = fresh().lease_front(LONG).unwrap().unwrap();
    assert_eq!(*last.value(), 2);
    assert!(numbers.lease_front(LONG).unwrap_err().is_type());
    assert_eq!(numbers.leased().unwrap(), 3);
    // Who can decode it gets it.
    let again = words.lease_front(LONG).unwrap().unwrap();
    assert_eq!(again.value(), "word");
    assert!(matches!(word.ack(), Err(Error::LeaseLost)));
    again.ack().unwrap();
    quick.ack().unwrap();
    last.ack().unwrap();
    assert!(numbers.lease_front(LONG).unwrap().is_none());
    assert_eq!(numbers.leased().unwrap(), 0);
}

#[test]
fn leases_that_end_in_any_order_leave_nothing_behind() {
    let (_directory, deque) = queue();
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 3, 0, 2, 4]] {
        let mut leases: Vec<_> = (0..5).map(|_| deque.lease_front(LONG).unwrap()).collect();
        assert!(deque.lease_front(LONG).unwrap().is_none());
        for at in order {
            drop(leases[at].take());
        }
        assert_eq!((deque.len(), deque.leased().unwrap()), (5, 0));
    }
}

/// A word of the state file.
fn word(directory: &Path, at: u64) -> u64 {
    let mut word = [0; 8];
    std::fs::File::open(directory.join("state")).unwrap().read_exact_at(&mut word, at).unwrap();
    u64::from_le_bytes(word)
}

/// Lets a store look as if it had just been rebuilt: it has no handle any more that made what is there.
fn all_are_gone(directory: &Path) {
    let state = std::fs::OpenOptions::new().write(true).open(directory.join("state")).unwrap();
    state.write_all_at(&word(directory, VISIBLE).to_le_bytes(), BORN).unwrap();
}

#[test]
fn l1_who_prolongs_a_lease_that_seemed_over_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<Slow>::open(&directory).unwrap();
    deque.push_back(&Slow(7)).unwrap();
    // Its time has no end, so that it is the same once it is prolonged.
    let job = deque.lease_front(Duration::MAX).unwrap().unwrap();
    all_are_gone(directory.path());
    let other = Deque::<Slow>::open(&directory).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    Slow::meanwhile(move || tell.send((job.extend(Duration::MAX), job)).unwrap());
    assert!(other.lease_front(LONG).unwrap().is_none());
    let (extended, job) = told.recv().unwrap();
    extended.unwrap();
    job.ack().unwrap();
    assert_eq!(deque.leased().unwrap(), 0);
}

#[test]
fn l1_one_of_two_who_find_the_same_lease_over_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    let deque = Deque::<Slow>::open(&directory).unwrap();
    deque.push_back(&Slow(7)).unwrap();
    let gone = deque.lease_front(Duration::MAX).unwrap().unwrap();
    all_are_gone(directory.path());
    let (one, other) = (Deque::<Slow>::open(&directory).unwrap(), Deque::<Slow>::open(&directory).unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    Slow::meanwhile(move || tell.send(one.lease_front(Duration::MAX)).unwrap());
    assert!(other.lease_front(Duration::MAX).unwrap().is_none());
    let quick = told.recv().unwrap().unwrap().unwrap();
    assert!(matches!(gone.ack(), Err(Error::LeaseLost)));
    quick.ack().unwrap();
    assert_eq!((deque.len(), deque.leased().unwrap()), (0, 0));
}

#[test]
fn l3_what_is_done_leaves_nothing_behind_a_lease_that_goes_on() {
    let (directory, deque) = queue();
    let slow = deque.lease_front(LONG).unwrap().unwrap();
    let mut last = deque.lease_front(LONG).unwrap().unwrap();
    for i in 0..1000 {
        deque.push_back(&i).unwrap();
        let next = deque.lease_front(LONG).unwrap().unwrap();
        std::mem::replace(&mut last, next).ack().unwrap();
    }
    assert!(deque.check().unwrap().is_clean());
    assert_eq!((deque.len(), deque.leased().unwrap(), word(directory.path(), INNER)), (3, 2, 5));
    slow.ack().unwrap();
    last.ack().unwrap();
}

#[test]
fn one_that_waits_gets_what_another_one_gives_back() {
    let (_directory, deque) = queue();
    deque.truncate(1).unwrap();
    let job = deque.lease_front(LONG).unwrap().unwrap();
    let other = deque.clone();
    let taker = std::thread::spawn(move || *other.lease_front_wait(LONG, LONG).unwrap().unwrap().value());
    drop(job);
    assert_eq!(taker.join().unwrap(), 0);
}

#[test]
fn acknowledgements_outside_of_a_transaction_take_nobody_elses_element_along() {
    let directory = tempfile::tempdir().unwrap();
    let handles: Vec<_> = (0..4).map(|_| Deque::<u32>::open(&directory).unwrap()).collect();
    for _ in 0..ROUNDS {
        handles[0].extend(0..9).unwrap();
        let leases: Vec<_> = (0..9).map(|_| handles[0].lease_front(LONG).unwrap().unwrap()).collect();
        let (kept, done) = leases.split_last().unwrap();
        let start = Barrier::new(handles.len());
        std::thread::scope(|scope| {
            for (handle, some) in handles.iter().zip(done.chunks(2)) {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    some.iter().for_each(|job| job.ack_in(handle).unwrap());
                });
            }
        });
        assert_eq!(handles[0].leased().unwrap(), 1);
        kept.ack_in(&handles[0]).unwrap();
        assert_eq!((handles[0].len(), handles[0].leased().unwrap()), (0, 0));
    }
}

#[test]
fn a_transaction_that_is_taken_back_is_no_acknowledgement() {
    let (_directory, deque) = queue();
    let job = deque.lease_front(LONG).unwrap().unwrap();
    let outcome = deque.transact(|deque| {
        job.ack_in(deque)?;
        Err::<(), _>(Error::aborted("not after all"))
    });
    assert!(outcome.unwrap_err().is_aborted());
    assert_eq!(deque.leased().unwrap(), 1);
    drop(job);
    assert_eq!((deque.leased().unwrap(), deque.front().unwrap()), (0, Some(0)));
    let outcome = deque.transact(|deque| deque.lease_front(LONG).map(drop));
    assert!(matches!(outcome, Err(Error::InTransaction)));
}
