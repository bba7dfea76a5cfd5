//! The engine floor: bytes in, bytes out, safe across threads and processes. It may know storage and os; it knows no
//! types, codecs or options of the front.
//!
//! # The commit protocol
//!
//! One writer at a time, readers that never wait. Steps of a write, numbered as in the code and in DESIGN.md:
//!
//! 1. Outside the lock: encode, hash, prefetch the home bucket; write a large value to a draft file of its own.
//! 2. Take the lock word. If `PENDING` is not 0, recover, however the lock was obtained.
//! 3. What can fail: find cells, tag rows and overflow buckets, make room in the log, map files.
//! 4. Write the batch at the tail, record by record as step 3 finds their cells. Nobody is led there yet; a later owner that
//!    finds `PENDING == 0` writes over it. A long redo list goes to a spill file now. On an error so far, wipe what was
//!    written, forget what was staged and unlock: nothing was published.
//! 5. Write the redo list; `PENDING = sequence`: committed against the death of this process.
//! 6. Store every new value of the list: structure words first, then cells.
//! 7. `VISIBLE = sequence`: readers accept the whole batch at once.
//! 8. `PENDING = 0`; unlock; wake a sleeper if there is one.
//! 9. Outside the lock: unlink files that the commit retired.
//!
//! Recovery is steps 6 to 8 with the list that is there. Values are absolute, so any number of deaths inside it is harmless.
//!
//! # Invariants
//!
//! - **I1** At most one living handle is between steps 2 and 8.
//! - **I2** A commit is in effect for every process as soon as, and only if, its `PENDING` was stored.
//! - **I3** A reader that accepts one record of a batch accepts all of them.
//! - **I4** Bytes that an entry leads to never change and stay mapped while they are read.
//! - **I5** A key that is present has one cell in the table that holds its hash, and keeps it there until it is removed.
//! - **I6** `LIVE` and the tags' counts equal a full count whenever the lock is free and `PENDING` is 0.
//! - **I7** Replaying the log gives the index, up to cells of dead items.
//! - **I8** Words from disk are checked before they are used as an offset, a length or a number of steps.
//! - **I9** The row of a segment is freed by a commit before which no cell of the table that readers use led into it: who
//!   meets a free row and the same cell still meets damage, and not a commit under way.

mod ahead;
mod batch;
mod borrowed;
mod by_hash;
mod carried;
mod cells;
mod change;
mod check;
mod clear;
mod coming;
mod commit;
mod compaction;
mod decided;
mod doubt;
mod due;
mod durable;
mod duty;
mod ended;
mod ends;
mod expire;
mod finish;
mod found;
mod growing;
mod growth;
mod handle;
mod joint;
mod joint_left;
mod large;
mod limit;
mod listed;
mod living;
mod lock;
mod log;
mod mapping;
mod marks;
mod namespace;
mod nodes;
mod notices;
mod order;
mod order_ahead;
mod order_blocks;
mod order_coming;
mod order_items;
mod order_join;
mod order_leaf;
mod order_make;
mod order_pop;
mod order_read;
mod order_return;
mod order_space;
mod pending;
mod pinned;
mod policy;
mod pressure;
mod queue;
mod read;
mod rebuild;
mod rebuilt;
mod recovery;
mod remake;
mod repair;
mod replay;
mod retire;
mod room;
mod scan;
mod settings;
mod shards;
mod shards_change;
mod shards_open;
mod siblings;
#[cfg(any(test, fuzzing))]
pub mod simulation;
mod snapshot;
mod staged;
mod statistics;
mod store;
mod strays;
mod tags;
mod takers;
#[cfg(test)]
mod tests;
mod transaction;
mod undo;
mod update;
mod upkeep;
mod view;
mod voids;
mod write;

#[cfg(any(test, fuzzing))]
pub use log::{Batches, Found as FoundInLog};

pub use by_hash::ByHash;
pub use change::{Change, DecidedValue, Decision, Hold, Op, OwnedTag, Put, Tag, Value};
pub use check::{Progress, Report};
pub use found::Found;
pub use growing::{Growing, OpenValue};
pub use handle::Handle;
pub use large::Draft;
pub use notices::{Listener, Notice};
pub use order_read::{Stretch, Window};
pub use queue::{Bound, End, Span};
pub use recovery::Opening;
pub use settings::Shared;
pub use shards::Shards;
pub use shards_change::Group;
pub use shards_open::split_limit;
pub use statistics::{Counter, Space, Sums};
pub use store::Store;
pub use view::{LargeValue, Segment};

pub use crate::storage::manifest::{KIND_CACHE, KIND_DEQUE, KIND_INDEX};
pub use crate::storage::namespace::{Kind, Label, Namespace, PREFIX, is_inner};
