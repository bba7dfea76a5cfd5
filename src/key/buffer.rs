//! The buffer that an encoded key lives in.
//!
//! It owns the bytes and the two limits of a key, length and depth; which bytes are written is the writer's business.

use super::{MAX_DEPTH, MAX_KEY_BYTES, code};
use crate::error::Error;

/// Keys up to this many bytes need no allocation. Clearing the array is part of the cost of every look-up, and moving
/// it too, so it is no longer than common keys are.
const INLINE_BYTES: usize = 64;

/// An encoded key.
///
/// The bytes are in `inline` while they fit there, all of them in `spill` else. Beyond the limit nothing is
/// stored any more and only `len` goes on, so that the error can name the length and a huge key costs no memory.
#[derive(Debug, Clone)]
pub(crate) struct EncodedKey {
    len: usize,
    /// The most bytes that are kept.
    limit: usize,
    too_deep: bool,
    inline: [u8; INLINE_BYTES],
    spill: Vec<u8>,
}

impl EncodedKey {
    #[inline]
    pub(crate) fn new() -> EncodedKey {
        EncodedKey { len: 0, limit: MAX_KEY_BYTES, too_deep: false, inline: [0; INLINE_BYTES], spill: Vec::new() }
    }

    /// For what is no key by itself, and may be of any length.
    pub(super) fn unlimited() -> EncodedKey {
        EncodedKey { limit: usize::MAX, ..EncodedKey::new() }
    }

    /// Makes room for another key.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.too_deep = false;
        self.spill.clear();
    }

    /// The encoding.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.inline.get(..self.len).unwrap_or(&self.spill)
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self.inline.get(..self.len) {
            Some(bytes) => bytes.to_vec(),
            None => self.spill,
        }
    }

    #[inline]
    pub(super) fn is_valid(&self) -> bool {
        self.len <= self.limit && !self.too_deep
    }

    /// Why the key is not valid.
    #[cold]
    pub(super) fn refusal(&self) -> Error {
        if self.too_deep {
            Error::mismatch("a key of at most 32 nested tuples", "a deeper one")
        } else {
            Error::KeyTooLarge { bytes: self.len }
        }
    }

    /// Whether tuples may stand at this depth; if not, the key is refused.
    #[inline]
    pub(super) fn admits_depth(&mut self, depth: u8) -> bool {
        self.too_deep |= depth > MAX_DEPTH;
        depth <= MAX_DEPTH
    }

    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.len = start.saturating_add(bytes.len());
        match self.inline.get_mut(start..self.len) {
            Some(room) => room.copy_from_slice(bytes),
            None => self.push_spilled(start, bytes),
        }
    }

    /// All of another key, which has no limit, and whether it was too deep; or is here, if it does not fit.
    #[cfg(feature = "macros")]
    #[inline]
    pub(super) fn push_encoded(&mut self, key: &EncodedKey, fits: bool) {
        self.too_deep |= key.too_deep || !fits;
        self.push(key.as_bytes());
    }

    /// The first `count` of `bytes`. Copying all of them is one fixed store where a copy of varying length is a call.
    #[inline]
    pub(super) fn push_first<const N: usize>(&mut self, bytes: [u8; N], count: usize) {
        match self.inline.get_mut(self.len..).and_then(|room| room.first_chunk_mut::<N>()) {
            Some(room) => {
                *room = bytes;
                self.len += count.min(N);
            }
            None => self.push(bytes.get(..count).unwrap_or(&bytes)),
        }
    }

    /// A byte string between `code` and the end mark.
    #[inline]
    pub(super) fn push_framed(&mut self, code: u8, content: &[u8]) {
        if has_zero(content) {
            return self.push_escaped(code, content);
        }
        let end = self.len.saturating_add(content.len()).saturating_add(2);
        if let Some([first, room @ .., last]) = self.inline.get_mut(self.len..end) {
            *first = code;
            room.copy_from_slice(content);
            *last = code::END;
            self.len = end;
        } else {
            self.push(&[code]);
            self.push(content);
            self.push(&[code::END]);
        }
    }

    fn push_escaped(&mut self, code: u8, content: &[u8]) {
        self.push(&[code]);
        for piece in content.split_inclusive(|byte| *byte == 0) {
            self.push(piece);
            if piece.ends_with(&[0]) {
                self.push(&[code::ESCAPE]);
            }
        }
        self.push(&[code::END]);
    }

    /// `self.len` already counts `bytes`, which begin at `start`.
    #[cold]
    fn push_spilled(&mut self, start: usize, bytes: &[u8]) {
        if self.len > self.limit {
            return;
        }
        if let Some(moved) = self.inline.get(..start) {
            self.spill.reserve(self.len.max(2 * INLINE_BYTES));
            self.spill.extend_from_slice(moved);
        }
        self.spill.extend_from_slice(bytes);
    }
}

/// Whether a byte is zero. It looks at every byte without an early end, because that compiles to wide compares, and
/// nearly always there is no zero to stop at.
#[inline]
fn has_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | (*byte == 0))
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;

    /// The frame as the format's table describes it, byte by byte.
    fn framed(content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![code::BYTES];
        for byte in content {
            bytes.push(*byte);
            if *byte == 0 {
                bytes.push(code::ESCAPE);
            }
        }
        bytes.push(code::END);
        bytes
    }

    #[test]
    fn keys_of_every_length_around_the_inline_array_are_whole() {
        for length in 0..3 * INLINE_BYTES {
            let mut content: Vec<u8> = (0..length).map(|place| place as u8 | 1).collect();
            assert_eq!(encode(&content).unwrap().as_bytes(), framed(&content), "{length} bytes");
            assert_eq!(encode(&(&content, &content)).unwrap().len, 2 * (length + 2) + 2);
            if let Some(middle) = content.get_mut(length / 2) {
                *middle = 0;
                assert_eq!(encode(&content).unwrap().as_bytes(), framed(&content), "{length} bytes, one escaped");
            }
        }
    }

    #[test]
    fn numbers_written_across_the_end_of_the_inline_array_are_whole() {
        for length in 0..=INLINE_BYTES {
            let content = vec![7; length];
            let mut expected = vec![code::TUPLE];
            expected.extend(framed(&content));
            expected.extend([0x16, 0x01, 0x02, code::NULL, code::ESCAPE, code::TRUE, code::F64, 0x80]);
            expected.extend([0; 7]);
            expected.push(code::END);
            let key = (content, 0x0102, None::<u8>, true, 0.0f64);
            assert_eq!(encode(&key).unwrap().as_bytes(), expected, "{length} bytes before");
            assert_eq!(encode(&key).unwrap().into_vec(), expected, "{length} bytes before");
        }
    }

    #[test]
    fn a_common_key_is_not_on_the_heap() {
        assert_eq!(encode("0123456789abcdef").unwrap().spill.capacity(), 0);
        assert_eq!(encode(&("user", u64::MAX, Some('x'))).unwrap().spill.capacity(), 0);
        assert_eq!(encode(&"x".repeat(INLINE_BYTES - 2)).unwrap().spill.capacity(), 0);
    }

    #[test]
    fn a_key_over_the_limit_is_counted_but_not_kept() {
        let huge = vec![0; 10 << 20];
        let mut buffer = EncodedKey::new();
        buffer.push_framed(code::BYTES, &huge);
        buffer.push_framed(code::BYTES, &vec![1; 10 << 20]);
        assert!(!buffer.is_valid());
        assert!(buffer.spill.capacity() <= 2 * MAX_KEY_BYTES, "{}", buffer.spill.capacity());
        let Error::KeyTooLarge { bytes } = buffer.refusal() else { panic!("{:?}", buffer.refusal()) };
        assert_eq!(bytes, 2 * (10 << 20) + 2 + (10 << 20) + 2);
    }
}
