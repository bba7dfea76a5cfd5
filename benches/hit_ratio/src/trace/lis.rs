//! The text of the traces of the ARC paper: `first_page count 0 line_number`, a run of pages of one size.

use super::{Collector, TraceError};

pub fn parse_line(text: &str, number: u64, collector: &mut Collector) -> Result<(), TraceError> {
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (Some(Ok(first)), Some(Ok(count))) = (fields.next(), fields.next()) else {
        return Err(TraceError::Line(number, "expected `first_page count ..`"));
    };
    let end = first.checked_add(count).ok_or(TraceError::Line(number, "the run ends beyond 64 bits"))?;
    for page in first..end {
        if collector.is_full() {
            break;
        }
        collector.push(page, 1)?;
    }
    Ok(())
}
