//! `set_reader`, `writer` and `reader`.

use std::io::{self, Read, Seek, SeekFrom, Write};

use larder::{Cache, SetOptions, ValueReader};

use crate::Scratch;

pub const NONE: SetOptions<'static> = SetOptions::new();
pub const BLOCK: usize = 64 << 10;
/// Around where values get files, and where blocks end.
pub const LENGTHS: [usize; 11] = [
    0,
    1,
    BLOCK,
    (256 << 10) - 1,
    256 << 10,
    (256 << 10) + 1,
    5 * BLOCK - 1,
    5 * BLOCK,
    5 * BLOCK + 1,
    (1 << 20) + 3,
    (3 << 20) - 7,
];

/// Bytes that differ from place to place, and from one `seed` to another.
pub fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 251) as u8 ^ (i as u8).wrapping_mul(seed | 1)).collect()
}

pub fn read_all(mut reader: ValueReader) -> Vec<u8> {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    all
}

/// Writes in pieces of all lengths.
pub fn write(cache: &Cache, key: &str, value: &[u8], options: SetOptions<'_>) {
    let mut writer = cache.writer(key, options).unwrap();
    let (mut left, mut piece) = (value, 1);
    while !left.is_empty() {
        let (some, rest) = left.split_at(piece.min(left.len()));
        writer.write_all(some).unwrap();
        (left, piece) = (rest, piece * 3 % 200_003 + 1);
    }
    assert_eq!(writer.commit().unwrap(), value.len() as u64);
}

#[track_caller]
pub fn assert_holds(cache: &Cache, key: &str, value: &[u8]) {
    assert_eq!(cache.get_bytes(key).unwrap().as_deref(), Some(value));
    assert_eq!(&*cache.get_ref(key).unwrap().unwrap(), value);
    let reader = cache.reader(key).unwrap().unwrap();
    assert_eq!(reader.len(), value.len() as u64);
    assert!(read_all(reader) == value);
}

#[test]
fn what_is_written_in_pieces_is_read_whole_by_every_call() {
    let cache = Scratch::new();
    for (n, len) in LENGTHS.into_iter().enumerate() {
        let value = bytes(len, n as u8);
        write(&cache, "written", &value, SetOptions::new().tag("t"));
        assert_holds(&cache, "written", &value);
        assert_eq!(cache.set_reader("read", &value[..], NONE).unwrap(), len as u64);
        assert_holds(&cache.second(), "read", &value);
        cache.set_bytes("set", &value).unwrap();
        assert_holds(&cache, "set", &value);
        if n % 3 == 0 {
            write(&cache, &format!("kept {len}"), &value, NONE);
        }
    }
    assert_eq!(cache.evict("t").unwrap(), 1);
    assert!(cache.reader("written").unwrap().is_none());
    assert!(cache.check().unwrap().is_clean());
    let Scratch { cache, dir } = cache;
    drop(cache);
    for is_rebuilt in [false, true] {
        if is_rebuilt {
            crate::forget_index(dir.path());
        }
        let cache = crate::open(dir.path(), None);
        for (n, len) in LENGTHS.into_iter().enumerate().filter(|(n, _)| n % 3 == 0) {
            assert_holds(&cache, &format!("kept {len}"), &bytes(len, n as u8));
        }
        assert!(cache.check().unwrap().is_clean() && cache.repair().unwrap().is_clean());
    }
}

#[test]
fn a_reader_reads_from_any_place() {
    let cache = Scratch::new();
    for len in [100, 700_001] {
        let value = bytes(len, 3);
        write(&cache, "k", &value, NONE);
        let mut reader = cache.reader("k").unwrap().unwrap();
        let mut at = 1;
        for _ in 0..300 {
            at = at * 48_271 % 2_147_483_647;
            let place = at % (len + 10);
            assert_eq!(reader.seek(SeekFrom::Start(place as u64)).unwrap(), place as u64);
            let mut some = vec![0; at % 100_000];
            let read = reader.read(&mut some).unwrap();
            let rest = value.get(place..).unwrap_or_default();
            assert_eq!(read == 0, rest.is_empty() || some.is_empty());
            assert!(some[..read] == rest[..read]);
            assert_eq!(reader.stream_position().unwrap(), (place + read) as u64);
        }
        assert_eq!(reader.seek(SeekFrom::End(-7)).unwrap(), len as u64 - 7);
        assert!(read_all(reader) == value[len - 7..]);
        let mut reader = cache.reader("k").unwrap().unwrap();
        assert_eq!(reader.seek(SeekFrom::Current(-1)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_reader_keeps_its_value_whatever_becomes_of_the_key() {
    let cache = Scratch::with_limit(8 << 20);
    let value = bytes(1 << 20, 5);
    for fate in 0..4 {
        write(&cache, "k", &value, NONE);
        let mut reader = cache.reader("k").unwrap().unwrap();
        let mut first = [0; 1000];
        reader.read_exact(&mut first).unwrap();
        match fate {
            0 => write(&cache, "k", &bytes(1 << 20, 6), NONE),
            1 => assert!(cache.delete("k").unwrap()),
            2 => assert_eq!(cache.clear().unwrap(), 1),
            _ => (0..40_000u32).for_each(|n| cache.set_bytes(n, &[7; 1000]).unwrap()),
        }
        assert!(cache.stats().unwrap().pinned >= 1 << 20 || fate == 3);
        assert!(read_all(reader) == value[1000..], "fate {fate}");
        cache.clear().unwrap();
    }
    assert!(cache.stats().unwrap().pinned < 1 << 20, "no value is kept any more");
}

#[test]
fn inside_a_transaction_they_are_part_of_it() {
    let cache = Scratch::new();
    cache
        .transact(|tx| {
            tx.set_reader("k", &b"short"[..], NONE)?;
            assert_eq!(read_all(tx.reader("k")?.unwrap()), b"short");
            tx.set_reader("l", &bytes(1 << 20, 1)[..], NONE)?;
            assert!(read_all(tx.reader("l")?.unwrap()) == bytes(1 << 20, 1));
            assert!(!cache.contains("l")?);
            Ok(())
        })
        .unwrap();
    assert_eq!(cache.len(), 2);
    assert_holds(&cache, "l", &bytes(1 << 20, 1));
    let within = cache.cache("within").unwrap();
    write(&within, "k", &bytes(1 << 20, 2), SetOptions::new().tag("t"));
    assert_holds(&within, "k", &bytes(1 << 20, 2));
    assert_eq!(within.evict("t").unwrap(), 1);
}
