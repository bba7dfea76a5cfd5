//! A lease in a child of `fork`. As in `fork`, a process that a test has started does the forking.

use std::time::Duration;

use fork::{Fork, fork, waitpid};
use larder::Deque;

use crate::crew::{Crew, Role};

const LONG: Duration = Duration::from_secs(3600);

pub fn play(role: &Role) {
    let deque = Deque::<u32>::open(&role.directory).unwrap();
    deque.push_back(&7).unwrap();
    let mut job = deque.lease_front(LONG).unwrap();
    match fork().unwrap() {
        Fork::Parent(child) => assert_eq!(waitpid(child).unwrap(), 0, "the child failed"),
        Fork::Child => {
            drop(job.take());
            // A lease of the child's own comes back when it is dropped there.
            deque.push_back(&8).unwrap();
            let own = deque.lease_front(LONG).unwrap().unwrap();
            assert_eq!((*own.value(), deque.leased().unwrap()), (8, 2));
            drop(own);
            assert_eq!((deque.pop_front().unwrap(), deque.leased().unwrap()), (Some(8), 1));
            std::process::exit(0);
        }
    }
    assert_eq!((deque.len(), deque.leased().unwrap()), (0, 1), "the child gave its parent's element back");
    job.unwrap().ack().unwrap();
    assert_eq!(deque.leased().unwrap(), 0);
    assert!(deque.check().unwrap().is_clean());
}

#[test]
fn a_lease_that_a_child_of_fork_drops_stays_its_parents() {
    let directory = tempfile::tempdir().unwrap();
    let mut crew = Crew::new();
    let member = crew.start("lessee", directory.path(), &[]);
    crew.finish(member);
}
