//! What was found out, as tables: of each row the medians of the rounds with the least and the most, the ratio to larder, and
//! the times of single calls.

use std::fmt::Write;

use crate::histogram::Histogram;
use crate::measure::quantile;
use crate::rows::core::{CALLS, Mix};
use crate::rows::{Row, Scope, Unit, behind};

/// A row of one store in a cell. Rows without a cell have zero items.
pub struct Entry {
    pub row: &'static Row,
    pub cell: (u64, usize),
    pub peer: String,
    pub values: Vec<f64>,
    pub service: Histogram,
    pub response: Histogram,
    pub why_not: Option<String>,
}

pub struct CoreEntry {
    pub peer: String,
    pub processes: usize,
    pub mix: Mix,
    pub why_not: Option<String>,
}

#[derive(Default)]
pub struct Results {
    pub entries: Vec<Entry>,
    pub core: Vec<CoreEntry>,
}

impl Entry {
    pub fn median(&self) -> f64 {
        quantile(&mut self.values.clone(), 0.5) / scale(self.row.unit)
    }
}

fn scale(unit: Unit) -> f64 {
    match unit {
        Unit::Micros => 1e3,
        Unit::Millis => 1e6,
        Unit::MiB => 1_048_576.0,
        Unit::Bytes => 1.0,
    }
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Micros => "µs",
        Unit::Millis => "ms",
        Unit::MiB => "MiB",
        Unit::Bytes => "B",
    }
}

/// Three digits that count.
pub fn short(value: f64) -> String {
    match value {
        value if value.is_nan() => "-".to_owned(),
        value if value >= 99.95 => {
            let digits = format!("{value:.0}");
            let head = digits.len() % 3;
            let groups = (head..digits.len()).step_by(3).map(|at| &digits[at..at + 3]);
            let parts: Vec<&str> =
                Some(&digits[..head]).filter(|part| !part.is_empty()).into_iter().chain(groups).collect();
            parts.join(",")
        }
        value if value >= 9.995 => format!("{value:.1}"),
        value if value >= 0.9995 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

pub fn length(len: usize) -> String {
    if len < 1024 { format!("{len} B") } else { format!("{} KiB", len >> 10) }
}

pub fn cell_name((items, len): (u64, usize)) -> String {
    format!("{} x {}", short(items as f64), length(len))
}

fn ratio(value: f64, ours: Option<f64>) -> String {
    ours.filter(|ours| ours.is_finite() && value.is_finite())
        .map_or(String::new(), |ours| format!(" **{}x**", short(value / ours)))
}

fn head(text: &mut String, first: &str, columns: &[String]) {
    let _ = writeln!(text, "| {first} | {} |\n|---|{}", columns.join(" | "), "---:|".repeat(columns.len()));
}

impl Results {
    fn of_row(&self, row: &Row) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.row.name == row.name).collect()
    }

    /// The tables of a row; nothing if it was not measured.
    pub fn row_tables(&self, row: &Row) -> String {
        let entries = self.of_row(row);
        let (mut text, mut cells, mut peers) = (String::new(), Vec::new(), Vec::new());
        for entry in &entries {
            if !cells.contains(&entry.cell) {
                cells.push(entry.cell);
            }
            if !peers.contains(&&entry.peer) {
                peers.push(&entry.peer);
            }
        }
        if entries.is_empty() {
            return text;
        }
        let _ = writeln!(text, "### {} (`{}`), {}\n", row.title, row.name, unit_name(row.unit));
        let is_cell = row.scope != Scope::Alone;
        let columns: Vec<String> =
            cells.iter().map(|&cell| if is_cell { cell_name(cell) } else { "median".to_owned() }).collect();
        head(&mut text, "", &columns);
        let at = |peer: &str, cell| entries.iter().find(|entry| entry.peer == peer && entry.cell == cell);
        let mut reasons = Vec::new();
        for peer in &peers {
            let mut has_figure = false;
            let mut line = format!("| {peer} |");
            for &cell in &cells {
                let ours = at("larder", cell).map(|entry| entry.median()).filter(|_| *peer != "larder");
                let part = at(peer, cell).map_or("-".to_owned(), |entry| match &entry.why_not {
                    Some(why) => {
                        note(&mut reasons, peer, why);
                        "-".to_owned()
                    }
                    None => {
                        has_figure = true;
                        with_spread(entry) + &ratio(entry.median(), ours)
                    }
                });
                let _ = write!(line, " {part} |");
            }
            if has_figure {
                let _ = writeln!(text, "{line}");
            }
        }
        text.push('\n');
        for (why, peers) in &reasons {
            let _ = writeln!(text, "- {}: {why}", peers.join(", "));
        }
        let behind = behind::reason(row.name);
        if let Some(why) = behind {
            let _ = writeln!(text, "- Where larder is behind: {why}");
        }
        if !reasons.is_empty() || behind.is_some() {
            text.push('\n');
        }
        text + &single_calls(&entries, is_cell)
    }

    pub fn core_tables(&self) -> String {
        let mut text = String::new();
        if self.core.is_empty() {
            return text;
        }
        let mut counts: Vec<usize> = self.core.iter().map(|entry| entry.processes).collect();
        counts.sort_unstable();
        counts.dedup();
        let _ = writeln!(text, "### benchmark_core of python-diskcache (`core`)\n");
        for processes in counts {
            let entries: Vec<&CoreEntry> = self.core.iter().filter(|entry| entry.processes == processes).collect();
            let at = |peer: &str| entries.iter().find(|entry| entry.peer == peer && entry.why_not.is_none());
            let _ = writeln!(text, "#### {processes} {}\n", if processes == 1 { "process" } else { "processes" });
            let mut columns = vec!["wall clock, s".to_owned(), "sum of calls, s".to_owned(), "kops/s".to_owned()];
            columns.extend(CALLS.map(|call| format!("{call}: p50 / p90 / p99 / max, µs; misses")));
            head(&mut text, "", &columns);
            for entry in &entries {
                let CoreEntry { peer, mix, why_not, .. } = entry;
                if let Some(why) = why_not {
                    let _ = writeln!(text, "| {peer} | {why} | | | | | |");
                    continue;
                }
                let (wall, sum) = (quantile(&mut mix.walls.clone(), 0.5), quantile(&mut mix.sums.clone(), 0.5));
                let ours = at("larder").filter(|_| peer != "larder");
                let our_wall = ours.map(|ours| quantile(&mut ours.mix.walls.clone(), 0.5));
                let spread = spread(&mix.walls, 1.0);
                let _ = write!(text, "| {peer} | {}{spread}{} | {} |", short(wall), ratio(wall, our_wall), short(sum));
                let _ = write!(text, " {} |", short(mix.operations as f64 / wall / 1e3));
                for (at, calls) in mix.calls.iter().enumerate() {
                    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|part| calls.quantile(part) / 1e3);
                    let our_p99 = ours.map(|ours| ours.mix.calls[at].quantile(0.99) / 1e3);
                    let (p99_ratio, most) = (ratio(p99, our_p99), short(calls.most() / 1e3));
                    let misses = mix.misses[at] / mix.walls.len().max(1) as u64;
                    let _ = write!(
                        text,
                        " {} / {} / {}{p99_ratio} / {most}; {misses} |",
                        short(p50),
                        short(p90),
                        short(p99)
                    );
                }
                text.push('\n');
            }
            text.push('\n');
        }
        text
    }
}

/// Notes why there is no figure, once for all stores of which it is true.
fn note(reasons: &mut Vec<(String, Vec<String>)>, peer: &str, why: &str) {
    match reasons.iter_mut().find(|reason| reason.0 == why) {
        Some((_, peers)) if peers.iter().any(|other| other == peer) => {}
        Some((_, peers)) => peers.push(peer.to_owned()),
        None => reasons.push((why.to_owned(), vec![peer.to_owned()])),
    }
}

fn spread(values: &[f64], scale: f64) -> String {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let (least, most) = (quantile(&mut values, 0.0) / scale, quantile(&mut values, 1.0) / scale);
    if values.len() > 1 && least != most { format!(" ({}-{})", short(least), short(most)) } else { String::new() }
}

fn with_spread(entry: &Entry) -> String {
    short(entry.median()) + &spread(&entry.values, scale(entry.row.unit))
}

/// The times of single calls, where there are any.
fn single_calls(entries: &[&Entry], is_cell: bool) -> String {
    let mut text = String::new();
    let timed: Vec<&&Entry> = entries.iter().filter(|entry| entry.service.count() > 0).collect();
    if timed.is_empty() {
        return text;
    }
    let service = ["p50", "p90", "p99", "p99.9", "max"].map(|part| format!("service {part}"));
    let response = ["p50", "p99", "p99.9"].map(|part| format!("response {part}"));
    head(&mut text, "single calls, µs", &[&service[..], &response[..], &["calls".to_owned()]].concat());
    for entry in timed {
        let _ = write!(text, "| {}", entry.peer);
        if is_cell {
            let _ = write!(text, ", {}", cell_name(entry.cell));
        }
        let parts = [0.5, 0.9, 0.99, 0.999].map(|part| entry.service.quantile(part) / 1e3);
        let response = [0.5, 0.99, 0.999].map(|part| entry.response.quantile(part) / 1e3);
        let all = parts
            .iter()
            .chain([entry.service.most() / 1e3].iter())
            .chain(&response)
            .map(|&time| short(time))
            .collect::<Vec<_>>();
        let _ = writeln!(text, " | {} | {} |", all.join(" | "), short(entry.service.count() as f64));
    }
    text.push('\n');
    text
}
