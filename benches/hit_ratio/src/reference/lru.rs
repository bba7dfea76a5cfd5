//! Least recently used.

use super::list::List;
use super::{Policy, Room};

pub struct Lru<'t> {
    room: Room<'t>,
    /// The most recently used is at the front.
    list: List,
    is_in: Vec<bool>,
}

impl<'t> Lru<'t> {
    pub fn new(room: Room<'t>) -> Lru<'t> {
        let objects = room.sizes.len();
        Lru { room, list: List::new(objects), is_in: vec![false; objects] }
    }
}

impl Policy for Lru<'_> {
    fn request(&mut self, object: u32) -> bool {
        if self.is_in[object as usize] {
            self.list.remove(object);
            self.list.push_front(object);
            return true;
        }
        if self.room.size(object) <= self.room.capacity {
            while self.room.is_short(object) {
                let Some(oldest) = self.list.back() else { break };
                self.list.remove(oldest);
                self.is_in[oldest as usize] = false;
                self.room.give(oldest);
            }
            self.list.push_front(object);
            self.is_in[object as usize] = true;
            self.room.take(object);
        }
        false
    }
}
