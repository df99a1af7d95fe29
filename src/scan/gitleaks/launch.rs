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
use std::process::{Command, Stdio};

use git2::{ObjectType, Oid};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use tempfile::TempDir;

use super::canary::Canary;
use super::rules::Rules;
use super::scanner_process::{Ends, LocalProcess};
use super::{EngineError, PROGRAM_VARIABLE, sandbox};
use crate::debug_log;

/// The exit code of a run that found something, as every complete run does. gitleaks' own failures
/// are 1, Go's 2, wrong flags 126.
pub(crate) const FOUND: i32 = 77;

/// How often gitleaks decodes a decoded value again: its own default.
const DECODE_DEPTH: &str = "5";

/// By how many hundredths its memory may grow before Go collects its garbage (its `runtime` package, GOGC).
/// So one that waits has a fifth less, and is as fast.
const GARBAGE: &str = "25";

/// Where it writes its report: its standard error.
const REPORT: &str = "/proc/self/fd/2";

/// The name of the configuration in the working directory; not one that gitleaks looks for.
const CONFIG_NAME: &str = "rules.toml";

/// How the names of the scanners' working directories begin.
pub(crate) const SCANNER_DIRECTORY: &str = "scan-";

/// The gitleaks to run.
pub(crate) fn locate() -> Result<PathBuf, EngineError> {
    let named = std::env::var_os(PROGRAM_VARIABLE).filter(|name| !name.is_empty());
    which::which(named.unwrap_or_else(|| "gitleaks".into())).map_err(|_| EngineError::Missing)
}

/// Which gitleaks runs with which rules.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) program: PathBuf,
    pub(crate) rules: Rules,
    /// gate-init's run directory.
    pub(crate) run_dir: PathBuf,
}

impl Launcher {
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

    /// Tells two launchers apart that find different things: by the program's file (another version
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
    pub(crate) fn start(&self) -> Result<(LocalProcess, Ends), EngineError> {
        let canary = Canary::new()?;
        let directory =
            directory(&self.run_dir).map_err(EngineError::system("make its working directory"))?;
        let config = directory.path().join(CONFIG_NAME);
        std::fs::write(&config, self.rules.text(&[&canary]))
            .map_err(EngineError::system("write its configuration"))?;
        let (input, theirs) = input().map_err(EngineError::system("make its input socket"))?;
        let mut command = command(&self.program, directory.path(), &config);
        command.stdin(theirs);
        let noted = debug_log::command(&command);
        let mut child = sandbox::spawn(&mut command, &self.program, directory.path())
            .map_err(EngineError::system("start gitleaks"))?;
        let outputs = (child.stdout.take(), child.stderr.take());
        let own = LocalProcess {
            child: Some(child),
            noted,
            _directory: directory,
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

/// An empty directory in the run directory, which is in memory and private; without one, among the
/// temporary files.
fn directory(run_dir: &Path) -> io::Result<TempDir> {
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

/// The command, in `directory` and with nothing of our environment.
fn command(program: &Path, directory: &Path, config: &Path) -> Command {
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
        .env("GOGC", GARBAGE)
        .env("GOMEMLIMIT", sandbox::GO_MEMORY)
        .current_dir(directory)
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
