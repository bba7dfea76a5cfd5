//! Least frequently used, as python-diskcache has it: counts begin anew with each stay in the cache.

use super::{Policy, Room};
use std::collections::BTreeSet;

pub struct Lfu<'t> {
    room: Room<'t>,
    /// Count and time of each object; time 0 for those that are absent.
    marks: Vec<(u32, u64)>,
    /// Who goes first: the least count, then the least time.
    order: BTreeSet<(u32, u64, u32)>,
    now: u64,
}

impl<'t> Lfu<'t> {
    pub fn new(room: Room<'t>) -> Lfu<'t> {
        let marks = vec![(0, 0); room.sizes.len()];
        Lfu { room, marks, order: BTreeSet::new(), now: 0 }
    }
}

impl Policy for Lfu<'_> {
    fn request(&mut self, object: u32) -> bool {
        self.now += 1;
        let (count, time) = self.marks[object as usize];
        if time != 0 {
            self.order.remove(&(count, time, object));
            let mark = (count + 1, self.now);
            self.marks[object as usize] = mark;
            self.order.insert((mark.0, mark.1, object));
            return true;
        }
        if self.room.size(object) <= self.room.capacity {
            while self.room.is_short(object) {
                let Some((_, _, least)) = self.order.pop_first() else { break };
                self.marks[least as usize] = (0, 0);
                self.room.give(least);
            }
            self.marks[object as usize] = (0, self.now);
            self.order.insert((0, self.now, object));
            self.room.take(object);
        }
        false
    }
}
