//! What a cache must hold, as a plain map.

use super::Expiry;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// All that `len` counts, expired items too.
    pub items: BTreeMap<String, Item>,
    /// Counts insertions of keys.
    clock: u64,
}

#[derive(Clone, Debug)]
pub struct Item {
    pub text: String,
    /// If this is there, the value is a number and not the text.
    pub number: Option<i64>,
    pub expires: bool,
    pub expired: bool,
    pub tag: Option<&'static str>,
    inserted: u64,
}

impl Item {
    pub fn text(text: String, expiry: Expiry, tag: Option<&'static str>) -> Item {
        let item = Item { text, number: None, expires: false, expired: false, tag, inserted: 0 };
        item.expiring(expiry)
    }

    pub fn number(number: i64, expiry: Expiry, tag: Option<&'static str>) -> Item {
        Item { number: Some(number), ..Item::text(String::new(), expiry, tag) }
    }

    pub fn with_text(self, text: String) -> Item {
        Item { text, number: None, ..self }
    }

    pub fn expiring(self, expiry: Expiry) -> Item {
        let expires = !matches!(expiry, Expiry::Never);
        Item { expires, expired: matches!(expiry, Expiry::AtOnce), ..self }
    }

    /// The value as [`Either`] shows it.
    pub fn shown(&self) -> String {
        self.number.map_or_else(|| self.text.clone(), |number| format!("number {number}"))
    }
}

impl Expected {
    pub fn live(&self, key: &str) -> Option<&Item> {
        self.items.get(key).filter(|item| !item.expired)
    }

    pub fn has_expired(&self, key: &str) -> bool {
        self.items.get(key).is_some_and(|item| item.expired)
    }

    /// A key that is live keeps its place in the order of insertion.
    pub fn set(&mut self, key: &str, item: Item) {
        self.clock += 1;
        let inserted = self.live(key).map_or(self.clock, |present| present.inserted);
        self.items.insert(key.to_owned(), Item { inserted, ..item });
    }

    pub fn remove(&mut self, key: &str) {
        self.items.remove(key);
    }

    pub fn pairs(&self) -> Vec<(String, String)> {
        let live = self.items.iter().filter(|(_, item)| !item.expired);
        live.map(|(key, item)| (key.clone(), item.shown())).collect()
    }

    pub fn tagged(&self, tag: &str) -> Vec<String> {
        let tagged = self.items.iter().filter(|(_, item)| !item.expired && item.tag == Some(tag));
        tagged.map(|(key, _)| key.clone()).collect()
    }

    /// Live keys in the order of insertion.
    pub fn inserted(&self) -> Vec<String> {
        let live = self.items.iter().filter(|(_, item)| !item.expired);
        let mut keys: Vec<(u64, &String)> = live.map(|(key, item)| (item.inserted, key)).collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key.clone()).collect()
    }

    fn remove_where(&mut self, is_gone: impl Fn(&Item) -> bool) -> u64 {
        let before = self.items.len();
        self.items.retain(|_, item| !is_gone(item));
        (before - self.items.len()) as u64
    }

    pub fn evict(&mut self, tag: &str) -> u64 {
        self.remove_where(|item| item.tag == Some(tag))
    }

    pub fn expire(&mut self) -> u64 {
        self.remove_where(|item| item.expired)
    }
}

/// A string, or an integer written out.
pub struct Either(pub String);

impl<'de> serde::Deserialize<'de> for Either {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Either, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Either;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or an integer")
            }
            fn visit_str<E>(self, text: &str) -> Result<Either, E> {
                Ok(Either(text.to_owned()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Either, E> {
                Ok(Either(format!("number {number}")))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Either, E> {
                Ok(Either(format!("number {number}")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
