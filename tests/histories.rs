//! Do histories have a legal order? Several processes call on few keys at once, some are killed in the middle, and a
//! search looks for one order of all calls that explains every answer.
//!
//! A worker is this binary started again with the test [`child`] alone, as in `processes.rs`. It lives over many
//! histories. It knows the public API only.

#[path = "histories/campaign.rs"]
mod campaign;
#[path = "histories/checked.rs"]
mod checked;
#[allow(dead_code, reason = "it is the crew of `processes.rs` too, which needs more of it")]
#[path = "processes/crew.rs"]
mod crew;
#[path = "histories/explain.rs"]
mod explain;
#[path = "histories/graph.rs"]
mod graph;
#[path = "histories/linear.rs"]
mod linear;
#[path = "histories/op.rs"]
mod op;
#[path = "histories/plan.rs"]
mod plan;
#[path = "histories/scene.rs"]
mod scene;
#[path = "histories/stored.rs"]
mod stored;
#[path = "histories/tape.rs"]
mod tape;
#[allow(dead_code, reason = "its dice are used here, its texts in `processes.rs`")]
#[path = "processes/values.rs"]
mod values;
#[path = "histories/whole.rs"]
mod whole;
#[path = "histories/worker.rs"]
mod worker;

use plan::{Kind, Name};

/// Histories at a scale of 1; an everyday run plays half of them.
const CELLS: u64 = 80;
const APPENDS: u64 = 48;
const BANKS: u64 = 40;
const RINGS: u64 = 32;

/// Does nothing in a run of the tests; in a process that a test has started, it plays the role it was given.
#[test]
fn child() {
    let Some(role) = crew::Role::given() else { return };
    match role.name.as_str() {
        "worker" => worker::play(&role),
        other => panic!("no role is called {other}"),
    }
}

#[test]
fn calls_on_few_keys_have_a_legal_order() {
    campaign::run(Kind::Cells, crew::rounds(CELLS, 2));
}

#[test]
fn lists_grow_in_a_legal_order() {
    campaign::run(Kind::Append, crew::rounds(APPENDS, 2));
}

#[test]
fn the_money_of_a_bank_is_constant() {
    campaign::run(Kind::Bank, crew::rounds(BANKS, 2));
}

#[test]
fn a_ring_stays_one_ring() {
    campaign::run(Kind::Ring, crew::rounds(RINGS, 2));
}

/// Plays one history again, with those before it over the same directory: the one that `LARDER_TEST_HISTORY` names.
#[test]
fn again() {
    let Ok(name) = std::env::var("LARDER_TEST_HISTORY") else { return };
    let name: Name = name.parse().expect("a history is named as a failure prints it");
    let mut troop = campaign::Troop::new();
    for _ in 0..crew::scale() {
        troop.play_group(name.kind, name.seed, name.number + 1);
    }
    println!("{name} {} times: {}", crew::scale(), troop.tally);
}
