//! Values that are computed when they are missing, once however many ask.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
use crate::calls::Facts;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::flight::{Landing, attempt};
use crate::key::{self, Key};
use crate::options::SetOptions;
use crate::value;

impl<C: Codec> Cache<C> {
    /// The value of a key; if there is none, that of `make`, which is stored first. Of all who ask at once, in all threads and
    /// processes, one runs `make`, and the others sleep until it has and get what it gave.
    ///
    /// A hit costs what [`get`](Cache::get) costs. A miss costs three commits of some microseconds besides `make`, which runs
    /// outside the lock. If `make` panics or its process dies, one of those that wait goes on in its place; a death is noticed
    /// within a quarter of a second. A value that cannot be decoded as `V` counts as a miss and is replaced. What others store
    /// under the key meanwhile, by [`set`](Cache::set) and its like, waits for nobody and is replaced when `make` is done.
    /// Those that wait do so for as long as it takes, or as [`SetOptions::wait`] says.
    ///
    /// # Errors
    /// As [`set`](Cache::set): then `make` has perhaps run, and nothing was stored. [`Error::Recursive`] if the thread asks for
    /// the key while it computes it; two threads that each ask for what the other one computes wait for ever, if nothing says
    /// how long. [`Error::InTransaction`] inside of one, [`Error::ReadOnly`] for a miss of a read-only handle.
    ///
    /// ```
    /// use larder::SetOptions;
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let hour = || SetOptions::new().expire(Duration::from_secs(3600));
    /// let first: String = cache.get_or_insert_with("report", hour(), || "made".to_string())?;
    /// let again: String = cache.get_or_insert_with("report", hour(), || unreachable!("it is there"))?;
    /// assert_eq!(first, again);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "setdefault")]
    #[doc(alias = "single_flight")]
    pub fn get_or_insert_with<V: Serialize + DeserializeOwned>(
        &self,
        key: impl Key,
        options: SetOptions<'_>,
        make: impl FnOnce() -> V,
    ) -> Result<V> {
        self.try_get_or_insert_with(key, options, || Ok::<V, Error>(make()))
    }

    /// As [`get_or_insert_with`](Cache::get_or_insert_with), with a `make` that may fail. Its error goes to its caller and is not
    /// stored; one of those that wait tries next.
    ///
    /// ```
    /// use larder::SetOptions;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = larder::Cache::open(&dir)?;
    /// let read = |name: &str| -> Result<String, Box<dyn std::error::Error>> {
    ///     cache.try_get_or_insert_with(name, SetOptions::new(), || Ok(std::fs::read_to_string(name)?))
    /// };
    /// assert!(read("/there/is/no/such/file").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_get_or_insert_with<V: Serialize + DeserializeOwned, E: From<Error>>(
        &self,
        key: impl Key,
        options: SetOptions<'_>,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let key = key::encode(&key)?;
        let mut bytes = Vec::new();
        // The first look counts as a hit or a miss.
        let found = self.store.of(key.as_bytes()).get(key.as_bytes(), &mut bytes);
        if let Some((value, _)) = self.decoded(found, &bytes)? {
            return Ok(value);
        }
        let look = || {
            let found = self.store.of(key.as_bytes()).read(key.as_bytes(), &mut bytes);
            Ok(self.decoded(found, &bytes)?.map(|(value, _)| value))
        };
        match attempt(&self.part(key.as_bytes()), key.as_bytes(), options.wait, look, make) {
            Ok(Landing::Found(value)) => Ok(value),
            Ok(Landing::Computed(made, _claim)) => {
                let value = made?;
                let put = |kind, bytes: &[u8]| self.store.of(key.as_bytes()).put(key.as_bytes(), kind, bytes, &options);
                value::encode_with(&self.codec, &value, put)??;
                Ok(value)
            }
            Err((error, _)) => Err(error.into()),
        }
    }

    /// A value that was found; `None` if it cannot be used.
    pub(crate) fn decoded<V: DeserializeOwned>(
        &self,
        found: Result<Option<Facts>>,
        bytes: &[u8],
    ) -> Result<Option<(V, Facts)>> {
        let decode = |facts: Facts| Ok((value::decode(&self.codec, facts.kind, bytes)?, facts));
        match found.and_then(|facts| facts.map(decode).transpose()) {
            Err(Error::Type(_) | Error::Codec(_) | Error::Corrupt(_)) => Ok(None),
            other => other,
        }
    }
}
