//! One scan by one gitleaks: what it reads and what it answers, within a time limit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use memchr::memchr_iter;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{self, SendFlags};

use super::canary::CANARY_RULE;
use super::launch::FOUND;
use super::scanner_process::Process;
use super::{EngineError, FRAGMENT_LIMIT, RawFinding, report};
use crate::deadline::Deadline;
use crate::{process, text};

/// How long a report is too long, in bytes; some 100,000 findings.
const REPORT_LIMIT: usize = 64 << 20;

/// How much of what it says besides is looked at, in bytes.
const SAID_LIMIT: usize = 64 << 10;

/// How much of what it prints is kept, in bytes: more than two canaries take.
const PRINTED_LIMIT: usize = 1 << 10;

/// A running scan.
pub(crate) struct Gitleaks {
    process: Process,
    printed: Stream,
    report: Stream,
    /// The canary in front.
    head: String,
    /// What was fed, in lines and bytes.
    lines: u64,
    bytes: u64,
    deadline: Deadline,
    /// The operator's rules, to blame when gitleaks cannot read them.
    rules_file: Option<PathBuf>,
}

/// One fragment as it is sent: it ends in a blank line, where gitleaks cuts.
pub(crate) struct Packet {
    bytes: Vec<u8>,
    lines: u64,
}

impl Packet {
    pub(crate) fn new(fragment: &[u8]) -> Result<Self, EngineError> {
        if fragment.len() > FRAGMENT_LIMIT {
            return Err(EngineError::Fragment(fragment.len()));
        }
        let mut bytes = Vec::with_capacity(fragment.len() + 2);
        bytes.extend_from_slice(fragment);
        while !bytes.ends_with(b"\n\n") {
            bytes.push(b'\n');
        }
        let lines = memchr_iter(b'\n', &bytes).count() as u64;
        Ok(Self { bytes, lines })
    }
}

/// Waits until one of `scans`, which end by one deadline, has room for input (when `sending`) or output to
/// read, and reads that, so that neither waits for the other.
pub(crate) fn wait_for_any(scans: &mut [&mut Gitleaks], sending: bool) -> Result<(), EngineError> {
    let Some(first) = scans.first() else {
        return Ok(());
    };
    first.deadline.check()?;
    let left = first.deadline.left();
    let awaited = scans.iter().flat_map(|scan| scan.awaited(sending));
    let mut polled: Vec<_> = awaited.collect();
    process::poll(&mut polled, Some(left)).map_err(EngineError::system("wait for gitleaks"))?;
    scans.iter_mut().try_for_each(|scan| scan.hear())
}

/// What a scan leaves.
pub(crate) struct Outcome {
    pub(crate) findings: Vec<RawFinding>,
    /// The process, where it is fit for another scan, and how many bytes it has read in this one.
    pub(crate) fit: Option<(Process, u64)>,
}

impl Gitleaks {
    /// Takes over `process` and sends the first canary.
    pub(crate) fn begin(
        process: Process,
        deadline: Deadline,
        rules_file: Option<PathBuf>,
    ) -> Result<Self, EngineError> {
        let mut scan = Self {
            head: process.ends.canary.head()?,
            process,
            printed: Stream::new(PRINTED_LIMIT),
            report: Stream::new(REPORT_LIMIT),
            lines: 0,
            bytes: 0,
            deadline,
            rules_file,
        };
        let head = format!("{}\n\n", scan.head);
        scan.send(head.as_bytes())?;
        Ok(scan)
    }

    /// How many lines it was fed.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether gate-init needs it for others, once this scan can do without.
    pub(crate) fn is_wanted_back(&self) -> bool {
        self.process.handle.is_wanted_back()
    }

    /// Whether it has read most of what it got.
    pub(crate) fn has_room(&self) -> bool {
        let mut socket = [PollFd::new(&self.process.ends.input, PollFlags::OUT)];
        process::poll(&mut socket, Some(Duration::ZERO)).unwrap_or(false)
    }

    /// Sends `packet` where that needs no waiting; whether it did.
    pub(crate) fn offer(&mut self, packet: &Packet) -> Result<bool, EngineError> {
        let sent = self.send_now(&packet.bytes)?;
        if sent {
            self.bytes += packet.bytes.len() as u64;
            self.lines += packet.lines;
        }
        Ok(sent)
    }

    /// Sends one packet, waiting for room.
    fn send(&mut self, packet: &[u8]) -> Result<(), EngineError> {
        while !self.send_now(packet)? {
            self.wait(true)?;
        }
        Ok(())
    }

    /// Sends one packet where there is room.
    fn send_now(&mut self, packet: &[u8]) -> Result<bool, EngineError> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            match net::send(&self.process.ends.input, packet, flags) {
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
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

    /// As [`wait_for_any`], for this one.
    fn wait(&mut self, sending: bool) -> Result<(), EngineError> {
        wait_for_any(&mut [self], sending)
    }

    /// What it can be waited for. An ended stream would be ready for ever, and poll(2) skips no entry of ours.
    fn awaited(&self, sending: bool) -> impl Iterator<Item = PollFd<'_>> {
        let ends = &self.process.ends;
        let all = [
            (self.printed.open, &ends.printed, PollFlags::IN),
            (self.report.open, &ends.report, PollFlags::IN),
            (sending, &ends.input, PollFlags::OUT),
        ];
        let open = all.into_iter().filter(|(open, ..)| *open);
        open.map(|(_, fd, flags)| PollFd::new(fd, flags))
    }

    /// Reads what it has written by now.
    fn hear(&mut self) -> Result<(), EngineError> {
        let ends = &self.process.ends;
        self.printed.read(ends.printed.as_fd())?;
        self.report.read(ends.report.as_fd())?;
        match self.report.bytes.len() {
            REPORT_LIMIT => Err(EngineError::TooMany {
                limit: REPORT_LIMIT,
            }),
            _ => Ok(()),
        }
    }

    /// Reads all output to its end, and returns how the process ended.
    fn end(&mut self) -> Result<ExitStatus, EngineError> {
        while self.printed.open || self.report.open {
            self.wait(false)?;
        }
        let status = self.process.handle.wait(self.deadline.left())?;
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
    /// quote what it read. The report, which holds secrets, is no such line.
    fn said(&self) -> String {
        let said = &self.report.bytes[..self.report.bytes.len().min(SAID_LIMIT)];
        let lines = text::lines(said).take_while(|line| !line.starts_with('['));
        let lines: Vec<String> = lines.collect();
        let panic = lines.iter().find(|line| line.starts_with("panic: "));
        panic
            .or(lines.first())
            .map_or_else(String::new, |line| text::ref_name(line))
    }
}

impl Gitleaks {
    /// Ends the scan. It was clean when both canaries were printed, and nothing besides.
    pub(crate) fn finish(mut self) -> Result<Outcome, EngineError> {
        // Nothing that was fed can hold it, since it was made only now.
        let tail = self.process.ends.canary.tail()?;
        self.send(format!("{tail}\n\n").as_bytes())?;
        let clean = print_of(&self.head) + &print_of(&tail);
        while self.printed.open && is_beginning(&self.printed.bytes, &clean) {
            self.wait(false)?;
        }
        // What it said before the last print was written before that.
        self.hear()?;
        let is_clean = is_whole(&self.printed.bytes, &clean)
            && self.printed.open
            && self.report.bytes.is_empty()
            && self.report.open;
        if is_clean {
            let fit = Some((self.process, self.bytes));
            let findings = Vec::new();
            return Ok(Outcome { findings, fit });
        }
        let findings = self.findings(&tail)?;
        let fit = None;
        Ok(Outcome { findings, fit })
    }

    /// Lets it end, and reads its report.
    fn findings(&mut self, tail: &str) -> Result<Vec<RawFinding>, EngineError> {
        net::shutdown(&self.process.ends.input, net::Shutdown::Write)
            .map_err(io::Error::from)
            .map_err(EngineError::system("end gitleaks' input"))?;
        let status = self.end()?;
        if status.code() != Some(FOUND) {
            return Err(self.failure(status));
        }
        report::parse(&self.report.bytes, [&self.head, tail], self.lines)
    }
}

/// Stands for a digit in what is printed.
const DIGIT: u8 = b'#';

/// What gitleaks prints when it finds `canary` (its `detect/utils.go`, `printFinding`, 8.30).
fn print_of(canary: &str) -> String {
    format!(
        "Finding:     {canary}\nSecret:      {canary}\nRuleID:      {CANARY_RULE}\nEntropy:     #.######\n\n"
    )
}

/// Whether `printed` is `expected`, as far as it goes, and something is missing.
fn is_beginning(printed: &[u8], expected: &str) -> bool {
    printed.len() < expected.len() && fits(printed, expected)
}

fn is_whole(printed: &[u8], expected: &str) -> bool {
    printed.len() == expected.len() && fits(printed, expected)
}

fn fits(printed: &[u8], expected: &str) -> bool {
    let pairs = printed.iter().zip(expected.bytes());
    pairs.into_iter().all(|(&byte, expected)| match expected {
        DIGIT => byte.is_ascii_digit(),
        expected => byte == expected,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_clean_with_the_two_prints_and_not_one_byte_more_or_less() {
        let clean = print_of("head") + &print_of("tail");
        let printed = clean.replace(char::from(DIGIT), "3");
        assert!(is_whole(printed.as_bytes(), &clean));
        for other in [
            format!("{printed}\n"),
            printed[1..].to_owned(),
            printed.replace("tail", "tai1"),
            printed.replace("3.", "x."),
            print_of("tail") + &print_of("head"),
        ] {
            assert!(!is_whole(other.as_bytes(), &clean), "{other}");
        }
        assert!(is_beginning(&printed.as_bytes()[..9], &clean));
        assert!(!is_beginning(printed.as_bytes(), &clean));
    }
}
