//! What a record remembers of the type of its value, and the comparison with the type that is asked for.
//!
//! It owns the header before every codec's payload, the [`Edge`] that the probes fill in, and the hashes. It knows names
//! and kinds and may not know serde, codecs or payloads.

use super::Kind;
use crate::error::{Error, Result};

/// Bytes before a codec's payload: codec id, then the four `u16` of [`Header`], little-endian.
pub(super) const HEADER_BYTES: usize = 9;

/// Levels of an [`Edge`]: beyond that, types are told apart by their structure alone.
const MAX_LEVELS: usize = 4;

/// The low twelve bits of [`Header::edge`] are a hash, the high four the number of levels it covers.
const EDGE_HASH_BITS: u32 = 12;

/// The facts about a type that stand before its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub codec: u8,
    /// Hash of the outermost level: kind, name, length of a tuple.
    pub top: u16,
    /// Hash and number of the levels below it, down the left edge of the value.
    pub edge: u16,
    /// Hash of the structure, see [`Trail::structure`]. Zero for self-describing codecs.
    pub structure: u16,
    /// Hash of field and variant names. Zero for self-describing codecs.
    pub names: u16,
}

impl Header {
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [t0, t1] = self.top.to_le_bytes();
        let [e0, e1] = self.edge.to_le_bytes();
        let [s0, s1] = self.structure.to_le_bytes();
        let [n0, n1] = self.names.to_le_bytes();
        [self.codec, t0, t1, e0, e1, s0, s1, n0, n1]
    }

    /// Splits header and payload; `None` if the bytes are too few.
    pub fn split(bytes: &[u8]) -> Option<(Header, &[u8])> {
        let (&[codec, t0, t1, e0, e1, s0, s1, n0, n1], payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let header = Header {
            codec,
            top: u16::from_le_bytes([t0, t1]),
            edge: u16::from_le_bytes([e0, e1]),
            structure: u16::from_le_bytes([s0, s1]),
            names: u16::from_le_bytes([n0, n1]),
        };
        Some((header, payload))
    }
}

/// One type on the left edge, as serde names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub kind: Kind,
    /// The name of a struct or enum, the word for a primitive, or empty.
    pub name: &'static str,
    /// The length of a tuple, else 0.
    pub len: usize,
    /// Rust's own name of the type that asked, if it is known. Only a reader has one, and it is never stored.
    pub type_name: &'static str,
}

impl Level {
    const NONE: Level = Level { kind: Kind::Opaque, name: "", len: 0, type_name: "" };

    fn hash_into(&self, hash: u64) -> u64 {
        mix_name(mix(mix(hash, self.kind as u64), self.len as u64), self.name)
    }

    /// The word for this type in an error message.
    pub fn word(&self) -> &'static str {
        if self.name.is_empty() { self.kind.word() } else { self.name }
    }

    /// True if a type that reads itself this way surely also writes itself this way.
    ///
    /// A type may write itself as the struct it is and read itself through another (`#[serde(try_from = "Raw")]`) or
    /// through a string; serde tells its `Serialize` and `Deserialize` sides no common name. Rust's name of the type
    /// gives it away: a derived implementation asks under the name of the type itself, and the types of the standard
    /// library are known to be symmetric. For any other type the names are not held against it.
    fn is_certain(&self) -> bool {
        match self.kind {
            Kind::Newtype | Kind::Struct | Kind::TupleStruct | Kind::UnitStruct | Kind::Enum => {
                has_segment(self.type_name, self.name)
            }
            _ => is_standard(self.type_name),
        }
    }
}

/// The types met when a value is entered by its first part, again and again: `Vec<Option<Job>>` is a list, an option, a
/// struct `Job`. It ends at whatever has a name, at a primitive, or where the value is empty.
pub(super) struct Edge {
    levels: [Level; MAX_LEVELS],
    count: usize,
    /// The edge was cut off where a type asked for whatever is stored.
    pub open: bool,
}

impl Edge {
    #[inline]
    pub fn new() -> Edge {
        Edge { levels: [Level::NONE; MAX_LEVELS], count: 0, open: false }
    }

    #[inline]
    pub fn push(&mut self, level: Level) {
        if let Some(slot) = self.levels.get_mut(self.count) {
            *slot = level;
            self.count += 1;
        }
    }

    pub fn is_full(&self) -> bool {
        self.count == MAX_LEVELS
    }

    pub fn top(&self) -> Option<&Level> {
        self.levels().first()
    }

    fn levels(&self) -> &[Level] {
        self.levels.get(..self.count).unwrap_or_default()
    }

    fn below(&self) -> &[Level] {
        self.levels().get(1..).unwrap_or_default()
    }

    /// The two hashes of the header.
    pub fn hashes(&self) -> (u16, u16) {
        let top = self.top().map_or(0, |level| fold(level.hash_into(0)));
        (top, edge_hash(self.below()))
    }

    /// Compares what is asked for, which is this edge, with what the record says.
    ///
    /// # Errors
    /// [`Error::Type`] if they are surely different types.
    pub fn check(&self, kind: Kind, header: &Header, self_describing: bool) -> Result<()> {
        let Some(top) = self.top() else { return Ok(()) };
        if top.kind != kind || fold(top.hash_into(0)) != header.top {
            // A flattened struct writes itself as a map, and a type of its own making may read it as a struct.
            let flattened = self_describing && kind == Kind::Map && top.kind == Kind::Struct;
            let excused = flattened || kind == Kind::Opaque || !top.is_certain();
            return if excused { Ok(()) } else { Err(Error::mismatch(top.word(), kind.word())) };
        }
        let stored = usize::from(header.edge >> EDGE_HASH_BITS);
        if self.below().get(..stored).is_some_and(|levels| edge_hash(levels) == header.edge) {
            return Ok(());
        }
        let excused = (self.open && self.below().len() < stored) || !self.levels().iter().all(Level::is_certain);
        if excused { Ok(()) } else { Err(Error::mismatch(self.inner_word(), OTHER_CONTENT)) }
    }

    /// The word for the innermost type of the edge that has a name.
    pub fn inner_word(&self) -> &'static str {
        self.levels().iter().rev().find(|level| !level.name.is_empty()).or(self.top()).map_or("a value", Level::word)
    }
}

/// What a record is called whose outermost type is right while an inner one is not.
pub(super) const OTHER_CONTENT: &str = "a value with other content";

fn edge_hash(levels: &[Level]) -> u16 {
    let hash = levels.iter().fold(0, |hash, level| level.hash_into(hash));
    let count = u16::try_from(levels.len()).unwrap_or(u16::MAX >> EDGE_HASH_BITS);
    (count << EDGE_HASH_BITS) | (fold(hash) & ((1 << EDGE_HASH_BITS) - 1))
}

/// One step of the rolling hash. Part of the format on disk: it may never change.
#[inline]
pub(super) fn mix(hash: u64, item: u64) -> u64 {
    (hash.rotate_left(5) ^ item).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The rolling hash of a name, eight bytes a step, the length last. Part of the format on disk: it may never change.
///
/// Names are short and usually known to the compiler, which then computes most of this beforehand.
#[inline]
pub(super) fn mix_name(hash: u64, name: &str) -> u64 {
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let rest = rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    mix(mix(hash, rest), name.len() as u64)
}

/// The sixteen bits of a rolling hash that are stored. Part of the format on disk: it may never change.
pub(super) fn fold(hash: u64) -> u16 {
    ((hash >> 48) ^ (hash >> 32) ^ (hash >> 16)) as u16
}

/// True if `name` stands in `type_name` as a whole word.
fn has_segment(type_name: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    type_name.split(|c| !is_word(c)).any(|word| word == name)
}

/// Standard types that serde reads and writes as the one value inside.
const WRAPPERS: &[&str] = &[
    "PhantomData",
    "Box",
    "Rc",
    "Arc",
    "Cow",
    "Cell",
    "RefCell",
    "Mutex",
    "RwLock",
    "Reverse",
    "Wrapping",
    "Saturating",
];

/// True if the outermost type, seen through [`WRAPPERS`], is a primitive or of the standard library.
fn is_standard(type_name: &str) -> bool {
    let mut rest = type_name;
    loop {
        let end = rest.find(['<', '>', ',', ' ']).unwrap_or(rest.len());
        let (path, arguments) = rest.split_at(end);
        let last = path.rsplit("::").next().unwrap_or(path);
        let of_std = ["alloc::", "core::", "std::"].iter().any(|root| path.starts_with(root));
        match arguments.strip_prefix('<') {
            Some(inner) if of_std && WRAPPERS.contains(&last) => rest = inner,
            _ => {
                // Tuples, arrays and slices begin with punctuation, and what they hold is a level of its own.
                return of_std || path.starts_with(['(', '[', '&']) || (!path.is_empty() && !path.contains("::"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_survives_bytes() {
        let header = Header { codec: 77, top: 1, edge: 0xf002, structure: 0xfffe, names: 4 };
        let mut bytes = header.to_bytes().to_vec();
        bytes.push(5);
        assert_eq!(Header::split(&bytes), Some((header, &[5u8][..])));
        assert_eq!(Header::split(&bytes[..8]), None);
    }

    #[test]
    fn hashes_are_part_of_the_format() {
        assert_eq!(fold(mix_name(mix(0, 24), "Job")), 51563);
    }

    #[test]
    fn standard_types_are_known_through_their_wrappers() {
        for name in ["u32", "alloc::string::String", "(a::B, u8)", "[a::B; 3]", "alloc::boxed::Box<str>"] {
            assert!(is_standard(name), "{name}");
        }
        assert!(is_standard("core::marker::PhantomData<alloc::sync::Arc<alloc::vec::Vec<a::B>>>"));
        for name in ["", "a::Email", "core::marker::PhantomData<alloc::sync::Arc<a::B>>", "indexmap::IndexMap<u8, u8>"]
        {
            assert!(!is_standard(name), "{name}");
        }
    }

    #[test]
    fn a_name_counts_only_as_a_whole_word() {
        assert!(has_segment("core::marker::PhantomData<a::User>", "User"));
        assert!(!has_segment("core::marker::PhantomData<a::User>", "UserRaw"));
        assert!(!has_segment("a::UserRaw", "User"));
        assert!(has_segment("a::Page<a::User>", "Page"));
    }
}
