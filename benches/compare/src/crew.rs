//! Processes that work for this one: the same program, told what to do line by line. Each store has one of its own, so that its
//! memory is its own, and while others are measured it waits for its turn.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::measure::Outcome;

pub struct Worker {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Worker {
    pub fn start(arguments: &[String]) -> Outcome<Worker> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().ok_or("a worker answers")?);
        Ok(Worker { child, to, from })
    }

    pub fn tell(&mut self, line: &str) -> Outcome<()> {
        let to = self.to.as_mut().ok_or("a worker listens")?;
        writeln!(to, "{line}")?;
        Ok(to.flush()?)
    }

    /// The next line; empty once it has ended.
    pub fn hear(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    pub fn ask(&mut self, line: &str) -> Outcome<String> {
        self.tell(line)?;
        self.hear()
    }
}

/// It closes its store and ends once nothing more can be told.
impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.child.wait();
    }
}

/// Starts one and waits for its end.
pub fn run(arguments: &[String]) -> Outcome<()> {
    let status = Command::new(std::env::current_exe()?).args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", arguments.join(" ")).into()) }
}
