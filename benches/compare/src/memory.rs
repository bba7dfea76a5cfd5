//! Free memory, touched before anything is measured.
//!
//! A virtual machine may have its memory only in name: the host finds a page when it is first touched, and whoever happens to
//! take it then pays for that (12 us a page where this was found). A store that
//! appends takes fresh pages for its files all the time, one that writes in place takes none, so what would be compared is how
//! long the machine has been running. A page that was touched stays the machine's when it is free again.

use std::fs;

/// What is touched at once.
const STEP: usize = 64 << 20;
/// What is left alone, for others that run meanwhile.
const SPARE: usize = 1 << 30;
const PAGE: usize = 4096;

/// Bytes that nobody uses, not even for files.
fn free() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}

/// Touches all free memory but a little, and gives it back. The bytes that were touched.
pub fn touch() -> usize {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while free() > SPARE + STEP {
        let mut part = vec![0; STEP];
        part.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        taken.push(std::hint::black_box(part));
    }
    taken.len() * STEP
}
