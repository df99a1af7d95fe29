//! The gitleaks process.
//!
//! It runs `gitleaks stdin` with a SOCK_SEQPACKET socket (unix(7)) as its standard input. A read
//! returns exactly one packet there, and gitleaks ends a fragment at a read of at most 100,000 bytes
//! that ends in a blank line (its `sources/file.go`, 8.30). So one packet is one fragment; through a
//! pipe, timing would cut them.
//!
//! Around the content stand two canaries, tokens that only this run's rules know. gitleaks may end
//! with a clean exit code without having read all of its input; with both canaries in its report it
//! has started with our rules and has reached the end. The first one also keeps gitleaks from taking
//! the whole input for a binary file, which it decides by the first packet. Each canary has a packet
//! of its own, so that no content changes how it is read. Since a healthy run finds them, it always
//! ends with [`FOUND`]; gitleaks' own failures have other codes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::rand::{GetRandomFlags, getrandom};
use tempfile::TempDir;

use super::config::Rules;
use super::{Engine, EngineError, FRAGMENT_LIMIT, PROGRAM_VARIABLE, RawFinding, Scanner, report};
use crate::{process, text};

/// Lines of the packet in front of the content.
pub(super) const HEAD_LINES: u64 = 2;

/// The exit code of a run that found something, as every complete run does. gitleaks' own failures
/// are 1, Go's 2, wrong flags 126.
const FOUND: i32 = 77;

/// How long a report is too long, in bytes; some 100,000 findings.
const REPORT_LIMIT: usize = 64 << 20;

/// How much of what it says is kept, in bytes.
const ERRORS_LIMIT: usize = 64 << 10;

/// How often gitleaks decodes a decoded value again: its own default.
const DECODE_DEPTH: &str = "5";

/// The name of the configuration in the working folder; not one that gitleaks looks for.
const CONFIG_NAME: &str = "rules.toml";

/// The gitleaks to run.
pub(super) fn locate() -> Result<PathBuf, EngineError> {
    let named = std::env::var_os(PROGRAM_VARIABLE).filter(|name| !name.is_empty());
    which::which(named.unwrap_or_else(|| "gitleaks".into())).map_err(|_| EngineError::Missing)
}

/// The token that proves a whole scan, new for every process.
pub(super) struct Canary(String);

impl Canary {
    pub(super) fn new() -> Result<Self, EngineError> {
        let mut token = [0; 16];
        getrandom(&mut token, GetRandomFlags::empty())
            .map_err(io::Error::from)
            .map_err(EngineError::system("read random bytes"))?;
        Ok(Self(text::hex(&token)))
    }

    pub(super) fn keyword(&self) -> String {
        format!("canary-{}", self.0)
    }

    pub(super) fn head(&self) -> String {
        format!("head-{}", self.keyword())
    }

    pub(super) fn tail(&self) -> String {
        format!("tail-{}", self.keyword())
    }

    /// Matches the two and nothing else.
    pub(super) fn pattern(&self) -> String {
        format!("(?:head|tail)-{}", self.keyword())
    }
}

/// A gitleaks that waits for its input.
pub(super) struct Process {
    child: Child,
    input: OwnedFd,
    report: OwnedFd,
    errors: OwnedFd,
    canary: Canary,
    /// Its working folder, with its configuration and nothing else, so that it finds no
    /// `.gitleaksignore`.
    _folder: TempDir,
}

impl Process {
    pub(super) fn start(program: &Path, rules: &Rules) -> Result<Self, EngineError> {
        let canary = Canary::new()?;
        let folder = tempfile::Builder::new()
            .prefix("git-gate-scan-")
            .tempdir()
            .map_err(EngineError::system("make its working folder"))?;
        let config = folder.path().join(CONFIG_NAME);
        std::fs::write(&config, rules.text(&canary))
            .map_err(EngineError::system("write its configuration"))?;
        let (input, theirs) = net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(io::Error::from)
        .map_err(EngineError::system("make its input socket"))?;
        let mut child = command(program, folder.path(), &config)
            .stdin(theirs)
            .spawn()
            .map_err(EngineError::system("start gitleaks"))?;
        let (Some(report), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            process::end_group(&mut child);
            let source = io::ErrorKind::BrokenPipe.into();
            return Err(EngineError::system("read from gitleaks")(source));
        };
        let (report, errors) = (OwnedFd::from(report), OwnedFd::from(errors));
        for stream in [&report, &errors] {
            rustix::io::ioctl_fionbio(stream, true)
                .map_err(io::Error::from)
                .map_err(EngineError::system("read from gitleaks"))?;
        }
        Ok(Self {
            child,
            input,
            report,
            errors,
            canary,
            _folder: folder,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        process::end_group(&mut self.child);
    }
}

/// A running scan.
pub(super) struct Gitleaks {
    process: Process,
    report: Stream,
    errors: Stream,
    /// What was fed, in lines.
    lines: u64,
    deadline: Instant,
    limit: Duration,
    /// The operator's rules, to blame when gitleaks cannot read them.
    rules_file: Option<PathBuf>,
}

impl Gitleaks {
    /// Takes over `process` and sends the first canary.
    pub(super) fn begin(process: Process, engine: &Engine) -> Result<Self, EngineError> {
        let mut scan = Self {
            process,
            report: Stream::new(REPORT_LIMIT),
            errors: Stream::new(ERRORS_LIMIT),
            lines: 0,
            deadline: Instant::now() + engine.limit,
            limit: engine.limit,
            rules_file: engine.rules.file.clone(),
        };
        let head = format!("{}\n\n", scan.process.canary.head());
        scan.send(head.as_bytes())?;
        Ok(scan)
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
        let left = self.left()?;
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

    fn left(&self) -> Result<Duration, EngineError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(EngineError::TimedOut { limit: self.limit });
        }
        Ok(left)
    }

    /// Reads all output to its end, and returns how the process ended.
    fn end(&mut self) -> Result<ExitStatus, EngineError> {
        while self.report.open || self.errors.open {
            self.wait(false)?;
        }
        let left = self.left()?;
        process::wait(&mut self.process.child, left)
            .map_err(EngineError::system("wait for gitleaks"))?
            .ok_or(EngineError::TimedOut { limit: self.limit })
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
                how: status.to_string(),
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

impl Scanner for Gitleaks {
    fn feed(&mut self, fragment: &[u8]) -> Result<u64, EngineError> {
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

    fn finish(mut self: Box<Self>) -> Result<Vec<RawFinding>, EngineError> {
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

/// The command, in `folder` and with nothing from our environment.
fn command(program: &Path, folder: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("stdin")
        .arg("--config")
        .arg(config)
        .args(["--no-banner", "--no-color", "--log-level", "error"])
        .arg("--ignore-gitleaks-allow")
        .args(["--max-decode-depth", DECODE_DEPTH])
        .args(["--report-format", "json", "--report-path", "-"])
        .args(["--exit-code", &FOUND.to_string()])
        .env_clear()
        .current_dir(folder)
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
