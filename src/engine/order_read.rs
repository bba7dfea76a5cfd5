//! Going through the keys of an index in their order.
//!
//! A *stretch* is what one leaf has of a window of keys, as of one moment; its values are of the same moment. Without a lock:
//!
//! 1. the moment: `VISIBLE`, while `PENDING` is 0;
//! 2. from the row's word down to the leaf, each node copied whole;
//! 3. the words on the way again, the deepest first: unchanged, so each node was in its place when it was copied (O2);
//! 4. `PENDING` and `VISIBLE` again: unchanged, so no commit has changed another part of what was read;
//! 5. the records of the keys as of that moment (`order_items`). All are there (O1), or it is begun again.
//!
//! Where a commit is pending for longer than who reads spins, it reads beside it: words are as they were at the moment (`pending`), and
//! steps 3 and 4 are the look whether it is the same still.
//!
//! What comes behind a stretch is sought by the key that bounds the leaf, so what is put and removed meanwhile moves nothing
//! under who goes through.

use std::borrow::Borrow;
use std::ops::Range;
use std::sync::atomic::{Ordering, fence};

use crate::error::Result;
use crate::os::{Os, OsMap};
use crate::storage::namespace::Namespace;
use crate::storage::redo::Place;
use crate::storage::state::{self, PENDING, VISIBLE};
use crate::storage::tag_table::row;
use crate::storage::tree::{BLOCK, LINK, Node, block_of, place_of};

use super::order::{read_node, read_node_at};
use super::pending::Moment;
use super::queue::End;
use super::read::{Missing, Try};
use super::store::Store;
use super::view::View;

/// Tries without the lock.
const RETRIES: usize = 64;

/// Keys of an index: from one on, and up to another one, which is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Empty for the first of all.
    pub low: Vec<u8>,
    /// `None` for behind the last of all.
    pub high: Option<Vec<u8>>,
}

impl Window {
    /// True if no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.high.as_ref().is_some_and(|high| *high <= self.low)
    }

    /// Which child of a node leads to the end of it.
    fn child_of(&self, node: &Node, end: End) -> usize {
        match (end, &self.high) {
            (End::Front, _) => node.child_of(&self.low, false),
            (End::Back, Some(high)) => node.child_of(high, true),
            (End::Back, None) => node.count() - 1,
        }
    }

    /// Takes away what was gone through from an end, up to `fence`; all of it if there is none.
    pub fn without(&mut self, end: End, fence: Option<Vec<u8>>) {
        match (end, fence) {
            (End::Front, Some(fence)) => self.low = fence,
            (End::Back, Some(fence)) => self.high = Some(fence),
            (_, None) => self.high = Some(self.low.clone()),
        }
    }
}

/// One item of a stretch: where its key and its value are, and what kind that is of.
#[derive(Clone, Debug)]
pub struct Item {
    pub(super) key: Range<usize>,
    pub kind: u8,
    pub(super) value: Range<usize>,
}

/// Items of a window that follow each other, in ascending order.
#[derive(Debug, Default)]
pub struct Stretch {
    /// The keys, and perhaps their prefixes, which are in no item.
    pub(super) keys: Vec<u8>,
    pub(super) values: Vec<u8>,
    pub items: Vec<Item>,
    /// Up to where the window was gone through; `None` for to its end.
    pub fence: Option<Vec<u8>>,
}

impl Stretch {
    pub fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.items.clear();
        self.fence = None;
    }

    #[inline]
    pub fn key(&self, item: &Item) -> &[u8] {
        self.keys.get(item.key.clone()).unwrap_or_default()
    }

    #[inline]
    pub fn value(&self, item: &Item) -> &[u8] {
        self.values.get(item.value.clone()).unwrap_or_default()
    }

    /// Adds a key, whose value is still empty.
    #[inline]
    pub(super) fn add_key(&mut self, prefix: &[u8], key: &[u8]) {
        self.keys.extend_from_slice(prefix);
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        self.items.push(Item { key: start..self.keys.len(), kind: 0, value: 0..0 });
    }

    /// Adds a key with its value.
    pub(super) fn add(&mut self, key: &[u8], kind: u8, value: &[u8]) {
        self.add_key(&[], key);
        let start = self.values.len();
        self.values.extend_from_slice(value);
        if let Some(item) = self.items.last_mut() {
            (item.kind, item.value) = (kind, start..self.values.len());
        }
    }
}

/// A leaf, the keys that bound it, and the moment it is of.
struct Leaf {
    node: Option<Node>,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
    moment: u64,
}

impl<O: Os> Store<O> {
    /// Goes through a window from one end: what one leaf has of it, at most `most` items. With their values, if those are wanted.
    pub fn stretch(
        &self,
        index: Namespace,
        window: &Window,
        end: End,
        (most, values): (usize, bool),
        to: &mut Stretch,
    ) -> Result<()> {
        let mut locked = None;
        let mut tries = 0;
        loop {
            let view = self.enter()?;
            match self.try_stretch((&view, None), index, window, end, (most, values), to)? {
                Try::Done(()) => return Ok(()),
                Try::Map(missing) if locked.is_some() => self.map_missing_under_lock(missing)?,
                Try::Map(missing) => {
                    drop(view);
                    self.map_missing(missing)?;
                }
                Try::Again if locked.is_some() => return Err(self.unsettled()),
                Try::Again => self.os.spin(),
            }
            tries += 1;
            if tries > RETRIES && self.is_inside_transaction() {
                if tries > 2 * RETRIES {
                    return Err(self.unsettled());
                }
                self.make_orders(self.held().borrow())?;
            } else if tries > RETRIES && locked.is_none() {
                let beside = self.at_a_moment(|view, moment| {
                    self.try_stretch((view, Some(moment)), index, window, end, (most, values), to)
                })?;
                if beside.is_some() {
                    return Ok(());
                }
                let lock = self.lock_to_read()?;
                self.make_orders(&lock)?;
                locked = Some(lock);
            }
        }
    }

    /// One attempt, as of a moment that is given and looked at again by who gives it, or of now.
    pub(super) fn try_stretch(
        &self,
        (view, at): (&std::sync::Arc<View<O>>, Option<&Moment>),
        index: Namespace,
        window: &Window,
        end: End,
        (most, values): (usize, bool),
        to: &mut Stretch,
    ) -> Result<Try<()>> {
        to.clear();
        let leaf = match self.leaf((view, at), index, window, end)? {
            Try::Done(leaf) => leaf,
            Try::Again => return Ok(Try::Again),
            Try::Map(missing) => return Ok(Try::Map(missing)),
        };
        let Some(node) = &leaf.node else { return Ok(Try::Done(())) };
        let is_led_to = leaf.low.as_ref().is_none_or(|low| node.key(0) >= &low[..])
            && leaf.high.as_ref().is_none_or(|high| node.key(node.count() - 1) < &high[..]);
        if !is_led_to {
            // Keys that nobody would find who looks for them.
            return Ok(Try::Again);
        }
        let first = node.find(&window.low).unwrap_or_else(|at| at);
        let last = window.high.as_ref().map_or(node.count(), |high| node.find(high).unwrap_or_else(|at| at));
        let (mut first, mut last) = (first.min(last), last);
        let fence = match end {
            End::Front if last - first > most => {
                last = first + most;
                Some(node.key(last).to_vec())
            }
            End::Front => leaf.high.filter(|high| window.high.as_ref().is_none_or(|end| high < end)),
            End::Back if last - first > most => {
                first = last - most;
                Some(node.key(first).to_vec())
            }
            End::Back => leaf.low.filter(|low| *low > window.low),
        };
        // A fence that is no way ahead is damage: nobody would come to an end.
        let is_ahead = fence.as_ref().is_none_or(|fence| match end {
            End::Front => *fence > window.low,
            End::Back => window.high.as_ref().is_none_or(|high| fence < high),
        });
        if !is_ahead {
            return Ok(Try::Again);
        }
        if values {
            match self.read_items((view, at), index, (node, first..last), leaf.moment, to)? {
                Try::Done(()) => {}
                other => return Ok(other),
            }
        } else {
            (first..last).for_each(|i| to.add_key(&[], node.key(i)));
        }
        to.fence = fence;
        Ok(Try::Done(()))
    }

    /// Fetches the node that a word leads to: the leaf that whoever goes on wants next.
    fn fetch_node(view: &View<O>, word: u64) {
        let (chunk, offset) = place_of(block_of(word));
        if let Some(map) = view.order(chunk) {
            (offset..offset + BLOCK as usize).step_by(64).for_each(|line| map.prefetch(line));
        }
    }

    /// Steps 1 to 4: the leaf at an end of a window.
    fn leaf(
        &self,
        (view, given): (&View<O>, Option<&Moment>),
        index: Namespace,
        window: &Window,
        end: End,
    ) -> Result<Try<Leaf>> {
        let moment = given.map_or_else(|| self.state.load(VISIBLE), |given| given.accepted);
        if (given.is_none() && self.state.load(PENDING) != 0) || self.state.load(state::ORDER_STALE) != 0 {
            return Ok(Try::Again);
        }
        let load =
            |map: &O::Map, place, offset| given.map_or_else(|| map.load(offset), |at| at.word(map, place, offset));
        let place = index.place();
        let Some(rows) = view.tags(place.chunk) else { return Ok(Try::Map(Missing::Tags(place.chunk))) };
        let mut leaf = Leaf { node: None, low: None, high: None, moment };
        // The words on the way: map, offset, value.
        let mut way: Vec<(&O::Map, usize, u64)> = Vec::with_capacity(6);
        let mut at = (&**rows, Place::Tags(place.chunk as u32), place.offset + row::ANCHOR);
        let mut level = None;
        loop {
            let word = load(at.0, at.1, at.2);
            way.push((at.0, at.2, word));
            if word == 0 && level.is_none() {
                break;
            }
            let (chunk, offset) = place_of(block_of(word));
            let Some(map) = view.order(chunk) else {
                let there = self.state.load(state::ORDER_CHUNKS);
                return Ok(if chunk as u64 >= there { Try::Again } else { Try::Map(Missing::Order(chunk)) });
            };
            let node = match given {
                None => read_node(&**map, offset),
                Some(given) => read_node_at(&**map, chunk, offset, given),
            };
            let Some(node) = node else { return Ok(Try::Again) };
            if level.is_some_and(|above: u16| above.checked_sub(1) != Some(node.level())) {
                return Ok(Try::Again);
            }
            level = Some(node.level());
            if node.level() == 0 {
                leaf.node = Some(node);
                break;
            }
            let child = window.child_of(&node, end);
            if child > 0 {
                leaf.low = Some(node.key(child).to_vec());
            }
            if child + 1 < node.count() {
                leaf.high = Some(node.key(child + 1).to_vec());
            }
            let word_of = |child| offset + LINK + Node::child_at(child);
            let beside = if end == End::Front { Some(child + 1) } else { child.checked_sub(1) };
            if let Some(beside) = beside.filter(|&beside| node.level() == 1 && beside < node.count()) {
                Self::fetch_node(view, map.load(word_of(beside)));
            }
            at = (&**map, Place::Order(chunk as u32), word_of(child));
        }
        if given.is_some() {
            return Ok(Try::Done(leaf));
        }
        // What was copied was copied before what follows is looked at.
        fence(Ordering::Acquire);
        let is_whole = way.iter().rev().all(|&(map, offset, word)| map.load(offset) == word)
            && self.state.load(PENDING) == 0
            && self.state.load(VISIBLE) == moment;
        Ok(if is_whole { Try::Done(leaf) } else { Try::Again })
    }
}
