//! A worker: a process that lives over many histories and plays its threads' part in each, until the plan has it killed.
//! It knows the workloads; what comes of them is judged elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Barrier;

use larder::{Cache, Durability};
use rustix::process::{Signal, getpid, kill_process};

use crate::crew::{self, Role};
use crate::op::Outcome;
use crate::plan::{Kind, Name, PROCESSES, Part, Plan, THREADS};
use crate::scene::Hand;
use crate::stored::{fill, make_room, perform};
use crate::tape::Tape;

const FILLERS: u64 = 60;
/// How long a killer waits at most, so that the other thread is anywhere in its next operation.
const SPINS_MAX: u64 = 4000;

/// What a worker keeps from one history to the next.
struct Open {
    directory: PathBuf,
    handles: Vec<Cache>,
}

/// The store as a process of the plan opens it; the parent counts as the one behind the last.
pub fn open(directory: &Path, plan: &Plan, process: usize) -> Cache {
    let durability = if plan.syncs >> process & 1 == 1 { Durability::Sync } else { Durability::Buffered };
    let builder =
        Cache::builder(directory).size_limit(plan.size_limit).eviction(larder::Eviction::None).durability(durability);
    builder.open().expect("the store opens")
}

/// Orders: `close`, and a history with `go` after the answer `ready`.
pub fn play(role: &Role) {
    let process = role.numbers[0] as usize;
    let mut kept: Option<Open> = None;
    while let Some(order) = crew::next_order() {
        if order == "close" {
            kept = None;
            crew::say("closed");
            continue;
        }
        let [scratch, name] = order.splitn(2, ' ').collect::<Vec<_>>()[..] else { panic!("no order: {order}") };
        let plan = Plan::of(name.parse::<Name>().expect("a name"));
        let scratch = Path::new(scratch);
        let directory = scratch.join("store");
        let count = if plan.has_two_handles { THREADS } else { 1 };
        if kept.as_ref().is_none_or(|kept| kept.directory != directory || kept.handles.len() != count) {
            drop(kept.take());
            let handles = (0..count).map(|_| open(&directory, &plan, process)).collect();
            kept = Some(Open { directory, handles });
        }
        let handles = kept.as_ref().map(|kept| &kept.handles[..]).unwrap_or_default();
        play_history(&plan, process, handles, scratch);
    }
}

fn play_history(plan: &Plan, process: usize, handles: &[Cache], scratch: &Path) {
    let start = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        for t in 0..THREADS {
            let (start, cache) = (&start, &handles[t % handles.len()]);
            scope.spawn(move || {
                let thread = process * THREADS + t;
                let tape = Tape::new(scratch, thread, plan.dies(process));
                let mut hand = Hand { cache, tape, thread, part: Part::new(plan, thread) };
                start.wait();
                for n in 0..plan.operations {
                    hand.turn(n);
                }
                hand.tape.flush();
            });
        }
        crew::say("ready");
        assert_eq!(crew::next_order().as_deref(), Some("go"));
        start.wait();
    });
    crew::say("done");
}

impl Hand<'_> {
    fn turn(&mut self, n: u64) {
        let plan = self.part.plan;
        if plan.deaths.contains(&(self.thread, n)) {
            self.die();
        }
        match plan.name.kind {
            Kind::Cells if self.part.is_transaction() => self.calls(),
            Kind::Cells => self.call(),
            Kind::Append => self.append(n),
            Kind::Bank => self.bank(),
            Kind::Ring => self.ring(),
        }
        if plan.yields != 0 && self.part.is_one_of(plan.yields) {
            std::thread::yield_now();
        }
        if plan.fillers != 0 && self.part.is_one_of(plan.fillers) {
            fill(self.cache, self.thread, plan.name.number << 32 | n << 8, FILLERS, plan.filler_len);
        }
    }

    fn die(&mut self) -> ! {
        self.tape.flush();
        for _ in 0..self.part.dice.below(SPINS_MAX) {
            std::hint::spin_loop();
        }
        kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        unreachable!("a killed process goes on");
    }

    /// One call, and what to do if there was no room for it.
    fn call(&mut self) {
        let op = self.part.next();
        let outcome = self.tape.record(&op, |_| perform(self.cache, &op));
        self.part.see(&op, &outcome);
        if outcome == Outcome::Refused && self.part.is_one_of(4) {
            make_room(self.cache);
        }
    }
}

/// The threads of all processes.
pub const ALL_THREADS: usize = PROCESSES * THREADS;
