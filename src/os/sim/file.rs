//! Open files of a simulated process. Knows how calls on a file count and fail; what they do is the business of `disk`.

use super::disk::pieces;
use super::failures::{CallKind, Fault};
use super::hold::Hold;
use super::map::SimMap;
use crate::os::{Access, Identity, OsFile};
use std::io;

/// The device that every simulated file is on.
const DEVICE: u64 = 0x0801;

/// An open file of a simulated process.
pub struct SimFile {
    pub(super) hold: Hold,
    pub(super) is_writable: bool,
}

impl SimFile {
    fn call(&self, kind: CallKind) -> io::Result<()> {
        self.hold.os.call(kind, &self.hold.path)
    }

    fn call_to_write(&self, kind: CallKind) -> io::Result<()> {
        self.call(kind)?;
        self.allows_writing()
    }

    fn allows_writing(&self) -> io::Result<()> {
        match self.is_writable {
            true => Ok(()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Begins a call that changes so many bytes: how many of them it gets to, and the error after them.
    fn call_to_change(&self, kind: CallKind, len: usize) -> io::Result<(usize, Option<io::Error>)> {
        let fault = self.hold.os.call_in_part(kind, &self.hold.path)?;
        let error = fault.map(|fault| fault.error(kind, &self.hold.path));
        match (fault, error) {
            (Some(Fault::Short(_)), error) => {
                self.allows_writing()?;
                Ok((len / 2, error))
            }
            (_, Some(error)) => Err(error),
            (_, None) => self.allows_writing().map(|()| (len, None)),
        }
    }
}

impl OsFile for SimFile {
    type Map = SimMap;

    fn len(&self) -> io::Result<u64> {
        self.call(CallKind::Len)?;
        Ok(self.hold.node.len())
    }

    fn allocated(&self) -> io::Result<u64> {
        self.call(CallKind::Allocated)?;
        Ok(self.hold.node.allocated())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.call(CallKind::ReadAt)?;
        match self.hold.node.read(offset, bytes) {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (count, error) = self.call_to_change(CallKind::WriteAt, bytes.len())?;
        for (start, piece) in pieces(offset, &bytes[..count]) {
            self.hold.os.step_or_fail(|| self.hold.node.write(start, piece))?;
        }
        error.map_or(Ok(()), Err)
    }

    fn extend(&self, len: u64) -> io::Result<()> {
        self.call_to_write(CallKind::Extend)?;
        self.hold.os.step_or_fail(|| self.hold.node.extend(len))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let (count, error) = self.call_to_change(CallKind::Allocate, len as usize)?;
        if count > 0 {
            self.hold.os.step_or_fail(|| self.hold.node.allocate(offset, count as u64))?;
        }
        error.map_or(Ok(()), Err)
    }

    fn release(&self, offset: u64, len: u64) -> io::Result<()> {
        let (count, error) = self.call_to_change(CallKind::Release, len as usize)?;
        if count > 0 {
            self.hold.os.step_or_fail(|| {
                self.hold.node.release(offset, count as u64);
                Ok(())
            })?;
        }
        error.map_or(Ok(()), Err)
    }

    fn sync(&self) -> io::Result<()> {
        if let Err(error) = self.call(CallKind::Sync) {
            if !self.hold.os.actor().is_dead() {
                self.hold.node.strand();
            }
            return Err(error);
        }
        self.hold.os.step_or_fail(|| {
            self.hold.node.sync();
            Ok(())
        })
    }

    fn map(&self, len: usize, access: Access) -> io::Result<SimMap> {
        self.call(CallKind::Map)?;
        let is_writable = access == Access::Write;
        if is_writable && !self.is_writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if len == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if len as u64 > self.hold.node.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let hold = self.hold.os.hold(&self.hold.node, &self.hold.path);
        Ok(SimMap { hold, len, is_writable })
    }

    fn identity(&self) -> io::Result<Identity> {
        self.call(CallKind::Identity)?;
        let state = self.hold.os.machine.state();
        Ok(Identity { boot: state.boot, device: DEVICE, inode: self.hold.node.inode, mount: state.mount })
    }
}
