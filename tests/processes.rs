//! Many processes on one directory: they agree, also when some of them are killed with `kill -9` or stopped.
//!
//! A process is this binary started again with the test [`child`] alone and a role in its environment. What happens
//! before what is decided by pipes. It knows the public API only.

#[path = "processes/creation.rs"]
mod creation;
#[expect(dead_code, reason = "other harnesses use the rest of it")]
#[path = "processes/crew.rs"]
mod crew;
#[path = "processes/durable.rs"]
mod durable;
#[path = "processes/fanout.rs"]
mod fanout;
#[path = "processes/flight.rs"]
mod flight;
#[path = "processes/killed.rs"]
mod killed;
#[path = "processes/mixed.rs"]
mod mixed;
#[expect(dead_code, reason = "other harnesses use the rest of it")]
#[path = "processes/own_keys.rs"]
mod own_keys;
#[path = "processes/queue.rs"]
mod queue;
#[path = "processes/quota.rs"]
mod quota;
#[path = "processes/recipes.rs"]
mod recipes;
#[path = "processes/sharing.rs"]
mod sharing;
#[path = "processes/stream.rs"]
mod stream;
#[path = "processes/takeover.rs"]
mod takeover;
#[path = "processes/values.rs"]
mod values;

/// Does nothing in a run of the tests; in a process that a test has started, it plays the role it was given.
#[test]
fn child() {
    let Some(role) = crew::Role::given() else { return };
    match role.name.as_str() {
        "mixed" => mixed::play(&role),
        "own_keys" => own_keys::play(&role),
        "mover" => fanout::play(&role),
        "asker" => flight::play(&role),
        "locker" => recipes::play(&role),
        "stream_writer" => stream::play(&role),
        "hammer" => takeover::play(&role),
        "durable" => durable::play(&role),
        "creator" => creation::play(&role),
        "counter" => sharing::play_counter(&role),
        "settler" => sharing::play_settler(&role),
        "wrecker" => sharing::play_wrecker(&role),
        "producer" => queue::play_producer(&role),
        "consumer" => queue::play_consumer(&role),
        "quota_writer" => quota::play_writer(&role),
        "quota_reader" => quota::play_reader(&role),
        other => panic!("no role is called {other}"),
    }
}
