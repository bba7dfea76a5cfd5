//! Free memory, touched before anything is measured.
//!
//! A virtual machine may have its memory only in name: the host finds a page when it is first touched, and whoever happens to
//! take it then pays for that (3 to 12 us a page where this was found). A store that appends takes fresh pages for its files
//! all the time, one that writes in place takes none, so what would be compared is how long the machine has been running.
//! Nor is it enough to do it once: what is free goes back to the host after some seconds ("free page reporting"). So a file is
//! written just before each pass and removed, as its pages are likely to be those that the pass makes its own files of.
//! Where this was found, 99.9 % of larder's overwrites of a million items took up to 8 us after it, 155 us after memory
//! that is no file's was touched instead; why that does not help was not found out.

use std::fs::File;
use std::io::{Result, Write};
use std::path::Path;

/// More than any pass of a tenth of a second takes: so the pages that it takes are the machine's.
const BEFORE_A_PASS: usize = 512 << 20;
/// What is written at once.
const STEP: usize = 1 << 20;

/// Touches so much of the memory that is free as a pass may take for files in a directory.
pub fn touch(directory: &Path) -> Result<()> {
    let path = directory.join("touched");
    let mut file = File::create(&path)?;
    let step = vec![1; STEP];
    for _ in 0..BEFORE_A_PASS / STEP {
        file.write_all(&step)?;
    }
    std::fs::remove_file(path)
}
