//! What a command prints, read as it comes and up to a limit.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionbio;

use super::child_end::ChildEnd;
use super::{OUTPUT_LIMIT, Output, end_group, is_temporary, wait_for_any};

/// What a pipe holds at most, unless it was made larger (pipe(7)).
const PIPE_SIZE: usize = 64 << 10;

/// How long after a child's end its output may still arrive. A background process that it left
/// behind (an ssh master) may hold the pipe open for good.
pub(super) const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// What is done with the output of a command as it comes.
pub struct Reading<'a> {
    most: usize,
    hear: Box<Hear<'a>>,
    is_enough: Box<IsEnough<'a>>,
}

/// Gets what comes on standard error.
type Hear<'a> = dyn FnMut(&[u8]) + 'a;

/// Whether standard output, as far as it has come, is all that is wanted.
type IsEnough<'a> = dyn FnMut(&[u8]) -> bool + 'a;

impl Default for Reading<'_> {
    fn default() -> Self {
        Self {
            most: OUTPUT_LIMIT,
            hear: Box::new(|_| {}),
            is_enough: Box::new(|_| false),
        }
    }
}

impl<'a> Reading<'a> {
    /// The first `most` bytes of standard output are kept.
    pub fn up_to(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// `hear` gets what comes on standard error.
    pub fn heard_by(hear: impl FnMut(&[u8]) + 'a) -> Self {
        Self {
            hear: Box::new(hear),
            ..Self::default()
        }
    }

    /// The command is ended when standard output `is_enough`.
    pub fn until(self, is_enough: impl FnMut(&[u8]) -> bool + 'a) -> Self {
        Self {
            is_enough: Box::new(is_enough),
            ..self
        }
    }
}

/// Reads what `child` prints until it has ended and its output too, or until that is enough; `None` when
/// it is still running after `limit`.
pub(super) fn follow(
    child: &mut Child,
    limit: Duration,
    mut reading: Reading<'_>,
) -> io::Result<Option<Output>> {
    let child_end = ChildEnd::of(child)?;
    let mut stdout = Stream::new(child.stdout.take(), reading.most)?;
    let mut stderr = Stream::new(child.stderr.take(), OUTPUT_LIMIT)?;
    let mut end = Instant::now() + limit;
    let mut status = None;
    loop {
        let mut left = end.saturating_duration_since(Instant::now());
        let mut watched: Vec<_> = [&stdout, &stderr]
            .into_iter()
            .filter_map(Stream::open)
            .collect();
        match status {
            Some(status) if watched.is_empty() || left.is_zero() => {
                let (stdout, stderr) = (stdout.kept, stderr.kept);
                return Ok(Some(Output {
                    status,
                    stdout,
                    stderr,
                }));
            }
            None if left.is_zero() => return Ok(None),
            None => left = child_end.watch(&mut watched, left),
            Some(_) => {}
        }
        wait_for_any(&watched, left)?;
        if status.is_none() {
            status = child.try_wait()?;
            if status.is_some() {
                end = Instant::now() + OUTPUT_GRACE;
            }
        }
        // A read takes all that a pipe holds: the one after the child's end has all that the child
        // itself wrote, however late this process is.
        stdout.read()?;
        let heard = stderr.kept.len();
        stderr.read()?;
        (reading.hear)(&stderr.kept[heard..]);
        if status.is_none() && (reading.is_enough)(&stdout.kept) {
            end_group(child);
            (status, end) = (Some(child.wait()?), Instant::now());
        }
    }
}

/// One output stream of a child.
struct Stream {
    pipe: Option<File>,
    /// The first `most` bytes.
    kept: Vec<u8>,
    most: usize,
}

impl Stream {
    fn new(pipe: Option<impl Into<OwnedFd>>, most: usize) -> io::Result<Self> {
        let pipe = pipe.map(|pipe| File::from(pipe.into()));
        if let Some(pipe) = &pipe {
            ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            pipe,
            kept: Vec::new(),
            most,
        })
    }

    /// The pipe, until its end was read.
    fn open(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there now, at most what a pipe holds.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let mut buffer = [0; PIPE_SIZE];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(length) => {
                let room = self.most - self.kept.len();
                self.kept.extend_from_slice(&buffer[..length.min(room)]);
            }
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
