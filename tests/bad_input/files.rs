//! One file at a time: missing, empty, cut off, zeroed, garbage, another file's bytes, an older version, a directory, a
//! link. And a value whose bytes changed in the log.

use super::store::{Original, Trust, exercise, run_named};
use larder::Cache;
use std::path::Path;

/// Deterministic bytes that look like nothing.
fn garbage(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn the_store_that_is_damaged_has_every_kind_of_file() {
    let original = Original::new();
    for kind in ["larder", "state", "index-", "log-", "tags-", "value-"] {
        assert!(original.files.keys().any(|name| name.starts_with(kind)), "{kind}: {:?}", original.files.keys());
    }
    assert!(original.files.keys().filter(|name| name.starts_with("log-")).count() > 1);
    // Undamaged, the copy is trusted as it stands and everything is there.
    let dir = original.write();
    let cache = Cache::open(&dir).unwrap();
    assert!(cache.check().unwrap().is_clean());
    assert_eq!(cache.get_bytes(101u32).unwrap().unwrap(), [101; 20_000]);
    // Reading leaves marks in the index, and nowhere else.
    assert_eq!(std::fs::read(dir.path().join("log-1")).ok(), original.files.get("log-1").cloned());
    drop(cache);
    exercise(&original, dir.path(), Trust::Always, "undamaged");
}

#[test]
fn every_file_missing_empty_cut_zeroed_or_garbage() {
    run_named(|says| {
        let original = Original::new();
        for (name, bytes) in &original.files {
            let mut versions: Vec<(String, Option<Vec<u8>>)> = vec![
                ("missing".into(), None),
                ("garbage".into(), Some(garbage(bytes.len()))),
                ("zeroed".into(), Some(vec![0; bytes.len()])),
                ("ones".into(), Some(vec![255; bytes.len()])),
                ("longer".into(), Some([bytes.as_slice(), &garbage(5_000)].concat())),
                ("twice".into(), Some([bytes.as_slice(), bytes].concat())),
            ];
            for len in [0, 1, 8, 63, 64, 65, 4_095, 4_096, bytes.len() / 2, bytes.len().saturating_sub(1)] {
                if len < bytes.len() {
                    versions.push((format!("cut at {len}"), Some(bytes[..len].to_vec())));
                    let mut rest = bytes[..len].to_vec();
                    rest.resize(bytes.len(), 0);
                    versions.push((format!("zeroed from {len}"), Some(rest)));
                }
            }
            for (how, version) in versions {
                let what = format!("{name} {how}");
                says(what.clone());
                let dir = original.write();
                let path = dir.path().join(name);
                match version {
                    Some(bytes) => std::fs::write(path, bytes).unwrap(),
                    None => std::fs::remove_file(path).unwrap(),
                }
                exercise(&original, dir.path(), Trust::Always, &what);
            }
        }
    });
}

#[test]
fn files_in_each_others_place() {
    run_named(|says| {
        let original = Original::new();
        let other = Original::new();
        let names: Vec<&String> = original.files.keys().collect();
        for (i, a) in names.iter().enumerate() {
            for b in &names[i + 1..] {
                let what = format!("{a} and {b} swapped");
                says(what.clone());
                let dir = original.write();
                swap(dir.path(), a, b);
                exercise(&original, dir.path(), Trust::Always, &what);
            }
            // The same file of another store.
            if let Some(bytes) = other.files.get(*a) {
                let what = format!("{a} of another store");
                says(what.clone());
                let dir = original.write();
                std::fs::write(dir.path().join(a), bytes).unwrap();
                exercise(&original, dir.path(), Trust::Always, &what);
            }
        }
    });
}

fn swap(dir: &Path, a: &str, b: &str) {
    let (a, b) = (dir.join(a), dir.join(b));
    let (a_bytes, b_bytes) = (std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    std::fs::write(a, b_bytes).unwrap();
    std::fs::write(b, a_bytes).unwrap();
}

#[test]
fn directories_and_links_in_the_place_of_files() {
    run_named(|says| {
        let original = Original::new();
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("precious");
        for name in original.files.keys().map(String::as_str).chain(["procs", "larder.new", "state.new"]) {
            for how in ["directory", "link to a file", "link to nothing", "link to itself"] {
                let what = format!("{name} is a {how}");
                says(what.clone());
                std::fs::write(&target, "precious").unwrap();
                let dir = original.write();
                let path = dir.path().join(name);
                let _ = std::fs::remove_file(&path);
                match how {
                    "directory" => std::fs::create_dir(&path).unwrap(),
                    "link to a file" => std::os::unix::fs::symlink(&target, &path).unwrap(),
                    "link to nothing" => std::os::unix::fs::symlink(outside.path().join("new"), &path).unwrap(),
                    _ => std::os::unix::fs::symlink(&path, &path).unwrap(),
                }
                exercise(&original, dir.path(), Trust::Always, &what);
                assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious", "{what}");
                assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "{what}");
            }
        }
    });
}

#[test]
fn segments_without_a_manifest_are_not_overwritten() {
    let original = Original::new();
    let dir = original.write();
    std::fs::remove_file(dir.path().join("larder")).unwrap();
    assert!(Cache::open(&dir).unwrap_err().is_corrupt());
    for (name, bytes) in original.files.iter().filter(|(name, _)| name.starts_with("log-")) {
        assert!(std::fs::read(dir.path().join(name)).unwrap() == *bytes, "{name}");
    }
    std::fs::write(dir.path().join("larder"), &original.files["larder"]).unwrap();
    assert!(Cache::open(&dir).unwrap().check().unwrap().is_clean());
}

#[test]
fn a_changed_byte_of_a_value_is_found_by_check_and_never_served() {
    let original = Original::new();
    let dir = original.write();
    let needle = b"value of 10, first";
    let mut changed = 0;
    for (name, bytes) in original.files.iter().filter(|(name, _)| name.starts_with("log-")) {
        let mut bytes = bytes.clone();
        for at in 0..bytes.len() - needle.len() {
            if bytes[at..].starts_with(needle) {
                bytes[at] = b'V';
                changed += 1;
                break;
            }
        }
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    assert_eq!(changed, 1);
    let cache = Cache::open(&dir).unwrap();
    assert!(!cache.check().unwrap().is_clean());
    let read = cache.get_bytes(2u32).unwrap();
    assert!(read.is_some_and(|value| value.starts_with(b"value of 2")), "the others are there");
    let read = cache.get_bytes(10u32);
    let genuine = |value: Option<Vec<u8>>| value.is_none_or(|value| value.starts_with(needle));
    let told = match read {
        Ok(value) => genuine(value),
        Err(error) => error.is_corrupt(),
    };
    cache.repair().unwrap();
    assert!(genuine(cache.get_bytes(10u32).unwrap()), "after repair");
    assert!(told, "before repair the changed value was served");
}

#[test]
fn after_repair_check_finds_nothing_but_the_damaged_bytes() {
    let original = Original::new();
    let (name, bytes) = original.files.iter().find(|(name, _)| name.starts_with("log-")).unwrap();
    for how in ["changed", "missing", "zeroed"] {
        let dir = original.write();
        let path = dir.path().join(name);
        let mut bytes = bytes.clone();
        match how {
            "changed" => bytes[400] ^= 1,
            _ => bytes[64..].fill(0),
        }
        match how {
            "missing" => std::fs::remove_file(path).unwrap(),
            _ => std::fs::write(path, bytes).unwrap(),
        }
        let cache = Cache::open(&dir).unwrap();
        assert!(!cache.repair().unwrap().is_clean(), "{how}");
        let report = cache.check().unwrap();
        // What is damaged in the log stays there, unread, until its segment goes.
        let left =
            |problem: &larder::Damage| problem.what == larder::Corruption::Checksum && problem.path.ends_with(name);
        assert!(report.problems.iter().all(left), "{how}: {:?}", report.problems);
        assert!(report.items > 0, "{how}: what was whole is still there");
    }
}

#[test]
fn a_large_value_that_changed_is_never_served() {
    let original = Original::new();
    let (name, bytes) = original.files.iter().find(|(name, _)| name.starts_with("value-")).unwrap();
    for damage in ["changed", "shorter", "longer", "missing"] {
        let dir = original.write();
        let path = dir.path().join(name);
        let mut bytes = bytes.clone();
        let len = bytes.len();
        match damage {
            "changed" => bytes[len / 2] ^= 1,
            "shorter" => bytes.truncate(len - 1),
            _ => bytes.push(0),
        }
        match damage {
            "missing" => std::fs::remove_file(path).unwrap(),
            _ => std::fs::write(path, bytes).unwrap(),
        }
        let cache = Cache::open(&dir).unwrap();
        let damaged = [100u32, 101].into_iter().filter(|&key| cache.get_bytes(key).is_err_and(|e| e.is_corrupt()));
        let damaged: Vec<u32> = damaged.collect();
        assert_eq!(damaged.len(), 1, "{damage}");
        assert!(cache.get_many::<serde::de::IgnoredAny>(damaged.iter()).unwrap_err().is_corrupt());
        assert!(!cache.check().unwrap().is_clean(), "{damage}");
        assert!(!cache.repair().unwrap().is_clean());
        assert_eq!(cache.get_bytes(damaged[0]).unwrap(), None, "{damage}: repair drops what cannot be read");
        assert!(cache.check().unwrap().is_clean(), "{damage}");
        cache.set_bytes(damaged[0], &[1; 50_000]).unwrap();
        assert!(cache.check().unwrap().is_clean(), "{damage}");
    }
}

/// The limit stands in the manifest and in a word of the state file, where nothing vouches for it: files of gigabytes would be made
/// by its high bytes.
#[test]
fn a_damaged_limit_is_that_of_the_manifest_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(Cache::builder(&dir).size_limit(4 << 20).open().unwrap());
    const SIZE_LIMIT: usize = 424;
    for byte in SIZE_LIMIT..SIZE_LIMIT + 8 {
        let mut state = std::fs::read(dir.path().join("state")).unwrap();
        state[byte] ^= 0x3f;
        std::fs::write(dir.path().join("state"), &state).unwrap();
        let cache = Cache::open(&dir).unwrap();
        assert_eq!(cache.settings().size_limit, 4 << 20, "byte {byte}");
        (0..200u32).for_each(|key| cache.set_bytes(key, &[7; 1000]).unwrap());
        assert!(cache.volume() <= 4 << 20 && cache.check().unwrap().is_clean());
    }
}
