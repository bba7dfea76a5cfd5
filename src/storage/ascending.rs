//! Ascending keys, one behind the other, and the table that says where each begins; in bytes that may be hostile. It does not know
//! what stands around them. What makes no sense in a table is an empty key.

use std::cmp::Ordering;

/// Bytes of the table for each key: where it begins among the keys.
pub const OFFSET: usize = 4;

/// Bytes of a head.
const HEAD: usize = 8;

/// A table and its keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ascending<'b> {
    offsets: &'b [[u8; OFFSET]],
    keys: &'b [u8],
}

/// The first bytes of a key, as a number: what it tells apart is in that order.
#[inline]
pub fn head_of(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(&head) => u64::from_be_bytes(head),
        None => head_of_short(key),
    }
}

/// The same of a key that is shorter than a head. Its first and its last bytes overlap, and where they do they are the same.
#[inline]
fn head_of_short(key: &[u8]) -> u64 {
    let behind = 8 * (HEAD - key.len().min(HEAD)) as u32;
    match (key.first_chunk(), key.last_chunk()) {
        (Some(&first), Some(&last)) => {
            u64::from(u32::from_be_bytes(first)) << 32 | u64::from(u32::from_be_bytes(last)) << behind
        }
        _ => key.iter().fold(0, |head, &byte| head << 8 | u64::from(byte)).checked_shl(behind).unwrap_or(0),
    }
}

impl<'b> Ascending<'b> {
    /// A table of so many keys at the beginning of some bytes, and the keys behind it, up to the end of the bytes. `None` if
    /// the table does not fit in them.
    #[inline]
    pub fn of(bytes: &'b [u8], count: usize) -> Option<Ascending<'b>> {
        let (table, keys) = bytes.split_at_checked(count * OFFSET)?;
        Some(Ascending { offsets: table.as_chunks().0, keys })
    }

    #[inline]
    pub fn count(&self) -> usize {
        self.offsets.len()
    }

    /// Where a key begins among the keys; behind the last one, where they end.
    #[inline]
    pub fn begin(&self, i: usize) -> usize {
        self.offsets.get(i).map_or(self.keys.len(), |offset| u32::from_le_bytes(*offset) as usize)
    }

    #[inline]
    pub fn key(&self, i: usize) -> &'b [u8] {
        self.keys.get(self.begin(i)..self.begin(i + 1)).unwrap_or_default()
    }

    /// The head of a key.
    #[inline(always)]
    fn head(&self, i: usize) -> u64 {
        let (begin, end) = (self.begin(i), self.begin(i + 1));
        let bytes = if end <= self.keys.len() { self.keys.get(begin..begin.wrapping_add(HEAD)) } else { None };
        let Some(bytes) = bytes.and_then(<[u8]>::first_chunk) else { return head_of(self.key(i)) };
        let head = u64::from_be_bytes(*bytes);
        match end.wrapping_sub(begin) {
            // What comes behind a short key is the next one.
            len @ 0..HEAD => head & !(u64::MAX >> (8 * len)),
            len if len <= self.keys.len() => head,
            _ => 0,
        }
    }

    /// True if the keys stand one behind the other.
    pub fn is_sound(&self) -> bool {
        let mut last = 0;
        let mut ascend = true;
        for offset in self.offsets {
            let offset = u32::from_le_bytes(*offset);
            ascend &= offset >= last;
            last = offset;
        }
        ascend && last as usize <= self.keys.len()
    }

    /// Where a key is among those from number `first` on; if it is not there, before which of them it would be.
    #[inline]
    pub fn find(&self, first: usize, key: &[u8]) -> Result<usize, usize> {
        let head = head_of(key);
        let (mut low, mut high) = (first, self.count());
        while low < high {
            let middle = low.midpoint(high);
            match head.cmp(&self.head(middle)).then_with(|| key.cmp(self.key(middle))) {
                Ordering::Greater => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Less => high = middle,
            }
        }
        Err(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(keys: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut at = 0;
        for key in keys {
            bytes.extend_from_slice(&(at as u32).to_le_bytes());
            at += key.len();
        }
        keys.iter().for_each(|key| bytes.extend_from_slice(key));
        bytes
    }

    #[test]
    fn heads_have_the_order_of_their_keys() {
        let keys: [&[u8]; 9] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\0\0\0\0\0\0\0", b"aaaaaaaa", b"aaaaaaaab", b"b"];
        assert!(keys.is_sorted());
        assert!(keys.map(head_of).is_sorted());
        let bytes: Vec<u8> = (1..=9).collect();
        for len in 0..=9 {
            let padded = [&bytes[..len], &[0; 8]].concat();
            assert_eq!(head_of(&bytes[..len]), u64::from_be_bytes(*padded.first_chunk().unwrap()), "{len}");
        }
    }

    #[test]
    fn a_key_is_where_it_is_or_before_the_next_one() {
        let keys: [&[u8]; 6] = [b"", b"a", b"ab", b"abcdefgh", b"abcdefghi", b"b"];
        let bytes = bytes_of(&keys);
        let table = Ascending::of(&bytes, keys.len()).unwrap();
        assert!(table.is_sound());
        for (i, key) in keys.iter().enumerate() {
            assert_eq!((table.key(i), table.find(0, key)), (*key, Ok(i)));
            assert_eq!(table.head(i), head_of(key));
            assert_eq!(table.find(i + 1, key), Err(i + 1));
            let behind = [key, &b"\0"[..]].concat();
            assert_eq!(table.find(0, &behind), Err(i + 1));
        }
        assert_eq!((table.key(6), table.key(usize::MAX - 1)), (&b""[..], &b""[..]));
    }

    #[test]
    fn a_table_that_lies_has_empty_keys() {
        assert!(Ascending::of(&[0; 7], 2).is_none());
        let mut bytes = bytes_of(&[b"one", b"two"]);
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let table = Ascending::of(&bytes, 2).unwrap();
        assert!(!table.is_sound());
        assert_eq!((table.key(0), table.key(1)), (&b""[..], &b""[..]));
        assert!(table.find(0, b"two").is_err());
    }
}
