//! The output of a git command as it comes, for what is too large to be held.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::pipe::fcntl_setpipe_size;

use crate::deadline::Deadline;
use crate::debug_log::{self, Noted};
use crate::process;

/// Bytes that wait in the pipe at most; what a user without privileges may ask for (pipe(7)).
const PIPE: usize = 1 << 20;

/// A running git command, read to its end. A command that fails is an error at the end of its
/// output, so that what it gave before is never taken for all.
pub struct GitOutput {
    child: Child,
    stdout: ChildStdout,
    deadline: Deadline,
    noted: Option<Noted>,
}

impl GitOutput {
    /// Starts `command`, which has until `deadline`.
    pub fn start(command: &mut Command, deadline: Deadline) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let noted = debug_log::command(command);
        let mut child = command.stdout(Stdio::piped()).process_group(0).spawn()?;
        let Some(stdout) = child.stdout.take() else {
            process::end_group(&mut child);
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        // So that git can work on while its output waits. Where it is refused, it is only slower.
        let _ = fcntl_setpipe_size(&stdout, PIPE);
        Ok(Self {
            child,
            stdout,
            deadline,
            noted,
        })
    }

    fn left(&self) -> io::Result<Duration> {
        match self.deadline.check() {
            Ok(()) => Ok(self.deadline.left()),
            Err(missed) => Err(io::Error::new(io::ErrorKind::TimedOut, missed)),
        }
    }

    fn end(&mut self) -> io::Result<usize> {
        let left = self.left()?;
        let status = process::wait(&mut self.child, left)?;
        if let Some(status) = status {
            debug_log::ended(&mut self.noted, status);
        }
        match status {
            Some(status) if status.success() => Ok(0),
            Some(status) => Err(io::Error::other(format!("git ended with {status}"))),
            None => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                self.deadline.missed(),
            )),
        }
    }
}

impl Read for GitOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !process::wait_for_any(&[self.stdout.as_fd()], self.left()?)? {
                continue;
            }
            return match self.stdout.read(buffer) {
                Ok(0) => self.end(),
                read => read,
            };
        }
    }
}

impl Drop for GitOutput {
    fn drop(&mut self) {
        process::end_group(&mut self.child);
    }
}
