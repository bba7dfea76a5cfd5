//! One record anywhere in a file, and what the bytes of its key and value say.
//!
//! Input: a byte of flags (1: the checksum is put right), the nonce, the record's number of eight bytes from the start,
//! the record and what stands behind it.

use super::held::Held;
use super::input::Input;
use super::repaired::{content_of, repair_record};
use crate::os::bounded::within;
use crate::storage::namespace::{self, Kind};
use crate::storage::record::{self, Draft, HEAD_MAX, Header, LargeReference};

/// Reads a record in every way, and writes it again if it is whole.
pub fn record(bytes: &[u8]) {
    within(4 * bytes.len() + (16 << 10), || read_record(bytes));
}

fn read_record(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (flags, nonce, number) = (input.byte(), input.word(), usize::from(input.byte()));
    let at = number * 8;
    let mut file = vec![0; at];
    file.extend_from_slice(input.rest());
    if flags & 1 != 0
        && let Some(header) = Header::read(&Held::new(&file), at, file.len())
    {
        repair_record(&mut file, at, content_of(&header), nonce);
    }
    let map = Held::new(&file);
    let salt = record::salt(nonce, at);
    let Some(header) = Header::read(&map, at, file.len()) else { return };
    let content = content_of(&header);
    assert!(at + header.size() <= file.len() && content <= header.size());
    assert!(Header::read(&map, at, at + header.size() - 1).is_none());

    let whole = header.verify(&map, at, salt, &mut Vec::new());
    assert_eq!(header.verify_in_place(&map, at, salt), whole);
    let (key, value) = (header.key_range(at), header.value_range(at));
    let [key, value] = [key, value].map(|(from, len)| &file[from..from + len]);
    let mut taken = b"before".to_vec();
    assert_eq!(header.append_value(&map, at, salt, &mut taken), whole);
    assert_eq!(taken, [&b"before"[..], if whole { value } else { &[] }].concat());
    read_contents(&header, key, value);
    if whole {
        assert_eq!(written_again(&header, key, value, salt)[..content], file[at..at + content]);
    }
}

/// The record as it would be written.
fn written_again(header: &Header, key: &[u8], value: &[u8], salt: u32) -> Vec<u8> {
    let draft = Draft {
        key,
        value,
        kind: header.kind,
        tag: header.tag,
        expires: has_expiry(header).then_some(header.expires),
        replaces: has_order(header).then(|| (header.previous, header.order(0, 0))),
        large: header.is_large(),
        alone: header.is_alone(),
        epoch: header.epoch(),
        over_main: header.over_main,
        ..Draft::bare(header.kind_of_record, header.sequence)
    };
    let mut out = Vec::new();
    draft.encode(salt, &mut out);
    assert_eq!((out.len(), draft.size()), (header.size(), header.size()));
    out
}

/// Bytes of the optional words tell which of them there are: 8, 16 or both.
fn optional(header: &Header) -> usize {
    let optional = header.key_range(0).0 - record::HEADER;
    assert!(optional <= HEAD_MAX - record::HEADER);
    optional
}

fn has_expiry(header: &Header) -> bool {
    optional(header) & 8 != 0
}

fn has_order(header: &Header) -> bool {
    optional(header) & 16 != 0
}

/// What else is made of a key and a value, whatever they are.
fn read_contents(header: &Header, key: &[u8], value: &[u8]) {
    let reference = LargeReference::decode(value);
    assert_eq!(LargeReference::decode(&reference.encode()), reference);
    let (bytes, members, check) = record::parse_batch_value(value);
    assert_eq!(record::parse_batch_value(&record::batch_value(bytes, members, check)), (bytes, members, check.max(1)));
    assert_eq!(
        namespace::parse(key).is_some(),
        namespace::is_inner(key) && key.len() >= 5 && key[0] & 7 < 6 && key[0] != 0xF8
    );
    if let Some((kind, id, rest)) = namespace::parse(key) {
        assert_eq!([&namespace::prefix(kind, id)[..], rest].concat(), key);
    }
    if let Some((id, position)) = namespace::parse_element(key) {
        assert_eq!(namespace::element(id, position)[..], *key);
    }
    if let Some(kind) = Kind::from_bits(u64::from(header.kind)) {
        let named = namespace::parse_name(kind, value);
        assert!(named.is_none_or(|(_, name)| value.ends_with(name.as_bytes())));
    }
}
