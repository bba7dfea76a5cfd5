//! S3-FIFO: a small queue that most objects leave unused, a main queue that goes round, and a ghost queue of the names
//! of those that left the small one, so that who comes back soon goes into the main one.

use super::{Policy, Room};
use std::collections::VecDeque;

/// Frequencies are counted up to this.
const FREQUENCY_MAX: u8 = 3;
/// The small queue's share of the capacity, in percent.
const SMALL: u64 = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Absent,
    Small,
    Main,
}

pub struct S3Fifo<'t> {
    room: Room<'t>,
    small: VecDeque<u32>,
    small_used: u64,
    main: VecDeque<u32>,
    places: Vec<Place>,
    frequencies: Vec<u8>,
    /// Names and the moment they came in, which tells an old entry of an object from a newer one.
    ghosts: VecDeque<(u32, u64)>,
    ghosts_size: u64,
    /// When each object became a ghost; 0 if it is none.
    ghost_since: Vec<u64>,
    now: u64,
}

impl<'t> S3Fifo<'t> {
    pub fn new(room: Room<'t>) -> S3Fifo<'t> {
        let objects = room.sizes.len();
        S3Fifo {
            room,
            small: VecDeque::new(),
            small_used: 0,
            main: VecDeque::new(),
            places: vec![Place::Absent; objects],
            frequencies: vec![0; objects],
            ghosts: VecDeque::new(),
            ghosts_size: 0,
            ghost_since: vec![0; objects],
            now: 0,
        }
    }

    fn small_capacity(&self) -> u64 {
        (self.room.capacity * SMALL / 100).max(1)
    }

    fn main_used(&self) -> u64 {
        self.room.used - self.small_used
    }

    fn evict(&mut self) -> bool {
        if self.small_used >= self.small_capacity() || self.main.is_empty() {
            self.evict_from_small() || self.evict_from_main()
        } else {
            self.evict_from_main()
        }
    }

    /// Moves what was used more than once into the main queue, up to the first that was not, which goes.
    fn evict_from_small(&mut self) -> bool {
        while let Some(object) = self.small.pop_front() {
            self.small_used -= self.room.size(object);
            if self.frequencies[object as usize] > 1 {
                self.frequencies[object as usize] = 0;
                self.places[object as usize] = Place::Main;
                self.main.push_back(object);
                while self.main_used() > self.room.capacity - self.small_capacity() && self.evict_from_main() {}
            } else {
                self.places[object as usize] = Place::Absent;
                self.room.give(object);
                self.haunt(object);
                return true;
            }
        }
        false
    }

    fn evict_from_main(&mut self) -> bool {
        while let Some(object) = self.main.pop_front() {
            if self.frequencies[object as usize] > 0 {
                self.frequencies[object as usize] -= 1;
                self.main.push_back(object);
            } else {
                self.places[object as usize] = Place::Absent;
                self.room.give(object);
                return true;
            }
        }
        false
    }

    /// Makes a ghost of what left the small queue, and forgets the oldest ghosts beyond the main queue's size.
    fn haunt(&mut self, object: u32) {
        self.now += 1;
        self.ghosts.push_back((object, self.now));
        self.ghost_since[object as usize] = self.now;
        self.ghosts_size += self.room.size(object);
        while self.ghosts_size > self.room.capacity - self.small_capacity() {
            let Some((oldest, since)) = self.ghosts.pop_front() else { break };
            self.ghosts_size -= self.room.size(oldest);
            if self.ghost_since[oldest as usize] == since {
                self.ghost_since[oldest as usize] = 0;
            }
        }
    }
}

impl Policy for S3Fifo<'_> {
    fn request(&mut self, object: u32) -> bool {
        let at = object as usize;
        if self.places[at] != Place::Absent {
            self.frequencies[at] = (self.frequencies[at] + 1).min(FREQUENCY_MAX);
            return true;
        }
        if self.room.size(object) > self.room.capacity {
            return false;
        }
        let was_ghost = std::mem::take(&mut self.ghost_since[at]) != 0;
        while self.room.is_short(object) && self.evict() {}
        self.frequencies[at] = 0;
        if was_ghost {
            self.places[at] = Place::Main;
            self.main.push_back(object);
        } else {
            self.places[at] = Place::Small;
            self.small.push_back(object);
            self.small_used += self.room.size(object);
        }
        self.room.take(object);
        false
    }
}
