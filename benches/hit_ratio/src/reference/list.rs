//! A doubly linked list of objects, each in it at most once, without an allocation for each.

const NONE: u32 = u32::MAX;

/// The list; its front is where objects come in by habit, its back where they leave.
#[derive(Debug)]
pub struct List {
    /// Neighbours towards the front and towards the back.
    links: Vec<[u32; 2]>,
    front: u32,
    back: u32,
}

const FRONTWARDS: usize = 0;
const BACKWARDS: usize = 1;

impl List {
    /// An empty list for objects below `objects`.
    pub fn new(objects: usize) -> List {
        List { links: vec![[NONE; 2]; objects], front: NONE, back: NONE }
    }

    pub fn back(&self) -> Option<u32> {
        Some(self.back).filter(|object| *object != NONE)
    }

    /// The neighbour towards the front.
    pub fn frontwards(&self, object: u32) -> Option<u32> {
        Some(self.links[object as usize][FRONTWARDS]).filter(|object| *object != NONE)
    }

    pub fn push_front(&mut self, object: u32) {
        self.links[object as usize] = [NONE, self.front];
        match self.front {
            NONE => self.back = object,
            front => self.links[front as usize][FRONTWARDS] = object,
        }
        self.front = object;
    }

    pub fn remove(&mut self, object: u32) {
        let [before, after] = self.links[object as usize];
        match before {
            NONE => self.front = after,
            before => self.links[before as usize][BACKWARDS] = after,
        }
        match after {
            NONE => self.back = before,
            after => self.links[after as usize][FRONTWARDS] = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_back(list: &List) -> Vec<u32> {
        std::iter::successors(list.back(), |object| list.frontwards(*object)).collect()
    }

    #[test]
    fn objects_are_in_order_wherever_one_is_taken_out() {
        let full = || {
            let mut list = List::new(4);
            (0..4).for_each(|object| list.push_front(object));
            list
        };
        assert_eq!(from_back(&full()), [0, 1, 2, 3]);
        for (object, left) in [(0, [1, 2, 3]), (2, [0, 1, 3]), (3, [0, 1, 2])] {
            let mut list = full();
            list.remove(object);
            assert_eq!(from_back(&list), left);
            list.push_front(object);
            assert_eq!(from_back(&list)[3], object);
        }
        let mut list = List::new(1);
        list.push_front(0);
        list.remove(0);
        assert_eq!(list.back(), None);
    }
}
