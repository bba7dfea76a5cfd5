//! Child processes and the pipes to them. It knows nothing of caches.
//!
//! A child says lines on its standard output and hears orders, or the end of them, on its standard input. A test that
//! hears nothing for [`PATIENCE`] fails: a process that hangs is a failure.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest silence, whatever a child does.
const PATIENCE: Duration = Duration::from_secs(90);
const ROLE: &str = "LARDER_TEST_ROLE";
const DIRECTORY: &str = "LARDER_TEST_DIRECTORY";
const NUMBERS: &str = "LARDER_TEST_NUMBERS";
/// What tells a child's lines from those of the test harness around it.
const MARK: &str = "@ ";
const SIGKILL: i32 = 9;

/// How often more than in an everyday run.
pub fn scale() -> u64 {
    std::env::var("LARDER_TEST_SCALE").map_or(1, |scale| scale.parse().expect("LARDER_TEST_SCALE is a whole number"))
}

/// So many at a scale of 1, were it not that an everyday run has one in `part` of them alone: what is long is for who asks.
pub fn rounds(many: u64, part: u64) -> u64 {
    match scale() {
        0 | 1 => many.div_ceil(part),
        scale => many * scale,
    }
}

/// What the dice of all processes start from.
pub fn seed() -> u64 {
    std::env::var("LARDER_TEST_SEED").map_or(1, |seed| seed.parse().expect("LARDER_TEST_SEED is a whole number"))
}

// ---- In a child ------------------------------------------------------------------------------------------------------

/// What a child has to do.
pub struct Role {
    pub name: String,
    pub directory: PathBuf,
    pub numbers: Vec<u64>,
}

impl Role {
    pub fn given() -> Option<Role> {
        let name = std::env::var(ROLE).ok()?;
        let default = std::panic::take_hook();
        // A thread that panics takes the process with it, so that the test hears of it at once.
        std::panic::set_hook(Box::new(move |info| {
            default(info);
            std::process::exit(101);
        }));
        let numbers = std::env::var(NUMBERS).expect("a child is given numbers");
        let numbers = numbers.split_whitespace().map(|number| number.parse().expect("a number")).collect();
        // The harness has begun a line of its own.
        println!();
        Some(Role {
            name,
            directory: std::env::var_os(DIRECTORY).expect("a child is given a directory").into(),
            numbers,
        })
    }
}

/// One line to the parent, by one call of the system: it is said whole or not at all.
pub fn say(line: impl Display) {
    let line = format!("{MARK}{line}\n");
    let said = std::io::stdout().lock().write_all(line.as_bytes());
    said.expect("the parent listens");
}

/// The next order; `None` if there will be none.
pub fn next_order() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).expect("orders can be read");
    (read != 0).then(|| line.trim_end().to_string())
}

/// Becomes true when the parent has no more orders, or is no more.
pub fn told_to_stop() -> &'static AtomicBool {
    static STOP: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        let end = std::io::stdin().lock().read_to_end(&mut Vec::new());
        end.expect("orders can be read");
        STOP.store(true, Ordering::Relaxed);
    });
    &STOP
}

/// The path of this binary.
pub fn own_path() -> PathBuf {
    std::env::current_exe().expect("this binary has a path")
}

// ---- In the parent ---------------------------------------------------------------------------------------------------

struct Member {
    child: Child,
    orders: Option<ChildStdin>,
}

impl Drop for Member {
    fn drop(&mut self) {
        // Both fail only for a child that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The children of one test. They are killed when it is dropped.
pub struct Crew {
    members: Vec<Member>,
    sender: Sender<(usize, Option<String>)>,
    heard: Receiver<(usize, Option<String>)>,
    /// Heard while listening for somebody else.
    unread: VecDeque<(usize, Option<String>)>,
    /// Tests take turns: they count on both cores, and some measure.
    _turn: MutexGuard<'static, ()>,
}

impl Crew {
    pub fn new() -> Crew {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, heard) = channel();
        Crew { members: Vec::new(), sender, heard, unread: VecDeque::new(), _turn: turn }
    }

    /// Starts a child and gives its number, which no other will get.
    pub fn start(&mut self, role: &str, directory: &Path, numbers: &[u64]) -> usize {
        self.start_with(role, directory, numbers, Stdio::piped())
    }

    /// Starts a child whose orders come through a pipe that others have too. It ends for all of them at once.
    pub fn start_behind(&mut self, barrier: &PipeReader, role: &str, directory: &Path, numbers: &[u64]) -> usize {
        self.start_with(role, directory, numbers, barrier.try_clone().expect("a pipe can be shared").into())
    }

    /// Starts a child that ignores a signal.
    pub fn start_ignoring(&mut self, signal: &str, role: &str, directory: &Path, numbers: &[u64]) -> usize {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("trap '' {signal}; exec \"$@\""), "sh"]).arg(own_path());
        self.start_by(shell, role, directory, numbers, Stdio::piped())
    }

    fn start_with(&mut self, role: &str, directory: &Path, numbers: &[u64], orders: Stdio) -> usize {
        self.start_by(Command::new(own_path()), role, directory, numbers, orders)
    }

    /// Starts a child by a command to which the arguments of this binary can be added.
    pub fn start_by(
        &mut self,
        mut command: Command,
        role: &str,
        directory: &Path,
        numbers: &[u64],
        orders: Stdio,
    ) -> usize {
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let mut child = command
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(DIRECTORY, directory)
            .env(NUMBERS, numbers.join(" "))
            .stdin(orders)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child starts");
        let number = self.members.len();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            for line in output.lines() {
                let line = line.expect("a child's output is text");
                if let Some(line) = line.strip_prefix(MARK) {
                    // Nobody listens any more if the test has failed.
                    let _ = sender.send((number, Some(line.to_string())));
                }
            }
            let _ = sender.send((number, None));
        });
        let orders = child.stdin.take();
        self.members.push(Member { child, orders });
        number
    }

    /// The number of its process.
    pub fn id(&self, member: usize) -> u32 {
        self.members[member].child.id()
    }

    pub fn tell(&mut self, member: usize, order: &str) {
        let orders = self.members[member].orders.as_mut().expect("it can be told");
        writeln!(orders, "{order}").expect("the child listens");
    }

    /// The next line of anybody; `None` for the end of one's output.
    pub fn hear(&mut self) -> (usize, Option<String>) {
        self.unread.pop_front().unwrap_or_else(|| self.receive())
    }

    fn receive(&mut self) -> (usize, Option<String>) {
        self.heard.recv_timeout(PATIENCE).expect("somebody says something in time")
    }

    /// The next line of one of them; `None` for the end of its output.
    pub fn hear_of(&mut self, member: usize) -> Option<String> {
        if let Some(at) = self.unread.iter().position(|(number, _)| *number == member) {
            return self.unread.remove(at).and_then(|(_, line)| line);
        }
        loop {
            let (number, line) = self.receive();
            if number == member {
                return line;
            }
            self.unread.push_back((number, line));
        }
    }

    #[track_caller]
    pub fn expect_of(&mut self, member: usize, line: &str) {
        assert_eq!(self.hear_of(member).as_deref(), Some(line));
    }

    /// Says that there are no more orders.
    pub fn close(&mut self, member: usize) {
        self.members[member].orders = None;
    }

    /// Has a child killed; it may go on for a moment.
    pub fn strike(&mut self, member: usize) {
        self.members[member].child.kill().expect("a child can be killed");
    }

    /// Returns when the system has let go of a killed child, with what it said and nobody has heard yet.
    pub fn bury(&mut self, member: usize) -> Vec<String> {
        self.reap(member);
        self.last_words(member)
    }

    /// As [`bury`](Crew::bury), for a killed child the end of whose output has been heard.
    pub fn reap(&mut self, member: usize) {
        let status = self.members[member].child.wait().expect("a child can be waited for");
        assert_eq!(status.signal(), Some(SIGKILL), "child {member} ended before it was killed: {status}");
    }

    pub fn kill(&mut self, member: usize) -> Vec<String> {
        self.strike(member);
        self.bury(member)
    }

    /// Kills a child that may have ended in good order before, and says whether it had.
    pub fn kill_if_running(&mut self, member: usize) -> (bool, Vec<String>) {
        let child = &mut self.members[member].child;
        child.kill().expect("a child can be killed, or has ended");
        let status = child.wait().expect("a child can be waited for");
        assert!(status.success() || status.signal() == Some(SIGKILL), "child {member}: {status}");
        (status.success(), self.last_words(member))
    }

    /// Waits for a child to end however it does, with what it said and nobody has heard yet.
    pub fn wait(&mut self, member: usize) -> (ExitStatus, Vec<String>) {
        let words = self.last_words(member);
        (self.members[member].child.wait().expect("a child can be waited for"), words)
    }

    fn last_words(&mut self, member: usize) -> Vec<String> {
        std::iter::from_fn(|| self.hear_of(member)).collect()
    }

    /// Lets a child end in good order, and gives what it said that nobody has heard yet.
    #[track_caller]
    pub fn finish(&mut self, member: usize) -> Vec<String> {
        self.members[member].orders = None;
        let words = self.last_words(member);
        let status = self.members[member].child.wait().expect("a child can be waited for");
        assert!(status.success(), "child {member}: {status}");
        words
    }

    /// Stops a child where it is, and returns when it stands still.
    pub fn stop(&mut self, member: usize) {
        self.signal(member, "STOP");
        let stat = format!("/proc/{}/stat", self.members[member].child.id());
        let is_still = |stat: String| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'));
        while !std::fs::read_to_string(&stat).is_ok_and(is_still) {
            std::thread::yield_now();
        }
    }

    pub fn go_on(&mut self, member: usize) {
        self.signal(member, "CONT");
    }

    fn signal(&mut self, member: usize, signal: &str) {
        let id = self.id(member);
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status();
        assert!(status.expect("there is a shell").success());
    }
}
