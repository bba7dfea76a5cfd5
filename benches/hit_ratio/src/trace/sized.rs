//! Text with one request a line: `time id size`. The time is not used.

use super::{Collector, TraceError};

pub fn parse_line(text: &str, number: u64, collector: &mut Collector) -> Result<(), TraceError> {
    let mut fields = text.split_ascii_whitespace().skip(1);
    let id = fields.next().and_then(|field| field.parse().ok());
    let size = fields.next().and_then(|field| field.parse().ok());
    let (Some(id), Some(size)) = (id, size) else {
        return Err(TraceError::Line(number, "expected `time id size`"));
    };
    collector.push(id, size)
}
