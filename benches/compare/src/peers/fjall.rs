//! fjall, its journal handed to the system with each change, without compression.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Mode, Peer, without_limit};
use crate::draw::Key;
use crate::measure::Outcome;

const CACHE_BYTES: u64 = 256 << 20;

pub struct Fjall {
    database: Database,
    items: Keyspace,
    is_durable: bool,
}

impl Fjall {
    pub fn open(directory: &Path, mode: Mode) -> Outcome<Fjall> {
        without_limit(mode)?;
        let database = Database::builder(directory).cache_size(CACHE_BYTES).open()?;
        let items = database.keyspace("items", KeyspaceCreateOptions::default)?;
        Ok(Fjall { database, items, is_durable: mode.sync })
    }

    fn wait(&self) -> Outcome<()> {
        if self.is_durable {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

impl Peer for Fjall {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.items.get(key)?.map(|value| value.to_vec()))
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.items.insert(key, value)?;
        self.wait()
    }

    /// A marker is written whether the key is there or not.
    fn delete(&mut self, key: &[u8]) -> Outcome<bool> {
        self.items.remove(key)?;
        self.wait()?;
        Ok(true)
    }

    fn set_many(&mut self, pairs: &[(Key, Vec<u8>)]) -> Outcome<()> {
        let mut batch = self.database.batch();
        for (key, value) in pairs {
            batch.insert(&self.items, key.as_slice(), value.as_slice());
        }
        batch.commit()?;
        self.wait()
    }

    fn clear(&mut self) -> Outcome<()> {
        Ok(self.items.clear()?)
    }
}
