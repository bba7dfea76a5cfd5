//! A bound that changes while others push.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use larder::Deque;

/// Where who is serialized waits once: says that it is there, and goes on when it is told to.
static GATE: Mutex<Option<(Sender<()>, Receiver<()>)>> = Mutex::new(None);

/// A number whose push can be held up in its middle, as that of a process is that is stopped or waits for the lock.
struct Slow(u32);

impl serde::Serialize for Slow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some((there, go)) = GATE.lock().unwrap().take() {
            there.send(()).unwrap();
            go.recv().unwrap();
        }
        serializer.serialize_u32(self.0)
    }
}

#[test]
fn a_push_keeps_to_the_bound_that_holds_when_it_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let slow = Deque::<Slow>::builder(&directory).maxlen(3).open().unwrap();
    let other = Deque::<u32>::open(&directory).unwrap();
    let held_up = |number, meanwhile: &dyn Fn()| {
        let ((there, is_there), (go, goes)) = (channel(), channel());
        *GATE.lock().unwrap() = Some((there, goes));
        std::thread::scope(|scope| {
            let push = scope.spawn(|| slow.push_back(&Slow(number)));
            is_there.recv().unwrap();
            meanwhile();
            go.send(()).unwrap();
            push.join().unwrap().unwrap();
        });
    };
    held_up(1000, &|| {
        other.set_maxlen(None).unwrap();
        other.extend(0..1000).unwrap();
    });
    assert_eq!(other.maxlen().unwrap(), None);
    assert!(other.iter().map(Result::unwrap).eq(0..=1000));
    held_up(1001, &|| other.set_maxlen(Some(10)).unwrap());
    assert!(other.iter().map(Result::unwrap).eq(992..=1001));
    assert!(other.check().unwrap().is_clean());
}
