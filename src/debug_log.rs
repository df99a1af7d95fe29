//! The operator's debug log: with `GIT_GATE_LOG=FILE` each program of the gate adds a JSON line for what
//! it begins, for each phase and each command that it ran, and for what it decided. Without the
//! variable nothing is made, measured or written.
//!
//! It goes to a file and never to standard error: a hook's standard error is the client's. It holds no
//! word that a client, an upstream or a command said, so nothing in it has to be scanned: arguments of
//! commands are left out but for the name of git's subcommand, and why something was refused stands in
//! the audit log alone.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::bound::AS_BOUND;
use crate::{append, text};

/// The variable that names the file.
pub const VARIABLE: &str = "GIT_GATE_LOG";

/// How large the file may become; nothing is added to a larger one.
const MOST: u64 = 256 << 20;

/// git's own options that stand before its subcommand and take a word of their own.
const WITH_A_WORD: [&str; 2] = ["-c", "--git-dir"];

/// One line. What does not apply is left out.
#[derive(Default, Serialize)]
struct Line<'a> {
    time: String,
    program: &'a str,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    /// `begin`, `phase`, `command` or `decision`.
    event: &'a str,
    /// Which of those.
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subcommand: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    /// How a command ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
}

/// The file, and whether it ends in the middle of a line.
struct Log {
    file: File,
    torn: bool,
}

/// Whose request it is, by names that the operator gave or the system knows.
#[derive(Clone, Copy, Default)]
pub struct Request<'a> {
    /// The repository's name at the gate.
    pub repository: Option<&'a str>,
    /// The client's address and port.
    pub peer: Option<&'a str>,
}

/// Why nothing can be written where the variable asks for it, in words.
pub fn problem() -> Option<String> {
    let named = std::env::var_os(VARIABLE)?;
    let error = open(&named).err()?;
    Some(format!(
        "{VARIABLE}: {} is not written: {error}; name a file by its absolute path that this user may add \
         to (no symbolic link)",
        named.display()
    ))
}

/// A program, or a service of it, begins.
pub fn begin(what: &str, request: Request<'_>) {
    with(|| line("begin", what, request));
}

/// A phase of a request has ended.
pub fn phase(name: &str, seconds: f64, request: Request<'_>) {
    with(|| Line {
        seconds: Some(seconds),
        ..line("phase", name, request)
    });
}

/// It is decided what becomes of a request, `seconds` after it began; `limit` is the one that decided it.
pub fn decision(kind: &str, limit: Option<&str>, seconds: Option<f64>, request: Request<'_>) {
    with(|| Line {
        limit,
        seconds,
        ..line("decision", kind, request)
    });
}

/// An external command that was started; dropped, it is written.
#[derive(Debug)]
pub struct Noted {
    program: String,
    subcommand: Option<String>,
    started: Instant,
    status: Option<ExitStatus>,
}

/// Notes that `command` is being started; `None` where there is no debug log.
pub fn command(command: &Command) -> Option<Noted> {
    log()?;
    // It may be this program, which becomes the one that is meant.
    let mut variables = command.get_envs();
    let meant = variables.find(|(name, _)| *name == AS_BOUND);
    let program = meant.and_then(|(_, program)| program);
    let program = last_part(program.unwrap_or_else(|| command.get_program()));
    let has_subcommands = matches!(program.as_str(), "git" | "gitleaks");
    let subcommand = has_subcommands.then(|| subcommand(command.get_args()));
    Some(Noted {
        program,
        subcommand: subcommand.flatten(),
        started: Instant::now(),
        status: None,
    })
}

/// It has ended.
pub fn ended(noted: &mut Option<Noted>, status: ExitStatus) {
    if let Some(mut noted) = noted.take() {
        noted.status = Some(status);
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let unknown = || "not started, or ended by the gate".to_owned();
        with(|| Line {
            subcommand: self.subcommand.take(),
            seconds: Some(self.started.elapsed().as_secs_f64()),
            end: Some(
                self.status
                    .map_or_else(unknown, |status| status.to_string()),
            ),
            ..line("command", &self.program, Request::default())
        });
    }
}

/// git's subcommand: the first word that is no option. It is a word of this program's source.
fn subcommand<'a>(arguments: impl Iterator<Item = &'a OsStr>) -> Option<String> {
    let mut arguments = arguments.filter_map(OsStr::to_str);
    while let Some(word) = arguments.next() {
        if WITH_A_WORD.contains(&word) {
            arguments.next();
        } else if !word.starts_with('-') {
            return Some(word.to_owned());
        }
    }
    None
}

fn last_part(path: &OsStr) -> String {
    let name = Path::new(path).file_name().unwrap_or(path);
    text::line(name.as_encoded_bytes())
}

fn line<'a>(event: &'a str, name: &'a str, request: Request<'a>) -> Line<'a> {
    Line {
        event,
        name,
        repository: request.repository,
        peer: request.peer,
        ..Line::default()
    }
}

/// Writes what `make` makes, where there is a debug log. A line that cannot be written stops nothing.
fn with<'a>(make: impl FnOnce() -> Line<'a>) {
    let Some(log) = log() else { return };
    let program = std::env::args_os().next();
    let program = program.map_or_else(String::new, |path| last_part(&path));
    let line = Line {
        time: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
        program: &program,
        pid: std::process::id(),
        ..make()
    };
    let line = serde_json::to_string(&line).unwrap_or_default();
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let Log { file, torn } = &mut *log;
    if file.metadata().is_ok_and(|file| file.len() < MOST) {
        let _ = append::write(file, torn, &line);
    }
}

/// This process's debug log, opened at its first line.
fn log() -> Option<&'static Mutex<Log>> {
    static LOG: OnceLock<Option<Mutex<Log>>> = OnceLock::new();
    let opened = || {
        let named = std::env::var_os(VARIABLE)?;
        let file = open(&named).ok()?;
        let torn = append::is_torn(Path::new(&named));
        Some(Mutex::new(Log { file, torn }))
    };
    LOG.get_or_init(opened).as_ref()
}

/// Refuses a relative path, since the programs of a gate have different working directories, and a
/// symbolic link: /dev/stderr is one, and a hook's is the client's.
fn open(named: &OsStr) -> std::io::Result<File> {
    let path = Path::new(named);
    let is_link = path.symlink_metadata().is_ok_and(|file| file.is_symlink());
    if !path.is_absolute() || is_link {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    append::open_now(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_command_only_the_programs_and_the_subcommands_names_are_told() {
        let mut command = crate::git::command(Path::new("/srv/app.git"));
        command.args(["push", "--atomic", "--", "ssh://host/app.git"]);
        let told = subcommand(command.get_args());
        assert_eq!(told.as_deref(), Some("push"));
        assert_eq!(subcommand(Command::new("git").get_args()), None);
        assert_eq!(last_part(OsStr::new("/usr/bin/git")), "git");
    }

    #[test]
    fn a_link_and_a_relative_path_are_no_debug_log() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(open(link.as_os_str()).is_err());
        assert!(open(OsStr::new("debug.log")).is_err());
        assert!(open(file.as_os_str()).is_ok());
    }
}
