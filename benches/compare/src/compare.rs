//! Measures larder beside other stores and writes the report: `cargo run --release -- --quick`; `--help` says what else.
//!
//! The stores are measured in turns, each in a process of its own, which is this program again.

use std::path::Path;
use std::time::Instant;

use larder_compare::arguments::{Arguments, HELP};
use larder_compare::crew::{Worker, run};
use larder_compare::histogram::Histogram;
use larder_compare::measure::Outcome;
use larder_compare::peers;
use larder_compare::rows::core::{self, Mix};
use larder_compare::rows::{CORE, ROWS, Row, Scope};
use larder_compare::tables::{CoreEntry, Entry, Results, cell_name};
use larder_compare::worker::{Answer, Task};
use larder_compare::{machine, memory, report, worker};

/// Items of the stores of rows that fill their own have such values.
const LEN_ALONE: usize = 100;
const PROCESSES: [usize; 4] = [1, 2, 4, 8];

struct Run {
    arguments: Arguments,
    results: Results,
    start: Instant,
}

impl Run {
    fn say(&self, what: &str) {
        eprintln!("{:6.0} s  {what}", self.start.elapsed().as_secs_f64());
    }

    /// The rows that are asked for, of these scopes.
    fn rows(&self, scopes: &[Scope]) -> Vec<&'static Row> {
        ROWS.iter().filter(|row| scopes.contains(&row.scope) && self.arguments.asks_for(row.name)).collect()
    }

    fn peers(&self) -> Vec<String> {
        self.arguments.peers.iter().filter(|peer| !peers::is_variant(peer)).cloned().collect()
    }

    fn take(&mut self, row: &'static Row, cell: (u64, usize), peer: &str, answer: Outcome<Answer>) {
        let is_it = |entry: &Entry| entry.row.name == row.name && entry.cell == cell && entry.peer == peer;
        let entry = match self.results.entries.iter().position(is_it) {
            Some(at) => &mut self.results.entries[at],
            None => {
                let (service, response) = (Histogram::default(), Histogram::default());
                let peer = peer.to_owned();
                self.results.entries.push(Entry {
                    row,
                    cell,
                    peer,
                    values: Vec::new(),
                    service,
                    response,
                    why_not: None,
                });
                let last = self.results.entries.len() - 1;
                &mut self.results.entries[last]
            }
        };
        match answer.unwrap_or_else(|error| Answer::WhyNot(format!("failed: {error}"))) {
            Answer::Figure(figure) if figure.value.is_nan() => {}
            Answer::Figure(figure) => {
                entry.values.push(figure.value);
                entry.service.merge(figure.service);
                entry.response.merge(figure.response);
            }
            Answer::WhyNot(why) => entry.why_not = Some(why),
        }
    }

    fn task(&self, fills: bool, peer: &str, parent: &Path, (items, len): (u64, usize)) -> Outcome<Task> {
        let directory = parent.join(peer).to_str().ok_or("the directory has a name of text")?.to_owned();
        Ok(Task { fills, peer: peer.to_owned(), directory, items, len, millis: self.arguments.millis })
    }

    /// The rows of a store with so many items, of all stores.
    fn cell(&mut self, cell: (u64, usize)) -> Outcome<()> {
        let small = [Scope::Cell, Scope::SmallCell];
        let rows = self.rows(if cell.1 <= LEN_ALONE { &small } else { &small[..1] });
        let reopened = self.rows(&[Scope::Reopened]);
        if rows.is_empty() && reopened.is_empty() {
            return Ok(());
        }
        let parent = tempfile::tempdir_in(&self.arguments.parent)?;
        let mut crew = Vec::new();
        for peer in self.peers() {
            self.say(&format!("{}: {peer} is filled", cell_name(cell)));
            let fill = self.task(true, &peer, parent.path(), cell)?;
            if peer != "floor"
                && let Err(error) = run(&fill.arguments())
            {
                self.say(&format!("{peer}: {error}"));
                continue;
            }
            let work = Worker::start(&self.task(false, &peer, parent.path(), cell)?.arguments())?;
            crew.push((peer, work));
        }
        for round in 0..self.arguments.rounds {
            self.say(&format!("{}: round {}", cell_name(cell), round + 1));
            for row in &rows {
                for turn in 0..crew.len() {
                    let (peer, worker) = {
                        let at = (turn + round as usize) % crew.len();
                        (crew[at].0.clone(), &mut crew[at].1)
                    };
                    self.take(row, cell, &peer, ask(worker, parent.path(), row, round));
                }
            }
        }
        let names: Vec<String> = crew.iter().map(|(peer, _)| peer.clone()).collect();
        drop(crew);
        for round in 0..self.arguments.rounds {
            for (row, peer) in reopened.iter().flat_map(|row| names.iter().map(move |peer| (*row, peer))) {
                let mut worker = Worker::start(&self.task(false, peer, parent.path(), cell)?.arguments())?;
                self.take(row, cell, peer, ask(&mut worker, parent.path(), row, round));
            }
        }
        Ok(())
    }

    /// A row that fills stores of its own.
    fn alone(&mut self, row: &'static Row) -> Outcome<()> {
        self.say(row.name);
        let parent = tempfile::tempdir_in(&self.arguments.parent)?;
        let mut crew = Vec::new();
        for peer in self.peers() {
            let work = Worker::start(&self.task(false, &peer, parent.path(), (1, LEN_ALONE))?.arguments())?;
            crew.push((peer, work));
        }
        for round in 0..self.arguments.rounds {
            for turn in 0..crew.len() {
                let at = (turn + round as usize) % crew.len();
                let answer = ask(&mut crew[at].1, parent.path(), row, round);
                let peer = crew[at].0.clone();
                self.take(row, (0, LEN_ALONE), &peer, answer);
            }
        }
        Ok(())
    }

    fn core(&mut self) -> Outcome<()> {
        let (peers, operations) = (self.arguments.peers.clone(), self.arguments.core);
        let mut entries: Vec<CoreEntry> = Vec::new();
        for processes in PROCESSES {
            for peer in peers.iter().filter(|peer| processes == 1 || peers::is_shared(peer)) {
                // Who waits for the disk each time would take most of the whole.
                if peer != "lmdb-durable" || processes == 1 || processes == 8 {
                    entries.push(CoreEntry { peer: peer.clone(), processes, mix: Mix::default(), why_not: None });
                }
            }
        }
        for round in 0..self.arguments.rounds {
            for entry in entries.iter_mut().filter(|entry| entry.why_not.is_none()) {
                self.say(&format!("core: {}, {} processes, round {}", entry.peer, entry.processes, round + 1));
                let parent = &self.arguments.parent;
                memory::touch(parent)?;
                let count = if entry.peer == "lmdb-durable" { (operations / 20).max(2000) } else { operations };
                if let Err(error) = core::round(&entry.peer, parent, entry.processes, count, &mut entry.mix) {
                    entry.why_not = Some(format!("failed: {error}"));
                }
            }
        }
        self.results.core = entries;
        Ok(())
    }

    fn all(&mut self) -> Outcome<()> {
        if self.arguments.asks_for(CORE) {
            self.core()?;
        }
        for row in self.rows(&[Scope::Alone]) {
            self.alone(row)?;
        }
        for cell in self.arguments.cells() {
            self.cell(cell)?;
        }
        Ok(())
    }
}

/// What a store's process says of a row.
fn ask(worker: &mut Worker, parent: &Path, row: &Row, round: u64) -> Outcome<Answer> {
    memory::touch(parent)?;
    Answer::parse(&worker.ask(&format!("{} {round}", row.name))?)
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((first, _)) if first == "fill" || first == "work" => return worker::process(&words),
        Some((first, rest)) if first == "core" => return core::process(rest),
        Some((first, _)) if first == "--help" => {
            println!("{HELP}");
            return Ok(());
        }
        _ => {}
    }
    let (arguments, machine) = (Arguments::parse(&words)?, machine::describe());
    let mut run = Run { arguments, results: Results::default(), start: Instant::now() };
    run.all()?;
    report::write(&run.results, &run.arguments, &machine, run.start.elapsed().as_secs_f64() / 60.0)
}
