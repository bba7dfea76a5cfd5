//! A disk with a write cache, as a file that the kernel asks for by the FUSE protocol. It knows nothing of what is on it.
//!
//! A write goes to the cache; a flush (an `fsync` of the file) makes all of the cache durable. A cut keeps an arbitrary
//! part of the cache, in sectors: none, all, each with some probability, or what came first. From then on writes and
//! flushes fail, and reads show what the kernel believes, until the disk comes back with what it kept.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::values::Dice;

pub const BYTES: usize = 40 << 20;
/// What a disk writes whole or not at all. File systems count on it for blocks of their journals.
const SECTOR: usize = 4096;
/// The most bytes of one request.
const WRITE_MAX: u32 = 128 << 10;

struct Platters {
    durable: Vec<u8>,
    /// What the kernel reads: the durable bytes and the cache over them.
    seen: Vec<u8>,
    cache: Vec<(usize, Vec<u8>)>,
    /// Writes and flushes until the cut, and what decides what it keeps.
    fuse: Option<(u64, u64)>,
    is_cut: bool,
}

impl Platters {
    /// True if the disk is there for one more request.
    fn burn(&mut self) -> bool {
        if let Some((left, dice)) = &mut self.fuse {
            *left = left.saturating_sub(1);
            if *left == 0 {
                let dice = Dice::new(*dice);
                self.cut(dice);
            }
        }
        !self.is_cut
    }

    fn cut(&mut self, mut dice: Dice) {
        let of_100 = [0, 100, 50, 90, dice.below(101)][dice.below(5) as usize];
        let first =
            if dice.below(4) == 0 { dice.below(self.cache.len() as u64 + 1) as usize } else { self.cache.len() };
        for (offset, bytes) in self.cache.drain(..).take(first) {
            for (at, sector) in (offset..).step_by(SECTOR).zip(bytes.chunks(SECTOR)) {
                if dice.below(100) < of_100 {
                    self.durable[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        self.cache.clear();
        self.fuse = None;
        self.is_cut = true;
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        let end = offset.checked_add(bytes.len()).filter(|&end| end <= BYTES).ok_or(Errno::SPACE)?;
        if !self.burn() {
            return Err(Errno::IO);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.cache.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        if !self.burn() {
            return Err(Errno::IO);
        }
        for (offset, bytes) in self.cache.drain(..) {
            self.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}

/// The disk. Its thread ends when the file is unmounted.
pub struct Disk(Arc<Mutex<Platters>>);

impl Disk {
    /// Makes the file at `point` a disk. `None` if this user may not mount.
    pub fn mount(point: &Path) -> Option<Disk> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let options = "fd=0,rootmode=100000,user_id=0,group_id=0,allow_other";
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse", "-o", options, "disk"]).arg(point);
        mount.stdin(Stdio::from(device.try_clone().ok()?)).stdout(Stdio::null()).stderr(Stdio::null());
        if !mount.status().ok()?.success() {
            return None;
        }
        let (durable, seen) = (vec![0; BYTES], vec![0; BYTES]);
        let platters = Platters { durable, seen, cache: Vec::new(), fuse: None, is_cut: false };
        let disk = Disk(Arc::new(Mutex::new(platters)));
        let platters = Arc::clone(&disk.0);
        std::thread::spawn(move || serve(device, &platters));
        Some(disk)
    }

    /// The power is cut at the so-manieth write or flush from now on, instead of carrying it out.
    pub fn cut_after(&self, requests: u64, dice: u64) {
        self.0.lock().unwrap().fuse = Some((requests, dice));
    }

    /// Puts the power back: what was kept is there. True if there was a cut at all.
    pub fn come_back(&self) -> bool {
        let mut platters = self.0.lock().unwrap();
        let Platters { durable, seen, .. } = &mut *platters;
        seen.copy_from_slice(durable);
        std::mem::take(&mut platters.is_cut)
    }
}

#[derive(Clone, Copy)]
struct Errno(i32);

impl Errno {
    const IO: Errno = Errno(5);
    const SPACE: Errno = Errno(28);
    const UNKNOWN: Errno = Errno(38);
}

/// Answers the kernel until it unmounts the file. The layouts are those of `linux/fuse.h`, version 7.31.
fn serve(mut device: File, platters: &Mutex<Platters>) {
    let mut request = vec![0; WRITE_MAX as usize + 4096];
    // An error is an interrupted request, but for the one that says that the mount is gone.
    loop {
        match device.read(&mut request) {
            Ok(0) => return,
            Ok(len) => answer(&mut device, &request[..len], platters),
            Err(error) if error.raw_os_error() == Some(19) => return,
            Err(_) => {}
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn answer(device: &mut File, request: &[u8], platters: &Mutex<Platters>) {
    let (head, body) = request.split_at(40);
    let (opcode, unique) = (half(head, 4), word(head, 8));
    let outcome = match opcode {
        // FORGET, INTERRUPT and BATCH_FORGET want no answer.
        2 | 36 | 42 => return,
        3 | 4 => Ok(attributes()),
        14 => Ok([&0u64.to_le_bytes()[..], &1u32.to_le_bytes(), &[0; 4]].concat()),
        15 => {
            let (offset, len) = (word(body, 8) as usize, half(body, 16) as usize);
            let end = (offset + len).min(BYTES);
            Ok(platters.lock().unwrap().seen[offset.min(end)..end].to_vec())
        }
        16 => {
            let (offset, len) = (word(body, 8) as usize, half(body, 16));
            let written = platters.lock().unwrap().write(offset, &body[40..40 + len as usize]);
            written.map(|()| [len.to_le_bytes(), [0; 4]].concat())
        }
        20 => platters.lock().unwrap().flush().map(|()| Vec::new()),
        // RELEASE, FLUSH, ACCESS and DESTROY.
        18 | 25 | 34 | 38 => Ok(Vec::new()),
        26 => Ok(initial()),
        _ => Err(Errno::UNKNOWN),
    };
    let (error, bytes) = outcome.map_or_else(|errno| (-errno.0, Vec::new()), |bytes| (0, bytes));
    let len = (16 + bytes.len()) as u32;
    let answer = [&len.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes(), &bytes].concat();
    // A request that was given up meanwhile has nobody to answer to.
    let _ = device.write_all(&answer);
}

/// Version, flags (big writes, many pages) and limits.
fn initial() -> Vec<u8> {
    let mut answer = Vec::new();
    for value in [7, 31, WRITE_MAX, 1 | 1 << 5 | 1 << 22, 12 | 10 << 16, WRITE_MAX, 1, WRITE_MAX / 4096] {
        answer.extend_from_slice(&u32::to_le_bytes(value));
    }
    answer.resize(64, 0);
    answer
}

/// A regular file of mode 0600 that belongs to root.
fn attributes() -> Vec<u8> {
    let mut answer = vec![0; 104];
    let mut put = |at: usize, bytes: &[u8]| answer[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &3600u64.to_le_bytes());
    put(16, &1u64.to_le_bytes());
    put(24, &(BYTES as u64).to_le_bytes());
    put(32, &(BYTES as u64 / 512).to_le_bytes());
    put(76, &0o100_600u32.to_le_bytes());
    put(80, &1u32.to_le_bytes());
    put(96, &4096u32.to_le_bytes());
    answer
}
