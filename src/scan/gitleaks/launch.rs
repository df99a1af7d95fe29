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
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use git2::{ObjectType, Oid};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use tempfile::TempDir;

use super::canary::Canary;
use super::known_rules::{KnownRules, Place, version};
use super::rules::{Config, Rules};
use super::scanner_process::{Ends, LocalProcess};
use super::{EngineError, PROGRAM_VARIABLE, PathRules, sandbox};
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
    /// The operator's file of rules.
    pub(crate) rules_file: Option<PathBuf>,
    /// gate-init's run directory.
    pub(crate) run_dir: PathBuf,
    /// Tells two launchers apart that find different things: by the program's file (another version
    /// is another file) and by the text of the rules.
    pub(crate) fingerprint: String,
    /// What the gate adds.
    pub(crate) paths: PathRules,
    /// gitleaks' configuration, where it was read already.
    config: Option<Config>,
}

impl Launcher {
    /// The gitleaks at `program`, with the operator's rules in `file` where there are any.
    pub(crate) fn read(
        program: PathBuf,
        file: Option<&Path>,
        run_dir: PathBuf,
    ) -> Result<Self, EngineError> {
        let rules = Rules::read(&program, file)?;
        Ok(Self {
            fingerprint: fingerprint(&program, &rules.config)?,
            program,
            rules_file: file.map(Path::to_owned),
            run_dir,
            paths: rules.paths,
            config: Some(rules.config),
        })
    }

    /// As [`Launcher::read`], where the rules may be known from an earlier push.
    pub(crate) fn known(
        program: PathBuf,
        file: Option<&Path>,
        run_dir: PathBuf,
    ) -> Result<Self, EngineError> {
        // Where no file can be noted, or the operator's is not there, reading says more.
        let Ok(place) = Place::of(&run_dir, &program, file) else {
            return Self::read(program, file, run_dir);
        };
        if let Some(KnownRules {
            fingerprint, paths, ..
        }) = place.look()
        {
            return Ok(Self {
                program,
                rules_file: file.map(Path::to_owned),
                run_dir,
                fingerprint,
                paths,
                config: None,
            });
        }
        let launcher = Self::read(program, file, run_dir)?;
        place.note(&launcher.fingerprint, &launcher.paths);
        Ok(launcher)
    }

    /// gitleaks' configuration with a rule for `canary`. A push whose rules were known reads them only now.
    fn config(&self, canary: &Canary) -> Result<String, EngineError> {
        if let Some(config) = &self.config {
            return Ok(config.text(&[canary]));
        }
        let Rules { config, .. } = Rules::read(&self.program, self.rules_file.as_deref())?;
        if fingerprint(&self.program, &config)? != self.fingerprint {
            let source = io::ErrorKind::StaleNetworkFileHandle.into();
            return Err(EngineError::system("read rules that change meanwhile")(
                source,
            ));
        }
        Ok(config.text(&[canary]))
    }

    /// Starts one.
    pub(crate) fn start(&self) -> Result<(LocalProcess, Ends), EngineError> {
        let canary = Canary::new()?;
        let directory =
            directory(&self.run_dir).map_err(EngineError::system("make its working directory"))?;
        let config = directory.path().join(CONFIG_NAME);
        std::fs::write(&config, self.config(&canary)?)
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

/// What tells the gitleaks at `program` with `config` apart from others.
fn fingerprint(program: &Path, config: &Config) -> Result<String, EngineError> {
    let file = std::fs::metadata(program).map_err(EngineError::system("read gitleaks"))?;
    let (program, file) = (program.display(), version(&file));
    let text = format!("{program} {file}\n{}", config.text(&[]));
    let hash = Oid::hash_object(ObjectType::Blob, text.as_bytes());
    let hash = hash.map_err(io::Error::other);
    Ok(hash
        .map_err(EngineError::system("fingerprint the rules"))?
        .to_string())
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
