//! Reading the log in order: batch by batch, verified. It does not know the index.

use crate::os::OsMap;
use crate::storage::record::{self, Header, Type};
use crate::storage::segment;

/// How many times the length of a segment is looked at while a way out of damage is sought.
const CLAIMS: usize = 16;

/// One record of a verified batch.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub offset: usize,
    pub header: Header,
}

/// What a segment holds from one place to the next.
pub enum Found<'b> {
    /// A whole batch.
    Batch(&'b [Member]),
    /// Damage where a batch was. What can still be told of its records: their headers, not verified. Their keys are those
    /// of records that were there, unless the damage is in the keys.
    Lost(&'b [Member]),
}

/// Reads the batches of one segment's bytes up to `end`.
pub struct Batches<'m, M: OsMap> {
    map: &'m M,
    nonce: u64,
    end: usize,
    /// Where the next batch begins.
    pub offset: usize,
    /// The epoch of the last batch, if that is known.
    pub epoch: Option<u8>,
    /// The newest number of a batch so far.
    pub newest: u64,
    /// All of it was verified a moment ago, and nobody else is there to change it: checksums are not looked at again. Lengths are.
    pub was_verified: bool,
    /// The members have sequences of their own, as in the main stream.
    mixed: bool,
    /// That of the batch that was read last, and whether it is the first of it.
    read: (u8, bool),
    buffer: Vec<u8>,
    members: Vec<Member>,
}

impl<'m, M: OsMap> Batches<'m, M> {
    pub fn new(map: &'m M, nonce: u64, end: usize) -> Self {
        let end = end.min(map.len());
        Batches {
            map,
            nonce,
            end,
            offset: segment::HEAD,
            epoch: None,
            newest: 0,
            was_verified: false,
            mixed: false,
            read: (0, false),
            buffer: Vec::new(),
            members: Vec::new(),
        }
    }

    /// Those of a segment with this id.
    pub fn of(map: &'m M, id: u64, nonce: u64, end: usize) -> Self {
        Batches { mixed: segment::is_main(id), ..Batches::new(map, nonce, end) }
    }

    /// What it reads.
    pub fn map(&self) -> &'m M {
        self.map
    }

    /// The members of the next batch; `None` where no whole batch begins. Every member is verified.
    pub fn next_batch(&mut self) -> Option<&[Member]> {
        self.members.clear();
        let first = self.verified(self.offset)?;
        self.read = first.epoch();
        if first.is_alone() {
            self.members.push(Member { offset: self.offset, header: first });
            self.offset += first.size();
            return Some(&self.members);
        }
        if first.kind_of_record != Type::Batch {
            return None;
        }
        let (value, len) = first.value_range(self.offset);
        self.buffer.clear();
        if !self.map.append_to(value, len, &mut self.buffer) {
            return None;
        }
        let (bytes, count, check) = record::parse_batch_value(&self.buffer);
        let start = self.offset + first.size();
        let stop = start.checked_add(usize::try_from(bytes).ok()?).filter(|&stop| stop <= self.end)?;
        let mut at = start;
        let mut found = 0;
        for _ in 0..count {
            let header = match self.verified(at) {
                None if seeded!("batch_with_a_missing_member") => return self.pass(stop),
                other => other?,
            };
            if !self.was_verified {
                found = record::check_with(found, self.buffer.first_chunk::<4>()?);
            }
            if (header.sequence != first.sequence && !self.mixed) || header.is_alone() || at + header.size() > stop {
                return None;
            }
            self.members.push(Member { offset: at, header });
            at += header.size();
        }
        let is_checked = self.was_verified || check == 0 || check == found.max(1);
        if at != stop || !is_checked {
            return None;
        }
        self.newest = self.newest.max(first.sequence);
        self.offset = stop;
        Some(&self.members)
    }

    /// Takes a batch for whole whatever it holds.
    fn pass(&mut self, stop: usize) -> Option<&[Member]> {
        self.offset = stop;
        Some(&self.members)
    }

    /// As [`Batches::next_batch`]; but below `sure`, where everything was durable, a place without a whole batch is not
    /// the end of the log: it is damage, and reading goes on behind it. And from `sure` on, a batch whose epoch does not
    /// follow from that of the one before it is the end.
    pub fn next(&mut self, sure: usize) -> Option<Found<'_>> {
        let from = self.offset;
        let sure = sure.min(self.end);
        if self.next_batch().is_some() {
            let (epoch, is_first) = self.read;
            if from >= sure && self.epoch.is_some_and(|last| is_first == (epoch == last)) {
                // It follows a commit that is not here.
                self.offset = from;
                return None;
            }
            self.epoch = Some(epoch);
            return Some(Found::Batch(&self.members));
        }
        if from >= sure {
            return None;
        }
        // Batches that begin behind `sure` are younger than what may be missing before them.
        let goes_on = self.skip_damage() && self.offset <= sure;
        let to = if goes_on { self.offset } else { sure };
        self.epoch = None;
        self.members.clear();
        self.claims(from, to);
        self.offset = to;
        Some(Found::Lost(&self.members))
    }

    /// The records that stood in a damaged range: one after the other if they fill it exactly, which damaged lengths would
    /// not; else those that are whole by themselves.
    fn claims(&mut self, from: usize, to: usize) {
        let mut at = from;
        while let Some(header) = Header::read(self.map, at, to) {
            self.members.push(Member { offset: at, header });
            at += header.size();
        }
        if at == to {
            return;
        }
        self.members.clear();
        let mut at = from;
        let mut budget = self.end.saturating_mul(CLAIMS);
        while at + record::HEADER <= to {
            let claim = Header::read(self.map, at, to).map_or(0, |header| header.size());
            budget = budget.saturating_sub(claim);
            if budget == 0 {
                return;
            }
            match if claim == 0 { None } else { self.verified(at) } {
                Some(header) => {
                    self.members.push(Member { offset: at, header });
                    // The members of a batch are records too.
                    at += if header.kind_of_record == Type::Batch { record::BATCH_RECORD } else { header.size() };
                }
                None => at += 8,
            }
        }
    }

    /// Looks for the next place at which a whole batch begins, past damage. False if there is none.
    ///
    /// What looks like a record costs a checksum of what it claims to be. The claims that are followed are bounded, so that
    /// bytes made to look like many long records cannot keep this busy for ever.
    pub fn skip_damage(&mut self) -> bool {
        let mut budget = self.end.saturating_mul(CLAIMS);
        while self.offset + record::HEADER <= self.end {
            self.offset += 8;
            let here = self.offset;
            let claim = Header::read(self.map, here, self.end).map_or(0, |header| header.size());
            budget = budget.saturating_sub(claim);
            if budget == 0 {
                return false;
            }
            if claim != 0 && self.verified(here).is_some() && self.next_batch().is_some() {
                self.offset = here;
                return true;
            }
            self.offset = here;
        }
        false
    }

    fn verified(&mut self, offset: usize) -> Option<Header> {
        let header = Header::read(self.map, offset, self.end)?;
        if self.was_verified {
            return Some(header);
        }
        let salt = record::salt(self.nonce, offset);
        header.verify(self.map, offset, salt, &mut self.buffer).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::real::RealOs;
    use crate::os::{Access, OpenMode, Os, OsFile};
    use crate::storage::record::{BATCH_RECORD, Draft, batch_value};

    const NONCE: u64 = 77;

    fn append(log: &mut Vec<u8>, draft: Draft<'_>) {
        let mut out = Vec::new();
        draft.encode(record::salt(NONCE, log.len()), &mut out);
        log.extend_from_slice(&out);
    }

    /// A segment with a put, a batch of two, and a put.
    fn log() -> Vec<u8> {
        let mut log = vec![0; segment::HEAD];
        append(&mut log, Draft { key: b"a", alone: true, ..Draft::bare(Type::Put, 1) });
        let member = |key: &'static [u8]| Draft { key, value: b"v", ..Draft::bare(Type::Put, 2) };
        let mut members = log.clone();
        members.resize(log.len() + BATCH_RECORD, 0);
        let mut check = 0;
        for key in [b"b", b"c"] {
            let at = members.len();
            append(&mut members, member(key));
            check = record::check_with(check, &members[at..at + 4]);
        }
        let value = batch_value(2 * member(b"b").size() as u64, 2, check);
        append(&mut log, Draft { value: &value, ..Draft::bare(Type::Batch, 2) });
        log.extend_from_slice(&members[log.len()..]);
        append(&mut log, Draft { key: b"d", alone: true, ..Draft::bare(Type::Put, 3) });
        log
    }

    fn sequences(bytes: &[u8]) -> Vec<Vec<u64>> {
        let dir = tempfile::tempdir().unwrap();
        let file = RealOs::new().unwrap().open(&dir.path().join("f"), OpenMode::Create).unwrap();
        file.write_at(bytes, 0).unwrap();
        let map = file.map(bytes.len(), Access::Read).unwrap();
        let mut batches = Batches::new(&map, NONCE, bytes.len());
        let mut found = Vec::new();
        while let Some(members) = batches.next_batch() {
            found.push(members.iter().map(|m| m.header.sequence).collect());
        }
        found
    }

    #[test]
    fn batches_come_whole_and_in_order() {
        assert_eq!(sequences(&log()), [vec![1], vec![2, 2], vec![3]]);
    }

    #[test]
    fn a_log_cut_anywhere_gives_a_prefix_of_whole_batches() {
        let log = log();
        let whole = sequences(&log);
        for cut in segment::HEAD..log.len() {
            let found = sequences(&log[..cut]);
            assert!(whole.starts_with(&found) && found.len() < whole.len(), "cut at {cut}: {found:?}");
            let mut zeroed = log.clone();
            zeroed[cut..].fill(0);
            let found = sequences(&zeroed);
            assert!(whole.starts_with(&found), "zeros from {cut}: {found:?}");
        }
    }

    #[test]
    fn a_batch_with_a_valid_member_of_another_is_none() {
        let mut log = log();
        let second = segment::HEAD + 32 + BATCH_RECORD;
        let member = Draft { key: b"b", value: b"w", ..Draft::bare(Type::Put, 2) };
        let mut other = Vec::new();
        member.encode(record::salt(NONCE, second), &mut other);
        log[second..second + other.len()].copy_from_slice(&other);
        assert_eq!(sequences(&log), [vec![1]]);
    }

    #[test]
    fn a_damaged_member_voids_its_batch_and_reading_can_go_on_behind() {
        let mut log = log();
        let second = segment::HEAD + 32 + 40;
        log[second + 24] ^= 1;
        assert_eq!(sequences(&log), [vec![1]]);
        let dir = tempfile::tempdir().unwrap();
        let file = RealOs::new().unwrap().open(&dir.path().join("f"), OpenMode::Create).unwrap();
        file.write_at(&log, 0).unwrap();
        let map = file.map(log.len(), Access::Read).unwrap();
        let mut batches = Batches::new(&map, NONCE, log.len());
        assert!(batches.next_batch().is_some() && batches.next_batch().is_none());
        assert!(batches.skip_damage());
        assert_eq!(batches.next_batch().unwrap()[0].header.sequence, 3);
    }
}
