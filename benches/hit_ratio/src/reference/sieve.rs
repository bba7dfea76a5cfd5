//! SIEVE: one queue, a mark for what was used, and a hand that walks from old to new and takes the first unmarked.

use super::list::List;
use super::{Policy, Room};

pub struct Sieve<'t> {
    room: Room<'t>,
    list: List,
    is_in: Vec<bool>,
    is_used: Vec<bool>,
    hand: Option<u32>,
}

impl<'t> Sieve<'t> {
    pub fn new(room: Room<'t>) -> Sieve<'t> {
        let objects = room.sizes.len();
        Sieve { room, list: List::new(objects), is_in: vec![false; objects], is_used: vec![false; objects], hand: None }
    }

    fn evict(&mut self) -> bool {
        let Some(mut at) = self.hand.or(self.list.back()) else { return false };
        while std::mem::take(&mut self.is_used[at as usize]) {
            match self.list.frontwards(at).or(self.list.back()) {
                Some(next) => at = next,
                None => return false,
            }
        }
        self.hand = self.list.frontwards(at);
        self.list.remove(at);
        self.is_in[at as usize] = false;
        self.room.give(at);
        true
    }
}

impl Policy for Sieve<'_> {
    fn request(&mut self, object: u32) -> bool {
        if self.is_in[object as usize] {
            self.is_used[object as usize] = true;
            return true;
        }
        if self.room.size(object) <= self.room.capacity {
            while self.room.is_short(object) && self.evict() {}
            self.list.push_front(object);
            self.is_in[object as usize] = true;
            self.is_used[object as usize] = false;
            self.room.take(object);
        }
        false
    }
}
