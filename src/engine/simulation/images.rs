//! Power cuts by the thousand: between any two steps of random operations the power goes, and what the disk may then hold
//! is drawn again and again. Each such image is opened, some with a death or another power cut while they are, and must
//! hold the store as it was at one moment since the last sync. It knows nothing of what the operations were.
//!
//! `LARDER_TEST_IMAGES` says how many images are drawn; unset, it is the everyday number times the scale. `LARDER_TEST_RUN`
//! names one run, by the seed that a failure printed last, to be made alone.

use super::super::store::Store;
use super::acts::{Act, Contents, put};
use super::audit::{audit, drift, live};
use super::history::{History, Verdict};
use super::workload::Workload;
use super::world::{Handle, SMALL_LIMIT, try_open_sized};
use super::{Chance, Dice, number, scale, seed};
use crate::error::Result;
use crate::os::Os;
use crate::os::sim::{Machine, SimOs};

/// Images of everyday tests, and of one run of operations.
const IMAGES: usize = 1_000;
const IMAGES_OF_RUN: usize = 250;

/// What was seen, so that a campaign can tell what it was about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    images: usize,
    runs: usize,
    operations: usize,
    deaths: u64,
    /// Images of a moment within an operation.
    within: usize,
    /// Deaths while an image was opened, and power cuts then.
    pub(super) deaths_in_recovery: usize,
    pub(super) cuts_in_recovery: usize,
    /// Runs that went on with what an image held.
    adopted: usize,
    /// Images that held what there was at some moment, as it was then; of these, those that had lost something.
    exact: usize,
    behind: usize,
    /// Images in which something was missing, by the reason.
    unsynced: usize,
    replaced: usize,
    stray: usize,
}

impl Tally {
    fn count(&mut self, verdict: Verdict, history: &History) {
        self.images += 1;
        match verdict {
            Verdict::Exact(at) => {
                self.exact += 1;
                self.behind += usize::from(at + 1 < history.len());
            }
            Verdict::Unsynced => self.unsynced += 1,
            Verdict::Replaced => self.replaced += 1,
            Verdict::Stray => self.stray += 1,
        }
    }
}

/// Opens an image; before that, it may be opened by a process that dies, after which the power may go once more.
pub(super) fn open_image(
    mut image: Machine,
    dice: &mut Dice,
    tally: &mut Tally,
    open: impl Fn(&SimOs) -> Result<Store<SimOs>>,
) -> Handle {
    while dice.below(6) == 0 {
        let victim = image.process();
        victim.kill_after(dice.below(500));
        let _ = victim.run(|| open(&victim).map(drop));
        victim.kill();
        tally.deaths_in_recovery += 1;
        if dice.below(2) == 0 {
            image.power_cut(dice.next());
            tally.cuts_in_recovery += 1;
        }
    }
    if dice.below(16) == 0 {
        // Somebody looks at the image through another mount, and not for the first time.
        image.remount();
        image = image.copy();
    }
    let os = image.process();
    let store = open(&os).unwrap();
    Handle { store, os }
}

/// Draws one image of a moment, opens and judges it. What it held.
fn judge(moment: &Machine, history: &History, seed: u64, tally: &mut Tally) -> (Handle, Contents) {
    let mut dice = Dice(seed);
    let open = |os: &SimOs| try_open_sized(os, SMALL_LIMIT);
    let handle = open_image(moment.power_cut_copy(seed), &mut dice, tally, open);
    let seen = live(&handle.store);
    let Some(verdict) = history.judge(&seen, handle.os.now()) else {
        panic!(
            "image {seed} (deaths {}, cuts {} so far): {}",
            tally.deaths_in_recovery,
            tally.cuts_in_recovery,
            history.explain(&seen)
        );
    };
    tally.count(verdict, history);
    audit(&handle.store);
    assert_eq!(drift(&handle.store).0, 0, "image {seed}: files that are in nobody's count");
    if dice.below(8) == 0 {
        let report = handle.store.check(&mut |_| {}).unwrap();
        assert!(report.is_clean(), "image {seed}: {:?}", report.problems);
    }
    (handle, seen)
}

/// A store that came back works.
fn use_it(handle: &Handle, seen: &mut Contents, seed: u64) {
    for act in [put(seed as u32 % 20, u32::MAX, 3_000), Act::Remove(3), put(1, u32::MAX - 1, 30)] {
        let expected = act.model(seen, handle.os.now());
        match act.apply(&handle.store) {
            Ok(answer) => assert_eq!(answer, expected, "image {seed}: {act:?}"),
            Err(error) => assert!(error.is_full(), "image {seed}: {error:?}"),
        }
    }
    audit(&handle.store);
}

/// One run of operations, and images of it.
fn run(seed: u64, images: usize, tally: &mut Tally) {
    go_on(&mut Workload::new(seed), images, tally);
}

/// Goes on with a run until so many images of it were drawn, or nothing more is to be drawn.
pub(super) fn go_on<D: Chance>(workload: &mut Workload<D>, images: usize, tally: &mut Tally) {
    let end = tally.images + images;
    tally.runs += 1;
    while tally.images < end && !workload.dice.is_spent() {
        workload.pass();
        let looks = workload.dice.below(3) == 0;
        let steps = workload.dice.below(60);
        let within = (looks && workload.dice.below(2) == 0).then_some(steps);
        let moment = workload.step(within);
        tally.operations += 1;
        if !looks {
            continue;
        }
        tally.within += usize::from(moment.is_some()) * 3;
        let moment = moment.unwrap_or_else(|| workload.machine.clone());
        for _ in 0..3 {
            let seed = workload.dice.next();
            let (handle, mut seen) = judge(&moment, &workload.history, seed, tally);
            match seed % 64 {
                0 => {
                    workload.adopt(handle, seen);
                    tally.adopted += 1;
                    break;
                }
                1..12 => use_it(&handle, &mut seen, seed),
                _ => {}
            }
        }
    }
    tally.deaths += workload.deaths;
}

fn images() -> usize {
    number("LARDER_TEST_IMAGES").unwrap_or(IMAGES * scale())
}

/// Runs with the seeds that leave `part` when divided by the number of parts.
fn campaign(part: u64) {
    let mut tally = Tally::default();
    if let Some(seed) = number::<u64>("LARDER_TEST_RUN") {
        // The other half then has nothing to do.
        if seed % 2 == part {
            run(seed, IMAGES_OF_RUN, &mut tally);
        }
        return;
    }
    let images = images();
    for round in 0.. {
        if tally.images >= images {
            break;
        }
        let seed = seed() * 1_000_000_000 + 2 * round + part;
        // Shown if it fails.
        println!("seed {seed}");
        run(seed, IMAGES_OF_RUN.min(images - tally.images), &mut tally);
    }
    println!("{tally:?}");
}

#[test]
fn whatever_a_power_cut_leaves_is_one_moment_since_the_last_sync_even_seeds() {
    campaign(0);
}

#[test]
fn whatever_a_power_cut_leaves_is_one_moment_since_the_last_sync_odd_seeds() {
    campaign(1);
}
