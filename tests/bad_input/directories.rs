//! Paths that are no store's: files, foreign directories, unwritable ones, other format versions.

use larder::{Cache, Error};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn a_file_is_not_a_store_nor_a_parent_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"precious").unwrap();
    for path in [file.clone(), file.join("below"), file.join("far/below")] {
        for read_only in [false, true] {
            let error = Cache::builder(&path).read_only(read_only).open().unwrap_err();
            assert!(!error.to_string().is_empty());
            if !read_only {
                assert!(matches!(&error, Error::NotAStore(at) if *at == path), "{}: {error:?}", path.display());
            }
        }
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
}

#[test]
fn a_path_that_cannot_be_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("x".repeat(300)), dir.path().join("nul\0byte"), Path::new("").to_owned()] {
        let error = Cache::open(&path).unwrap_err();
        assert!(matches!(error, Error::Io(_) | Error::NotAStore(_)), "{error:?}");
    }
    let dangling = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &dangling).unwrap();
    assert!(Cache::open(&dangling).is_err());
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn a_foreign_directory_keeps_its_files() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["cache.db", "index-x", "notes.txt", "log-zz"] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let opened = Cache::open(&dir);
    if let Ok(cache) = &opened {
        cache.set("k", "v").unwrap();
        cache.clear().unwrap();
        cache.repair().unwrap();
    }
    drop(opened);
    for name in ["cache.db", "index-x", "notes.txt", "log-zz"] {
        assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), name);
    }
}

#[test]
fn an_unwritable_directory_is_an_io_error() {
    let dir = tempfile::tempdir().unwrap();
    drop(Cache::open(dir.path().join("store")).unwrap());
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let lock = |mode: u32| {
        for path in ["", "store", "empty"] {
            std::fs::set_permissions(dir.path().join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    lock(0o500);
    if std::fs::write(dir.path().join("probe"), b"").is_ok() {
        lock(0o700);
        eprintln!("skipped: permissions do not bind this user (root), so no directory is unwritable");
        return;
    }
    for path in ["new", "empty", "store"] {
        let error = Cache::open(dir.path().join(path)).unwrap_err();
        assert!(
            matches!(&error, Error::Io(failure) if failure.source.kind() == std::io::ErrorKind::PermissionDenied),
            "{error:?}"
        );
    }
    lock(0o700);
    assert!(Cache::open(dir.path().join("store")).is_ok());
}

#[test]
fn a_pseudo_file_system_is_an_error() {
    for path in ["/proc/self/larder", "/sys/larder", "/dev/null"] {
        if Path::new(path).parent().is_some_and(Path::exists) {
            assert!(Cache::open(path).is_err(), "{path}");
        }
    }
    if Path::new("/proc/self").exists() {
        let error = Cache::open("/proc/self").unwrap_err();
        assert!(matches!(error, Error::FileSystem { .. } | Error::Io(_)), "{error:?}");
    }
}

/// Every file of a directory with its bytes, and every directory.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_dir() { Vec::new() } else { std::fs::read(&path).unwrap() };
        found.insert(path.display().to_string(), bytes);
    }
    found
}

#[test]
fn a_store_of_another_format_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    {
        let cache = Cache::builder(&dir).size_limit(2 << 20).open().unwrap();
        cache.set("k", "v").unwrap();
    }
    let path = dir.path().join("larder");
    let sound = std::fs::read(&path).unwrap();
    for version in [0u32, 2, 9, u32::MAX] {
        let mut manifest = sound.clone();
        manifest[8..12].copy_from_slice(&version.to_le_bytes());
        // A later format may have a longer manifest and another checksum.
        for bytes in [manifest.clone(), [manifest.as_slice(), &[1; 64]].concat(), manifest[..16].to_vec()] {
            std::fs::write(&path, &bytes).unwrap();
            let before = contents(dir.path());
            for read_only in [false, true] {
                let error = Cache::builder(&dir).size_limit(4 << 20).read_only(read_only).open().unwrap_err();
                let told = matches!(error, Error::FormatVersion { found, supported: 1 } if found == version);
                assert!(told, "version {version}: {error:?}");
                assert_eq!(contents(dir.path()), before, "nothing is touched");
            }
        }
    }
    std::fs::write(&path, sound).unwrap();
    assert_eq!(Cache::open(&dir).unwrap().get::<String>("k").unwrap().unwrap(), "v");
}

#[test]
fn a_store_of_the_other_byte_order_or_kind_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Cache::builder(&dir).size_limit(2 << 20).open().unwrap());
    let path = dir.path().join("larder");
    let sound = std::fs::read(&path).unwrap();
    let mut swapped = sound.clone();
    swapped[12..16].reverse();
    std::fs::write(&path, swapped).unwrap();
    assert!(Cache::open(&dir).is_err());
    let mut other_kind = sound.clone();
    other_kind[32] = 2;
    let crc = crc32fast::hash(&other_kind[..60]);
    other_kind[60..].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, other_kind).unwrap();
    let error = Cache::open(&dir).unwrap_err();
    assert!(matches!(error, Error::Config(larder::ConfigProblem::OtherKind)), "{error:?}");
    std::fs::write(&path, sound).unwrap();
    Cache::open(&dir).unwrap();
}

#[test]
fn hostile_settings_in_a_valid_manifest_are_errors_or_work() {
    let dir = tempfile::tempdir().unwrap();
    {
        let cache = Cache::builder(&dir).size_limit(2 << 20).open().unwrap();
        cache.set("k", "v").unwrap();
    }
    let path = dir.path().join("larder");
    let sound = std::fs::read(&path).unwrap();
    for (at, len) in [(16, 8), (24, 8), (36, 4), (40, 8), (48, 4), (52, 4)] {
        for value in [0u64, 1, 63, 1 << 20, 1 << 31, u64::from(u32::MAX), 1 << 62, u64::MAX] {
            let mut bytes = sound.clone();
            bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            let crc = crc32fast::hash(&bytes[..60]);
            bytes[60..].copy_from_slice(&crc.to_le_bytes());
            let copy = tempfile::tempdir().unwrap();
            for (from, content) in contents(dir.path()) {
                if !Path::new(&from).is_dir() {
                    std::fs::write(copy.path().join(Path::new(&from).file_name().unwrap()), content).unwrap();
                }
            }
            std::fs::write(copy.path().join("larder"), &bytes).unwrap();
            if let Ok(cache) = Cache::open(&copy) {
                let found = cache.get::<String>("k").unwrap_or(None);
                assert!(found.is_none_or(|value| value == "v"), "byte {at} = {value}");
                let _ = cache.set("new", "value");
                let _ = cache.check();
                let _ = cache.repair();
            }
        }
    }
}
