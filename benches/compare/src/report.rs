//! `RESULTS.md` and the pictures beside it.

use std::fs;
use std::path::Path;

use crate::arguments::Arguments;
use crate::histogram::Histogram;
use crate::measure::{Outcome, quantile};
use crate::plot::{Line, Plot};
use crate::rows::ROWS;
use crate::tables::{Results, cell_name, short};

const INTRODUCTION: &str = "\
How to read it:

- Before each pass a file of half a GiB is written and removed. The host of a virtual machine finds a page of memory when it is first
  touched, and may take it back while it is free: a store that appends would pay for it, one that writes in place would not.
- A figure is the median of the rounds, with the least and the most in brackets; **5x** is how many times what larder takes. In
  each round the stores are measured in turns, and begin with another one each time. Each has a process of its own, which is
  idle while others are measured.
- Every value that was read is compared with what was stored: length and both ends in the loops, and every byte once before.
- *Service* is the time of a call from its begin to its end. *Response* counts from when it was due: calls are due at a fixed
  rate, half of what the store could do, and a call that waits for one before it that stalled has its waiting counted. So the
  response leaves out nothing (no coordinated omission). Single calls of all rounds are counted together. Reading the clock
  is in them, some 25 ns.
- Keys have 16 bytes in no order; values do not compress. All data fits into memory; files are on the disk of the machine.
- Differences below 1.5x mean little.

What a returned `set` means, and how the stores are opened:

| | after `kill -9` | after a power cut | several processes | |
|---|---|---|---|---|
| floor | lost | lost | no | `HashMap<Vec<u8>, Vec<u8>>` of the process: what memory and the harness cost |
| larder | kept | newest lost, the rest whole | yes | as it is by default |
| larder-fanout | kept | newest lost, the rest whole | yes | `FanoutCache`, 8 shards |
| sqlite | kept | newest lost, the rest whole | yes | python-diskcache 5.6.3's `Cache`: its tables, indexes, triggers, pragmas and statements, prepared once, from Rust; values of 32 KiB and more in files |
| lmdb | kept | may be damaged | yes | `NO_SYNC`, `WRITE_MAP`, `MAP_ASYNC` |
| lmdb-durable | kept | kept | yes | as it is by default |
| redb | newest lost (up to 1,000) | newest lost, the rest whole | no | `Durability::None`, each 1,000th commit `Immediate`; 256 MiB of cache |
| fjall | kept | newest lost | no | as it is by default; 256 MiB of cache, no compression |
| sled | newest lost (up to 0.5 s) | newest lost | no | as it is by default; 256 MiB of cache |

In the row `sync` all wait for the disk with each change: larder with `Durability::Sync`, sqlite with `synchronous = FULL`, lmdb
as it is by default, redb with `Immediate`, fjall with `persist(SyncData)`, sled with `flush`. larder-fanout and lmdb-durable are
in the row `core` alone; there lmdb-durable makes a twentieth of the operations, and redb, fjall and sled
are left out with several processes, for one alone may have their directories open. fjall deletes without looking, so it knows no misses of `delete`. Not compared: foyer and cacache, whose
builds take minutes; the first drops writes when its queue is full, the second has two files an item.
";

/// Where a line of the distribution has points.
const PARTS: [f64; 12] = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999];

pub fn write(results: &Results, arguments: &Arguments, machine: &str, minutes: f64) -> Outcome<()> {
    let pictures = arguments.out.join("results");
    fs::create_dir_all(&pictures)?;
    let mut text = format!("# larder beside other stores\n\nWritten by the program in `compare/`:\n\n{machine}");
    let list = |cells: Vec<(u64, usize)>| cells.into_iter().map(cell_name).collect::<Vec<_>>().join(", ");
    text += &format!(
        "- {} rounds; passes of {} ms; {} operations of each process in `core`; {:.0} minutes in all\n- stores: {}\n\n{INTRODUCTION}\n",
        arguments.rounds,
        arguments.millis,
        arguments.core,
        minutes,
        list(arguments.cells())
    );
    for (file, svg) in plots(results) {
        fs::write(pictures.join(&file), svg)?;
        text += &format!("![{}](results/{file})\n", file.trim_end_matches(".svg").replace('-', " "));
    }
    text += "\n## Rows\n\n";
    text += &results.core_tables();
    for row in &ROWS {
        text += &results.row_tables(row);
    }
    write_file(&arguments.out.join("RESULTS.md"), text.trim_end())
}

fn write_file(path: &Path, text: &str) -> Outcome<()> {
    fs::write(path, format!("{text}\n"))?;
    println!("written: {}", path.display());
    Ok(())
}

fn plots(results: &Results) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut draw = |file: String, plot: Plot<'_>| all.extend(plot.to_svg().map(|svg| (file, svg)));
    draw("throughput-by-processes.svg".to_owned(), by_processes(results));
    for (row, what) in [("get", "get, uniform"), ("overwrite", "set, overwriting")] {
        draw(format!("{row}-by-items.svg"), by_items(results, row, &format!("{what}, by items in the store")));
        if let Some(cell) = largest(results, row) {
            let title = format!("{what}, {}: times of calls", cell_name(cell));
            let entries = results.entries.iter().filter(|entry| entry.row.name == row && entry.cell == cell);
            let lines = entries.map(|entry| (entry.peer.as_str(), &entry.response)).collect();
            draw(format!("{row}-latency.svg"), distribution(&title, lines));
        }
    }
    let most = results.core.iter().map(|entry| entry.processes).max().unwrap_or(0);
    let lines = results.core.iter().filter(|entry| entry.processes == most);
    let lines = lines.map(|entry| (entry.peer.as_str(), &entry.mix.calls[1])).collect();
    draw(
        "core-set-latency.svg".to_owned(),
        distribution(&format!("set of benchmark_core, {most} processes: times of calls"), lines),
    );
    all
}

/// The most items of the shortest values.
fn largest(results: &Results, row: &str) -> Option<(u64, usize)> {
    let cells = results.entries.iter().filter(|entry| entry.row.name == row).map(|entry| entry.cell);
    cells.max_by_key(|&(items, len)| (std::cmp::Reverse(len), items))
}

fn by_processes(results: &Results) -> Plot<'static> {
    let mut lines: Vec<Line> = Vec::new();
    for entry in results.core.iter().filter(|entry| entry.why_not.is_none()) {
        let rate = entry.mix.operations as f64 / quantile(&mut entry.mix.walls.clone(), 0.5);
        let point = (entry.processes as f64, rate);
        match lines.iter_mut().find(|line| line.name == entry.peer) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: entry.peer.clone(), points: vec![point] }),
        }
    }
    let marks = [1, 2, 4, 8].map(|count| (f64::from(count), count.to_string())).to_vec();
    let (title, x_title) = ("benchmark_core: throughput", "processes");
    Plot { title, x_title, y_title: "operations a second, of all", marks, lines }
}

fn by_items<'a>(results: &Results, row: &str, title: &'a str) -> Plot<'a> {
    let len = largest(results, row).map_or(0, |cell| cell.1);
    let (mut lines, mut marks) = (Vec::<Line>::new(), Vec::new());
    for entry in results.entries.iter().filter(|entry| entry.row.name == row && entry.cell.1 == len) {
        let point = (entry.cell.0 as f64, entry.median());
        marks.push((point.0, short(point.0)));
        match lines.iter_mut().find(|line| line.name == entry.peer) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: entry.peer.clone(), points: vec![point] }),
        }
    }
    lines.iter_mut().for_each(|line| line.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    marks.dedup();
    let x_title = if len == 100 { "items of 100 B" } else { "items" };
    Plot { title, x_title, y_title: "µs a call, mean", marks, lines }
}

/// How many calls take longer than a time: the first axis goes by how rare they are.
fn distribution<'a>(title: &'a str, lines: Vec<(&str, &Histogram)>) -> Plot<'a> {
    let rarity = |part: f64| 1.0 / (1.0 - part);
    let line = |(name, histogram): (&str, &Histogram)| Line {
        name: name.to_owned(),
        points: PARTS
            .iter()
            .filter(|&&part| histogram.count() as f64 >= 2.0 * rarity(part))
            .map(|&part| (rarity(part), histogram.quantile(part) / 1e3))
            .collect(),
    };
    let marks = [0.5, 0.9, 0.99, 0.999, 0.9999].map(|part| (rarity(part), format!("{}%", part * 100.0))).to_vec();
    let lines = lines.into_iter().map(line).filter(|line| !line.points.is_empty()).collect();
    Plot { title, x_title: "part of the calls that take at most so long", y_title: "µs", marks, lines }
}
