//! What the machine may do to a process and a directory besides killing it: fork it, stop it, take its disk space and its
//! descriptors, replace its directory, mount it for reading. No call may hang, lose what another returned, or do harm
//! elsewhere.
//!
//! A process is this binary started again with the test [`child`] alone and a role in its environment. It knows the public
//! API only.

#[path = "processes/crew.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod crew;
#[path = "environment/descriptors.rs"]
mod descriptors;
#[path = "environment/every_call.rs"]
mod every_call;
#[path = "environment/fork.rs"]
mod fork;
#[path = "environment/handles.rs"]
mod handles;
#[path = "environment/lease.rs"]
mod lease;
#[path = "environment/mount.rs"]
mod mount;
#[path = "environment/read_only.rs"]
mod read_only;
#[path = "environment/replaced.rs"]
mod replaced;
#[path = "environment/space.rs"]
mod space;

/// Does nothing in a run of the tests; in a process that a test has started, it plays the role it was given.
#[test]
fn child() {
    let Some(role) = crew::Role::given() else { return };
    match role.name.as_str() {
        "forker" => fork::play(&role),
        "descriptors" => descriptors::play(&role),
        "lessee" => lease::play(&role),
        "writer" => handles::play(&role),
        "small files" => space::play(&role),
        other => panic!("no role is called {other}"),
    }
}
