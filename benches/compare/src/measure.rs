//! How what is compared is timed and printed.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub type Outcome<R> = Result<R, Box<dyn Error>>;

/// Where directories are made.
pub fn parent() -> Outcome<PathBuf> {
    if let Some(directory) = std::env::var_os("LARDER_BENCH_DIR") {
        return Ok(directory.into());
    }
    let program = std::env::current_exe()?;
    Ok(program.parent().map(Path::to_owned).unwrap_or_default())
}

/// The value below which a part of them is.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Microseconds that each of `count` calls takes.
pub fn micros(count: u64, mut call: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    for _ in 0..count {
        call()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / count as f64)
}

pub fn print(what: &str, times: &mut [f64]) -> f64 {
    let median = quantile(times, 0.5);
    println!("{what:<58} {median:>9.3}   ({:.3} to {:.3})", quantile(times, 0.0), quantile(times, 1.0));
    median
}
