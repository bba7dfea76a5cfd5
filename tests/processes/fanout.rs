//! Processes that change several shards of a fan-out cache together are killed at any moment: nobody ever sees a part of a change.
//!
//! Movers move money between accounts by transactions, and write rows, whose cells stand in all shards, by `set_many`; some rows
//! they remove or evict whole. The parent reads all at once, before and after each death.

use std::os::unix::fs::FileExt;
use std::path::Path;

use larder::{Error, Eviction, FanoutCache, SetOptions};

use crate::crew::{self, Crew, Role};
use crate::values::Dice;

const SHARDS: u32 = 3;
const ACCOUNTS: u64 = 9;
const EACH: i64 = 1000;
const MOVERS: u64 = 4;
const CELLS: u64 = 6;
const KILLS: u64 = 24;
const KILLS_PER_TRIAL: u64 = 50;
/// Of the state file of a shard; see `storage::state`.
const LOCK: u64 = 256;
const PENDING: u64 = 264;
const IS_JOINT: u64 = 1 << 63;

fn open(directory: &Path) -> FanoutCache {
    let builder = FanoutCache::builder(directory).shards(SHARDS).size_limit(48 << 20);
    builder.eviction(Eviction::None).open().unwrap()
}

fn cells(mover: u64) -> impl Iterator<Item = (&'static str, u64, u64)> {
    (0..CELLS).map(move |cell| ("row", mover, cell))
}

fn tag_of(mover: u64) -> String {
    format!("of {mover}")
}

/// One change.
fn act(cache: &FanoutCache, dice: &mut Dice, mover: u64, turn: u64) -> larder::Result<()> {
    let (from, to, amount) = (dice.below(ACCOUNTS), dice.below(ACCOUNTS), dice.below(50) as i64);
    let long = if dice.below(16) == 0 { 300_000 } else { 10 };
    let value = (turn, "v".repeat(long));
    match dice.below(10) {
        0..5 => cache.transact(|tx| {
            tx.decr(("account", from), amount)?;
            tx.incr(("account", to), amount)?;
            let part: larder::Result<()> = tx.transact(|tx| {
                tx.incr(("account", to), 1)?;
                Err(Error::aborted("never mind"))
            });
            assert!(part.unwrap_err().is_aborted());
            tx.set_many_with(cells(mover).map(|key| (key, &value)), SetOptions::new().tag(tag_of(mover)))
        }),
        5..8 => cache.set_many_with(cells(mover).map(|key| (key, &value)), SetOptions::new().tag(tag_of(mover))),
        8 => cache.delete_many(cells(mover)).map(drop),
        _ => cache.evict(&tag_of(mover)).map(drop),
    }
}

/// Makes changes until it is killed.
pub fn play(role: &Role) {
    let (seed, mover) = (role.numbers[0], role.numbers[1]);
    let cache = open(&role.directory);
    let mut dice = Dice::new(seed);
    crew::say("moves");
    for turn in 0.. {
        act(&cache, &mut dice, mover, turn).unwrap();
    }
}

/// Reads all at once: the money is what there was, and each row is of one turn.
fn look(cache: &FanoutCache, moment: &str) {
    let accounts = cache.get_many::<i64>((0..ACCOUNTS).map(|account| ("account", account))).unwrap();
    let total: i64 = accounts.iter().map(|amount| amount.expect("no account goes")).sum();
    assert_eq!(total, EACH * ACCOUNTS as i64, "{moment}: {accounts:?}");
    for mover in 0..MOVERS {
        let row = cache.get_many::<(u64, String)>(cells(mover)).unwrap();
        let turns: Vec<Option<u64>> = row.iter().map(|cell| cell.as_ref().map(|(turn, _)| *turn)).collect();
        assert!(turns.iter().all(|turn| *turn == turns[0]), "{moment}: mover {mover}: {turns:?}");
    }
}

/// What the dead left: whether a lock, and whether a part of a joint commit.
fn left(directory: &Path) -> (bool, bool) {
    let (mut locked, mut pending) = (false, false);
    for shard in 0..SHARDS {
        let state = std::fs::File::open(directory.join(format!("shard-{shard:x}")).join("state")).unwrap();
        let (mut lock, mut word) = ([0; 4], [0; 8]);
        state.read_exact_at(&mut lock, LOCK).unwrap();
        state.read_exact_at(&mut word, PENDING).unwrap();
        locked |= u32::from_ne_bytes(lock) != 0;
        pending |= u64::from_ne_bytes(word) & IS_JOINT != 0;
    }
    (locked, pending)
}

#[derive(Default)]
struct Tally {
    kills: u64,
    inside: u64,
    pending: u64,
    reads: u64,
}

fn trial(seed: u64, kills: u64, tally: &mut Tally) {
    // Where the disk costs nothing, other moments are long.
    let directory = match seed % 2 {
        0 => tempfile::tempdir(),
        _ => tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()),
    };
    let directory = directory.unwrap();
    let cache = open(directory.path());
    cache.set_many((0..ACCOUNTS).map(|account| (("account", account), EACH))).unwrap();
    let (mut crew, mut dice) = (Crew::new(), Dice::new(seed));
    let start = |crew: &mut Crew, seed: u64, mover: u64| {
        let member = crew.start("mover", directory.path(), &[seed, mover]);
        crew.expect_of(member, "moves");
        member
    };
    let mut members: Vec<usize> = (0..MOVERS).map(|mover| start(&mut crew, dice.throw(), mover)).collect();
    for kill in 0..kills {
        let moment = format!("trial {seed}, kill {kill}");
        for _ in 0..dice.below(12) {
            look(&cache, &moment);
            tally.reads += 1;
        }
        let alone = dice.below(4) == 0;
        let victim = dice.below(MOVERS) as usize;
        if alone {
            // Of all at once, so that nobody living has seen to it.
            members.iter().for_each(|&member| crew.strike(member));
            members.iter().for_each(|&member| drop(crew.bury(member)));
            let (locked, pending) = left(directory.path());
            (tally.inside, tally.pending) = (tally.inside + u64::from(locked), tally.pending + u64::from(pending));
            tally.kills += MOVERS;
        } else {
            crew.kill(members[victim]);
            tally.kills += 1;
        }
        look(&cache, &moment);
        for (mover, member) in members.iter_mut().enumerate() {
            if alone || mover == victim {
                *member = start(&mut crew, dice.throw(), mover as u64);
            }
        }
    }
    members.iter().for_each(|&member| drop(crew.kill(member)));
    look(&cache, "at the end");
    cache.set("goes on", &true).unwrap();
    // Files that the dead had begun are swept by the next to open.
    let second = open(directory.path());
    look(&second, "opened anew");
    assert_eq!(second.check().unwrap().problems, []);
    drop(second);
    drop(cache);
    for shard in 0..SHARDS {
        std::fs::remove_file(directory.path().join(format!("shard-{shard:x}")).join("state")).unwrap();
    }
    let cache = open(directory.path());
    look(&cache, "made anew from the logs");
    assert_eq!(cache.check().unwrap().problems, []);
}

#[test]
fn a_change_over_shards_is_whole_whoever_is_killed() {
    let mut tally = Tally::default();
    let all = KILLS * crew::scale();
    for number in 0..all.div_ceil(KILLS_PER_TRIAL) {
        let kills = KILLS_PER_TRIAL.min(all - number * KILLS_PER_TRIAL);
        trial(crew::seed() * 1000 + number, kills, &mut tally);
    }
    let Tally { kills, inside, pending, reads } = tally;
    println!(
        "{kills} killed; where all were, {inside} times inside a commit, {pending} times with a part pending; {reads} reads"
    );
}
