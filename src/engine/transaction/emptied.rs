//! What a transaction has found to be empty at the ends of indexes: who takes one item after the other out goes through none
//! of them again.

use std::collections::HashMap;

use super::super::order_read::Window;
use super::super::queue::End;

/// For each index a window beside which it has no key, as the transaction has it.
#[derive(Debug, Default)]
pub struct Emptied(HashMap<u32, Window>);

impl Emptied {
    /// A window without what is known to be empty.
    pub fn narrow(&self, index: u32, window: &Window) -> Window {
        let mut narrow = window.clone();
        if let Some(known) = self.0.get(&index) {
            if known.low > narrow.low {
                narrow.low.clone_from(&known.low);
            }
            if known.high.is_some() && narrow.high.as_ref().is_none_or(|high| Some(high) > known.high.as_ref()) {
                narrow.high.clone_from(&known.high);
            }
        }
        narrow
    }

    /// Keeps that there is no key in what has been taken away at an end of a window, if that reaches to the end of the index.
    pub fn note(&mut self, index: u32, end: End, window: &Window, left: &Window) {
        let known = self.0.entry(index).or_default();
        match end {
            End::Front if window.low <= known.low => known.low.clone_from(&left.low),
            End::Back if window.high == known.high => known.high.clone_from(&left.high),
            _ => {}
        }
    }

    /// Keeps that the key at an end of an index is taken out.
    pub fn take(&mut self, index: u32, end: End, key: &[u8]) {
        let known = self.0.entry(index).or_default();
        match end {
            End::Front => known.low = behind(key),
            End::Back => known.high = Some(key.to_vec()),
        }
    }

    /// A key is put.
    pub fn put(&mut self, index: u32, key: &[u8]) {
        if let Some(known) = self.0.get_mut(&index) {
            if *key < *known.low {
                known.low = key.to_vec();
            }
            if known.high.as_ref().is_some_and(|high| *key >= **high) {
                known.high = Some(behind(key));
            }
        }
    }

    /// Something is taken back: nothing is known.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// The key that follows one.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
