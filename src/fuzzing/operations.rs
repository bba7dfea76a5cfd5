//! Lists of operations against the model of `engine::simulation`, with deaths, failing calls and power cuts.
//!
//! Input: a byte that says which of the two harnesses runs, and then what is drawn, a byte or more for each choice.

use super::input::Input;
use crate::engine::simulation::{self, Chance};

/// What one run may hold: the disks of a machine and of its copies are memory.
const BOUND: usize = 192 << 20;

impl Chance for Input<'_> {
    fn below(&mut self, limit: u64) -> u64 {
        match usize::try_from(limit) {
            Ok(limit) => Input::below(self, limit) as u64,
            Err(_) => self.word() % limit,
        }
    }

    fn next(&mut self) -> u64 {
        self.word()
    }

    fn is_spent(&self) -> bool {
        Input::is_spent(self)
    }
}

/// Carries the operations out.
pub fn operations(bytes: &[u8]) {
    crate::os::bounded::within(BOUND, || {
        let mut input = Input::new(bytes);
        match input.byte() % 4 {
            0 => simulation::power_cuts(input),
            _ => simulation::operations(input),
        }
    });
}
