//! The model and the power cuts of this harness with a fuzzer in the place of the seed: it draws the operations, and where
//! processes die, calls fail, the disk fills and the power goes. It judges nothing itself.

use rustix::io::Errno;

use super::Chance;
use super::images::{Tally, go_on};
use super::random::Run;
use super::workload::Workload;
use crate::os::sim::{CallKind, Fault};

/// Operations of one run at most: what is longer is slow, and finds nothing that two shorter ones do not.
const OPERATIONS_MAX: usize = 120;
/// Images of one run at most.
const IMAGES_MAX: usize = 24;

/// Calls that fail, as the kernel may have them fail: no space, a quota, broken, interrupted, forbidden, too many files, and
/// half way.
const FAULTS: [Fault; 8] = [
    Fault::Says(Errno::NOSPC),
    Fault::Says(Errno::DQUOT),
    Fault::Says(Errno::IO),
    Fault::Says(Errno::INTR),
    Fault::Says(Errno::ACCESS),
    Fault::Says(Errno::MFILE),
    Fault::Short(Errno::NOSPC),
    Fault::Short(Errno::IO),
];

/// Operations of several processes beside a model, with deaths, failing calls, full disks, clocks, rebuilding, and power cuts
/// after everything was made durable.
pub fn operations<D: Chance>(dice: D) {
    let mut run = Run::drawn_from(7, dice);
    for done in 1..=OPERATIONS_MAX {
        if run.dice.is_spent() {
            break;
        }
        let act = run.act();
        match run.dice.below(40) {
            0 => run.come_and_go(),
            1 => run.step_clock(),
            2 => run.rebuild(),
            3 => {
                let seed = run.dice.next();
                run.cut(seed);
            }
            4..10 => run.die(&act),
            10..16 => fail(&mut run, &act),
            16 => {
                let machine = run.world.machine.clone();
                machine.limit_disk(Some(machine.used_bytes() + run.dice.below(16) * 4096));
                run.apply(&act);
                machine.limit_disk(None);
            }
            _ => run.apply(&act),
        }
        if done % 16 == 0 {
            run.check();
        }
    }
    run.check();
    run.rebuild();
    run.check();
}

/// Some call of an operation fails once, or that one and all after it.
fn fail<D: Chance>(run: &mut Run<D>, act: &super::acts::Act) {
    let (nth, for_ever) = (1 + run.dice.below(24), run.dice.below(3) == 0);
    let fault = FAULTS[run.dice.below(FAULTS.len() as u64) as usize];
    match for_ever {
        true => run.world.machine.fail_from(CallKind::Any, nth, fault),
        false => run.world.machine.fail(CallKind::Any, nth, fault),
    }
    run.apply_or(act, |_| true);
    if matches!(act, super::acts::Act::Expire) {
        // It is many commits, some of which may have been.
        run.apply(act);
    }
}

/// Operations, and power cuts at any step among them that leave an arbitrary part of what was not synced.
pub fn power_cuts<D: Chance>(mut dice: D) {
    let seed = dice.below(4);
    go_on(&mut Workload::drawn_from(seed, dice), IMAGES_MAX, &mut Tally::default());
}
