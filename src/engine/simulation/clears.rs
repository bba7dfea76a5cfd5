//! Several who clear at once.

use super::audit::{audit, drift};
use super::world::{Handle, open};
use crate::engine::change::{Op, Put, Tag, Value};
use crate::os::sim::Machine;

const LARGE: usize = 40_000;

fn put_large(handle: &Handle) {
    let draft = handle.store.draft(&[7; LARGE]).unwrap();
    let value = Value::Draft { number: draft.number, len: draft.len, crc: draft.crc };
    let hash = handle.store.hash(b"key 1");
    handle.store.batch(&[Op::put(b"key 1", hash, Put { kind: 0, value, expires: None, tag: Tag::None })]).unwrap();
}

/// One who was slow to count what it had unlinked counted bytes of a later `clear` out, whose files nobody looked for then.
#[test]
fn who_is_late_to_count_counts_nothing_of_a_later_clear() {
    let machine = Machine::with_file_capacity(1, 16 << 20);
    let (slow, quick) = (open(&machine), open(&machine));
    put_large(&quick);
    slow.store.clear_by_mark().unwrap();
    let floor = slow.store.unlink_values_below().unwrap().unwrap();
    quick.store.clear().unwrap();
    put_large(&quick);
    quick.store.clear_by_mark().unwrap();
    slow.store.count_values_below(floor).unwrap();
    quick.store.after_clear();
    audit(&quick.store);
    assert!(machine.paths().iter().all(|path| !path.to_string_lossy().contains("value-")));
    let (uncounted, _) = drift(&quick.store);
    assert_eq!(uncounted, 0);
}
