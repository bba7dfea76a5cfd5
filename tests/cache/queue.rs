//! `push`, `pull` and `peek`.

use std::collections::VecDeque;
use std::time::Duration;

use larder::{Cache, Error, QueueKey, QueueOptions, QueueSide, SetOptions};

fn open() -> (tempfile::TempDir, Cache) {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(&directory).unwrap();
    (directory, cache)
}

#[test]
fn queues_of_several_prefixes_do_not_mix_and_go_on_after_reopening() {
    let (directory, cache) = open();
    let options = [QueueOptions::new(), QueueOptions::new().prefix(""), QueueOptions::new().prefix("a")];
    let mut models = [const { VecDeque::new() }; 3];
    let mut cache = cache;
    for i in 0..400u64 {
        let at = (i * 7 % 3) as usize;
        let side = |front| if front { QueueSide::Front } else { QueueSide::Back };
        let front = i % 5 < 2;
        let chosen = options[at].clone().side(side(front));
        match i % 4 {
            0 | 1 => {
                let key = cache.push(&i, chosen).unwrap();
                if front { models[at].push_front((key, i)) } else { models[at].push_back((key, i)) }
            }
            2 => {
                let expected = if front { models[at].pop_front() } else { models[at].pop_back() };
                assert_eq!(cache.pull::<u64>(chosen).unwrap(), expected);
            }
            _ => {
                let expected = if front { models[at].front() } else { models[at].back() };
                assert_eq!(cache.peek::<u64>(chosen).unwrap().as_ref(), expected);
            }
        }
        if i % 60 == 59 {
            drop(cache);
            if i % 120 == 59 {
                std::fs::remove_file(directory.path().join("state")).unwrap();
            }
            cache = Cache::open(&directory).unwrap();
        }
    }
    assert_eq!(cache.len(), models.iter().map(VecDeque::len).sum::<usize>());
    assert!(cache.check().unwrap().is_clean());
}

#[test]
fn what_has_gone_in_another_way_is_passed_over_once() {
    let (_directory, cache) = open();
    for i in 0..1000u32 {
        let options = QueueOptions::new().tag(if i < 990 { "bulk" } else { "rest" });
        cache.push(&i, if i == 995 { options.expire(Duration::ZERO) } else { options }).unwrap();
    }
    cache.evict("bulk").unwrap();
    assert!(cache.delete(QueueKey::Number(500_000_000_000_990)).unwrap());
    let pulled: Vec<u32> =
        std::iter::from_fn(|| cache.pull(QueueOptions::new()).unwrap()).map(|(_, value)| value).collect();
    assert_eq!(pulled, [991, 992, 993, 994, 996, 997, 998, 999]);
    assert_eq!(cache.peek::<u32>(QueueOptions::new()).unwrap(), None);
}

#[test]
fn a_key_that_is_taken_is_left_alone() {
    let (_directory, cache) = open();
    cache.set_with(500_000_000_000_000u64, "mine", SetOptions::new()).unwrap();
    assert_eq!(cache.push("v", QueueOptions::new()).unwrap(), QueueKey::Number(500_000_000_000_001));
    assert_eq!(cache.get::<String>(500_000_000_000_000u64).unwrap().as_deref(), Some("mine"));
}

#[test]
fn a_value_of_another_type_stays_and_a_transaction_takes_it_all_back() {
    let (_directory, cache) = open();
    let key = cache.push("text", QueueOptions::new()).unwrap();
    assert!(cache.pull::<u32>(QueueOptions::new()).unwrap_err().is_type());
    let undone = cache.transact(|tx| {
        assert_eq!(tx.pull::<String>(QueueOptions::new())?.unwrap().1, "text");
        tx.push("other", QueueOptions::new())?;
        Err::<(), _>(Error::aborted("not after all"))
    });
    assert!(undone.unwrap_err().is_aborted());
    assert_eq!(cache.peek::<String>(QueueOptions::new()).unwrap(), Some((key, "text".into())));
    assert_eq!(cache.len(), 1);
}
