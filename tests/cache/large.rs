//! Values from nothing to 100 MB, around every size at which they are stored in another way.

use super::{HOUR, Scratch, tagged};
use larder::Cache;

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8) ^ seed).collect()
}

#[test]
fn every_size_is_read_back_by_every_call() {
    let cache = Scratch::with_limit(1 << 30);
    let second = cache.second();
    let sizes = [0, 1, 7, 8, 9, 4_095, 4_096, 8_191, 8_192, 8_193, 65_536, (256 << 10) - 1, 256 << 10, (256 << 10) + 1];
    let megabytes = [1_000_000, (1 << 20) + 1, 5_000_000];
    for (i, &len) in sizes.iter().chain(&megabytes).enumerate() {
        let bytes = pattern(len, i as u8);
        cache.set_bytes_with(len, &bytes, tagged("sizes").expire(HOUR)).unwrap();
        for handle in [&cache.cache, &second] {
            assert!(handle.get_bytes(len).unwrap().unwrap() == bytes, "{len}");
            assert!(*handle.get_ref(len).unwrap().unwrap() == *bytes, "{len}");
        }
    }
    cache.assert_clean();
    for entry in cache.entries::<usize, serde::de::IgnoredAny>() {
        let (key, entry) = entry.unwrap();
        assert_eq!((entry.size, entry.tag.as_deref()), (key as u64, Some("sizes")));
    }
    // Each size replaces another one.
    let all: Vec<usize> = sizes.iter().chain(&megabytes).copied().collect();
    for (i, &key) in all.iter().enumerate() {
        cache.set_bytes(key, &pattern(all[all.len() - 1 - i], 99)).unwrap();
    }
    for (i, &key) in all.iter().enumerate() {
        assert!(second.get_bytes(key).unwrap().unwrap() == pattern(all[all.len() - 1 - i], 99), "{key}");
    }
    assert_eq!(cache.len(), all.len());
    cache.assert_clean();
}

#[test]
fn large_values_go_with_their_items() {
    let cache = Scratch::new();
    let empty = cache.volume();
    let large = pattern(1 << 20, 0);
    let files = || std::fs::read_dir(&cache.dir).unwrap().filter(|f| is_value(f.as_ref().unwrap())).count();
    for round in 0..3 {
        for i in 0..5u32 {
            cache.set_bytes_with(i, &large, tagged("t")).unwrap();
        }
        assert!(cache.volume() >= empty + (5 << 20));
        assert_eq!(files(), 5);
        cache.set(0u32, "small").unwrap();
        assert!(cache.delete(1u32).unwrap());
        assert!(cache.get_bytes(2u32).unwrap().unwrap() == large);
        match round {
            0 => assert_eq!(cache.delete_many(0..5u32).unwrap(), 4),
            1 => assert_eq!(cache.clear().unwrap(), 4),
            _ => {
                for i in 0..5u32 {
                    cache.touch(i, Some(std::time::Duration::ZERO)).unwrap();
                }
                assert_eq!(cache.expire().unwrap(), 4);
            }
        }
        assert_eq!((cache.len(), files()), (0, 0), "round {round}");
        assert!(cache.volume() < empty + (2 << 20), "round {round}: {} after {empty}", cache.volume());
        cache.assert_clean();
    }
}

fn is_value(file: &std::fs::DirEntry) -> bool {
    file.file_name().to_string_lossy().starts_with("value-")
}

#[test]
fn a_hundred_megabytes_under_the_default_limit() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir).unwrap();
    let mut bytes = vec![7; 100_000_000];
    for (i, block) in bytes.chunks_mut(4096).enumerate() {
        block[..4].copy_from_slice(&(i as u32).to_le_bytes());
    }
    cache.set_bytes("huge", &bytes).unwrap();
    assert!(cache.volume() >= 100_000_000);
    assert!(*cache.get_ref("huge").unwrap().unwrap() == *bytes);
    assert!(cache.get_bytes("huge").unwrap().unwrap() == bytes);
    drop(cache);
    let cache = Cache::open(&dir).unwrap();
    let held = cache.get_ref("huge").unwrap().unwrap();
    cache.set("huge", "small").unwrap();
    assert!(cache.volume() < 100_000_000);
    assert!(*held == *bytes);
    assert_eq!(cache.get::<String>("huge").unwrap().unwrap(), "small");
    assert!(cache.check().unwrap().is_clean());
}
