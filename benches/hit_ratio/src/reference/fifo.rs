//! First in, first out.

use super::{Policy, Room};
use std::collections::VecDeque;

pub struct Fifo<'t> {
    room: Room<'t>,
    queue: VecDeque<u32>,
    is_in: Vec<bool>,
}

impl<'t> Fifo<'t> {
    pub fn new(room: Room<'t>) -> Fifo<'t> {
        let is_in = vec![false; room.sizes.len()];
        Fifo { room, queue: VecDeque::new(), is_in }
    }
}

impl Policy for Fifo<'_> {
    fn request(&mut self, object: u32) -> bool {
        if self.is_in[object as usize] {
            return true;
        }
        if self.room.size(object) <= self.room.capacity {
            while self.room.is_short(object) {
                let Some(oldest) = self.queue.pop_front() else { break };
                self.is_in[oldest as usize] = false;
                self.room.give(oldest);
            }
            self.queue.push_back(object);
            self.is_in[object as usize] = true;
            self.room.take(object);
        }
        false
    }
}
