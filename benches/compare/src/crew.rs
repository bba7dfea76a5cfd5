//! Processes that work for this one: the same program, told what to do line by line. Each store has one of its own, so that its
//! memory is its own, and while others are measured it waits for its turn.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::measure::Outcome;

/// A store that has said nothing for so long has locked itself up: its worker is killed, and the other stores go on.
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENCE_FOR_A_FILL: Duration = Duration::from_secs(1800);

pub struct Worker {
    child: Child,
    to: Option<ChildStdin>,
    /// Its lines, which a thread reads, as only a channel can be waited for with an end.
    from: Receiver<std::io::Result<String>>,
    killed: bool,
}

impl Worker {
    pub fn start(arguments: &[String]) -> Outcome<Worker> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().ok_or("a worker answers")?).lines();
        let (sender, from) = channel();
        // It ends with the worker, whose end closes the pipe, or with the last line that somebody wants.
        thread::spawn(move || lines.into_iter().try_for_each(|line| sender.send(line)));
        Ok(Worker { child, to, from, killed: false })
    }

    pub fn tell(&mut self, line: &str) -> Outcome<()> {
        if self.killed {
            return Err(format!("it was killed, having given no answer in {} s", PATIENCE.as_secs()).into());
        }
        let to = self.to.as_mut().ok_or("a worker listens")?;
        writeln!(to, "{line}")?;
        Ok(to.flush()?)
    }

    /// The next line; empty once it has ended. One that says nothing for too long is killed, and can be told nothing more.
    pub fn hear(&mut self) -> Outcome<String> {
        match self.from.recv_timeout(PATIENCE) {
            Ok(line) => Ok(line?.trim_end().to_owned()),
            Err(RecvTimeoutError::Disconnected) => Ok(String::new()),
            Err(RecvTimeoutError::Timeout) => {
                self.kill();
                Err(format!("no answer in {} s", PATIENCE.as_secs()).into())
            }
        }
    }

    /// Nothing more is told, and its end is waited for, which closes its pipe.
    fn end(&mut self, patience: Duration) -> Outcome<ExitStatus> {
        self.to = None;
        loop {
            match self.from.recv_timeout(patience) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.kill(),
            }
        }
        Ok(self.child.wait()?)
    }

    fn kill(&mut self) {
        self.killed = true;
        self.to = None;
        let _ = self.child.kill();
    }

    pub fn ask(&mut self, line: &str) -> Outcome<String> {
        self.tell(line)?;
        self.hear()
    }
}

/// It closes its store and ends once nothing more can be told.
impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.end(PATIENCE);
    }
}

/// Starts one that fills a store, and waits for its end.
pub fn run(arguments: &[String]) -> Outcome<()> {
    let status = Worker::start(arguments)?.end(PATIENCE_FOR_A_FILL)?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", arguments.join(" ")).into()) }
}
