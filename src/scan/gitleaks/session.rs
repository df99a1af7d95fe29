//! One scan by one gitleaks: what it reads and what it answers, within a time limit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, SendFlags};

use super::launch::{FOUND, Process};
use super::{EngineError, FRAGMENT_LIMIT, RawFinding, report};
use crate::deadline::Deadline;
use crate::{process, text};

/// Lines of the packet in front of the content.
pub(crate) const HEAD_LINES: u64 = 2;

/// How long a report is too long, in bytes; some 100,000 findings.
const REPORT_LIMIT: usize = 64 << 20;

/// How much of what it says is kept, in bytes.
const ERRORS_LIMIT: usize = 64 << 10;

/// A running scan.
pub(crate) struct Gitleaks {
    process: Process,
    report: Stream,
    errors: Stream,
    /// What was fed, in lines.
    lines: u64,
    deadline: Deadline,
    /// The operator's rules, to blame when gitleaks cannot read them.
    rules_file: Option<PathBuf>,
}

impl Gitleaks {
    /// Takes over `process` and sends the first canary.
    pub(crate) fn begin(
        process: Process,
        deadline: Deadline,
        rules_file: Option<PathBuf>,
    ) -> Result<Self, EngineError> {
        let mut scan = Self {
            process,
            report: Stream::new(REPORT_LIMIT),
            errors: Stream::new(ERRORS_LIMIT),
            lines: 0,
            deadline,
            rules_file,
        };
        let head = format!("{}\n\n", scan.process.canary.head());
        scan.send(head.as_bytes())?;
        Ok(scan)
    }

    /// How many lines it was fed.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether a fragment could be sent without waiting.
    pub(crate) fn has_room(&self) -> bool {
        let mut socket = [PollFd::new(&self.process.input, PollFlags::OUT)];
        poll(&mut socket, Some(&Timespec::default())) == Ok(1)
    }

    /// Sends one packet, waiting for room. What gitleaks says meanwhile is read, so that neither
    /// waits for the other.
    fn send(&mut self, packet: &[u8]) -> Result<(), EngineError> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            match net::send(&self.process.input, packet, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(true)?,
                // It reads no more, so it has ended, or is about to.
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    let status = self.end()?;
                    return Err(self.failure(status));
                }
                Err(error) => {
                    return Err(EngineError::system("send to gitleaks")(error.into()));
                }
            }
        }
    }

    /// Waits until there is room for input (when `sending`) or output to read, and reads that.
    fn wait(&mut self, sending: bool) -> Result<(), EngineError> {
        self.deadline.check()?;
        let left = self.deadline.left();
        let process = &self.process;
        // An ended stream would be ready for ever, and poll(2) skips no entry of ours.
        let watched = [
            (self.report.open, &process.report, PollFlags::IN),
            (self.errors.open, &process.errors, PollFlags::IN),
            (sending, &process.input, PollFlags::OUT),
        ];
        let mut polled: Vec<_> = watched
            .into_iter()
            .filter(|(open, ..)| *open)
            .map(|(_, fd, flags)| PollFd::new(fd, flags))
            .collect();
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(EngineError::system("wait for gitleaks")(error.into())),
        }
        self.errors.read(process.errors.as_fd())?;
        self.report.read(process.report.as_fd())?;
        match self.report.bytes.len() {
            REPORT_LIMIT => Err(EngineError::TooMany {
                limit: REPORT_LIMIT,
            }),
            _ => Ok(()),
        }
    }

    /// Reads all output to its end, and returns how the process ended.
    fn end(&mut self) -> Result<ExitStatus, EngineError> {
        while self.report.open || self.errors.open {
            self.wait(false)?;
        }
        let status = self.process.keeper.wait(self.deadline.left())?;
        status.ok_or_else(|| self.deadline.missed().into())
    }

    /// Why it ended before its time, or with a wrong exit code.
    fn failure(&self, status: ExitStatus) -> EngineError {
        let said = self.said();
        match &self.rules_file {
            // It reads its rules before all else, and ends on its own when it cannot.
            Some(file) if status.code().is_some() && !said.is_empty() => EngineError::Config {
                file: file.clone(),
                problem: said,
            },
            _ => EngineError::Failed {
                how: process::how_it_ended(status),
                said: if said.is_empty() {
                    said
                } else {
                    format!(": {said}")
                },
            },
        }
    }

    /// The line that says most of what it said, without anything that looks like a token: it may
    /// quote what it read.
    fn said(&self) -> String {
        let lines: Vec<String> = text::lines(&self.errors.bytes).collect();
        let panic = lines.iter().find(|line| line.starts_with("panic: "));
        panic
            .or(lines.first())
            .map_or_else(String::new, |line| text::ref_name(line))
    }
}

impl Gitleaks {
    /// As [`Scanner::feed`](super::Scanner::feed).
    pub(crate) fn feed(&mut self, fragment: &[u8]) -> Result<u64, EngineError> {
        if fragment.len() > FRAGMENT_LIMIT {
            return Err(EngineError::Fragment(fragment.len()));
        }
        let mut packet = Vec::with_capacity(fragment.len() + 2);
        packet.extend_from_slice(fragment);
        while !packet.ends_with(b"\n\n") {
            packet.push(b'\n');
        }
        self.send(&packet)?;
        self.lines += packet.iter().filter(|&&byte| byte == b'\n').count() as u64;
        Ok(self.lines)
    }

    /// As [`Scanner::finish`](super::Scanner::finish).
    pub(crate) fn finish(mut self) -> Result<Vec<RawFinding>, EngineError> {
        let tail = format!("{}\n\n", self.process.canary.tail());
        self.send(tail.as_bytes())?;
        net::shutdown(&self.process.input, net::Shutdown::Write)
            .map_err(io::Error::from)
            .map_err(EngineError::system("end gitleaks' input"))?;
        let status = self.end()?;
        if status.code() != Some(FOUND) {
            return Err(self.failure(status));
        }
        report::parse(&self.report.bytes, &self.process.canary, self.lines)
    }
}

/// One of its outputs: the first bytes of it, up to a limit.
struct Stream {
    bytes: Vec<u8>,
    limit: usize,
    open: bool,
}

impl Stream {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            open: true,
        }
    }

    /// Reads what is there without waiting.
    fn read(&mut self, fd: BorrowedFd<'_>) -> Result<(), EngineError> {
        let mut part = [0; 16 << 10];
        while self.open {
            match rustix::io::read(fd, &mut part) {
                Ok(0) => self.open = false,
                Ok(n) => {
                    let kept = n.min(self.limit - self.bytes.len());
                    self.bytes.extend_from_slice(&part[..kept]);
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(EngineError::system("read from gitleaks")(error.into())),
            }
        }
        Ok(())
    }
}
