//! What a rebuild finds out about namespaces once every item is in the index: where the elements of each queue begin, and how
//! many positions there are.

use std::collections::HashMap;

use crate::os::{Os, OsMap};
use crate::storage::index::{CELLS, bucket_offset};
use crate::storage::location::Entry;
use crate::storage::namespace::{Kind, parse_element};
use crate::storage::tag_table::row;

use super::super::queue::Span;
use super::Replay;

impl<O: Os> Replay<'_, O> {
    /// Sets the own words of the rows of namespaces.
    pub(super) fn anchor(&mut self) {
        if self.ends.inner().all(|(_, kind)| kind != Kind::Deque) {
            return;
        }
        let mut spans: HashMap<u32, (u64, u64)> = HashMap::new();
        for bucket in 0..self.table.buckets() {
            for bits in self.index.load_line(bucket_offset(bucket)).into_iter().take(CELLS) {
                let location = Entry::from_bits(bits).location();
                let Some(header) = self.header_at(location).filter(|header| bits != 0 && header.tag != 0) else {
                    continue;
                };
                self.read_key(location, &header);
                if let Some((id, position)) = parse_element(&self.key) {
                    let (first, last) = spans.entry(id).or_insert((position, position));
                    (*first, *last) = (position.min(*first), position.max(*last));
                }
            }
        }
        for (id, (first, last)) in spans {
            // What a damaged key says is nobody's row.
            if self.ends.kind_of(id) == Kind::Deque
                && let Some((map, place)) = self.tag_row(id)
            {
                let span = Span { first, len: (last - first).saturating_add(1) };
                map.store(place.offset + row::ANCHOR, span.anchor());
                map.store(place.offset + row::LIVE, span.len);
            }
        }
    }
}
