//! The state file: every word that the processes of a store share, but for index entries and tag rows. This file says
//! where each word is, who writes it and how; it stores nothing itself.
//!
//! ```text
//! offset  word             changed by
//!      0  head, 96 bytes   nobody: written once, before the file gets its name (table below)
//!    256  LOCK (32 bits)   compare-and-exchange: owner id, or 0; bit 31: somebody sleeps
//!    264  PENDING          the lock's owner: sequence of the commit being applied, else 0; bit 63: part of a joint commit, see `joint`
//!    272  YIELD_UNTIL      a waiter: uptime in ms until which newcomers let others first   (advisory)
//!    280  UNSWEPT          the lock's owner: 1 while a file of a commit that never happened may be there, 2 while it may come back with a power
//!                                 cut; see `finish`
//!    320  VISIBLE          the lock's owner: the newest sequence that readers accept
//!    384  GEOMETRY         list; see `index`
//!    392  CLEARED          list: sequence of the newest `clear`; older records are dead
//!    400  CLEARED_BEFORE   list: the one before it, for readers who may not see the newest yet
//!    408  RETIRED          list: number of files retired so far: a handle that saw fewer drops maps
//!    416  CLOCK            anybody, upwards: the latest time at which something was found expired (advisory)
//!    424  SIZE_LIMIT       list
//!    432  EVICTION         list: the policy in the low half; in the high half the age, counted up around 16 (see `marks`)
//!    440  STATISTICS       list
//!    448  LIVE             list: items that were put and not removed, evicted or cleared, without those of namespaces
//!    456  VOLUME           list: allocated bytes of all linked files
//!    464  TAIL             list: where the next batch goes
//!    472  NEXT_SEGMENT     list: id of the next segment
//!    480  NEXT_VALUE       list: id of the next large value
//!    488  TAG_CHUNKS       list: chunks of the tag table
//!    496  VALUE_FLOOR      list: large values with a smaller id are dead
//!    504  LARGE_BYTES      list: bytes of the files of large values
//!    512  NEXT_OWNER       anybody: fetch_add at open
//!    520  RESERVED         anybody: bytes of large values being written (advisory)
//!    528  SUSPECT          anybody: not 0 if the index was found damaged: the next sole opener rebuilds it (advisory)
//!    536  DEAD_LARGE_BYTES list: bytes of large values below VALUE_FLOOR whose files may still be there
//!    576  TOTALS, 8 words  whoever closes or sweeps a handle: statistics of handles that are gone (advisory)
//!    640  BASELINE         anybody: statistics at the last reset (advisory)
//!    704  SYNCING (32 bits) compare-and-exchange: id of the handle that makes the log durable, or 0; bit 31: somebody sleeps; bit 30:
//!                         what victims left alone; see `carried`
//!    712  SYNCED           its owner: commits up to this sequence are durable
//!    720  SYNCED_SEGMENT   its owner: log bytes in segments with smaller ids are durable
//!    728  SYNCED_VALUES    its owner: large values with smaller ids are durable
//!    736  SYNC_STAGE       its owner: what it is asking the disk for, 0 while nothing; see `durable`
//!    744  SYNC_FAILED      anybody: what cannot be made durable as it is, 0 if nothing; see `durable`
//!    752  MARKED           its owner: the sequence up to which the mark on disk says that the log is durable
//!    760  MARKED_AT        its owner: uptime in ms when that mark was made (advisory)
//!    768  GROUP            its owner: commits that a group had lately (advisory)
//!    784  EPOCH            LOCK's owner: the epoch of the next batch, counted up when what it overwrites may look like one
//!    792  MAIN_TAIL        list: where the next batch of the main stream goes; 0 if that stream has no segment
//!    800  NEXT_MAIN        list: number of the next segment of the main stream
//!    808  HAND             list: how far the walk through the oldest segment of the commit stream is
//!    816  HAND_ID          list: the id of the segment that this is about
//!    824  MAIN_HAND        list: the same for the main stream
//!    832  MAIN_HAND_ID     list
//!    840  MAIN_LARGE_BYTES list: the part of LARGE_BYTES whose records stand in the main stream
//!    848  CARRIED          list: the newest commit that moved something which must be durable before what it came from goes
//!    856  CARRIED_SYNCED   anybody, upwards: commits up to this one have what they moved on the disk
//!    864  SYNCED_MAIN      its owner: as SYNCED_SEGMENT, for the main stream
//!    872  CUT              LOCK's owner: what a mark must be for its item to stay (advisory)
//!    880  APPENDED         LOCK's owner: bytes of puts so far (advisory)
//!    888  COPIED           LOCK's owner: bytes of items moved to the main stream so far (advisory)
//!    896  KEPT             LOCK's owner: bytes that the walk through the present victim has moved (advisory)
//!    904  APPENDED_BEFORE  anybody: APPENDED at the last reset of the statistics (advisory)
//!    912  COPIED_BEFORE    anybody: COPIED then (advisory)
//!    920  FORGONE          LOCK's owner: bytes that could have been moved, by what was stored, and were not (advisory)
//!    928  MAIN_CLEARED     list: NEXT_MAIN at the newest `clear`: in segments with smaller numbers everything is dead
//!    936  UPKEEP (32 bits) compare-and-exchange: id of the handle whose thread gives space back, or 0 (advisory); see `upkeep`
//!    944  INNER            list: as LIVE, items of namespaces
//!    952  LASTING_BYTES    list: bytes of the live items that are never evicted, whatever the policy, and of their values' files
//!    960  NAMESPACES       list: 1 once there is a namespace, 3 once there is one whose items are never evicted
//!    968  TAKERS (32 bits)  anybody: counts up when somebody who sleeps until an element is pushed is woken; bit 31: somebody
//!                         sleeps; see `takers`
//!    976  BORN             nobody: the newest commit when this file was made
//!    984  JOINT            the lock's owner, before PENDING: number of the joint commit that it is part of
//!    992  JOINT_NEXT       LOCK's owner, in the first shard: number of the last joint commit that was begun
//!   1000  JOINT_CHOSEN     LOCK's owner, in the first shard and then in each with a part: of the last one that is to be finished, whoever
//!                          dies
//!   1008  JOINT_DONE       LOCK's owner, in the first shard: of the last one that readers accept
//!   1016  FOUND            whoever makes the state file, list: segments of the commit stream with smaller numbers were there then
//!   1024  RETIREES         list: 32 pairs {file, bytes}: files out of use that wait to be unlinked
//!   1536  ORDER_CHUNKS     list: chunks of the nodes that keep keys in order; see `order`
//!   1544  ORDER_NEXT       list: the block behind all that were ever used
//!   1552  ORDER_DOOMED     list: the first node of the trees that are taken apart
//!   1560  ORDER_STALE      whoever makes the state file, list: 1 if the trees have to be made anew
//!   1568  STRAYS           whoever makes the state file, list: bytes of files out of use that nothing names; see `strays`
//!   1576  WAS_SYNCED       nobody: 1 if somebody had asked for something to be durable before this file was made
//!   1584  ENDED            list: the newest mark that may have ended large values whose files are there still, or 0; see `ended`
//!   1592  EVICTED          list: 1 if items may have been evicted under a policy before the present one, `None`
//!   1600  ORDER_FREE       list: 9 words: the first free block of each class
//!   1680  ORDER_LEFT       list: bytes at the end of those chunks, taken as one, that no space is allocated for
//!   1688  ORDER_FREED      list: blocks on those lists, counted in the shortest
//!   1696  CARRIED_FROM     list: a segment of the main stream; none before it has anything of CARRIED that may not be durable yet
//!   1704  CARRIED_UPTO     SYNCING's owner: a segment of the main stream; whatever of CARRIED stands before it is durable
//!   4096  REDO             the lock's owner, before PENDING; see `redo`
//!  69632  ROWS             list: the segment table, 64 bytes a row
//! ```
//! Zeros in 704..784 say that nothing is known to be durable, and nothing to have failed.
//!
//! "List" means: only through the redo list of a commit. Every other word may be lost or doubled by a crash without harm.
//!
//! Head: 0 magic "LARDRSTA", 8 version u32, 12 rows u32, 16 store id, 24 boot u128, 40 device, 48 inode, 56 mount,
//! 64 CRC-32 of bytes 0..64. It names the boot and the mount under which the words were written: if they are not the
//! present ones, words may be from different moments, and the file is not to be trusted.
//!
//! A row of the segment table: 0 segment id and 0 for a free row; 8 end of the committed part, 0 while open;
//! 16 capacity; 24 allocated bytes; 32 live: puts that the index leads to in the low half, names of tags in the high; 40 earliest expiry
//! (0: none expires); 48 bytes of records that no cell leads to, as far as that is known; 56 newest sequence, once it is sealed.

use super::{u32_at, u64_at};
use crate::os::{Identity, OsMap};

pub const LOCK: usize = 256;
pub const PENDING: usize = 264;
pub const YIELD_UNTIL: usize = 272;
pub const UNSWEPT: usize = 280;
/// The value of `UNSWEPT` while the removal of a segment is not known to be durable.
pub const NAME_MAY_RETURN: u64 = 2;
pub const VISIBLE: usize = 320;
pub const GEOMETRY: usize = 384;
pub const CLEARED: usize = 392;
pub const CLEARED_BEFORE: usize = 400;
pub const RETIRED: usize = 408;
pub const CLOCK: usize = 416;
pub const SIZE_LIMIT: usize = 424;
pub const EVICTION: usize = 432;
pub const STATISTICS: usize = 440;
pub const LIVE: usize = 448;
pub const VOLUME: usize = 456;
pub const TAIL: usize = 464;
pub const NEXT_SEGMENT: usize = 472;
pub const NEXT_VALUE: usize = 480;
pub const TAG_CHUNKS: usize = 488;
pub const VALUE_FLOOR: usize = 496;
pub const LARGE_BYTES: usize = 504;
pub const NEXT_OWNER: usize = 512;
pub const RESERVED: usize = 520;
pub const SUSPECT: usize = 528;
pub const DEAD_LARGE_BYTES: usize = 536;
pub const TOTALS: usize = 576;
pub const BASELINE: usize = 640;
pub const SYNCING: usize = 704;
pub const SYNCED: usize = 712;
pub const SYNCED_SEGMENT: usize = 720;
pub const SYNCED_VALUES: usize = 728;
pub const SYNC_STAGE: usize = 736;
pub const SYNC_FAILED: usize = 744;
pub const MARKED: usize = 752;
pub const MARKED_AT: usize = 760;
pub const GROUP: usize = 768;
pub const EPOCH: usize = 784;
pub const RETIREES: usize = 1024;
pub const RETIREES_MAX: usize = 32;
pub const MAIN_TAIL: usize = 792;
pub const NEXT_MAIN: usize = 800;
pub const HAND: usize = 808;
pub const HAND_ID: usize = 816;
pub const MAIN_HAND: usize = 824;
pub const MAIN_HAND_ID: usize = 832;
pub const MAIN_LARGE_BYTES: usize = 840;
pub const CARRIED: usize = 848;
pub const CARRIED_SYNCED: usize = 856;
pub const SYNCED_MAIN: usize = 864;
pub const CUT: usize = 872;
pub const APPENDED: usize = 880;
pub const COPIED: usize = 888;
pub const KEPT: usize = 896;
pub const APPENDED_BEFORE: usize = 904;
pub const COPIED_BEFORE: usize = 912;
pub const FORGONE: usize = 920;
pub const MAIN_CLEARED: usize = 928;
pub const UPKEEP: usize = 936;
pub const INNER: usize = 944;
pub const LASTING_BYTES: usize = 952;
pub const ENDED: usize = 1584;
pub const EVICTED: usize = 1592;
pub const NAMESPACES: usize = 960;
pub const TAKERS: usize = 968;
pub const BORN: usize = 976;
pub const JOINT: usize = 984;
pub const JOINT_NEXT: usize = 992;
pub const JOINT_CHOSEN: usize = 1000;
pub const JOINT_DONE: usize = 1008;
pub const FOUND: usize = 1016;
pub const ORDER_CHUNKS: usize = 1536;
pub const ORDER_NEXT: usize = 1544;
pub const ORDER_DOOMED: usize = 1552;
pub const ORDER_STALE: usize = 1560;
pub const STRAYS: usize = 1568;
pub const WAS_SYNCED: usize = 1576;
pub const ORDER_FREE: usize = 1600;
pub const ORDER_LEFT: usize = 1680;
pub const ORDER_FREED: usize = 1688;
pub const CARRIED_FROM: usize = 1696;
pub const CARRIED_UPTO: usize = 1704;
pub const REDO: usize = 4096;
pub const REDO_BYTES: usize = 65536;
pub const ROWS: usize = REDO + REDO_BYTES;
pub const ROW_BYTES: usize = 64;

/// Words of a row.
pub mod row {
    pub const ID: usize = 0;
    pub const END: usize = 8;
    pub const CAPACITY: usize = 16;
    pub const ALLOCATED: usize = 24;
    pub const LIVE: usize = 32;
    pub const EXPIRES_MIN: usize = 40;
    pub const DEAD: usize = 48;
    pub const NEWEST: usize = 56;
}

/// Bit of `PENDING`: the commit is part of a joint one, and is not finished by who finds it.
pub const IS_JOINT: u64 = 1 << 63;

/// Bit of `NAMESPACES`: there is a namespace.
pub const HAS_INNER: u64 = 1;
/// Bit of `NAMESPACES`: there is one whose items are never evicted.
pub const HAS_LASTING: u64 = 2;

/// One name of a tag, in a row's count of what is live.
pub const LIVE_NAME: i64 = 1 << 32;

/// Bytes of the head.
pub const HEAD: usize = 96;
const MAGIC: &[u8; 8] = b"LARDRSTA";

const _: () = assert!(
    RETIREES + RETIREES_MAX * 16 <= ORDER_CHUNKS
        && ORDER_FREE + 8 * super::tree::CLASSES < ORDER_LEFT
        && ORDER_FREED + 8 <= REDO
        && BASELINE + 64 <= SYNCING
        && FOUND + 8 <= RETIREES
);
const _: () = assert!(LOCK >= HEAD && LOCK.is_multiple_of(64) && PENDING / 64 == LOCK / 64);
const _: () = assert!(VISIBLE / 64 != LOCK / 64 && GEOMETRY / 64 != VISIBLE / 64 && LIVE / 64 != GEOMETRY / 64);
const _: () = assert!(ROWS.is_multiple_of(4096) && ROW_BYTES == row::NEWEST + 8);

/// Length of a state file with that many rows.
pub fn file_bytes(rows: usize) -> usize {
    (ROWS + rows * ROW_BYTES).next_multiple_of(4096)
}

/// Offset of a word of a row. The caller has checked `slot` against the number of rows.
#[inline(always)]
pub fn row_word(slot: usize, word: usize) -> usize {
    ROWS + slot * ROW_BYTES + word
}

/// The head of a state file.
pub fn encode_head(store: u64, rows: u32, identity: &Identity) -> [u8; HEAD] {
    let mut bytes = [0; HEAD];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&super::manifest::FORMAT_VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&rows.to_le_bytes());
    bytes[16..24].copy_from_slice(&store.to_le_bytes());
    bytes[24..40].copy_from_slice(&identity.boot.to_le_bytes());
    bytes[40..48].copy_from_slice(&identity.device.to_le_bytes());
    bytes[48..56].copy_from_slice(&identity.inode.to_le_bytes());
    bytes[56..64].copy_from_slice(&identity.mount.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..64]);
    bytes[64..68].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The identity under which the words of this state file were written; `None` if the head is not a valid one of this
/// store with this many rows.
pub fn decode_head(bytes: &[u8; HEAD], store: u64, rows: u32) -> Option<Identity> {
    let valid = &bytes[..8] == MAGIC
        && crc32fast::hash(&bytes[..64]) == u32_at(bytes, 64)
        && u32_at(bytes, 8) == super::manifest::FORMAT_VERSION
        && u32_at(bytes, 12) == rows
        && u64_at(bytes, 16) == store;
    let boot = u128::from(u64_at(bytes, 24)) | u128::from(u64_at(bytes, 32)) << 64;
    valid.then(|| Identity { boot, device: u64_at(bytes, 40), inode: u64_at(bytes, 48), mount: u64_at(bytes, 56) })
}

/// A file that waits to be unlinked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retiree {
    Segment(u64),
    Index(u64),
    Value(u64),
}

impl Retiree {
    const ID_BITS: u32 = 56;

    pub fn bits(self) -> u64 {
        let (kind, id) = match self {
            Retiree::Segment(id) => (1, id),
            Retiree::Index(id) => (2, id),
            Retiree::Value(id) => (3, id),
        };
        (kind << Self::ID_BITS) | (id & ((1 << Self::ID_BITS) - 1))
    }

    pub fn from_bits(bits: u64) -> Option<Retiree> {
        let id = bits & ((1 << Self::ID_BITS) - 1);
        match bits >> Self::ID_BITS {
            1 => Some(Retiree::Segment(id)),
            2 => Some(Retiree::Index(id)),
            3 => Some(Retiree::Value(id)),
            _ => None,
        }
    }
}

/// The marks of the newest two `clear`s or evictions of one tag.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    pub newest: u64,
    pub before: u64,
}

impl Marks {
    /// The marks of `clear`.
    #[inline(always)]
    pub fn cleared<M: OsMap>(state: &M) -> Marks {
        Marks { newest: state.load(CLEARED), before: state.load(CLEARED_BEFORE) }
    }

    /// True if a record is older than the newest mark that a reader at `visible` may see. Strictly: what was put by
    /// the very commit that evicted stays.
    #[inline(always)]
    pub fn kill(&self, sequence: u64, visible: u64) -> bool {
        let mark = if self.newest <= visible { self.newest } else { self.before };
        sequence < mark || (seeded!("mark_kills_its_own_commit") && sequence == mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_and_every_flipped_byte_is_found() {
        let identity = Identity { boot: 1 << 100, device: 2, inode: 3, mount: 4 };
        let bytes = encode_head(5, 256, &identity);
        assert_eq!(decode_head(&bytes, 5, 256), Some(identity));
        assert_eq!(decode_head(&bytes, 6, 256), None);
        assert_eq!(decode_head(&bytes, 5, 512), None);
        for at in 0..68 {
            let mut bad = bytes;
            bad[at] ^= 4;
            assert_eq!(decode_head(&bad, 5, 256), None, "byte {at}");
        }
    }

    #[test]
    fn a_mark_kills_what_is_strictly_older_and_only_when_visible() {
        let marks = Marks { newest: 10, before: 5 };
        assert!(marks.kill(9, 10) && !marks.kill(10, 10));
        assert!(marks.kill(4, 9) && !marks.kill(5, 9));
    }

    #[test]
    fn a_retiree_reads_back_and_zero_is_none() {
        for retiree in [Retiree::Segment(1), Retiree::Index(2), Retiree::Value((1 << 56) - 1)] {
            assert_eq!(Retiree::from_bits(retiree.bits()), Some(retiree));
        }
        assert_eq!(Retiree::from_bits(0), None);
        assert_eq!(Retiree::from_bits(u64::MAX), None);
    }
}
