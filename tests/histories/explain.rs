//! From a history to a verdict that a person can read: the shortest part of it that has no legal order. It knows how to
//! cut a history down without making an illegal one of a legal one, and no cache.
//!
//! Three cuts, each of which keeps "there is an order" true: the part of one key; the history up to a moment, with what
//! was under way then as if its process had died; a history without one of its reads.

use std::fmt::Write;

use crate::linear::{Event, NEVER, Stuck, Verdict, is_illegal, on_key, search};
use crate::op::{KEYS_MAX, Key, Op, Outcome, State};

/// Events printed, from the end.
const EVENTS_MAX: usize = 60;
const PLACED_MAX: usize = 12;

/// An error says why the history has no legal order, or that none was found in time.
pub fn judge(initial: &State, events: &[Event]) -> Result<(), String> {
    // What was refused promises to have changed nothing. If it did, a value comes out of nothing.
    let events: Vec<Event> = events.iter().filter(|event| event.outcome != Some(Outcome::Refused)).cloned().collect();
    let verdict = search(initial, &events);
    if matches!(verdict, Verdict::Legal) {
        return Ok(());
    }
    for key in 0..KEYS_MAX as Key {
        let (initial, events) = on_key(key, initial, &events);
        if is_illegal(&initial, &events) {
            return Err(format!("key {key} is not linearizable:\n{}", explain(&initial, events)));
        }
    }
    match verdict {
        Verdict::Undecided => Err(format!("no order of {} operations was found in time", events.len())),
        _ => Err(format!("each key alone is linearizable, all together are not:\n{}", explain(initial, events))),
    }
}

fn explain(initial: &State, events: Vec<Event>) -> String {
    let events = without_reads(initial, earliest(initial, events));
    match search(initial, &events) {
        Verdict::Illegal(stuck) => told(initial, &events, &stuck),
        _ => format!("{} operations, and no shorter story", events.len()),
    }
}

/// What had begun until `moment`; what had not returned then is pending.
fn until(moment: u64, events: &[Event]) -> Vec<Event> {
    let begun = events.iter().filter(|event| event.start <= moment).cloned();
    let cut = begun.map(|mut event| {
        if event.end > moment {
            event.end = NEVER;
            // The steps of a transaction are known before it is committed.
            if !matches!(event.op, Op::Transaction(_)) {
                event.outcome = None;
            }
        }
        event
    });
    cut.collect()
}

/// The history up to the first moment at which it is illegal.
fn earliest(initial: &State, events: Vec<Event>) -> Vec<Event> {
    let mut ends: Vec<u64> = events.iter().map(|event| event.end).filter(|end| *end != NEVER).collect();
    ends.sort_unstable();
    let first = ends.partition_point(|end| !is_illegal(initial, &until(*end, &events)));
    match ends.get(first) {
        Some(end) => until(*end, &events),
        None => events,
    }
}

/// Leaves out each read without which the history is illegal still, the oldest first.
fn without_reads(initial: &State, mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| event.start);
    let mut index = 0;
    while index < events.len() {
        if events[index].op.is_read() {
            let event = events.remove(index);
            if is_illegal(initial, &events) {
                continue;
            }
            events.insert(index, event);
        }
        index += 1;
    }
    events
}

fn told(initial: &State, events: &[Event], stuck: &Stuck) -> String {
    let mut text = String::new();
    let begin = events.iter().map(|event| event.start).min().unwrap_or(0);
    let left_out = events.len().saturating_sub(EVENTS_MAX);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  at first {}; {left_out} operations left out, then", cells(initial));
    for event in &events[left_out..] {
        let _ = writeln!(text, "    {}", line(begin, event));
    }
    let _ = writeln!(text, "  the longest legal order places {} of {}, ending with", stuck.placed.len(), events.len());
    for &index in &stuck.placed[stuck.placed.len().saturating_sub(PLACED_MAX)..] {
        let _ = writeln!(text, "    {}", line(begin, &events[index]));
    }
    let _ = writeln!(text, "  and leads to {}; none of these can follow:", cells(&stuck.state));
    for &index in &stuck.next {
        let _ = writeln!(text, "    {}", line(begin, &events[index]));
    }
    text
}

fn cells(state: &State) -> String {
    let held = state.0.iter().enumerate().filter(|(_, cell)| **cell != Default::default());
    let held: Vec<String> = held.map(|(key, cell)| format!("{key}: {cell:x?}")).collect();
    if held.is_empty() { "nothing is there".to_string() } else { held.join(", ") }
}

fn line(begin: u64, event: &Event) -> String {
    let micros = |at: u64| (at - begin) as f64 / 1000.0;
    let end = if event.end == NEVER { "died".to_string() } else { format!("{:.3}", micros(event.end)) };
    let outcome = event.outcome.as_ref().map_or("?".to_string(), |outcome| format!("{outcome:x?}"));
    format!("thread {:2}  {:10.3} .. {end:>10}  {:x?} -> {outcome}", event.thread, micros(event.start), event.op)
}
