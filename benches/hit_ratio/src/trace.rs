//! Traces: which object is asked for, one request after another.

mod frames;
mod lis;
mod sized;
pub mod synthetic;

use frames::Frames;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// A trace in memory. Objects have small numbers, in the order in which they are first asked for.
#[derive(Debug)]
pub struct Trace {
    pub name: String,
    /// Objects asked for, by number.
    pub requests: Vec<u32>,
    /// What the trace calls each object.
    pub ids: Vec<u64>,
    /// Bytes of each object; 1 in a trace without sizes.
    pub sizes: Vec<u32>,
    /// Whether the trace says how large objects are. If not, capacities count objects.
    pub has_sizes: bool,
    /// Requests that gave an object another size than its first one did. The first one holds.
    pub resized: u64,
}

impl Trace {
    /// Bytes of all objects together, each counted once; the number of objects in a trace without sizes.
    pub fn bytes_of_objects(&self) -> u64 {
        self.sizes.iter().map(|size| u64::from(*size)).sum()
    }
}

/// Why a trace cannot be read.
#[derive(Debug)]
pub enum TraceError {
    Read(io::Error),
    /// A line that is not what the format says, by number from 1.
    Line(u64, &'static str),
    /// More than 2^32 - 1 objects or requests of one run.
    TooLong,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Read(error) => write!(f, "cannot read the trace: {error}"),
            TraceError::Line(line, what) => write!(f, "line {line} of the trace: {what}"),
            TraceError::TooLong => write!(f, "the trace names too many objects"),
        }
    }
}

impl std::error::Error for TraceError {}

impl From<io::Error> for TraceError {
    fn from(error: io::Error) -> TraceError {
        TraceError::Read(error)
    }
}

/// What a file of a trace looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `first_page count 0 line_number`: pages `first_page .. first_page + count`, all of one size.
    Lis,
    /// `time id size`.
    Sized,
}

impl Format {
    /// By the name of the file, without `.zst`: `.lis` is [`Format::Lis`], anything else [`Format::Sized`].
    pub fn of(path: &Path) -> Format {
        let name = path.to_string_lossy();
        let name = name.strip_suffix(".zst").unwrap_or(&name);
        if name.ends_with(".lis") { Format::Lis } else { Format::Sized }
    }
}

/// Collects requests into a [`Trace`].
pub struct Collector {
    trace: Trace,
    numbers: HashMap<u64, u32>,
    requests_max: usize,
}

impl Collector {
    pub fn new(name: &str, has_sizes: bool, requests_max: usize) -> Collector {
        let trace = Trace {
            name: name.to_owned(),
            requests: Vec::new(),
            ids: Vec::new(),
            sizes: Vec::new(),
            has_sizes,
            resized: 0,
        };
        Collector { trace, numbers: HashMap::new(), requests_max }
    }

    /// Whether as many requests are there as were asked for.
    pub fn is_full(&self) -> bool {
        self.trace.requests.len() >= self.requests_max
    }

    pub fn len(&self) -> usize {
        self.trace.requests.len()
    }

    pub fn push(&mut self, id: u64, size: u32) -> Result<(), TraceError> {
        let next = u32::try_from(self.trace.ids.len()).ok().filter(|next| *next < u32::MAX);
        let next = next.ok_or(TraceError::TooLong)?;
        let number = *self.numbers.entry(id).or_insert(next);
        if number == next {
            self.trace.ids.push(id);
            self.trace.sizes.push(size);
        } else if self.trace.sizes[number as usize] != size {
            self.trace.resized += 1;
        }
        self.trace.requests.push(number);
        Ok(())
    }

    pub fn finish(self) -> Trace {
        self.trace
    }
}

/// Reads the trace at `path`, at most `requests_max` requests of it. What ends in `.zst` is decompressed.
pub fn read(path: &Path, format: Format, requests_max: usize) -> Result<Trace, TraceError> {
    let file = BufReader::new(File::open(path)?);
    let mut collector = Collector::new(&name_of(path), format == Format::Sized, requests_max);
    if path.extension().is_some_and(|extension| extension == "zst") {
        parse(BufReader::new(Frames::new(file)), format, &mut collector)?;
    } else {
        parse(file, format, &mut collector)?;
    }
    Ok(collector.finish())
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".zst").unwrap_or(&name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

fn parse(mut lines: impl BufRead, format: Format, collector: &mut Collector) -> Result<(), TraceError> {
    let (mut line, mut number) = (String::new(), 0);
    while !collector.is_full() {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            break;
        }
        number += 1;
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match format {
            Format::Lis => lis::parse_line(text, number, collector)?,
            Format::Sized => sized::parse_line(text, number, collector)?,
        }
    }
    Ok(())
}

#[cfg(test)]
pub fn of_ids(ids: &[u64]) -> Trace {
    let mut collector = Collector::new("test", false, usize::MAX);
    ids.iter().for_each(|id| collector.push(*id, 1).unwrap());
    collector.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, format: Format) -> Result<Trace, TraceError> {
        let mut collector = Collector::new("test", format == Format::Sized, usize::MAX);
        parse(text.as_bytes(), format, &mut collector)?;
        Ok(collector.finish())
    }

    fn asked(trace: &Trace) -> Vec<u64> {
        trace.requests.iter().map(|number| trace.ids[*number as usize]).collect()
    }

    #[test]
    fn a_lis_line_is_a_run_of_pages() {
        let trace = parsed("5 3 0 0\n\n6 1 0 1\n", Format::Lis).unwrap();
        assert_eq!(asked(&trace), [5, 6, 7, 6]);
        assert_eq!(trace.requests, [0, 1, 2, 1]);
        assert_eq!(trace.sizes, [1, 1, 1]);
        assert!(!trace.has_sizes);
    }

    #[test]
    fn a_sized_line_is_one_request() {
        let trace = parsed("# time id size\n0 9 100\n1 4 7\n2 9 100\n3 9 50\n", Format::Sized).unwrap();
        assert_eq!(asked(&trace), [9, 4, 9, 9]);
        assert_eq!(trace.sizes, [100, 7]);
        assert_eq!(trace.resized, 1);
        assert!(trace.has_sizes);
    }

    #[test]
    fn what_is_no_line_of_the_format_is_an_error_with_its_number() {
        for (text, format) in [
            ("1 1 0 0\n2 x 0 1\n", Format::Lis),
            ("1 1 0 0\n2\n", Format::Lis),
            ("1 1 0 0\n18446744073709551615 2 0 1\n", Format::Lis),
            ("0 1 1\n0 1\n", Format::Sized),
            ("0 1 1\n0 -1 1\n", Format::Sized),
            ("0 1 1\n0 1 4294967296\n", Format::Sized),
        ] {
            let error = parsed(text, format).unwrap_err();
            assert!(matches!(error, TraceError::Line(2, _)), "{text}: {error}");
        }
    }

    #[test]
    fn reading_stops_at_the_number_of_requests_asked_for() {
        let mut collector = Collector::new("test", false, 5);
        parse("0 3 0 0\n0 9 0 1\n".as_bytes(), Format::Lis, &mut collector).unwrap();
        assert_eq!(collector.finish().requests, [0, 1, 2, 0, 1]);
    }

    #[test]
    fn compressed_files_are_read_by_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.lis.zst");
        let text = "1 2 0 0\n1 1 0 1\n";
        let packed = ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
        std::fs::write(&path, packed).unwrap();
        let trace = read(&path, Format::of(&path), usize::MAX).unwrap();
        assert_eq!(asked(&trace), [1, 2, 1]);
        assert_eq!(trace.name, "run");
        assert_eq!(Format::of(Path::new("a.lis")), Format::Lis);
        assert_eq!(Format::of(Path::new("a.txt.zst")), Format::Sized);
        std::fs::write(&path, text).unwrap();
        assert!(matches!(read(&path, Format::Lis, usize::MAX), Err(TraceError::Read(_))));
    }
}
