//! Bytes that nobody changes, as a mapping of a file: fast, and strict where a mapping forgives. It is no simulation of
//! a machine.

use crate::os::OsMap;

/// A file of these bytes, mapped for reading.
pub struct Held(pub Box<[u8]>);

impl Held {
    pub fn new(bytes: &[u8]) -> Held {
        Held(bytes.into())
    }

    fn range(&self, offset: usize, len: usize) -> Option<&[u8]> {
        self.0.get(offset..offset.checked_add(len)?)
    }

    /// Who asks for a word has to know that it is there.
    #[track_caller]
    fn word<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(offset.is_multiple_of(N), "a word at {offset}");
        let bytes = self.range(offset, N).and_then(|bytes| bytes.first_chunk());
        *bytes.unwrap_or_else(|| panic!("a word at {offset} of {}", self.0.len()))
    }
}

impl OsMap for Held {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_writable(&self) -> bool {
        false
    }

    #[track_caller]
    fn load(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.word(offset))
    }

    fn store(&self, offset: usize, _: u64) {
        panic!("a store at {offset}");
    }

    fn compare_exchange(&self, offset: usize, _: u64, _: u64) -> Result<u64, u64> {
        panic!("a store at {offset}");
    }

    fn fetch_add(&self, offset: usize, _: u64) -> u64 {
        panic!("a store at {offset}");
    }

    fn fetch_max(&self, offset: usize, _: u64) -> u64 {
        panic!("a store at {offset}");
    }

    fn load32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.word(offset))
    }

    fn compare_exchange32(&self, offset: usize, _: u32, _: u32) -> Result<u32, u32> {
        panic!("a store at {offset}");
    }

    fn swap32(&self, offset: usize, _: u32) -> u32 {
        panic!("a store at {offset}");
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        self.range(offset, to.len()).map(|bytes| to.copy_from_slice(bytes)).is_some()
    }

    fn append_to(&self, offset: usize, len: usize, to: &mut Vec<u8>) -> bool {
        self.range(offset, len).map(|bytes| to.extend_from_slice(bytes)).is_some()
    }

    fn write(&self, offset: usize, _: &[u8]) {
        panic!("a store at {offset}");
    }

    fn equals(&self, offset: usize, bytes: &[u8]) -> bool {
        self.range(offset, bytes.len()) == Some(bytes)
    }

    fn prefetch(&self, _: usize) {}

    fn immutable(&self, offset: usize, len: usize) -> Option<&[u8]> {
        self.range(offset, len)
    }
}
