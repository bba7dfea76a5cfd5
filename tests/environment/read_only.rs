//! Reading handles: of a directory that others write to, and of a file system that nobody can write to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use larder::{Cache, ConfigProblem, Error};

use crate::mount;

const FILE_SYSTEM: u64 = 16 << 20;
const SIZE_LIMIT: u64 = 4 << 20;

fn fill(directory: &Path) -> Cache {
    let cache = Cache::builder(directory).size_limit(SIZE_LIMIT).eviction(larder::Eviction::None).open().unwrap();
    (0..300u64).for_each(|key| cache.set(key, &format!("{key:0500}")).unwrap());
    cache.set_bytes("large", &vec![3; 300 << 10]).unwrap();
    cache
}

fn reader(directory: &Path) -> larder::Result<Cache> {
    Cache::builder(directory).read_only(true).open()
}

fn assert_readable(cache: &Cache) {
    for key in 0..300u64 {
        assert_eq!(cache.get::<String>(key).unwrap().unwrap(), format!("{key:0500}"));
    }
    assert_eq!(cache.get_bytes("large").unwrap().unwrap(), vec![3; 300 << 10]);
    assert!(cache.len_live().unwrap() >= 301);
    assert!(matches!(cache.set("k", &1), Err(Error::ReadOnly)));
    assert!(matches!(cache.clear(), Err(Error::ReadOnly)));
    assert!(matches!(cache.set_bytes("k", &vec![0; 300 << 10]), Err(Error::ReadOnly)));
}

/// When each file was changed last, and the directories, which change with their names.
fn changes(directory: &Path) -> BTreeMap<std::path::PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.metadata().unwrap();
        found.insert(path.clone(), (metadata.len(), metadata.modified().unwrap()));
        if metadata.is_dir() {
            found.extend(changes(&path));
        }
    }
    found
}

#[test]
fn a_reader_of_a_live_directory_sees_all_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let writer = fill(directory.path());
    let before = changes(directory.path());
    let reading = reader(directory.path()).unwrap();
    assert_readable(&reading);
    drop(reading);
    assert_eq!(changes(directory.path()), before, "a reader changed something");
    let reading = reader(directory.path()).unwrap();
    for round in 0..20u64 {
        // New segments, retired segments, a grown index, an emptied store: the reader follows.
        writer.set_many((0..1000u64).map(|key| ((round % 3, key), round))).unwrap();
        assert_eq!(reading.get::<u64>((round % 3, 999)).unwrap(), Some(round));
        if round % 7 == 6 {
            writer.clear().unwrap();
            assert_eq!(reading.get::<u64>((round % 3, 999)).unwrap(), None);
            assert!(reading.is_empty());
        }
    }
}

#[test]
fn a_file_system_that_became_read_only_can_be_read() {
    let Some(mounted) = mount::small(FILE_SYSTEM) else { return };
    let store = mounted.path.join("store");
    drop(fill(&store));
    mounted.set_read_only(true);
    assert_readable(&reader(&store).unwrap());
    let refused = Cache::open(&store).unwrap_err();
    let kind = |error: &Error| match error {
        Error::Io(failure) => Some(failure.source.kind()),
        _ => None,
    };
    assert_eq!(kind(&refused), Some(std::io::ErrorKind::ReadOnlyFilesystem), "{refused:?}");
    let refused = Cache::open(mounted.path.join("new")).unwrap_err();
    assert_eq!(kind(&refused), Some(std::io::ErrorKind::ReadOnlyFilesystem), "{refused:?}");
    mounted.set_read_only(false);
    let cache = Cache::open(&store).unwrap();
    cache.set("again", &1).unwrap();
    let report = cache.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
}

/// Through another mount nobody can tell whether the words of the index were all written before it was mounted.
#[test]
fn another_read_only_mount_is_refused_by_name() {
    let Some(mounted) = mount::small(FILE_SYSTEM) else { return };
    let store = mounted.path.join("store");
    let cache = fill(&store);
    let twin = mounted.read_only_twin();
    let through = twin.path.join("store");
    match reader(&through) {
        // Before Linux 6.8 mounts cannot be told apart.
        Ok(reading) => assert_readable(&reading),
        Err(error) => assert!(matches!(error, Error::Config(ConfigProblem::NothingToRead)), "{error:?}"),
    }
    assert!(Cache::open(&through).is_err());
    cache.set("k", &1).unwrap();
}
