//! The segments of the model: two streams, and what they take of the limit.

use std::collections::VecDeque;

/// Bytes of a record that only refers to an object with a file of its own.
const REFERENCE: u64 = 72;

#[derive(Debug, Default)]
pub struct Segment {
    pub objects: Vec<u32>,
    used: u64,
    /// Bytes of files that its records refer to.
    large: u64,
    /// When it was begun.
    born: u64,
}

/// Segments, oldest first; the last one is open.
#[derive(Debug, Default)]
struct Stream {
    segments: VecDeque<Segment>,
    large: u64,
}

#[derive(Debug)]
pub struct Log {
    segment_bytes: u64,
    /// Objects from this size on have files of their own.
    large_min: u64,
    begun: u64,
    committed: Stream,
    compacted: Stream,
}

impl Log {
    pub fn new(segment_bytes: u64, large_min: u64) -> Log {
        let (committed, compacted) = (Stream::default(), Stream::default());
        Log { segment_bytes, large_min, begun: 0, committed, compacted }
    }

    fn charge(&self, stream: &Stream) -> u64 {
        stream.segments.len() as u64 * self.segment_bytes + stream.large
    }

    pub fn charge_of_committed(&self) -> u64 {
        self.charge(&self.committed)
    }

    /// Whether the oldest segment is one of the compaction stream. An open one counts too: where little survives it stays
    /// open for long, and what is in it would never be looked at.
    pub fn is_compacted_older(&self) -> bool {
        match (self.committed.segments.front(), self.compacted.segments.front()) {
            (Some(committed), Some(compacted)) => compacted.born < committed.born,
            (committed, _) => committed.is_none(),
        }
    }

    /// Whether each stream has a segment that is not open: of the commit stream, of the compaction stream.
    pub fn have_sealed(&self) -> (bool, bool) {
        (self.committed.segments.len() > 1, self.compacted.segments.len() > 1)
    }

    /// Bytes of an object's record, and of its own file.
    fn parts(&self, size: u64) -> (u64, u64) {
        if size >= self.large_min { (REFERENCE, size) } else { (size, 0) }
    }

    fn is_full_for(&self, stream: &Stream, record: u64) -> bool {
        // References fill a segment as the files behind them would: else one segment could refer to the whole cache.
        stream
            .segments
            .back()
            .is_none_or(|open| open.used + record > self.segment_bytes || open.used + open.large > self.segment_bytes)
    }

    /// What everything takes once an object of this size has been stored.
    pub fn charge_with(&self, size: u64) -> u64 {
        let (record, large) = self.parts(size);
        let new = if self.is_full_for(&self.committed, record) { self.segment_bytes } else { 0 };
        self.charge(&self.committed) + self.charge(&self.compacted) + new + large
    }

    pub fn commit(&mut self, object: u32, size: u64) {
        self.append(object, size, false);
    }

    /// Copies an object; the bytes that this writes.
    pub fn compact(&mut self, object: u32, size: u64) -> u64 {
        self.append(object, size, true)
    }

    fn append(&mut self, object: u32, size: u64, compacts: bool) -> u64 {
        let (record, large) = self.parts(size);
        let is_full = self.is_full_for(if compacts { &self.compacted } else { &self.committed }, record);
        let stream = if compacts { &mut self.compacted } else { &mut self.committed };
        if is_full {
            self.begun += 1;
            stream.segments.push_back(Segment { born: self.begun, ..Segment::default() });
        }
        if let Some(open) = stream.segments.back_mut() {
            open.objects.push(object);
            open.used += record;
            open.large += large;
            stream.large += large;
        }
        record
    }

    pub fn take_oldest(&mut self, compacted: bool) -> Option<Segment> {
        let stream = if compacted { &mut self.compacted } else { &mut self.committed };
        let segment = stream.segments.pop_front()?;
        stream.large -= segment.large;
        Some(segment)
    }

    /// Puts a segment of the compaction stream before the open one.
    pub fn requeue(&mut self, mut segment: Segment) {
        self.begun += 1;
        segment.born = self.begun;
        self.compacted.large += segment.large;
        let last = self.compacted.segments.len().saturating_sub(1);
        self.compacted.segments.insert(last, segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_count_whole_and_large_objects_by_their_size() {
        let mut log = Log::new(1_000, 500);
        assert_eq!(log.charge_with(400), 1_000);
        log.commit(0, 400);
        log.commit(1, 400);
        assert_eq!((log.charge_of_committed(), log.charge_with(200), log.charge_with(201)), (1_000, 1_000, 2_000));
        log.commit(2, 600);
        assert_eq!(log.charge_of_committed(), 1_600);
        assert_eq!(log.compact(2, 600), REFERENCE);
        assert!(!log.is_compacted_older());
        let victim = log.take_oldest(false).unwrap();
        assert_eq!((victim.objects, log.charge_of_committed()), (vec![0, 1, 2], 0));
        assert!(log.is_compacted_older());
    }

    #[test]
    fn a_segment_of_references_is_full_when_the_files_would_fill_it() {
        let mut log = Log::new(1_000, 500);
        (0..2).for_each(|object| log.commit(object, 900));
        assert_eq!(log.have_sealed(), (false, false));
        log.commit(2, 900);
        assert_eq!(log.have_sealed(), (true, false));
        assert_eq!(log.take_oldest(false).unwrap().objects, [0, 1]);
    }

    #[test]
    fn a_segment_that_is_requeued_goes_last_of_those_that_are_full() {
        let mut log = Log::new(100, u64::MAX);
        for object in 0..4 {
            assert_eq!(log.compact(object, 100), 100);
        }
        let first = log.take_oldest(true).unwrap();
        log.requeue(first);
        let order: Vec<u32> =
            std::iter::from_fn(|| log.take_oldest(true)).flat_map(|segment| segment.objects).collect();
        assert_eq!(order, [1, 2, 0, 3]);
    }
}
