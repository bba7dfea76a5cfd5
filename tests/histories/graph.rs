//! Transactions on lists, judged by who must come before whom: what Elle calls list-append (Kingsbury and Alvaro, "Elle:
//! Inferring Isolation Anomalies from Experimental Observations", VLDB 2020). It knows events and no cache.
//!
//! Every element is appended once in a history, so a list that was read tells who appended before, and in which order:
//!
//! 1. All reads of a key are beginnings of one order: the longest read, or else somebody has lost an append.
//! 2. Nobody reads an element that nobody appended, that was taken back, or that is followed by another one of the same
//!    transaction that is missing in the read.
//! 3. What was acknowledged is in the last read.
//! 4. Edges: from the writer of an element to the writer of the next one (ww), from the writer of the last element read
//!    to the reader (wr), from a reader to the writer of the next element (rw), and from who returned to who began
//!    later. Without a cycle there is an order that explains everything; a cycle is a violation.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::linear::{Event, NEVER};
use crate::op::{Key, Op, Outcome};

/// What one transaction did: all that it read of others, and what it appended.
struct Deed<'e> {
    event: &'e Event,
    reads: Vec<(Key, Vec<u64>)>,
    appends: Vec<(Key, u64)>,
    /// It promises to have changed nothing.
    is_void: bool,
}

/// Who appended an element, where, and whether the same transaction appended another one there later.
struct Origin {
    deed: usize,
    key: Key,
    is_last: bool,
}

type Orders = BTreeMap<Key, Vec<u64>>;

/// An error says what cannot be. All lists are empty at first.
pub fn judge_lists(events: &[Event]) -> Result<(), String> {
    let mut deeds: Vec<Deed<'_>> = events.iter().map(Deed::of).collect::<Result<_, _>>()?;
    let seen: HashSet<u64> = deeds.iter().flat_map(|deed| &deed.reads).flat_map(|(_, list)| list).copied().collect();
    // What died and left nothing to be seen may never have been; a comparison that would have failed has read the past.
    deeds.retain(|deed| deed.event.end != NEVER || deed.appends.iter().any(|(_, element)| seen.contains(element)));
    let origins = origins(&deeds)?;
    let orders = orders(&deeds)?;
    for deed in &deeds {
        for (key, list) in &deed.reads {
            judge_read(&deeds, &origins, deed, *key, list)?;
        }
    }
    judge_last(&deeds, &origins)?;
    match cycle(&edges(&deeds, &origins, &orders), deeds.len()) {
        None => Ok(()),
        Some(cycle) => Err(told(&deeds, &cycle)),
    }
}

impl<'e> Deed<'e> {
    /// Splits reads of others from reads of what it appended itself, which have to be there.
    fn of(event: &'e Event) -> Result<Deed<'e>, String> {
        let single;
        let steps: &[Op] = match &event.op {
            Op::Transaction(steps) => steps,
            other => {
                single = [other.clone()];
                &single
            }
        };
        let is_void = event.outcome == Some(Outcome::Refused);
        let outcomes: Vec<Option<&Outcome>> = match &event.outcome {
            Some(Outcome::Steps(outcomes)) => outcomes.iter().map(Some).collect(),
            Some(outcome) if !is_void => vec![Some(outcome)],
            _ => vec![None; steps.len()],
        };
        let mut deed = Deed { event, reads: Vec::new(), appends: Vec::new(), is_void };
        for (step, outcome) in steps.iter().zip(outcomes) {
            match (step, outcome) {
                (Op::Append(key, element), _) => deed.appends.push((*key, *element)),
                (Op::List(key), Some(Outcome::List(list))) => {
                    let own: Vec<u64> =
                        deed.appends.iter().filter(|(k, _)| k == key).map(|(_, element)| *element).collect();
                    let Some(of_others) = list.strip_suffix(&own[..]) else {
                        return Err(format!("its own {own:x?} are not at the end of what it read: {}", line(event)));
                    };
                    deed.reads.push((*key, of_others.to_vec()));
                }
                (Op::List(_), None) => (),
                (other, outcome) => return Err(format!("{other:?} -> {outcome:?} is nothing that is done to lists")),
            }
        }
        Ok(deed)
    }
}

fn origins(deeds: &[Deed<'_>]) -> Result<HashMap<u64, Origin>, String> {
    let mut origins = HashMap::new();
    for (number, deed) in deeds.iter().enumerate() {
        for (place, (key, element)) in deed.appends.iter().enumerate() {
            let is_last = deed.appends[place + 1..].iter().all(|(other, _)| other != key);
            if origins.insert(*element, Origin { deed: number, key: *key, is_last }).is_some() {
                return Err(format!("{element:x} is appended twice"));
            }
        }
    }
    Ok(origins)
}

/// The order of each key's elements: the longest read, of which all others are beginnings.
fn orders(deeds: &[Deed<'_>]) -> Result<Orders, String> {
    let mut orders = Orders::new();
    for (key, list) in deeds.iter().flat_map(|deed| &deed.reads) {
        let order = orders.entry(*key).or_default();
        let common = order.len().min(list.len());
        if order[..common] != list[..common] {
            let reads =
                deeds.iter().filter(|deed| deed.reads.iter().any(|(k, l)| k == key && (l == list || l == order)));
            let lines: Vec<String> = reads.take(4).map(|deed| line(deed.event)).collect();
            return Err(format!("key {key} was read in two orders:\n    {}", lines.join("\n    ")));
        }
        if list.len() > order.len() {
            order.clone_from(list);
        }
    }
    Ok(orders)
}

fn judge_read(
    deeds: &[Deed<'_>],
    origins: &HashMap<u64, Origin>,
    deed: &Deed<'_>,
    key: Key,
    list: &[u64],
) -> Result<(), String> {
    for (place, element) in list.iter().enumerate() {
        if list[..place].contains(element) {
            return Err(format!("{element:x} is there twice: {}", line(deed.event)));
        }
        let Some(origin) = origins.get(element).filter(|origin| origin.key == key) else {
            return Err(format!("nobody appended {element:x} to key {key}: {}", line(deed.event)));
        };
        let writer = &deeds[origin.deed];
        let story =
            |what: &str| Err(format!("{element:x} {what}:\n    {}\n    {}", line(writer.event), line(deed.event)));
        if writer.is_void {
            return story("was taken back and is read");
        }
        let next = list.get(place + 1).and_then(|next| origins.get(next));
        if !origin.is_last && next.is_none_or(|next| next.deed != origin.deed) {
            return story("is read without what the same transaction appended behind it");
        }
    }
    Ok(())
}

/// Whoever reads all keys after everything else finds all that was acknowledged.
fn judge_last(deeds: &[Deed<'_>], origins: &HashMap<u64, Origin>) -> Result<(), String> {
    let last_end = deeds.iter().filter(|deed| !deed.appends.is_empty() && deed.event.end != NEVER);
    let last_end = last_end.map(|deed| deed.event.end).max().unwrap_or(0);
    let late = deeds.iter().filter(|deed| deed.event.start > last_end).flat_map(|deed| &deed.reads);
    for (key, list) in late {
        let is_acknowledged = |deed: &Deed<'_>| !deed.is_void && deed.event.end != NEVER;
        let mut appended =
            origins.iter().filter(|(_, origin)| origin.key == *key && is_acknowledged(&deeds[origin.deed]));
        if let Some((element, origin)) = appended.find(|(element, _)| !list.contains(element)) {
            return Err(format!("{element:x} is lost from key {key}: {}", line(deeds[origin.deed].event)));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// Its element stands before that of the other.
    WroteBefore,
    /// The other has read its element.
    ReadBy,
    /// It has not read the other's element.
    DidNotSee,
    /// It had returned when the other began.
    ReturnedBefore,
}

/// Edges from each node. Nodes beyond the deeds are moments: what returned before one leads to it, it leads to what
/// began after it and to the next moment. So time takes three edges for each deed, not one for each pair.
type Edges = Vec<Vec<(usize, Why)>>;

fn edges(deeds: &[Deed<'_>], origins: &HashMap<u64, Origin>, orders: &Orders) -> Edges {
    let mut edges: Edges = vec![Vec::new(); 2 * deeds.len()];
    let mut add = |from: usize, to: usize, why: Why| {
        if from != to {
            edges[from].push((to, why));
        }
    };
    for order in orders.values() {
        for pair in order.windows(2) {
            add(origins[&pair[0]].deed, origins[&pair[1]].deed, Why::WroteBefore);
        }
    }
    for (reader, deed) in deeds.iter().enumerate() {
        for (key, list) in &deed.reads {
            if let Some(last) = list.last() {
                add(origins[last].deed, reader, Why::ReadBy);
            }
            if let Some(next) = orders.get(key).and_then(|order| order.get(list.len())) {
                add(reader, origins[next].deed, Why::DidNotSee);
            }
        }
    }
    let mut returns: Vec<(u64, usize)> = deeds
        .iter()
        .enumerate()
        .map(|(number, deed)| (deed.event.end, number))
        .filter(|(end, _)| *end != NEVER)
        .collect();
    returns.sort_unstable();
    for (rank, (_, number)) in returns.iter().enumerate() {
        add(*number, deeds.len() + rank, Why::ReturnedBefore);
        if rank + 1 < returns.len() {
            add(deeds.len() + rank, deeds.len() + rank + 1, Why::ReturnedBefore);
        }
    }
    for (number, deed) in deeds.iter().enumerate() {
        if let Some(rank) = returns.partition_point(|(end, _)| *end < deed.event.start).checked_sub(1) {
            add(deeds.len() + rank, number, Why::ReturnedBefore);
        }
    }
    edges
}

/// The shortest cycle: its deeds, and why each comes before the next.
fn cycle(edges: &Edges, deeds: usize) -> Option<Vec<(usize, Why)>> {
    let mut incoming = vec![0; edges.len()];
    for (to, _) in edges.iter().flatten() {
        incoming[*to] += 1;
    }
    let mut free: Vec<usize> = (0..edges.len()).filter(|node| incoming[*node] == 0).collect();
    while let Some(node) = free.pop() {
        for (to, _) in &edges[node] {
            incoming[*to] -= 1;
            if incoming[*to] == 0 {
                free.push(*to);
            }
        }
    }
    let cycles = (0..deeds).filter(|node| incoming[*node] != 0).filter_map(|node| cycle_through(edges, deeds, node));
    cycles.min_by_key(Vec::len)
}

fn cycle_through(edges: &Edges, deeds: usize, start: usize) -> Option<Vec<(usize, Why)>> {
    let mut came_from: HashMap<usize, (usize, Why)> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for (to, why) in &edges[node] {
            if came_from.contains_key(to) {
                continue;
            }
            came_from.insert(*to, (node, *why));
            if *to == start {
                return Some(path_back(&came_from, deeds, start));
            }
            queue.push_back(*to);
        }
    }
    None
}

fn path_back(came_from: &HashMap<usize, (usize, Why)>, deeds: usize, start: usize) -> Vec<(usize, Why)> {
    let mut path = Vec::new();
    let mut at = start;
    loop {
        let (from, why) = came_from[&at];
        // Moments are no part of the story.
        if from < deeds {
            path.push((from, why));
        }
        at = from;
        if at == start {
            path.reverse();
            return path;
        }
    }
}

fn told(deeds: &[Deed<'_>], cycle: &[(usize, Why)]) -> String {
    let lines = cycle.iter().map(|(deed, why)| {
        let why = match why {
            Why::WroteBefore => "appended before",
            Why::ReadBy => "was read by",
            Why::DidNotSee => "did not see",
            Why::ReturnedBefore => "had returned before",
        };
        format!("    {}\n      {why}", line(deeds[*deed].event))
    });
    format!(
        "a cycle of {} transactions, the last comes before the first:\n{}",
        cycle.len(),
        lines.collect::<Vec<_>>().join("\n")
    )
}

/// Times in microseconds.
fn line(event: &Event) -> String {
    let end = if event.end == NEVER { "died".to_string() } else { format!("{:.3}", event.end as f64 / 1000.0) };
    format!(
        "thread {} {:.3} .. {end} {:x?} -> {:x?}",
        event.thread,
        event.start as f64 / 1000.0,
        event.op,
        event.outcome
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transaction of steps: `(key, Some(element))` appends, `(key, None)` reads the next of `lists`.
    fn deed(thread: usize, span: (u64, u64), steps: &[(Key, Option<u64>)], lists: &[&[u64]]) -> Event {
        let mut lists = lists.iter();
        let outcomes = steps.iter().map(|(_, element)| match element {
            Some(_) => Outcome::Done,
            None => Outcome::List(lists.next().expect("a list for each read").to_vec()),
        });
        let outcomes = outcomes.collect();
        let ops = steps.iter().map(|(key, element)| element.map_or(Op::List(*key), |e| Op::Append(*key, e)));
        let op = Op::Transaction(ops.collect());
        Event { thread, start: span.0, end: span.1, op, outcome: Some(Outcome::Steps(outcomes)) }
    }

    const LONG: (u64, u64) = (1, 50);
    const LATE: (u64, u64) = (60, 70);

    #[track_caller]
    fn assert_refused(events: &[Event], what: &str) {
        let why = judge_lists(events).expect_err("an illegal history was accepted");
        assert!(why.contains(what), "{what:?} is missing in {why}");
    }

    #[test]
    fn legal_lists_are_accepted() {
        let one = deed(0, LONG, &[(0, Some(1)), (1, Some(2))], &[]);
        let other = deed(1, LONG, &[(0, None), (1, Some(3)), (1, None)], &[&[1], &[2, 3]]);
        let died = Event { end: NEVER, ..deed(2, LONG, &[(0, Some(4)), (0, Some(5))], &[]) };
        let last = deed(3, LATE, &[(0, None), (1, None)], &[&[1, 4, 5], &[2, 3]]);
        assert_eq!(judge_lists(&[one.clone(), other.clone(), died.clone(), last]), Ok(()));
        let without = deed(3, LATE, &[(0, None), (1, None)], &[&[1], &[2, 3]]);
        assert_eq!(judge_lists(&[one.clone(), other.clone(), died.clone(), without.clone()]), Ok(()));
        // A comparison that was never made leaves a read of the past.
        let stale = Event { end: NEVER, ..deed(4, (80, 90), &[(0, None), (0, Some(9))], &[&[]]) };
        assert_eq!(judge_lists(&[one.clone(), other.clone(), without.clone(), stale]), Ok(()));
        // It takes effect when the next one writes, after somebody has read.
        let later = deed(3, (80, 90), &[(0, None)], &[&[1, 4, 5]]);
        assert_eq!(judge_lists(&[one, other, died, without, later]), Ok(()));
    }

    #[test]
    fn appends_in_two_orders_are_refused() {
        let one = deed(0, LONG, &[(0, Some(1)), (1, Some(2))], &[]);
        let other = deed(1, LONG, &[(0, Some(3)), (1, Some(4))], &[]);
        let last = deed(2, LATE, &[(0, None), (1, None)], &[&[1, 3], &[4, 2]]);
        assert_refused(&[one, other, last], "a cycle of 2 transactions");
    }

    #[test]
    fn transactions_that_read_each_other_are_refused() {
        let one = deed(0, LONG, &[(0, Some(1)), (1, None)], &[&[2]]);
        let other = deed(1, LONG, &[(1, Some(2)), (0, None)], &[&[1]]);
        assert_refused(&[one, other], "was read by");
    }

    #[test]
    fn a_read_of_half_a_transaction_is_refused() {
        let writer = deed(0, LONG, &[(0, Some(1)), (1, Some(2))], &[]);
        let reader = deed(1, LONG, &[(0, None), (1, None)], &[&[1], &[]]);
        let last = deed(2, LATE, &[(1, None)], &[&[2]]);
        assert_refused(&[writer, reader, last], "did not see");
    }

    #[test]
    fn write_skew_is_refused() {
        let one = deed(0, LONG, &[(0, None), (1, Some(1))], &[&[]]);
        let other = deed(1, LONG, &[(1, None), (0, Some(2))], &[&[]]);
        let last = deed(2, LATE, &[(0, None), (1, None)], &[&[2], &[1]]);
        assert_refused(&[one, other, last], "did not see");
    }

    #[test]
    fn a_read_of_the_past_is_refused() {
        let writer = deed(0, (1, 2), &[(0, Some(1))], &[]);
        let reader = deed(1, (3, 4), &[(0, None)], &[&[]]);
        let other = deed(2, LONG, &[(1, Some(2))], &[]);
        let last = deed(3, LATE, &[(0, None)], &[&[1]]);
        assert_refused(&[writer, reader, other, last], "had returned before");
    }

    #[test]
    fn what_was_taken_back_is_not_read() {
        let void = Event { outcome: Some(Outcome::Refused), ..deed(0, LONG, &[(0, Some(1))], &[]) };
        assert_refused(&[void, deed(1, LONG, &[(0, None)], &[&[1]])], "was taken back");
    }

    #[test]
    fn what_is_half_done_is_not_read() {
        let writer = deed(0, LONG, &[(0, Some(1)), (0, Some(2))], &[]);
        assert_refused(&[writer, deed(1, LONG, &[(0, None)], &[&[1]])], "without what the same transaction");
    }

    #[test]
    fn what_was_acknowledged_is_not_lost() {
        let writers = [deed(0, LONG, &[(0, Some(1))], &[]), deed(1, LONG, &[(0, Some(2))], &[])];
        let last = deed(2, LATE, &[(0, None)], &[&[2]]);
        assert_refused(&[&writers[..], &[last]].concat(), "1 is lost");
    }

    #[test]
    fn elements_out_of_nothing_twice_or_in_two_orders_are_refused() {
        let writers = [deed(0, LONG, &[(0, Some(1))], &[]), deed(1, LONG, &[(0, Some(2))], &[])];
        let with = |lists: &[&[u64]]| {
            let reads = lists.iter().enumerate().map(|(n, list)| deed(2 + n, LONG, &[(0, None)], &[list]));
            writers.iter().cloned().chain(reads).collect::<Vec<_>>()
        };
        assert_refused(&with(&[&[1, 7]]), "nobody appended 7");
        assert_refused(&with(&[&[1, 1]]), "twice");
        assert_refused(&with(&[&[1, 2], &[2, 1]]), "two orders");
        assert_refused(&[deed(0, LONG, &[(0, Some(1)), (0, None)], &[&[]])], "its own");
    }
}
