//! Bugs that are there on purpose, so that the tests can show that they would be found: `seeded!("name")` stands where one
//! can be let in. It is `false`, and nothing of it is left, in every build but those with `--cfg larder_bugs`; there it is
//! true if the environment variable `LARDER_BUG` has that name. `tests/seeded_bugs.sh` lets them in one by one.
//!
//! It knows nothing of what the bugs are.

macro_rules! seeded {
    ($name:literal) => {
        crate::seeded::is_in($name)
    };
}

/// False: this build has no bugs on purpose.
#[cfg(not(larder_bugs))]
#[inline(always)]
pub const fn is_in(_name: &str) -> bool {
    false
}

/// True if that bug is to be there.
#[cfg(larder_bugs)]
pub fn is_in(name: &str) -> bool {
    static BUG: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    BUG.get_or_init(|| std::env::var("LARDER_BUG").ok()).as_deref() == Some(name)
}
