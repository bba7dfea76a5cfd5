//! What the processes of the model share: the words of the state file and the log, with the two ways back after
//! every process has died (recover from the redo list, rebuild from the log). It knows nothing of processes or steps.

use std::hash::{Hash, Hasher};

use crate::world::Bug;

/// Two keys are the fewest with which a batch can be seen half.
pub(crate) const KEYS: usize = 2;

/// Segments that a run may use, and records that fit into one.
pub(crate) const SEGMENTS: usize = 3;
pub(crate) const SEGMENT_UNITS: usize = 7;

/// A commit changes at most the tail, the count of items, and two cells.
pub(crate) const REDO_WORDS: usize = 4;

/// Bit of the lock word that says that somebody sleeps on it.
pub(crate) const SLEEPERS: u8 = 1 << 7;

/// What a get of each key returns: the operation that set it, or 0 for "absent".
pub(crate) type Values = [u8; KEYS];

/// What an operation does to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Keep,
    Set,
    Remove,
}

/// One record of the log, or what else a reader of the log may find in its place. A value is the number of the operation
/// that wrote it, so that a value tells where it is from. Every operation makes one batch at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Zeros, or a header that was wiped.
    Empty,
    /// A record that somebody died over: its checksum does not match.
    Torn,
    /// A record: a batch of its own, or a member of one.
    Record { alone: bool, sequence: u8, operation: u8, key: u8, removes: bool, previous: u8 },
    /// The record that opens a batch, and says how many members follow and, by a checksum, which.
    Head { sequence: u8, operation: u8, members: u8 },
}

impl Unit {
    fn bits(self) -> u64 {
        match self {
            Unit::Empty => 0,
            Unit::Torn => 1,
            Unit::Record { alone, sequence, operation, key, removes, previous } => {
                let flags = 2 | u8::from(alone) << 2 | u8::from(removes) << 3;
                u64::from_le_bytes([flags, sequence, operation, key, previous, 0, 0, 0])
            }
            Unit::Head { sequence, operation, members } => {
                u64::from_le_bytes([3, sequence, operation, members, 0, 0, 0, 0])
            }
        }
    }
}

/// A file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Whether the file has a name: made for a commit, and not removed since.
    pub(crate) linked: bool,
    /// Where the segment before this one ended when this one was made.
    pub(crate) previous_end: u8,
    pub(crate) units: [Unit; SEGMENT_UNITS],
}

impl Segment {
    pub(crate) const NONE: Segment = Segment { linked: false, previous_end: 0, units: [Unit::Empty; SEGMENT_UNITS] };

    pub(crate) fn made_at(previous_end: u8) -> Segment {
        Segment { linked: true, previous_end, ..Segment::NONE }
    }
}

/// A place in the log. A *location*, as it stands in cells and records, is its number plus one: 0 leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) segment: u8,
    pub(crate) offset: u8,
}

impl Place {
    pub(crate) fn location(self) -> u8 {
        self.segment * SEGMENT_UNITS as u8 + self.offset + 1
    }

    pub(crate) fn of(location: u8) -> Place {
        let number = location - 1;
        Place { segment: number / SEGMENT_UNITS as u8, offset: number % SEGMENT_UNITS as u8 }
    }

    pub(crate) fn plus(self, units: u8) -> Place {
        Place { offset: self.offset + units, ..self }
    }

    /// As a word, also for the first place behind a segment.
    pub(crate) fn bits(self) -> u8 {
        self.segment << 4 | self.offset
    }

    fn from_bits(bits: u8) -> Place {
        Place { segment: bits >> 4, offset: bits & 15 }
    }
}

/// The shared words that a commit changes, all of them through the redo list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Tail,
    Live,
    Cell(u8),
}

/// The redo area: `{word, new}` for each word of the commit that is being made, cells last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RedoList {
    pub(crate) count: u8,
    pub(crate) words: [(Word, u8); REDO_WORDS],
}

impl RedoList {
    pub(crate) const EMPTY: RedoList = RedoList { count: 0, words: [(Word::Live, 0); REDO_WORDS] };

    pub(crate) fn push(&mut self, word: Word, new: u8) {
        self.words[usize::from(self.count)] = (word, new);
        self.count += 1;
    }
}

/// A batch that a rebuild finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whose batch record it is.
    pub(crate) operation: u8,
    /// Whether all its members are of that operation too.
    pub(crate) of_one: bool,
}

/// Everything that survives the death of a process.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    /// 0 or the id of the owner, and `SLEEPERS`.
    pub(crate) lock: u8,
    /// 0 or the sequence number of the commit that the redo list describes.
    pub(crate) pending: u8,
    /// The newest sequence number that readers accept.
    pub(crate) visible: u8,
    pub(crate) redo: RedoList,
    pub(crate) cells: [u8; KEYS],
    pub(crate) tail: Place,
    pub(crate) live: u8,
    pub(crate) log: [Segment; SEGMENTS],
}

impl Memory {
    pub(crate) fn new() -> Memory {
        let mut log = [Segment::NONE; SEGMENTS];
        log[0] = Segment::made_at(0);
        Memory {
            lock: 0,
            pending: 0,
            visible: 0,
            redo: RedoList::EMPTY,
            cells: [0; KEYS],
            tail: Place { segment: 0, offset: 0 },
            live: 0,
            log,
        }
    }

    /// Whether the lock word names `id`.
    pub(crate) fn is_owned_by(&self, id: u8) -> bool {
        self.lock & !SLEEPERS == id
    }

    /// The number of the segment that the next commit would make, as `NEXT_SEGMENT` says. The tail is in the newest.
    pub(crate) fn next_segment(&self) -> usize {
        usize::from(self.tail.segment) + 1
    }

    pub(crate) fn unit(&self, location: u8) -> Unit {
        let place = Place::of(location);
        self.log[usize::from(place.segment)].units[usize::from(place.offset)]
    }

    pub(crate) fn put(&mut self, place: Place, unit: Unit) {
        self.log[usize::from(place.segment)].units[usize::from(place.offset)] = unit;
    }

    /// The sequence of the record at a location that a cell or a record led to.
    pub(crate) fn sequence_at(&self, location: u8) -> u8 {
        match self.unit(location) {
            Unit::Record { sequence, .. } | Unit::Head { sequence, .. } => sequence,
            Unit::Empty | Unit::Torn => 0,
        }
    }

    /// The location of the record that the one at `location` replaced, 0 for none.
    pub(crate) fn previous_at(&self, location: u8) -> u8 {
        match self.unit(location) {
            Unit::Record { previous, .. } => previous,
            _ => 0,
        }
    }

    /// The value in the record at `location`; 0 for no record and for a removal.
    pub(crate) fn value_at(&self, location: u8) -> u8 {
        if location == 0 {
            return 0;
        }
        match self.unit(location) {
            Unit::Record { removes: false, operation, .. } => operation,
            _ => 0,
        }
    }

    /// The index as the next owner of the lock will find it.
    pub(crate) fn indexed_values(&self) -> Values {
        self.cells.map(|cell| self.value_at(cell))
    }

    /// Stores the new value of one word of the redo list, which is the same whether it is done once or many times.
    pub(crate) fn redo_word(&mut self, position: u8) {
        let (word, new) = self.redo.words[usize::from(position)];
        match word {
            Word::Tail => self.tail = Place::from_bits(new),
            Word::Live => self.live = new,
            Word::Cell(key) => self.cells[usize::from(key)] = new,
        }
    }

    /// Way back 1: what recovery would make of this memory if every process died now.
    pub(crate) fn recovered(&self) -> Memory {
        let mut memory = self.clone();
        if memory.pending > memory.visible {
            for position in 0..memory.redo.count {
                memory.redo_word(position);
            }
            memory.visible = memory.pending;
        }
        memory.pending = 0;
        memory
    }

    /// Way back 2: the batches that the log alone tells of, in order, up to the first break. A segment is read up to where
    /// the next one says that it ended; the last one as far as there are whole batches.
    pub(crate) fn rebuilt(&self, bug: Bug, mut visit: impl FnMut(Found)) {
        for segment in 0..SEGMENTS {
            let follows = self.log.get(segment + 1).filter(|follower| follower.linked);
            let limit = follows.map_or(SEGMENT_UNITS, |follower| usize::from(follower.previous_end));
            let units = &self.log[segment].units[..limit];
            let mut offset = 0;
            while let Some((found, len)) = batch_at(&units[offset..], bug) {
                visit(found);
                offset += len;
            }
            if follows.is_none() || offset != limit {
                return;
            }
        }
    }
}

/// The batch that begins the units, and how many they are.
fn batch_at(units: &[Unit], bug: Bug) -> Option<(Found, usize)> {
    match *units.first()? {
        Unit::Record { alone: true, operation, .. } => Some((Found { operation, of_one: true }, 1)),
        Unit::Head { sequence, operation, members } => {
            let end = 1 + usize::from(members);
            let mut of_one = true;
            for unit in units.get(1..end)? {
                match *unit {
                    Unit::Record { alone: false, sequence: its, operation: whose, .. } if its == sequence => {
                        of_one &= whose == operation;
                    }
                    _ => return None,
                }
            }
            // The head vouches for its members with a checksum over theirs.
            (of_one || bug == Bug::HeadVouchesForNoMember).then_some((Found { operation, of_one }, end))
        }
        _ => None,
    }
}

// Derived hashing goes field by field, which makes up half the time of a search where nothing is optimised. These
// feed the same contents in words of eight bytes.

impl Hash for Memory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, second] = self.cells;
        let tail = self.tail.bits();
        let words = [self.lock, self.pending, self.visible, first, second, tail, self.live, self.redo.count];
        state.write_u64(u64::from_le_bytes(words));
        let code = |(word, new): (Word, u8)| match word {
            Word::Tail => [254, new],
            Word::Live => [255, new],
            Word::Cell(key) => [key, new],
        };
        state.write(self.redo.words.map(code).as_flattened());
        for segment in self.log.iter().filter(|segment| segment.linked) {
            let used = segment.units.iter().rposition(|unit| *unit != Unit::Empty).map_or(0, |last| last + 1);
            // The length tells where a segment ends and the next one begins.
            state.write_u64(u64::from(segment.previous_end) << 8 | used as u64);
            segment.units[..used].iter().for_each(|unit| state.write_u64(unit.bits()));
        }
    }
}
