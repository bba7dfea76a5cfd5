//! What the processes of the model share: the words of the state file and the log, with the two ways back after
//! every process has died (recover from the redo list, rebuild from the log). It knows nothing of processes, steps
//! or seeded bugs.

use std::hash::{Hash, Hasher};

/// Two keys are the fewest with which a transaction can be seen half.
pub(crate) const KEYS: usize = 2;

/// Room for every batch a bounded run can write, burnt ones included.
pub(crate) const SLOTS: usize = 8;

/// A commit changes at most two entries, the tail and the length.
pub(crate) const REDO_WORDS: usize = 4;

/// What a get of each key returns; 0 is "absent".
pub(crate) type Values = [u8; KEYS];

/// What a batch does to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Keep,
    Set(u8),
    Delete,
}

/// How much of a batch is in the log. `Torn` is what a checksum that does not match tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Unwritten,
    Torn,
    Whole,
}

/// One batch of the log: a header and a record for each key that it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) seq: u8,
    /// The batch voids all sequence numbers between this one and its own.
    pub(crate) follows: u8,
    pub(crate) changes: [Change; KEYS],
    /// Per record: where the version before it lies, 0 for none.
    pub(crate) prev: [u8; KEYS],
    pub(crate) bytes: Bytes,
    /// Not in the log, known to the model alone: the caller was told that this batch failed.
    pub(crate) disowned: bool,
}

impl Batch {
    pub(crate) const UNWRITTEN: Batch = Batch {
        seq: 0,
        follows: 0,
        changes: [Change::Keep; KEYS],
        prev: [0; KEYS],
        bytes: Bytes::Unwritten,
        disowned: false,
    };

    fn is_whole(&self) -> bool {
        self.bytes == Bytes::Whole
    }

    fn voids(&self, seq: u8) -> bool {
        self.is_whole() && self.follows < seq && seq < self.seq
    }
}

/// What a batch with these changes makes of `values`.
pub(crate) fn apply(changes: [Change; KEYS], values: &mut Values) {
    for (value, change) in values.iter_mut().zip(changes) {
        match change {
            Change::Keep => {}
            Change::Set(new) => *value = new,
            Change::Delete => *value = 0,
        }
    }
}

/// The shared words that a commit changes, all of them through the redo list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Entry(u8),
    Tail,
    Len,
}

/// The redo area: `{word, new}` for each word of the commit that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RedoList {
    pub(crate) count: u8,
    pub(crate) words: [(Word, u8); REDO_WORDS],
}

impl RedoList {
    pub(crate) const EMPTY: RedoList = RedoList { count: 0, words: [(Word::Tail, 0); REDO_WORDS] };

    pub(crate) fn push(&mut self, word: Word, new: u8) {
        self.words[usize::from(self.count)] = (word, new);
        self.count += 1;
    }
}

/// Everything that survives the death of a process. A *place* is an index into `log`; a *location*, as it stands in
/// entries and in `prev`, is a place plus one, so that 0 can mean "nothing".
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    /// 0 or the id of the owner.
    pub(crate) lock: u8,
    /// 0 or the sequence number of the commit that the redo list describes.
    pub(crate) pending: u8,
    /// V: the newest sequence number that readers accept.
    pub(crate) visible: u8,
    /// The highest sequence number that a dead or failed writer may have left in the log.
    pub(crate) burnt: u8,
    pub(crate) redo: RedoList,
    pub(crate) entries: [u8; KEYS],
    pub(crate) tail: u8,
    pub(crate) len: u8,
    pub(crate) log: [Batch; SLOTS],
}

impl Memory {
    pub(crate) fn new() -> Memory {
        Memory {
            lock: 0,
            pending: 0,
            visible: 0,
            burnt: 0,
            redo: RedoList::EMPTY,
            entries: [0; KEYS],
            tail: 0,
            len: 0,
            log: [Batch::UNWRITTEN; SLOTS],
        }
    }

    /// The batch that holds the record at `location`, which must not be 0.
    pub(crate) fn batch_at(&self, location: u8) -> &Batch {
        &self.log[usize::from(location) - 1]
    }

    /// The value of `key` in the record at `location`; 0 for no record and for a tombstone.
    pub(crate) fn value_at(&self, location: u8, key: usize) -> u8 {
        if location == 0 {
            return 0;
        }
        match self.batch_at(location).changes[key] {
            Change::Set(value) => value,
            Change::Keep | Change::Delete => 0,
        }
    }

    /// The index as the next owner of the lock will find it.
    pub(crate) fn indexed_values(&self) -> Values {
        [self.value_at(self.entries[0], 0), self.value_at(self.entries[1], 1)]
    }

    /// Stores the new value of one word of the redo list, which is the same whether it is done once or many times.
    pub(crate) fn redo_word(&mut self, position: u8) {
        let (word, new) = self.redo.words[usize::from(position)];
        match word {
            Word::Entry(key) => self.entries[usize::from(key)] = new,
            Word::Tail => self.tail = new,
            Word::Len => self.len = new,
        }
    }

    /// Way back 1: what recovery would make of this memory if every process died now.
    pub(crate) fn recovered(&self) -> Memory {
        let mut memory = self.clone();
        if memory.pending != 0 {
            for position in 0..memory.redo.count {
                memory.redo_word(position);
            }
            memory.visible = memory.pending;
            memory.pending = 0;
        }
        memory
    }

    /// Way back 2: replay of the log alone, up to and including `last`. Torn batches end their segment and the chain
    /// goes on in the next one; voided batches are dropped.
    pub(crate) fn rebuilt(&self, last: u8) -> Values {
        let mut values = [0; KEYS];
        for batch in self.written().filter(|batch| batch.seq <= last && self.counts(batch)) {
            apply(batch.changes, &mut values);
        }
        values
    }

    /// The batches beyond `last` that a rebuild would replay as well.
    pub(crate) fn rebuilt_beyond(&self, last: u8) -> impl Iterator<Item = &Batch> {
        self.written().filter(move |batch| batch.seq > last && self.counts(batch))
    }

    fn counts(&self, batch: &Batch) -> bool {
        batch.is_whole() && !self.written().any(|other| other.voids(batch.seq))
    }

    /// Places are used without a gap, so nothing stands behind the first unwritten one.
    fn written(&self) -> impl Iterator<Item = &Batch> {
        self.log.iter().take_while(|batch| batch.bytes != Bytes::Unwritten)
    }
}

// Derived hashing goes field by field, which makes up half the time of a search where nothing is optimised. These
// three feed the same contents in words of eight bytes.

impl Hash for Memory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, second] = self.entries;
        let words = [self.lock, self.pending, self.visible, self.burnt, first, second, self.tail, self.len];
        state.write_u64(u64::from_le_bytes(words));
        self.redo.hash(state);
        self.written().for_each(|batch| batch.hash(state));
    }
}

impl Hash for RedoList {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.count);
        let code = |(word, new): (Word, u8)| match word {
            Word::Entry(key) => [key, new],
            Word::Tail => [254, new],
            Word::Len => [255, new],
        };
        state.write(self.words.map(code).as_flattened());
    }
}

impl Hash for Batch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let code = |change| match change {
            Change::Keep => 0,
            Change::Set(value) => value,
            Change::Delete => 255,
        };
        let [first, second] = self.changes.map(code);
        let flags = self.bytes as u8 * 2 + u8::from(self.disowned);
        let record = [self.seq, self.follows, first, second, self.prev[0], self.prev[1], flags, 0];
        state.write_u64(u64::from_le_bytes(record));
    }
}
