//! Reading while a writer is stopped in the middle of a commit: its word is there that says that one is pending, and the lock is
//! held. Which words it has stored is tried in the engine's simulation.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use larder::{Cache, Deque, Result};

/// Where the state file has its words.
const PENDING: u64 = 264;
const VISIBLE: u64 = 320;
/// The number of words in the list of the commit.
const CHANGES: u64 = 4096;

/// The file of a store's words.
struct State(std::fs::File);

impl State {
    fn of(cache: &Cache) -> State {
        let path = cache.directory().join("state");
        State(std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    fn load(&self, offset: u64) -> u64 {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, offset).unwrap();
        u64::from_ne_bytes(word)
    }

    fn store(&self, offset: u64, word: u64) {
        self.0.write_all_at(&word.to_ne_bytes(), offset).unwrap();
    }
}

/// Calls `read` in another thread while a handle has the lock and a commit is pending, whose list has so many words, if not what
/// the last commit left: a change of an item of the cache.
fn beside_a_commit(cache: &Cache, changes: Option<u64>, read: impl FnOnce() + Send) {
    let other = Cache::open(cache.directory()).unwrap();
    let state = State::of(cache);
    cache.set("around", &1).unwrap();
    let transaction = other.transact(|_| {
        let list = state.load(CHANGES);
        state.store(CHANGES, changes.unwrap_or(list));
        state.store(PENDING, state.load(VISIBLE) + 1);
        let outcome = std::thread::scope(|scope| scope.spawn(read).join());
        state.store(PENDING, 0);
        state.store(CHANGES, list);
        Ok(outcome)
    });
    transaction.unwrap().unwrap();
}

fn opened(directory: &std::path::Path) -> (Cache, Deque<u32>) {
    let cache = Cache::builder(directory).lock_timeout(Duration::from_millis(1)).background(false).open().unwrap();
    let deque = cache.deque("d").unwrap();
    deque.extend([1, 2, 3]).unwrap();
    (cache, deque)
}

#[test]
fn a_queue_is_read_beside_a_stopped_writer() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, deque) = opened(directory.path());
    beside_a_commit(&cache, None, || {
        assert_eq!((deque.front().unwrap(), deque.back().unwrap(), deque.get(1).unwrap()), (Some(1), Some(3), Some(2)));
        assert_eq!((deque.len(), deque.is_empty(), deque.get(3).unwrap()), (3, false, None));
        assert_eq!(deque.iter().collect::<Result<Vec<u32>>>().unwrap(), [1, 2, 3]);
        assert_eq!((deque.count(&2).unwrap(), deque.leased().unwrap()), (1, 0));
        assert!(deque.pop_front().unwrap_err().is_timeout() && deque.push_back(&4).unwrap_err().is_timeout());
    });
    assert_eq!(deque.pop_front().unwrap(), Some(1));
}

/// Without its list nobody knows what the commit changes. What can say so does, and a number is not nothing.
#[test]
fn a_queue_whose_words_cannot_be_told_is_not_said_to_be_empty() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, deque) = opened(directory.path());
    beside_a_commit(&cache, Some(u64::MAX), || {
        assert!(deque.front().unwrap_err().is_timeout());
        assert!(deque.iter().next().unwrap().unwrap_err().is_timeout());
        assert_eq!((deque.len(), deque.is_empty()), (3, false));
    });
    assert_eq!(deque.pop_front().unwrap(), Some(1));
}
