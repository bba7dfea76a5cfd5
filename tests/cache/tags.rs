//! Tags that come and go.

use larder::{Cache, SetOptions};
use std::collections::BTreeMap;
use std::path::Path;

use crate::scratch::Scratch;

/// Bytes of the tables of tags in a directory, of all shards if there are some.
fn table_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => table_bytes(&entry.path()),
            false if entry.file_name().to_string_lossy().starts_with("tags-") => entry.metadata().unwrap().len(),
            false => 0,
        })
        .sum()
}

fn tags(cache: &Cache) -> BTreeMap<u32, String> {
    let entries = cache.entries::<u32, u32>().map(|entry| entry.unwrap());
    entries.map(|(key, entry)| (key, entry.tag.unwrap())).collect()
}

/// A tag for each page, user or file: what those take that have no items any more goes to the next.
#[test]
fn tags_without_items_take_no_space() {
    let cache = Scratch::new();
    let mut expected = BTreeMap::new();
    let mut few = 0;
    for i in 0..30_000u32 {
        let (key, tag) = (i % 100, format!("tag {i}"));
        cache.set_with(key, &i, SetOptions::new().tag(&tag)).unwrap();
        if i == 3_000 {
            few = table_bytes(cache.dir.path());
        }
        expected.insert(key, tag);
    }
    // Where a name looks for a row is drawn anew for each store: now and then a hundred tags fill a stretch, and the next table,
    // twice as long, is begun. The tags that there ever were would need over a hundred times the first.
    let bytes = table_bytes(cache.dir.path());
    assert!(bytes <= 3 * few, "{few} bytes have become {bytes}");
    assert_eq!(tags(&cache), expected);
    assert_eq!(cache.evict("tag 12000").unwrap(), 0, "its item was replaced");
    assert_eq!(cache.keys_tagged::<u32>("tag 29999").unwrap().map(Result::unwrap).collect::<Vec<_>>(), [99]);
    assert_eq!(cache.evict("tag 29999").unwrap(), 1);
    expected.remove(&99);
    assert_eq!(tags(&cache), expected);
    cache.assert_clean();
    let second = cache.second();
    assert_eq!(second.evict("tag 29950").unwrap(), 1);
    expected.remove(&50);
    assert_eq!(tags(&cache), expected);
}

/// Several threads, each with tags of its own that all become others' soon: an item is never seen with a tag that it was not
/// put with.
#[test]
fn nobody_sees_an_item_under_the_tag_of_another() {
    let cache = Scratch::new();
    let put = |writer: u32, i: u32| {
        // The value says what the tag is.
        let value = writer * 1_000_000 + i;
        cache.set_with(writer * 100 + i % 70, &value, SetOptions::new().tag(value.to_string())).unwrap();
    };
    let writers = 3;
    (0..writers).for_each(|writer| (0..2_000).for_each(|i| put(writer, i)));
    std::thread::scope(|scope| {
        let writing: Vec<_> =
            (0..writers).map(|writer| scope.spawn(move || (2_000..8_000).for_each(|i| put(writer, i)))).collect();
        let mut looks = 0u32;
        while looks < 300 || writing.iter().any(|writer| !writer.is_finished()) {
            let key = looks % writers * 100 + looks % 70;
            // Gone between the value and its tag: then it has none.
            let entry = cache.entry::<u32>(key).unwrap().unwrap();
            assert!(entry.tag.is_none_or(|tag| tag == entry.value.to_string()));
            for entry in cache.entries::<u32, u32>().take(40) {
                let (_, entry) = entry.unwrap();
                assert!(entry.tag.is_none_or(|tag| tag == entry.value.to_string()));
            }
            let (writer, i) = (looks % writers, 2_000 + looks * 7 % 6_000);
            for key in cache.keys_tagged::<u32>(&(writer * 1_000_000 + i).to_string()).unwrap() {
                assert_eq!(key.unwrap(), writer * 100 + i % 70);
            }
            looks += 1;
        }
    });
    cache.assert_clean();
}
