//! The readers: `Store::try_read` of `read.rs` and `Store::try_read_many` of `snapshot.rs`, with their numbers. Geometry and
//! rows are the matter of the models that need them.

use super::{CELLS, Record};
use crate::memory::Map;
use crate::os::OsMap;
use crate::storage::state::VISIBLE;

/// What a reader leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    Real,
    /// Seeded: whatever a cell leads to counts.
    IgnoresVisible,
    /// Seeded: a key without a record was absent at the moment, whatever has become visible since.
    TrustsMissing,
}

fn record(map: &Map, location: usize) -> Record {
    Record::from_bits(map.record(location))
}

/// The value of a key, from its cell on; 0 for none.
pub fn get(map: &Map, key: usize, rules: Rules) -> u64 {
    loop {
        // 1 and 2.
        let cell = map.load(CELLS[key]);
        if cell == 0 {
            return 0;
        }
        // 3.
        let newest = record(map, cell as usize);
        // 4. `VISIBLE` after the cell; a record that a pending one replaced counts while it is pending still.
        let mut taken = newest;
        if newest.sequence > map.load(VISIBLE) && rules != Rules::IgnoresVisible {
            let before = (newest.previous != 0).then(|| record(map, newest.previous));
            if map.load(VISIBLE) >= newest.sequence {
                continue;
            }
            match before {
                Some(before) => taken = before,
                None => return 0,
            }
        }
        // 6. The cell again.
        if map.load(CELLS[key]) == cell {
            return taken.value;
        }
    }
}

/// The values of both keys as of one moment; `None` if it has to be begun again.
pub fn try_get_both(map: &Map, rules: Rules) -> Option<[u64; 2]> {
    // 1.
    let moment = map.load(VISIBLE);
    let mut values = [0; 2];
    let mut missed = false;
    // 2.
    for key in 0..2 {
        let cell = map.load(CELLS[key]);
        if cell == 0 {
            missed = true;
            continue;
        }
        let mut found = record(map, cell as usize);
        if found.sequence > moment && rules != Rules::IgnoresVisible {
            if found.previous == 0 {
                missed = true;
                continue;
            }
            found = record(map, found.previous);
            if found.sequence > moment {
                return None;
            }
        }
        missed |= found.value == 0;
        values[key] = found.value;
    }
    // 3.
    let moved = missed && rules != Rules::TrustsMissing && map.load(VISIBLE) != moment;
    (!moved).then_some(values)
}
