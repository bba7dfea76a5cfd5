//! A value that lets something happen while it is read.

use std::cell::RefCell;

use serde::{Deserialize, Deserializer, Serialize};

thread_local! {
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A number that takes long to read.
#[derive(Serialize)]
pub struct Slow(pub u64);

impl Slow {
    /// What happens when this thread reads one the next time.
    pub fn meanwhile(happens: impl FnOnce() + 'static) {
        MEANWHILE.set(Some(Box::new(happens)));
    }
}

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Slow, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if let Some(happens) = MEANWHILE.take() {
            happens();
        }
        Ok(Slow(number))
    }
}
