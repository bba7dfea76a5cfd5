//! Every file name of a store: built here, parsed here, and nowhere else.

use std::path::{Path, PathBuf};

use super::segment::MAIN;

/// The directory of a store.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

/// What a name in a store's directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Manifest,
    ManifestDraft,
    /// How far the log is durable.
    Synced,
    /// Which commits never count.
    Void,
    VoidDraft,
    OpenLock,
    State,
    StateDraft,
    Presences,
    /// A segment of either stream, by its id.
    Segment(u64),
    Index(u64),
    Tags(u64),
    Order(u64),
    Value(u64),
    /// A large value that its writer has not committed: owner, number.
    ValueDraft(u64, u64),
    Spill(u64),
}

impl Name {
    /// True for a file whose space is in the word `VOLUME`: drafts are reserved for, and for the small ones there is a fixed share.
    pub fn is_in_volume(&self) -> bool {
        use Name::{Index, Order, Segment, State, Tags, Value};
        matches!(self, State | Segment(_) | Index(_) | Tags(_) | Order(_) | Value(_))
    }

    /// Reads a name; `None` for what is not a store's.
    pub fn parse(name: &str) -> Option<Name> {
        let number = |prefix: &str| u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok();
        match name {
            "larder" => Some(Name::Manifest),
            "larder.new" => Some(Name::ManifestDraft),
            "synced" => Some(Name::Synced),
            "void" => Some(Name::Void),
            "void.new" => Some(Name::VoidDraft),
            "open.lock" => Some(Name::OpenLock),
            "state" => Some(Name::State),
            "state.new" => Some(Name::StateDraft),
            "procs" => Some(Name::Presences),
            _ => number("log-")
                .map(Name::Segment)
                .or_else(|| number("main-").filter(|&id| id < MAIN).map(|id| Name::Segment(id | MAIN)))
                .or_else(|| number("index-").map(Name::Index))
                .or_else(|| number("tags-").map(Name::Tags))
                .or_else(|| number("order-").map(Name::Order))
                .or_else(|| number("value-").map(Name::Value))
                .or_else(|| number("spill-").map(Name::Spill))
                .or_else(|| {
                    let (owner, draft) = name.strip_prefix("draft-")?.split_once('-')?;
                    let hex = |text| u64::from_str_radix(text, 16).ok();
                    Some(Name::ValueDraft(hex(owner)?, hex(draft)?))
                })
                .filter(|parsed| parsed.text() == name),
        }
    }

    fn text(self) -> String {
        match self {
            Name::Manifest => "larder".into(),
            Name::ManifestDraft => "larder.new".into(),
            Name::Synced => "synced".into(),
            Name::Void => "void".into(),
            Name::VoidDraft => "void.new".into(),
            Name::OpenLock => "open.lock".into(),
            Name::State => "state".into(),
            Name::StateDraft => "state.new".into(),
            Name::Presences => "procs".into(),
            Name::Segment(id) if id & MAIN != 0 => format!("main-{:x}", id & !MAIN),
            Name::Segment(id) => format!("log-{id:x}"),
            Name::Index(generation) => format!("index-{generation:x}"),
            Name::Tags(chunk) => format!("tags-{chunk:x}"),
            Name::Order(chunk) => format!("order-{chunk:x}"),
            Name::Value(id) => format!("value-{id:x}"),
            Name::ValueDraft(owner, number) => format!("draft-{owner:x}-{number:x}"),
            Name::Spill(sequence) => format!("spill-{sequence:x}"),
        }
    }
}

impl Paths {
    pub fn new(root: &Path) -> Paths {
        Paths { root: root.to_owned() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn of(&self, name: Name) -> PathBuf {
        self.root.join(name.text())
    }

    /// The presence file of a handle.
    pub fn presence(&self, owner: u64) -> PathBuf {
        self.root.join("procs").join(format!("{owner:x}"))
    }

    /// The handle that a name in the directory of presences stands for.
    pub fn parse_presence(name: &str) -> Option<u64> {
        u64::from_str_radix(name, 16).ok().filter(|owner| format!("{owner:x}") == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_and_others_do_not() {
        let names = [
            Name::Manifest,
            Name::ManifestDraft,
            Name::Synced,
            Name::Void,
            Name::VoidDraft,
            Name::OpenLock,
            Name::State,
            Name::StateDraft,
            Name::Presences,
            Name::Segment(0x1f),
            Name::Segment(0x1f | MAIN),
            Name::Index(7),
            Name::Tags(0),
            Name::Order(3),
            Name::Value(u64::MAX),
            Name::ValueDraft(3, 4),
            Name::Spill(9),
        ];
        for name in names {
            assert_eq!(Name::parse(&name.text()), Some(name));
        }
        for other in [
            "", "log-", "log-0x1", "log-01", "log--1", "LOG-1", "value-1 ", "main-0x1", "draft-1", "../log-1",
            "cache.db",
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
