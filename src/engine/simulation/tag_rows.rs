//! Rows of the tag table that go from tag to tag (see `tags`). In these tests the first chunk has four rows, so that the fifth
//! tag is the first to find none free.

use std::sync::Arc;

use super::acts::{Act, key_bytes, put, tag_name, tagged};
use super::audit::{audit, live};
use super::transactions::transact;
use super::world::{Handle, World};
use crate::engine::change::{Op, Put, Tag, Value};
use crate::engine::commit::Commit;
use crate::os::OsMap;
use crate::storage::location::Location;
use crate::storage::namespace::{Kind, Label, prefix};
use crate::storage::paths::Name;
use crate::storage::state;
use crate::storage::tag_table::{place_of, row};

/// The rows of the first chunk.
const ROWS: u8 = 4;

/// An item for each tag of the first rows, whose keys are those of the tags.
fn rows_in_use() -> Vec<Act> {
    (0..ROWS).map(|tag| tagged(tag.into(), 1, 30, tag)).collect()
}

fn id(handle: &Handle, tag: u8) -> Option<u32> {
    handle.store.tag_id(Label::tag(&tag_name(tag))).unwrap()
}

fn chunks(handle: &Handle) -> u64 {
    handle.store.state.load(state::TAG_CHUNKS)
}

#[test]
fn a_table_is_as_long_as_the_tags_need_that_have_items_at_one_time() {
    let (mut world, one) = World::with(5, &rows_in_use());
    for tag in ROWS..100 {
        world.apply(&one, &Act::Remove((tag - ROWS).into()));
        world.apply(&one, &tagged(tag.into(), 1, 30, tag));
    }
    assert_eq!(chunks(&one), 1);
    world.check(&one);
    assert_eq!(id(&one, 50), None);
    // All of them have items.
    world.apply(&one, &tagged(200, 1, 30, 200));
    assert_eq!(chunks(&one), 2);
    drop(one);
    let again = world.rebuild();
    world.check(&again);
    for tag in (96..100).chain([200]) {
        world.apply(&again, &Act::Evict(tag));
    }
    world.check(&again);
}

#[test]
fn g1_a_name_that_is_younger_than_an_item_is_not_its_tags() {
    let (mut world, one) = World::with(5, &rows_in_use());
    let (label, former) = (tag_name(1), id(&one, 1).unwrap());
    let sequence = one.store.state.load(state::VISIBLE);
    world.apply(&one, &Act::Remove(1));
    assert_eq!(one.store.tag_name(former, sequence).unwrap().as_deref(), Some(&*label));
    assert!(one.store.tag_since(Label::tag(&label), former).unwrap().is_some());
    world.apply(&one, &tagged(1, 2, 30, 9));
    assert_eq!(id(&one, 9), Some(former));
    assert_eq!(one.store.tag_name(former, sequence).unwrap(), None);
    assert_eq!(one.store.tag_since(Label::tag(&label), former).unwrap(), None);
    // The former tag once more, in another row or, as here, its own: what is older is not of it.
    world.apply(&one, &Act::Remove(1));
    world.apply(&one, &tagged(1, 3, 30, 1));
    assert_eq!(id(&one, 1), Some(former));
    assert!(one.store.tag_since(Label::tag(&label), former).unwrap() > Some(sequence));
    world.check(&one);
}

#[test]
fn g2_a_row_that_a_transaction_refers_to_is_not_taken_over_in_it() {
    let (mut world, one) = World::with(5, &rows_in_use());
    (0..ROWS).for_each(|tag| world.apply(&one, &Act::Remove(tag.into())));
    let store = Arc::new(one.store);
    let mut staged: Vec<Act> = (60..64).map(|tag: u8| tagged(tag.into(), 1, 30, tag)).collect();
    staged.push(tagged(1, 1, 30, 1));
    transact(&store, &staged, &world.contents).unwrap();
    for act in &staged {
        act.model(&mut world.contents, 0);
    }
    assert_eq!(live(&store), world.contents);
    for tag in [1, 60, 61, 62, 63] {
        let items = store.evict(Label::tag(&tag_name(tag))).unwrap();
        assert_eq!(items, Act::Evict(tag).model(&mut world.contents, 0));
        assert_eq!(live(&store), world.contents);
    }
}

/// An item that was evicted for want of room leaves nothing in the log that says so: a rebuild may find it, but not under the
/// tag that has its row now.
#[test]
fn what_a_rebuild_finds_of_a_former_tag_is_ended_by_the_mark_of_the_next() {
    let (mut world, one) = World::with(5, &rows_in_use());
    world.apply(&one, &put(20, 1, 30));
    // As if it had been evicted: its cell is emptied, and it is counted out.
    {
        let locked = one.store.lock().unwrap();
        let mut commit = Commit::new(&locked).unwrap();
        let key = key_bytes(2);
        let place = commit.locate(&key, one.store.hash(&key)).unwrap();
        let location = place.old.as_ref().unwrap().location;
        let (old, cell) = place.led_to(location).unwrap();
        commit.empty_cell(&old, &cell);
        commit.publish().unwrap();
    }
    world.contents.remove(&2);
    world.apply(&one, &tagged(30, 1, 30, 9));
    assert_eq!(chunks(&one), 1, "the row was taken over");
    world.check(&one);
    drop(one);
    let again = world.rebuild();
    world.check(&again);
    world.apply(&again, &Act::Evict(2));
    world.apply(&again, &Act::Evict(9));
    world.check(&again);
}

/// The file that a tag's name stands in, and where.
fn name_at(handle: &Handle, tag: u8) -> (std::path::PathBuf, u64) {
    let place = place_of(id(handle, tag).unwrap()).unwrap();
    let name = Location::from_bits(handle.store.map_tags(place.chunk).unwrap().load(place.offset + row::NAME));
    (handle.store.paths.of(Name::Segment(handle.store.segment_in(name.slot()))), name.offset() as u64)
}

/// A store in which a tag has taken over a row and has two items, and where its name stands.
fn taken_over() -> (World, Handle, (std::path::PathBuf, u64)) {
    let (mut world, one) = World::with(5, &rows_in_use());
    world.apply(&one, &Act::Remove(1));
    (50..52).for_each(|key| world.apply(&one, &tagged(key, 1, 30, 9)));
    one.store.sync().unwrap();
    let name = name_at(&one, 9);
    (world, one, name)
}

/// The name of a tag that took over a row is lost: its items have no tag, or are absent, and are not those of the former one.
#[test]
fn g1_a_name_that_is_lost_does_not_bring_the_former_one_back() {
    for at in [8, 24] {
        for repairs in [false, true] {
            let (world, mut one, (file, offset)) = taken_over();
            assert!(world.machine.corrupt(&file, offset + at, &[0x55]));
            if repairs {
                assert!(!one.store.repair(&mut |_| ()).unwrap().is_clean());
            } else {
                drop(one);
                one = world.rebuild();
            }
            let found = live(&one.store);
            assert!([50, 51].iter().all(|key| found.get(key).is_none_or(|item| item.tag.is_none())), "{at}: {found:?}");
            assert_eq!(Act::Evict(1).apply(&one.store).unwrap(), 0);
            assert_eq!(live(&one.store), found);
        }
    }
}

/// The only name of a chunk is lost, and the chunk made again all the same: what has the id of its row is nobody's.
#[test]
fn items_of_a_lost_name_stay_absent_in_a_chunk_without_others() {
    for other in 101..=180 {
        let (mut world, one) = World::with(5, &rows_in_use());
        (50..52).for_each(|key| world.apply(&one, &tagged(key, 1, 30, 100)));
        one.store.sync().unwrap();
        let (file, offset) = name_at(&one, 100);
        drop(one);
        assert!(world.machine.corrupt(&file, offset + 24, &[0x55]));
        let again = world.rebuild();
        assert!(!live(&again.store).contains_key(&51));
        tagged(60, 1, 30, other).apply_alone(&again.store);
        drop(again);
        assert!(!live(&world.rebuild().store).contains_key(&51), "with tag {other}");
    }
}

/// A tag has the row of a namespace whose name is lost: its items are the store's own, which a `clear` removes.
#[test]
fn a_tag_over_the_row_of_a_lost_namespace_is_a_tag_to_a_rebuild() {
    let (mut world, one) = World::with(5, &rows_in_use()[1..]);
    let namespace = one.store.namespace(Label { kind: Kind::Cache, name: "within" }).unwrap();
    let key = [&prefix(Kind::Cache, namespace.id)[..], b"k"].concat();
    let put = Put { kind: 0, value: Value::Inline(b"v"), expires: None, tag: Tag::Id(namespace.id) };
    one.store.batch(&[Op::put(&key, one.store.hash(&key), put)]).unwrap();
    one.store.sync().unwrap();
    let place = place_of(namespace.id).unwrap();
    let name = Location::from_bits(one.store.map_tags(place.chunk).unwrap().load(place.offset + row::NAME));
    let file = one.store.paths.of(Name::Segment(one.store.segment_in(name.slot())));
    drop(one);
    assert!(world.machine.corrupt(&file, name.offset() as u64 + 28, &[0x55]));
    let again = world.rebuild();
    world.apply(&again, &tagged(70, 1, 30, 9));
    assert_eq!(id(&again, 9), Some(namespace.id));
    world.apply(&again, &Act::Clear);
    again.store.sync().unwrap();
    drop(again);
    let third = world.rebuild();
    assert_eq!(third.store.state.load(state::INNER), 0);
    audit(&third.store);
}

/// The name of a tag is lost with a damaged part of the log. The tags that are found behind its row still are.
#[test]
fn a_rebuild_leaves_no_free_row_in_front_of_another() {
    for lost in 0..ROWS {
        let (world, one) = World::with(5, &rows_in_use());
        one.store.sync().unwrap();
        let ids: Vec<u32> = (0..ROWS).map(|tag| id(&one, tag).unwrap()).collect();
        let (file, offset) = name_at(&one, lost);
        drop(one);
        assert!(world.machine.corrupt(&file, offset + 24, &[0xFF]));
        let again = world.rebuild();
        for tag in (0..ROWS).filter(|&tag| tag != lost) {
            assert_eq!(id(&again, tag), Some(ids[usize::from(tag)]), "tag {tag} without {lost}");
        }
        // The row that is nobody's goes to a new tag, which leaves a mark.
        let before = live(&again.store);
        let act = tagged(60, 1, 30, 60);
        let _ = act.apply(&again.store).unwrap();
        assert_eq!(chunks(&again), 1);
        let mut expected = before;
        act.model(&mut expected, 0);
        drop(again);
        assert_eq!(live(&world.rebuild().store), expected);
    }
}
