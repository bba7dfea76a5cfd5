//! Hit ratios: replays a trace against larder's eviction policies, through the engine and with real values, and against
//! exact policies that only this benchmark has. See README.md.

mod arguments;
mod engine;
mod reference;
mod replay;
mod seeded;
mod simulate;
mod table;
mod trace;
mod value;

use arguments::Arguments;
use reference::Reference;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use trace::{Format, Trace};
use value::Values;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        print!("{}", arguments::USAGE);
        return ExitCode::SUCCESS;
    }
    let arguments = match arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprint!("{what}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&arguments, &mut std::io::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// False if a cache gave a wrong value or took more room than its limit.
fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Box<dyn Error>> {
    let requests_max = arguments.requests.unwrap_or(usize::MAX);
    let trace = match &arguments.trace {
        Some(path) => trace::read(path, Format::of(path), requests_max)?,
        None => trace::synthetic::make(&arguments.recipe)?,
    };
    writeln!(out, "{}", table::title(&trace))?;
    let all = trace.bytes_of_objects();
    let capacities = match &arguments.capacities[..] {
        [] => vec![(all / 64).max(1), (all / 8).max(1)],
        given => given.to_vec(),
    };
    let mut is_right = true;
    for capacity in capacities {
        writeln!(out, "\n{}", table::capacity(&trace, capacity))?;
        if arguments.simulate {
            simulated(arguments, &trace, capacity, out)?;
        } else {
            is_right &= measured(arguments, &trace, capacity, out)?;
        }
    }
    Ok(is_right)
}

fn simulated(arguments: &Arguments, trace: &Trace, capacity: u64, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{} segments\n{}", arguments.segments, table::model_head())?;
    for rule in simulate::rules() {
        let outcome = simulate::run(trace, capacity, arguments.segments, &rule);
        writeln!(out, "{}", table::model_line(&rule.name, &outcome))?;
    }
    Ok(())
}

fn measured(arguments: &Arguments, trace: &Trace, capacity: u64, out: &mut impl Write) -> Result<bool, Box<dyn Error>> {
    let value_bytes = arguments.value_bytes.unwrap_or_else(|| engine::value_bytes(capacity));
    let values = Values::of_bytes(value_bytes);
    let limit = engine::size_limit(trace, capacity, value_bytes);
    let charged =
        if trace.has_sizes { String::new() } else { format!(": {}", engine::object_bytes_explained(value_bytes)) };
    writeln!(out, "size limit of the caches {} bytes{charged}\n{}", table::grouped(limit), table::head())?;
    if limit < engine::LIMIT_MIN {
        return Err(
            format!("a cache takes at least {} bytes: a larger capacity, or longer values", engine::LIMIT_MIN).into()
        );
    }
    let mut is_right = true;
    for name in &arguments.policies {
        if let Some(reference) = Reference::ALL.into_iter().find(|reference| reference.name() == name) {
            let measured = reference::run(trace, reference.build(trace, capacity).as_mut());
            writeln!(out, "{}", table::line(name, &measured, 0))?;
        } else if let Some((_, policy)) = engine::POLICIES.iter().find(|(policy, _)| policy == name) {
            let measured = engine::run(trace, &values, *policy, limit, &arguments.directory)?;
            writeln!(out, "{}", table::line(name, &measured, limit))?;
            if measured.wrong > 0 {
                writeln!(out, "WRONG: {} reads gave the value of another object", table::grouped(measured.wrong))?;
            }
            if measured.volume_max > limit {
                writeln!(out, "TOO LARGE: the cache took more than its limit")?;
            }
            is_right &= measured.wrong == 0 && measured.volume_max <= limit;
        }
    }
    Ok(is_right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(line: &str) -> Result<Vec<String>, String> {
        let recipe = "--requests 3000 --keys 500 --policies lru,exact-lru --capacity";
        let arguments = arguments::parse(format!("{recipe} {line}").split_whitespace().map(str::to_owned)).unwrap();
        let mut out = Vec::new();
        match run(&arguments, &mut out) {
            Ok(is_right) => {
                assert!(is_right);
                Ok(String::from_utf8(out).unwrap().lines().map(str::to_owned).collect())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_run_prints_a_table_for_each_capacity() {
        let lines = printed("1000,2000 --value-bytes 3K").unwrap();
        assert!(lines[0].starts_with("synthetic: 3,000 requests for "));
        for (table, capacity) in lines[1..].chunks(6).zip(["1,000", "2,000"]) {
            assert_eq!(table[1], format!("capacity {capacity} objects"));
            assert_eq!(table[3], table::head());
            assert!(table[4].starts_with("lru ") && table[5].starts_with("exact-lru "));
            // Nothing has to go, so both have the same hits.
            let hits = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
            assert_eq!(hits(&table[4]), hits(&table[5]));
        }
        assert_eq!(lines.len(), 13);
    }

    #[test]
    fn the_model_prints_a_line_for_each_rule() {
        let lines = printed("200 --simulate").unwrap();
        assert_eq!(lines.len(), 5 + simulate::rules().len());
        assert!(lines[5].starts_with("FIFO "));
    }

    #[test]
    fn a_limit_that_is_too_small_for_a_cache_is_an_error() {
        assert!(printed("10 --value-bytes 1K").unwrap_err().contains("2097152"));
    }
}
