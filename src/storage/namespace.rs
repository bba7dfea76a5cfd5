//! Namespaces: parts of a store that have keys of their own. This file owns how a key says which one it is in, and what a row
//! of the tag table stands for; it does not know what is kept in a namespace.
//!
//! ```text
//! The key of an item in a namespace:
//!      0  1  0xF8 + kind: no key of a user's begins like that
//!      1  4  id of the namespace's row in the tag table, most significant byte first
//!      5     of a cache, an index and a ledger: the key in it
//!      5  8  of a deque: the position, a u64 with the most significant byte first
//! ```
//! Each namespace has a row in the tag table, and its items have that row's id as their tag: so they are counted, and all
//! of them removed at once, as those of a tag are.
//!
//! The record of a namespace's name has its kind where other records have the kind of their value, and as its value 8
//! bytes of a setting, then the name. That of a user's tag has kind 0 and the name alone.

/// What a row of the tag table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A tag of the store's own items.
    Tag = 0,
    /// A cache within the store.
    Cache = 1,
    /// A map sorted by key.
    Index = 2,
    /// A queue with positions.
    Deque = 3,
    /// What the crate itself writes down: who works on what, and the state of locks. In no order.
    Ledger = 4,
    /// A tag of the items of a cache within the store: they are in its namespace, and the row tells them apart.
    CacheTag = 5,
}

/// Bits that hold a kind.
pub const KIND_BITS: u64 = 7;
/// What the first byte of a key is at least if it is in a namespace.
const FIRST: u8 = 0xF8;
/// Bytes in front of what is a key within its namespace.
pub const PREFIX: usize = 5;
/// Bytes of the key of an element of a deque.
pub const ELEMENT: usize = PREFIX + 8;
/// Bytes of the setting in front of a name.
pub const SETTING: usize = 8;

impl Kind {
    #[inline]
    pub fn from_bits(bits: u64) -> Option<Kind> {
        Some(match bits & KIND_BITS {
            0 => Kind::Tag,
            1 => Kind::Cache,
            2 => Kind::Index,
            3 => Kind::Deque,
            4 => Kind::Ledger,
            5 => Kind::CacheTag,
            _ => return None,
        })
    }

    /// True if the items with such a row are in a namespace.
    #[inline]
    pub fn is_inner(self) -> bool {
        self != Kind::Tag
    }

    /// True if its items are never evicted.
    #[inline]
    pub fn is_kept(self) -> bool {
        matches!(self, Kind::Index | Kind::Deque | Kind::Ledger)
    }

    /// True if, besides, what a power cut leaves of its items is as it was at one moment. A ledger needs no more than the items of
    /// a cache have: most of it is about processes, and they are gone.
    #[inline]
    pub fn is_lasting(self) -> bool {
        matches!(self, Kind::Index | Kind::Deque)
    }
}

/// A namespace: its kind, and the id of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    pub kind: Kind,
    pub id: u32,
}

impl Namespace {
    /// What begins every key in it.
    pub fn prefix(self) -> [u8; PREFIX] {
        prefix(self.kind, self.id)
    }
}

/// The name of a row of the tag table. Two of different kinds are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    pub kind: Kind,
    pub name: &'a str,
}

impl<'a> Label<'a> {
    /// A tag of the store's own items.
    pub fn tag(name: &'a str) -> Label<'a> {
        Label { kind: Kind::Tag, name }
    }
}

/// What begins every key of a namespace.
pub fn prefix(kind: Kind, id: u32) -> [u8; PREFIX] {
    let [a, b, c, d] = id.to_be_bytes();
    [FIRST | kind as u8, a, b, c, d]
}

/// The key of the element at a position of a deque. Such keys sort as the positions do.
#[inline]
pub fn element(id: u32, position: u64) -> [u8; ELEMENT] {
    let mut key = [0; ELEMENT];
    key[..PREFIX].copy_from_slice(&prefix(Kind::Deque, id));
    key[PREFIX..].copy_from_slice(&position.to_be_bytes());
    key
}

/// True if a key is in a namespace.
#[inline(always)]
pub fn is_inner(key: &[u8]) -> bool {
    key.first().is_some_and(|&first| first >= FIRST)
}

/// Kind and id of the namespace that a key is in, and the key within it.
pub fn parse(key: &[u8]) -> Option<(Kind, u32, &[u8])> {
    let (&[first, a, b, c, d], rest) = key.split_first_chunk()?;
    let kind = Kind::from_bits(u64::from(first)).filter(|kind| first >= FIRST && kind.is_inner())?;
    Some((kind, u32::from_be_bytes([a, b, c, d]), rest))
}

/// Id and position of an element of a deque.
pub fn parse_element(key: &[u8]) -> Option<(u32, u64)> {
    match parse(key)? {
        (Kind::Deque, id, position) => Some((id, u64::from_be_bytes(position.try_into().ok()?))),
        _ => None,
    }
}

/// Setting and name of what the record of a name says, by its kind. `None` if it is damaged.
pub fn parse_name(kind: Kind, value: &[u8]) -> Option<(u64, &str)> {
    let (setting, name) = if kind.is_inner() {
        let (setting, name) = value.split_first_chunk::<SETTING>()?;
        (u64::from_le_bytes(*setting), name)
    } else {
        (0, value)
    };
    Some((setting, std::str::from_utf8(name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_sort_by_position() {
        let keys = [0, 1, 255, 256, u64::MAX].map(|position| element(7, position));
        assert!(keys.is_sorted());
        assert_eq!(parse_element(&keys[3]), Some((7, 256)));
        assert_eq!(parse(&prefix(Kind::Index, 1 << 23)), Some((Kind::Index, 1 << 23, &[][..])));
        for other in [&b""[..], b"\x02key\0", &keys[0][..4], &[0xFF; 9], &[0xF8; 9], &[0xFE; 9]] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_name_reads_back_with_its_setting() {
        assert_eq!(parse_name(Kind::Deque, b"\x05\0\0\0\0\0\0\0jobs"), Some((5, "jobs")));
        assert_eq!(parse_name(Kind::Tag, b"\x05a"), Some((0, "\u{5}a")));
        assert_eq!((parse_name(Kind::Deque, b"short"), parse_name(Kind::Tag, b"\xFF")), (None, None));
    }
}
