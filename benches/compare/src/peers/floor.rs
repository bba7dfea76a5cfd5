//! A `HashMap` of this process: what the harness and the memory cost, without a store.

use std::collections::HashMap;

use super::{Mode, Peer, counted, why_not, without_limit};
use crate::draw::Key;
use crate::measure::Outcome;

pub struct Floor(HashMap<Vec<u8>, Vec<u8>>);

impl Floor {
    pub fn open(mode: Mode) -> Outcome<Floor> {
        without_limit(mode)?;
        if mode.sync {
            return why_not("nothing is on a disk");
        }
        Ok(Floor(HashMap::new()))
    }
}

impl Peer for Floor {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.0.get(key).cloned())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<bool> {
        Ok(self.0.remove(key).is_some())
    }

    fn set_many(&mut self, pairs: &[(Key, Vec<u8>)]) -> Outcome<()> {
        pairs.iter().try_for_each(|(key, value)| self.set(key, value))
    }

    fn clear(&mut self) -> Outcome<()> {
        self.0.clear();
        Ok(())
    }

    fn incr(&mut self, key: &[u8]) -> Outcome<i64> {
        let count = counted(self.0.get(key).map(Vec::as_slice))?;
        self.set(key, &count.to_le_bytes())?;
        Ok(count)
    }
}
