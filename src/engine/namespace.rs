//! Namespaces: finding one by its name, and making it. What is kept in one is the business of `queue` and `order`, or of
//! nobody here.

use std::borrow::Borrow;

use crate::error::{Corruption, Error, Result};
use crate::options::Eviction;
use crate::os::{Os, OsMap};
use crate::storage::location::Location;
use crate::storage::namespace::{Kind, Label, Namespace};
use crate::storage::paths::Name;
use crate::storage::record::{Draft, Type};
use crate::storage::redo::Place;
use crate::storage::state::{self, HAS_INNER, HAS_LASTING, LIVE_NAME, row_word};
use crate::storage::tag_table::{CHUNKS_MAX, ROW_BYTES, RowPlace, chunk_bytes, id_of, kind_of, row};

use super::commit::Commit;
use super::store::Store;
use super::tags::{Named, TagRow};
use super::view::View;

impl<O: Os> Store<O> {
    /// True if something is kept whatever happens: where nothing is evicted, and where there are namespaces that last.
    #[inline]
    pub(super) fn loses_nothing(&self) -> bool {
        self.policy() == Eviction::None || self.has_lasting()
    }

    /// True once there is a namespace whose items are never evicted.
    #[inline]
    pub(super) fn has_lasting(&self) -> bool {
        self.state.load(state::NAMESPACES) & HAS_LASTING != 0
    }

    /// The namespace of a name, made if there is none. Inside a transaction too, where making it is a commit of its own:
    /// it stays, empty, if the transaction is taken back.
    /// One that `holds` may use the room of removals.
    pub fn namespace_as(&self, label: Label<'_>, holds: bool) -> Result<Namespace> {
        if let Some(id) = self.tag_id(label)? {
            return Ok(Namespace { kind: label.kind, id });
        }
        if self.is_inside_transaction() {
            return self.namespace_inside(label, holds);
        }
        self.change_by(self.enter()?, 0, |commit| {
            commit.gives_up = holds;
            make(commit, label)
        })
    }

    /// The same for a thread that is inside a transaction.
    pub(super) fn namespace_inside(&self, label: Label<'_>, holds: bool) -> Result<Namespace> {
        if let Some(id) = self.tag_id(label)? {
            return Ok(Namespace { kind: label.kind, id });
        }
        let held = self.held();
        let mut patience = self.patience();
        loop {
            let mut commit = Commit::new(held.borrow())?;
            commit.gives_up = holds;
            let purpose = commit.purpose_of_puts();
            let made = make(&mut commit, label);
            drop(commit);
            match made {
                Err(Error::Full)
                    if patience.lasts(self.volume()) && self.make_room_inside((held.borrow(), None), purpose)? => {}
                outcome => return outcome,
            }
        }
    }

    /// Id and name of each row of a kind whose name begins like that. Reads every name of the kind.
    pub fn rows_of(&self, kind: Kind, begin: &str) -> Result<Vec<(u32, String)>> {
        let chunks = usize::try_from(self.state.load(state::TAG_CHUNKS)).unwrap_or(0).min(CHUNKS_MAX);
        let mut rows = Vec::new();
        for chunk in 0..chunks {
            let map = self.map_tags(chunk)?;
            for offset in (0..chunk_bytes(chunk)).step_by(ROW_BYTES) {
                if map.load(offset + row::NAME) == 0 || kind_of(map.load(offset + row::HASH_HIGH)) != kind {
                    continue;
                }
                let id = id_of(RowPlace { chunk, offset });
                if let Some(Named { name, .. }) = self.named(id)?
                    && name.starts_with(begin)
                {
                    rows.push((id, name));
                }
            }
        }
        Ok(rows)
    }

    /// The setting of a namespace; `u64::MAX` if it has none.
    pub fn setting(&self, namespace: Namespace) -> Result<u64> {
        Ok(self.named(namespace.id)?.map_or(u64::MAX, |named| named.setting))
    }

    /// The items of a namespace.
    pub fn items_of(&self, namespace: Namespace) -> Result<u64> {
        let place = namespace.place();
        Ok(self.map_tags(place.chunk)?.load(place.offset + row::LIVE))
    }

    /// A word that changes with the setting of a namespace.
    #[inline]
    pub fn setting_version(&self, namespace: Namespace) -> u64 {
        version_in(&self.view.load(), namespace)
    }

    /// Changes the setting of a namespace.
    pub fn set_setting(&self, namespace: Namespace, label: Label<'_>, setting: u64) -> Result<()> {
        if self.setting(namespace)? == setting {
            return Ok(());
        }
        let row = TagRow::named(namespace.place());
        self.change_by(self.enter()?, 0, |commit| {
            commit.write_setting(row, label, setting)?;
            commit.publish()
        })
    }
}

/// The version of a setting as a view has it: a word that is never staged by who asks.
#[inline]
pub(super) fn version_in<O: Os>(view: &View<O>, namespace: Namespace) -> u64 {
    let place = namespace.place();
    view.tags(place.chunk).map_or(0, |map| map.load(place.offset + row::NAME))
}

fn make<O: Os>(commit: &mut Commit<'_, O>, label: Label<'_>) -> Result<Namespace> {
    let row = commit.tag(label)?;
    if row.is_new {
        commit.write_setting(row, label, u64::MAX)?;
        let bits = if label.kind.is_lasting() { HAS_INNER | HAS_LASTING } else { HAS_INNER };
        let before = commit.state(state::NAMESPACES);
        commit.stage_state(state::NAMESPACES, before | bits);
        commit.publish()?;
    }
    Ok(Namespace { kind: label.kind, id: row.id })
}

impl<O: Os> Commit<'_, O> {
    /// Writes the record of a namespace's name and setting, and stages where it stands.
    fn write_setting(&mut self, row: TagRow, label: Label<'_>, setting: u64) -> Result<()> {
        let value = [&setting.to_le_bytes()[..], label.name.as_bytes()].concat();
        let draft = Draft {
            kind: label.kind as u8,
            value: &value,
            tag: row.id,
            alone: true,
            ..Draft::bare(Type::TagDefined, self.sequence)
        };
        let before = self.name_before(row)?;
        self.reserve(draft.size(), true, self.purpose_of_puts())?;
        let location = self.append(&draft)?;
        if let Some(before) = before {
            self.add_state(row_word(before.slot(), state::row::LIVE), -LIVE_NAME);
        }
        self.stage_tag_name(row.place, location);
        self.add_state(row_word(location.slot(), state::row::LIVE), LIVE_NAME);
        Ok(())
    }

    /// Where the name of a row stands that has one. What a free row may hold is none.
    pub(super) fn name_before(&mut self, row: TagRow) -> Result<Option<Location>> {
        if row.is_new && !row.is_taken_over {
            return Ok(None);
        }
        let location = match self.name_of_tag(row.place)? {
            0 => return Ok(None),
            bits => Location::from_bits(bits),
        };
        if location.slot() >= self.store.rows {
            let path = self.store.paths.of(Name::Tags(row.place.chunk as u64));
            return Err(Error::corrupt(&path, row.place.offset as u64, Corruption::Bounds));
        }
        Ok(Some(location))
    }

    /// The word of a namespace's row that is its own: see `tag_table`.
    pub(super) fn anchor(&self, namespace: Namespace) -> u64 {
        let place = namespace.place();
        self.word(Place::Tags(place.chunk as u32), place.offset + row::ANCHOR)
    }

    pub(super) fn stage_anchor(&mut self, namespace: Namespace, word: u64) {
        let place = namespace.place();
        self.stage(Place::Tags(place.chunk as u32), place.offset + row::ANCHOR, word);
    }
}
