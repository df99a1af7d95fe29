//! The gitleaks process.
//!
//! It runs `gitleaks stdin` with a SOCK_SEQPACKET socket (unix(7)) as its standard input. A read
//! returns exactly one packet there, and gitleaks ends a fragment at a read of at most 100,000 bytes
//! that ends in a blank line (its `sources/file.go`, 8.30). So one packet is one fragment; through a
//! pipe, timing would cut them.
//!
//! Around the content of a scan stand two canaries, tokens that the process's rules know by their
//! beginning, which is random and told to nobody. gitleaks reads packet after packet in one thread and
//! prints each finding as it is found (`--verbose`): when the last canary, which is made only after all
//! else was written, is printed, all before it has been read. Each canary has a packet of its own, so
//! that no content changes how it is read; the first one also keeps gitleaks from taking the whole
//! input for a binary file, which it decides by the first packet.
//!
//! So a process can serve one scan after the other, as long as nothing is found. What is found is
//! printed without its place: then the input is closed, and the JSON report, which gitleaks writes at its
//! end, says it all. The report goes to standard error, where an error of gitleaks spoils it. Since a
//! healthy run finds canaries, it always ends with [`FOUND`]; gitleaks' own failures have other codes.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use git2::{ObjectType, Oid};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::pool_client::Lent;
use super::rules::Rules;
use super::{EngineError, PROGRAM_VARIABLE, sandbox};
use crate::{process, text};

/// The exit code of a run that found something, as every complete run does. gitleaks' own failures
/// are 1, Go's 2, wrong flags 126.
pub(crate) const FOUND: i32 = 77;

/// How often gitleaks decodes a decoded value again: its own default.
const DECODE_DEPTH: &str = "5";

/// Where it writes its report: its standard error.
const REPORT: &str = "/proc/self/fd/2";

/// The name of the configuration in the working folder; not one that gitleaks looks for.
const CONFIG_NAME: &str = "rules.toml";

/// How the names of the scanners' working directories begin.
pub(crate) const SCANNER_DIRECTORY: &str = "scan-";

/// The gitleaks to run.
pub(crate) fn locate() -> Result<PathBuf, EngineError> {
    let named = std::env::var_os(PROGRAM_VARIABLE).filter(|name| !name.is_empty());
    which::which(named.unwrap_or_else(|| "gitleaks".into())).map_err(|_| EngineError::Missing)
}

/// How all canaries of a process begin, new for every process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Canary(String);

impl Canary {
    pub(crate) fn new() -> Result<Self, EngineError> {
        random().map(Self)
    }

    pub(crate) fn keyword(&self) -> String {
        format!("canary-{}", self.0)
    }

    /// A canary that was never there before, for the beginning of a scan.
    pub(crate) fn head(&self) -> Result<String, EngineError> {
        Ok(format!("head-{}-{}", self.keyword(), random()?))
    }

    /// As [`Canary::head`], for its end.
    pub(crate) fn tail(&self) -> Result<String, EngineError> {
        Ok(format!("tail-{}-{}", self.keyword(), random()?))
    }

    /// Matches these and nothing else.
    pub(crate) fn pattern(&self) -> String {
        format!("(?:head|tail)-{}-[0-9a-f]{{32}}", self.keyword())
    }
}

/// What nobody guesses, in 32 digits.
fn random() -> Result<String, EngineError> {
    let mut token = [0; 16];
    getrandom(&mut token, GetRandomFlags::empty())
        .map_err(io::Error::from)
        .map_err(EngineError::system("read random bytes"))?;
    Ok(text::hex(&token))
}

/// Which gitleaks runs with which rules.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) program: PathBuf,
    pub(crate) rules: Rules,
    /// gate-init's run folder.
    pub(crate) run_dir: PathBuf,
}

impl Recipe {
    /// The gitleaks at `program`, with the operator's rules in `file` where there are any.
    pub(crate) fn read(
        program: PathBuf,
        file: Option<&Path>,
        run_dir: PathBuf,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            rules: Rules::read(&program, file)?,
            program,
            run_dir,
        })
    }

    /// Tells two recipes apart that find different things: by the program's file (another version
    /// is another file) and by the text of the rules.
    pub(crate) fn fingerprint(&self) -> Result<String, EngineError> {
        let program =
            std::fs::metadata(&self.program).map_err(EngineError::system("read gitleaks"))?;
        let text = format!(
            "{} {} {} {} {}.{}\n{}",
            self.program.display(),
            program.dev(),
            program.ino(),
            program.size(),
            program.mtime(),
            program.mtime_nsec(),
            self.rules.text(&[]),
        );
        let hash = Oid::hash_object(ObjectType::Blob, text.as_bytes());
        let hash = hash.map_err(io::Error::other);
        Ok(hash
            .map_err(EngineError::system("fingerprint the rules"))?
            .to_string())
    }

    /// Starts one.
    pub(crate) fn start(&self) -> Result<(Own, Ends), EngineError> {
        let canary = Canary::new()?;
        let folder =
            folder(&self.run_dir).map_err(EngineError::system("make its working folder"))?;
        let config = folder.path().join(CONFIG_NAME);
        std::fs::write(&config, self.rules.text(&[&canary]))
            .map_err(EngineError::system("write its configuration"))?;
        let (input, theirs) = input().map_err(EngineError::system("make its input socket"))?;
        let mut command = command(&self.program, folder.path(), &config);
        command.stdin(theirs);
        let mut child = sandbox::spawn(&mut command, &self.program, folder.path())
            .map_err(EngineError::system("start gitleaks"))?;
        let outputs = (child.stdout.take(), child.stderr.take());
        let own = Own {
            child: Some(child),
            _folder: folder,
        };
        let (Some(printed), Some(report)) = outputs else {
            let source = io::ErrorKind::BrokenPipe.into();
            return Err(EngineError::system("read from gitleaks")(source));
        };
        let (printed, report) = (OwnedFd::from(printed), OwnedFd::from(report));
        for stream in [&printed, &report] {
            rustix::io::ioctl_fionbio(stream, true)
                .map_err(io::Error::from)
                .map_err(EngineError::system("read from gitleaks"))?;
        }
        let ends = Ends {
            input,
            printed,
            report,
            canary,
        };
        Ok((own, ends))
    }
}

/// Our ends of a gitleaks that waits for its input.
pub(crate) struct Ends {
    pub(crate) input: OwnedFd,
    /// Each finding as it is found.
    pub(crate) printed: OwnedFd,
    /// What it says besides, and its report in the end.
    pub(crate) report: OwnedFd,
    pub(crate) canary: Canary,
}

/// A gitleaks, to be used for scans.
pub(crate) struct Process {
    pub(crate) keeper: Keeper,
    pub(crate) ends: Ends,
}

/// Who started it. Dropped, each ends it.
pub(crate) enum Keeper {
    /// This process.
    Own(Own),
    /// gate-init.
    Lent(Lent),
}

impl Keeper {
    /// How it ended; `None` when it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>, EngineError> {
        let status = match self {
            Self::Own(own) => own.wait(limit),
            Self::Lent(lent) => lent.wait(limit),
        };
        status.map_err(EngineError::system("wait for gitleaks"))
    }

    /// Whether its owner needs it for others.
    pub(crate) fn is_wanted_back(&self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Lent(lent) => lent.is_wanted_back(),
        }
    }
}

/// A child of ours.
pub(crate) struct Own {
    /// Until it is reaped: its number may then be another process's.
    child: Option<Child>,
    /// Its working folder, with its configuration and nothing else, so that it finds no
    /// `.gitleaksignore`.
    _folder: TempDir,
}

impl Own {
    /// How it ended; `None` when it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let child = self.child.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let status = process::wait(child, limit)?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.wait(Duration::ZERO), Ok(None))
    }

    /// The memory that it has, in bytes (proc_pid_status(5), `VmRSS`).
    pub(crate) fn memory(&self) -> Option<u64> {
        let path = format!("/proc/{}/status", self.child.as_ref()?.id());
        let status = std::fs::read_to_string(path).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kibibytes << 10)
    }

    /// Ready to read when it has ended (pidfd_open(2)).
    pub(crate) fn pidfd(&self) -> io::Result<OwnedFd> {
        let child = self.child.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(pidfd_open(Pid::from_child(child), PidfdFlags::empty())?)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            process::end_group(child);
        }
    }
}

/// An empty folder in the run folder, which is in memory and private; without one, among the
/// temporary files.
fn folder(run_dir: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(SCANNER_DIRECTORY);
    builder.tempdir_in(run_dir).or_else(|_| builder.tempdir())
}

/// The two ends of a standard input: ours and gitleaks'.
fn input() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// The command, in `folder` and with nothing of our environment.
fn command(program: &Path, folder: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("stdin")
        .arg("--config")
        .arg(config)
        .args(["--verbose", "--no-banner", "--no-color"])
        .args(["--log-level", "error"])
        .arg("--ignore-gitleaks-allow")
        .args(["--max-decode-depth", DECODE_DEPTH])
        .args(["--report-format", "json", "--report-path", REPORT])
        .args(["--exit-code", &FOUND.to_string()])
        .env_clear()
        .env("GOMEMLIMIT", sandbox::GO_MEMORY)
        .current_dir(folder)
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
