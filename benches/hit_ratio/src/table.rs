//! Printing what was measured.

use crate::replay::Measured;
use crate::simulate::Outcome;
use crate::trace::Trace;

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for at in (first..digits.len()).step_by(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&digits[at..at + 3]);
    }
    text
}

/// What a trace is.
pub fn title(trace: &Trace) -> String {
    let (requests, objects) = (trace.requests.len() as u64, trace.ids.len() as u64);
    let mut text = format!("{}: {} requests for {} objects", trace.name, grouped(requests), grouped(objects));
    if trace.has_sizes {
        text += &format!(" of {} bytes", grouped(trace.bytes_of_objects()));
    }
    if trace.resized > 0 {
        text += &format!("; {} requests gave another size, the first one holds", grouped(trace.resized));
    }
    text
}

pub fn capacity(trace: &Trace, capacity: u64) -> String {
    format!("capacity {} {}", grouped(capacity), if trace.has_sizes { "bytes" } else { "objects" })
}

pub fn head() -> String {
    format!(
        "{:14} {:>7} {:>11} {:>8} {:>12} {:>10} {:>24}",
        "policy", "hits %", "byte hits %", "writes x", "requests/s", "refused", "largest volume, of limit"
    )
}

/// A line of the table; `limit` is what a cache was given, 0 for a policy that takes no room on disk.
pub fn line(name: &str, measured: &Measured, limit: u64) -> String {
    let amplification = measured.amplification().map_or_else(|| "-".to_owned(), |times| format!("{times:.2}"));
    let (refused, volume) = if limit == 0 {
        ("-".to_owned(), "-".to_owned())
    } else {
        let percent = measured.volume_max as f64 * 100.0 / limit as f64;
        (grouped(measured.refused), format!("{} {percent:5.1} %", grouped(measured.volume_max)))
    };
    format!(
        "{name:14} {:>7.2} {:>11.2} {amplification:>8} {:>12} {refused:>10} {volume:>24}",
        measured.hit_percent(),
        measured.byte_hit_percent(),
        grouped(measured.requests_per_second() as u64),
    )
}

pub fn model_head() -> String {
    format!("{:44} {:>7} {:>11} {:>8}", "rule", "hits %", "byte hits %", "writes x")
}

pub fn model_line(name: &str, outcome: &Outcome) -> String {
    let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
    format!(
        "{name:44} {:>7.2} {:>11.2} {:>8.2}",
        percent(outcome.hits, outcome.requests),
        percent(outcome.hit_bytes, outcome.bytes),
        (outcome.stored + outcome.copied) as f64 / outcome.stored.max(1) as f64,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        let texts = [0, 12, 123, 1_234, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }

    #[test]
    fn lines_stand_under_the_head() {
        let measured = Measured {
            requests: 200,
            hits: 50,
            bytes: 1_000,
            hit_bytes: 400,
            stored_bytes: 100,
            copied_bytes: Some(50),
            volume_max: 900,
            seconds: 0.1,
            ..Measured::default()
        };
        let text = line("lru", &measured, 1_000);
        assert_eq!(text.len(), head().len());
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["lru", "25.00", "40.00", "1.50", "2,000", "0", "900", "90.0", "%"]);
        assert_eq!(line("exact-lru", &Measured { copied_bytes: None, ..measured }, 0).matches(" -").count(), 3);
    }
}
