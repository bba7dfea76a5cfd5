//! What is asked for on the command line.

use std::path::PathBuf;

use crate::measure::{Outcome, parent};
use crate::{peers, rows};

pub const HELP: &str = "\
cargo run --release --manifest-path benches/compare/Cargo.toml -- [OPTION]..
Measures larder beside other stores, and writes RESULTS.md and results/*.svg into the directory above.

  --quick          fewer rounds, items and bytes, shorter passes: some minutes
  --rounds N       of each row, in turns (3)
  --only ROW,..    only these rows
  --peers NAME,..  only these stores
  --items N,..     sizes of stores (1000,10000,100000,1000000)
  --lens N,..      lengths of values, in bytes (100,1024,16384,262144)
  --bytes N        of the values of one store, in MiB; stores of larger values have fewer items (1024)
  --millis N       of one pass (300)
  --core N         operations of each process in the row core (100000)
  --out DIRECTORY  where to write (benches/)
Directories are made beside the program, or in LARDER_BENCH_DIR.";

pub struct Arguments {
    pub rounds: u64,
    pub only: Vec<String>,
    pub peers: Vec<String>,
    pub items: Vec<u64>,
    pub lens: Vec<usize>,
    pub bytes: u64,
    pub millis: u64,
    pub core: u64,
    pub out: PathBuf,
    pub parent: PathBuf,
}

fn numbers<N: std::str::FromStr>(text: &str) -> Outcome<Vec<N>> {
    let parse = |part: &str| part.parse().map_err(|_| format!("{part} is no number").into());
    text.split(',').map(parse).collect()
}

impl Arguments {
    pub fn parse(words: &[String]) -> Outcome<Arguments> {
        let is_quick = words.iter().any(|word| word == "--quick");
        let all = rows::ROWS.iter().map(|row| row.name).chain([rows::CORE]);
        let mut arguments = Arguments {
            rounds: 3,
            only: all.map(str::to_owned).collect(),
            peers: peers::NAMES.map(str::to_owned).to_vec(),
            items: if is_quick { vec![1000, 10_000, 100_000] } else { vec![1000, 10_000, 100_000, 1_000_000] },
            lens: vec![100, 1024, 16_384, 262_144],
            bytes: if is_quick { 128 } else { 1024 },
            millis: if is_quick { 60 } else { 300 },
            core: if is_quick { 20_000 } else { 100_000 },
            out: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")),
            parent: parent()?,
        };
        let mut words = words.iter().filter(|word| *word != "--quick");
        while let Some(word) = words.next() {
            let text = words.next().ok_or(HELP)?;
            let list = || text.split(',').map(str::to_owned).collect::<Vec<_>>();
            match word.as_str() {
                "--rounds" => arguments.rounds = text.parse::<u64>()?.max(1),
                "--only" => arguments.only = list(),
                "--peers" => arguments.peers = list(),
                "--items" => arguments.items = numbers(text)?,
                "--lens" => arguments.lens = numbers(text)?,
                "--bytes" => arguments.bytes = text.parse()?,
                "--millis" => arguments.millis = text.parse::<u64>()?.max(1),
                "--core" => arguments.core = text.parse::<u64>()?.max(2000),
                "--out" => arguments.out = text.into(),
                _ => return Err(HELP.into()),
            }
        }
        for name in arguments.only.iter().filter(|name| *name != rows::CORE) {
            rows::find(name)?;
        }
        if let Some(name) = arguments.peers.iter().find(|name| !peers::NAMES.contains(&name.as_str())) {
            return Err(format!("no store is called {name}; there are {}", peers::NAMES.join(", ")).into());
        }
        if arguments.lens.iter().any(|&len| len < 24) || arguments.items.iter().any(|&items| items < 100) {
            return Err("values have 24 bytes at least, and stores a hundred items".into());
        }
        Ok(arguments)
    }

    pub fn asks_for(&self, row: &str) -> bool {
        self.only.iter().any(|name| name == row)
    }

    /// Items and length of the stores that are filled: with small values all sizes, with others those that are large enough to
    /// tell, as many items as the bytes allow.
    pub fn cells(&self) -> Vec<(u64, usize)> {
        let mut cells = Vec::new();
        let first = self.lens.iter().min().copied().unwrap_or_default();
        for &len in &self.lens {
            let most = (self.bytes << 20) / len as u64;
            for &items in &self.items {
                let cell = (items.min(most).max(100), len);
                if (len == first || items >= 100_000 || self.items.len() == 1) && !cells.contains(&cell) {
                    cells.push(cell);
                }
            }
        }
        cells
    }
}
