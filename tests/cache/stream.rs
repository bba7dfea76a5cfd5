//! `set_reader`, `writer` and `reader`.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use larder::{Cache, Error, Eviction, SetOptions, ValueReader};

use crate::Scratch;

const NONE: SetOptions<'static> = SetOptions::new();
const BLOCK: usize = 64 << 10;
/// Around where values get files, and where blocks end.
const LENGTHS: [usize; 11] = [
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
fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 251) as u8 ^ (i as u8).wrapping_mul(seed | 1)).collect()
}

fn read_all(mut reader: ValueReader) -> Vec<u8> {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    all
}

/// Writes in pieces of all lengths.
fn write(cache: &Cache, key: &str, value: &[u8], options: SetOptions<'_>) {
    let mut writer = cache.writer(key, options).unwrap();
    let (mut left, mut piece) = (value, 1);
    while !left.is_empty() {
        let (some, rest) = left.split_at(piece.min(left.len()));
        writer.write_all(some).unwrap();
        (left, piece) = (rest, piece * 3 % 200_003 + 1);
    }
    assert_eq!(writer.commit().unwrap(), value.len() as u64);
}

/// Files of large values, finished or not.
fn files(directory: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_meant = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("val") || name.starts_with("draft")
    };
    names.filter(is_meant).collect()
}

#[track_caller]
fn assert_holds(cache: &Cache, key: &str, value: &[u8]) {
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
            std::fs::remove_file(dir.path().join("state")).unwrap();
        }
        let cache = Cache::open(&dir).unwrap();
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
fn a_writer_that_is_dropped_leaves_nothing() {
    let cache = Scratch::new();
    write(&cache, "k", &bytes(1 << 20, 1), NONE);
    let (volume, before) = (cache.volume(), files(cache.dir.path()));
    let mut writer = cache.writer("k", NONE).unwrap();
    writer.write_all(&bytes(5 << 20, 2)).unwrap();
    assert_eq!(files(cache.dir.path()).len(), before.len() + 1);
    assert_holds(&cache, "k", &bytes(1 << 20, 1));
    drop(writer);
    assert_eq!((cache.volume(), files(cache.dir.path())), (volume, before));
    // What it had set aside is free again: nearly all of the limit can be written.
    write(&cache, "large", &bytes(54 << 20, 4), NONE);
    assert!(cache.volume() <= 64 << 20);
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
fn what_does_not_fit_is_refused_and_the_key_is_as_it_was() {
    let cache = Scratch::with_limit(4 << 20);
    cache.update_settings(|settings| settings.eviction = Eviction::None).unwrap();
    cache.set_bytes("k", b"before").unwrap();
    let endless = || io::repeat(7);
    assert!(matches!(cache.set_reader("k", endless(), NONE), Err(Error::ValueTooLarge { .. })));
    write(&cache, "half", &bytes(2 << 20, 1), NONE);
    assert!(cache.set_reader("k", endless().take(3 << 20), NONE).unwrap_err().is_full());
    struct Broken(u64);
    impl Read for Broken {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::ConnectionReset)?;
            to.fill(1);
            Ok(to.len())
        }
    }
    let broken = cache.set_reader("k", Broken(8), NONE).unwrap_err();
    assert!(matches!(&broken, Error::Io(failure) if failure.source.kind() == io::ErrorKind::ConnectionReset));
    assert!(matches!(
        cache.set_reader("k", &b""[..], SetOptions::new().tag("t".repeat(2000))),
        Err(Error::TagTooLarge { .. })
    ));
    assert_eq!(cache.get_bytes("k").unwrap().as_deref(), Some(&b"before"[..]));
    assert_eq!(files(cache.dir.path()).len(), 1);
    let mut writer = cache.writer("k", NONE).unwrap();
    let mut failed = 0;
    for _ in 0..8 {
        failed += usize::from(writer.write_all(&[7; 1 << 20]).is_err());
    }
    assert!(failed > 0);
    assert!(matches!(writer.commit(), Err(Error::Io(_))), "of a value that was written in part nothing is stored");
    assert_eq!(cache.get_bytes("k").unwrap().as_deref(), Some(&b"before"[..]));
    let reader = Cache::builder(&cache.dir).read_only(true).open().unwrap();
    assert!(read_all(reader.reader("half").unwrap().unwrap()) == bytes(2 << 20, 1));
    assert!(matches!(reader.set_reader("k", endless().take(1 << 20), NONE), Err(Error::ReadOnly)));
    cache.set("number", &7).unwrap();
    assert!(cache.reader("number").unwrap_err().is_type());
    assert!(cache.reader("absent").unwrap().is_none());
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

#[test]
fn damage_is_found_in_the_piece_that_has_it() {
    let cache = Scratch::new();
    let value = bytes(10 * BLOCK + 5, 9);
    write(&cache, "k", &value, NONE);
    let path = files(cache.dir.path()).pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let damage = |at: usize| {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        std::fs::write(&path, damaged).unwrap();
    };
    for block in 0..11 {
        damage(block * BLOCK);
        let mut reader = cache.reader("k").unwrap().unwrap();
        for other in 0..11 {
            reader.seek(SeekFrom::Start((other * BLOCK) as u64)).unwrap();
            let mut some = [0; 5];
            let read = reader.read_exact(&mut some);
            assert_eq!(read.is_err(), other == block, "block {other} with block {block} damaged");
            assert!(read.is_err() || some == value[other * BLOCK..][..5]);
        }
        assert!(cache.get_bytes("k").unwrap_err().is_corrupt());
        assert!(!cache.check().unwrap().is_clean());
    }
    for at in value.len()..whole.len() {
        damage(at);
        assert!(cache.reader("k").unwrap_err().is_corrupt(), "byte {at}");
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(cache.reader("k").unwrap_err().is_corrupt());
    cache.set_bytes("plain", &value).unwrap();
    let path = files(cache.dir.path()).into_iter().find(|other| *other != path).unwrap();
    std::fs::write(&path, bytes(value.len(), 1)).unwrap();
    assert!(cache.reader("plain").unwrap_err().is_corrupt());
}
