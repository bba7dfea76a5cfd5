//! One simulated file: which of its pages have space, what they held when it was last synced, and what it is charged on
//! the disk. Knows nothing of names, processes or steps.

use super::dice::{Fate, Kept};
use super::memory::{self, Lent, Memory};
use super::poison::sound;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::{Arc, Mutex};

pub(super) use super::memory::PAGE;
/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The space of the disk, in bytes.
#[derive(Default)]
pub(super) struct Space {
    pub(super) limit: Option<u64>,
    /// Files that have a name or that a living process holds.
    pub(super) used: u64,
    /// Files that have a name.
    pub(super) linked: u64,
    /// The most that `linked` ever was.
    pub(super) peak: u64,
}

impl Space {
    pub(super) fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.used >= limit)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Hole,
    /// Given since the last sync: a power cut may take it back.
    Fresh,
    Durable,
}

/// What a page held when it last became durable.
#[derive(Clone)]
struct Before {
    bytes: memory::Page,
    /// A sync of this version failed: the kernel counts the page as clean, so later syncs do not write it.
    stranded: bool,
}

#[derive(Clone)]
struct Body {
    memory: Memory,
    len: u64,
    durable_len: u64,
    pages: Vec<Page>,
    given: u64,
    dirty: BTreeMap<usize, Before>,
    linked: bool,
    holders: u64,
    charged: bool,
}

/// A file, whatever it is called.
pub(super) struct Node {
    pub(super) inode: u64,
    space: Arc<Mutex<Space>>,
    body: Mutex<Body>,
    lent: Lent,
}

impl Node {
    pub(super) fn new(inode: u64, capacity: usize, space: Arc<Mutex<Space>>) -> Arc<Node> {
        let body = Body {
            memory: Memory::new(capacity),
            len: 0,
            durable_len: 0,
            pages: Vec::new(),
            given: 0,
            dirty: BTreeMap::new(),
            linked: false,
            holders: 0,
            charged: true,
        };
        Arc::new(Node { inode, space, body: Mutex::new(body), lent: Lent::default() })
    }

    /// Another file that is as this one is now, on another disk, where nobody holds it.
    pub(super) fn copy(&self, space: Arc<Mutex<Space>>) -> Arc<Node> {
        let body = Body { linked: false, holders: 0, ..sound(self.body.lock()).clone() };
        sound(space.lock()).used += body.given;
        Arc::new(Node { inode: self.inode, space, body: Mutex::new(body), lent: Lent::default() })
    }

    pub(super) fn len(&self) -> u64 {
        sound(self.body.lock()).len
    }

    pub(super) fn allocated(&self) -> u64 {
        sound(self.body.lock()).given
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let body = sound(self.body.lock());
        let mut bytes = vec![0; body.len as usize];
        body.memory.copy_out(0, &mut bytes);
        bytes
    }

    /// Copies bytes out of the file; false if it ends before.
    pub(super) fn read(&self, offset: u64, to: &mut [u8]) -> bool {
        let body = sound(self.body.lock());
        let fits = offset.checked_add(to.len() as u64).is_some_and(|end| end <= body.len);
        if fits {
            body.memory.copy_out(offset as usize, to);
        }
        fits
    }

    /// `N` bytes that lie within one page; zeros if the file ends before.
    pub(super) fn word<const N: usize>(&self, offset: usize) -> [u8; N] {
        let body = sound(self.body.lock());
        if (offset + N) as u64 > body.len { [0; N] } else { body.memory.word(offset) }
    }

    /// Copies bytes of the file onto the end of `to`; false if it ends before.
    pub(super) fn append_to(&self, offset: usize, len: usize, to: &mut Vec<u8>) -> bool {
        let body = sound(self.body.lock());
        let fits = offset.checked_add(len).is_some_and(|end| end as u64 <= body.len);
        if fits {
            body.memory.append_to(offset, len, to);
        }
        fits
    }

    /// Writes a piece that lies within one page, giving it space.
    pub(super) fn write(&self, offset: u64, piece: &[u8]) -> io::Result<()> {
        let mut body = sound(self.body.lock());
        let end = body.end_of(offset, piece.len() as u64)?;
        body.give(offset as usize / PAGE, &self.space)?;
        body.change(offset as usize, piece);
        body.len = body.len.max(end);
        Ok(())
    }

    /// Reads `N` bytes, which lie within one page, and replaces them as `decide` says. False if the page is a hole, in
    /// which a store must not go.
    pub(super) fn update<const N: usize>(
        &self,
        offset: usize,
        decide: impl FnOnce([u8; N]) -> Option<[u8; N]>,
    ) -> Option<[u8; N]> {
        let mut body = sound(self.body.lock());
        if body.is_hole(offset / PAGE) {
            return None;
        }
        let was = body.memory.word(offset);
        if let Some(value) = decide(was) {
            body.change(offset, &value);
        }
        Some(was)
    }

    /// Stores a piece that lies within one page. False if the page is a hole.
    pub(super) fn store(&self, offset: usize, piece: &[u8]) -> bool {
        let mut body = sound(self.body.lock());
        let has_space = !body.is_hole(offset / PAGE);
        if has_space {
            body.change(offset, piece);
        }
        has_space
    }

    /// Lends a range that nobody will write any more.
    pub(super) fn immutable(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len)?;
        let mut bytes = vec![0; len];
        let body = sound(self.body.lock());
        if end > body.memory.capacity() {
            return None;
        }
        body.memory.copy_out(offset, &mut bytes);
        drop(body);
        Some(self.lent.lend(offset, bytes))
    }

    pub(super) fn extend(&self, len: u64) -> io::Result<()> {
        let mut body = sound(self.body.lock());
        let end = body.end_of(len, 0)?;
        body.len = body.len.max(end);
        Ok(())
    }

    /// Gives space page by page, as far as it goes.
    pub(super) fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut body = sound(self.body.lock());
        let end = body.end_of(offset, len)?;
        if len == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for page in offset as usize / PAGE..(end as usize).div_ceil(PAGE) {
            body.give(page, &self.space)?;
            body.len = body.len.max(end.min((page as u64 + 1) * PAGE as u64));
        }
        Ok(())
    }

    /// Takes the space of whole pages back, at once durably.
    pub(super) fn release(&self, offset: u64, len: u64) {
        let mut body = sound(self.body.lock());
        let (first, end) = ((offset as usize).div_ceil(PAGE), offset.saturating_add(len) as usize / PAGE);
        let given: Vec<usize> = (first..end.min(body.pages.len())).filter(|&page| !body.is_hole(page)).collect();
        for &page in &given {
            body.pages.get_mut(page).into_iter().for_each(|page| *page = Page::Hole);
            body.dirty.remove(&page);
            body.memory.copy_in(page * PAGE, &[0; PAGE]);
        }
        let less = (given.len() * PAGE) as u64;
        body.given -= less;
        let mut space = sound(self.space.lock());
        space.used = space.used.saturating_sub(less);
        space.linked = space.linked.saturating_sub(if body.linked { less } else { 0 });
    }

    pub(super) fn sync(&self) {
        let mut body = sound(self.body.lock());
        body.dirty.retain(|_, before| before.stranded);
        body.durable_len = body.len;
        for page in body.pages.iter_mut().filter(|page| **page == Page::Fresh) {
            *page = Page::Durable;
        }
    }

    /// The kernel writes some pages back, as it may at any moment: of those a power cut leaves this version or a later one.
    pub(super) fn write_back(&self, mut is_written: impl FnMut() -> bool) {
        let mut body = sound(self.body.lock());
        let Body { dirty, memory, .. } = &mut *body;
        for (&number, before) in dirty.iter_mut() {
            if !before.stranded && is_written() {
                before.bytes = memory.page(number);
            }
        }
    }

    /// A sync failed: what was written since the last good one is as likely to be lost as before, and only writing it
    /// again can change that.
    pub(super) fn strand(&self) {
        sound(self.body.lock()).dirty.values_mut().for_each(|before| before.stranded = true);
    }

    pub(super) fn set_linked(&self, linked: bool) {
        let mut body = sound(self.body.lock());
        if body.linked == linked {
            return;
        }
        body.linked = linked;
        let mut space = sound(self.space.lock());
        if linked {
            space.linked += body.given;
            space.peak = space.peak.max(space.linked);
        } else {
            space.linked = space.linked.saturating_sub(body.given);
        }
        body.settle(&mut space);
    }

    /// Living processes that hold the file came or went.
    pub(super) fn add_holders(&self, more: u64) {
        sound(self.body.lock()).holders += more;
    }

    pub(super) fn remove_holders(&self, fewer: u64) {
        let mut body = sound(self.body.lock());
        body.holders = body.holders.saturating_sub(fewer);
        let mut space = sound(self.space.lock());
        body.settle(&mut space);
    }

    /// Changes bytes as no process could: at once durable, in all versions of the page. False if the file ends before.
    pub(super) fn patch(&self, offset: u64, len: usize, patch: impl Fn(usize, u8) -> u8) -> bool {
        let mut body = sound(self.body.lock());
        if offset.checked_add(len as u64).is_none_or(|end| end > body.len) {
            return false;
        }
        for at in 0..len {
            let place = offset as usize + at;
            let mut byte = [0];
            body.memory.copy_out(place, &mut byte);
            body.memory.copy_in(place, &byte.map(|byte| patch(at, byte)));
            if let Some(before) = body.dirty.get_mut(&(place / PAGE)) {
                let bytes = Arc::make_mut(before.bytes.get_or_insert_with(|| Arc::new([0; PAGE])));
                bytes.iter_mut().skip(place % PAGE).take(1).for_each(|byte| *byte = patch(at, *byte));
            }
        }
        true
    }

    /// Shortens the file as no process could, at once durable.
    pub(super) fn truncate(&self, len: u64) {
        let mut body = sound(self.body.lock());
        body.len = body.len.min(len);
        body.durable_len = body.durable_len.min(len);
        let kept = (body.len as usize).div_ceil(PAGE);
        let lost = body.pages.iter().skip(kept).filter(|page| **page != Page::Hole).count() * PAGE;
        let end = body.pages.len() * PAGE;
        body.pages.truncate(kept);
        body.dirty.retain(|page, _| *page < kept);
        let from = body.len as usize;
        body.memory.copy_in(from, &vec![0; end.saturating_sub(from)]);
        body.given -= lost as u64;
        let mut space = sound(self.space.lock());
        space.used = space.used.saturating_sub(lost as u64);
        space.linked = space.linked.saturating_sub(if body.linked { lost as u64 } else { 0 });
    }

    /// The file as it is found after a power cut: a new one, because maps of dead processes still show the old bytes.
    pub(super) fn after_power_cut(&self, fate: &mut Fate, space: Arc<Mutex<Space>>) -> Arc<Node> {
        let old = sound(self.body.lock());
        let node = Node::new(self.inode, old.memory.capacity(), space);
        let mut new = sound(node.body.lock());
        let grown_to = fate.prefix(old.pages.len() as u64);
        new.len = match grown_to == old.pages.len() as u64 {
            true => old.len,
            false => old.len.min(old.durable_len.max(grown_to * PAGE as u64)),
        };
        let mut given = 0;
        for (number, page) in old.pages.iter().enumerate() {
            let kept = *page == Page::Durable || (*page == Page::Fresh && (number as u64) < grown_to);
            let start = number * PAGE;
            if !kept || start as u64 >= new.len {
                continue;
            }
            new.pages.resize(number, Page::Hole);
            new.pages.push(Page::Durable);
            given += PAGE as u64;
            let survivor = old.surviving_page(number, fate);
            new.memory.set_page(number, survivor);
            let within = usize::try_from(new.len).unwrap_or(usize::MAX) - start;
            if within < PAGE {
                new.memory.copy_in(start + within, &vec![0; PAGE - within]);
            }
        }
        new.given = given;
        sound(node.space.lock()).used += given;
        new.durable_len = new.len;
        drop(new);
        node
    }
}

impl Body {
    fn is_hole(&self, page: usize) -> bool {
        self.pages.get(page).is_none_or(|page| *page == Page::Hole)
    }

    /// The end of a range, if the file can reach it.
    fn end_of(&self, offset: u64, len: u64) -> io::Result<u64> {
        let end = offset.checked_add(len).filter(|end| *end <= self.memory.capacity() as u64);
        end.ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }

    /// Makes sure that a page has space.
    fn give(&mut self, page: usize, space: &Mutex<Space>) -> io::Result<()> {
        if !self.is_hole(page) {
            return Ok(());
        }
        let mut space = sound(space.lock());
        let used = space.used + PAGE as u64;
        if space.limit.is_some_and(|limit| used > limit) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        space.used = used;
        if self.linked {
            space.linked += PAGE as u64;
            space.peak = space.peak.max(space.linked);
        }
        if self.pages.len() <= page {
            self.pages.resize(page + 1, Page::Hole);
        }
        if let Some(slot) = self.pages.get_mut(page) {
            *slot = Page::Fresh;
        }
        self.given += PAGE as u64;
        Ok(())
    }

    /// Changes bytes within one page that has space, keeping what was durable.
    fn change(&mut self, offset: usize, piece: &[u8]) {
        let page = offset / PAGE;
        // A fresh page that is not dirty was never written.
        let is_zero = self.pages.get(page) == Some(&Page::Fresh);
        match self.dirty.entry(page) {
            Entry::Occupied(before) => before.into_mut().stranded = false,
            Entry::Vacant(empty) => {
                let bytes = if is_zero { None } else { self.memory.page(page) };
                empty.insert(Before { bytes, stranded: false });
            }
        }
        self.memory.copy_in(offset, piece);
    }

    /// Gives the space back once nobody can reach it.
    fn settle(&mut self, space: &mut Space) {
        let reachable = self.linked || self.holders > 0;
        if self.charged && !reachable {
            space.used = space.used.saturating_sub(self.given);
        }
        self.charged = reachable;
    }

    fn surviving_page(&self, page: usize, fate: &mut Fate) -> memory::Page {
        let now = self.memory.page(page);
        let Some(before) = self.dirty.get(&page) else { return now };
        let kept = match fate.page() {
            Kept::New => return now,
            Kept::Old => return before.bytes.clone(),
            Kept::Torn(new) => new,
        };
        let mut torn = *now.unwrap_or_else(|| Arc::new([0; PAGE]));
        let zeros = [0; PAGE];
        let old = before.bytes.as_deref().unwrap_or(&zeros);
        for (sector, (now, was)) in torn.chunks_mut(SECTOR).zip(old.chunks(SECTOR)).enumerate() {
            if kept >> sector & 1 == 0 {
                now.copy_from_slice(was);
            }
        }
        Some(Arc::new(torn))
    }
}

/// Cuts a write at page boundaries: each piece reaches the file whole or not at all.
pub(super) fn pieces(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut start = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let room = PAGE - (start % PAGE as u64) as usize;
        let (piece, after) = rest.split_at_checked(room).unwrap_or((rest, &[]));
        let at = start;
        start = start.saturating_add(piece.len() as u64);
        rest = after;
        (!piece.is_empty()).then_some((at, piece))
    })
}
