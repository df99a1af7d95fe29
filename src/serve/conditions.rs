//! What must hold for the gate to work: one list, which `gate-init check` prints, which the start and
//! a reload log, and by which the health check judges. To look at it changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::condition::Condition;
use super::git_daemon::find_daemon;
use super::mirror_settings::settings;
use super::options::Options;
use super::run_dir::fit_sockets;
use crate::config::{Config, Upstream};
use crate::deadline::Deadline;
use crate::scan::exceptions::Exceptions;
use crate::scan::gitleaks::launch::locate;
use crate::scan::gitleaks::{Engine, sandbox};
use crate::settings::{Deletes, ForcePush, Limits, Login, Policy, Settings};
use crate::upstream::{self, key_file};
use crate::url::https_url::is_https;
use crate::{process, text};

/// How long a program may take to tell its version: a machine that is busy refuses no push by that.
const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// Seconds that a scan of nothing may take: gitleaks starts in less than one.
const PROOF_LIMIT: u64 = 60;

/// All that a push needs and this machine decides: without any of it a push is refused.
pub fn of_pushes(options: &Options, config: &Config) -> Vec<Condition> {
    let mut all = of_programs(options);
    for upstream in &config.upstreams {
        all.extend(of_upstream(upstream, &config.limits, &options.creds_dir));
    }
    all
}

fn of_programs(options: &Options) -> Vec<Condition> {
    let gate = |item, result| Condition::new("gate", item, result);
    let daemon = find_daemon();
    vec![
        gate("git", version(Command::new("git").arg("--version"))),
        gate(
            "git daemon",
            shown(daemon.map(|daemon| daemon.display().to_string())),
        ),
        gate("ssh", version(Command::new("ssh").arg("-V"))),
        gate("gitleaks", gitleaks()),
        gate("sandbox", Ok(sandbox())),
        gate("hooks", hooks(options)),
    ]
}

fn of_upstream(upstream: &Upstream, limits: &Limits, creds_dir: &Path) -> Vec<Condition> {
    let settings = settings(upstream, limits, creds_dir);
    let of = |item, result| Condition::new(&upstream.name, item, result);
    let mut all = vec![of("policy", policy(&upstream.policy))];
    match is_https(&upstream.url) {
        true => all.push(of("token", token(&settings.login))),
        false => all.extend([
            of("key", credential(&settings.identity_file, true)),
            of("known_hosts", credential(&settings.known_hosts, false)),
        ]),
    }
    if let Some(rules) = &settings.gitleaks_config {
        let works = proof(&settings).map(|()| rules.display().to_string());
        all.push(of("rules", works));
    }
    if let Some(file) = &settings.exceptions {
        let read = Exceptions::read(Some(file));
        all.push(of(
            "exceptions",
            shown(read.map(|_| file.display().to_string())),
        ));
    }
    all
}

/// Whether there is a token, as far as that is seen without asking for one.
fn token(login: &Login) -> Result<String, String> {
    let ca = match &login.ca_file {
        Some(file) => format!("CA {}", file.display()),
        None => "the system's CAs".to_owned(),
    };
    let from = match (&login.token_file, login.command.first()) {
        (Some(file), _) => match upstream::token_problem(file) {
            Some(problem) => return Err(problem),
            None => file.display().to_string(),
        },
        (None, Some(program)) => format!("from {program}"),
        (None, None) => return Err("nothing says where it is".to_owned()),
    };
    Ok(format!("{from}; {ca}"))
}

/// The version of the scanner, once it has proven that it scans.
fn gitleaks() -> Result<String, String> {
    let program = shown(locate())?;
    proof(&Settings::without_upstream())?;
    let version = version(Command::new(&program).arg("version"))?;
    Ok(format!("{version} ({})", program.display()))
}

/// Lets the scanner read nothing, with the rules of `settings` and in its sandbox: both canaries must
/// come back, which another program, bad rules, or a script that the sandbox does not run do not do.
fn proof(settings: &Settings) -> Result<(), String> {
    let deadline = Deadline::of("scanTimeout", PROOF_LIMIT);
    // Not in the run directory: nothing is borrowed from the gate that serves there.
    let directory = shown(tempfile::tempdir())?;
    let settings = Settings {
        run_dir: directory.path().to_owned(),
        ..settings.clone()
    };
    let engine = Engine::open(&settings, deadline);
    shown(engine.and_then(|engine| engine.start()?.finish())).map(drop)
}

/// What this kernel keeps the scanner from. Without any of it the gate works all the same.
fn sandbox() -> String {
    let support = sandbox::support();
    let kept_from = [
        (support.files, "files"),
        (support.tcp, "TCP"),
        (support.signals, "signals"),
        (support.system_calls, "sockets and other processes"),
    ];
    let named = |closed: bool| {
        let of = kept_from
            .iter()
            .filter(|(is_closed, _)| *is_closed == closed);
        of.map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
    };
    match (named(true).as_str(), named(false).as_str()) {
        ("", _) => "none: this kernel has no Landlock and no seccomp".to_owned(),
        (closed, "") => format!("blocks {closed}"),
        (closed, open) => format!("blocks {closed}; this kernel cannot block {open}"),
    }
}

/// What a program says of its version, on whichever stream.
fn version(command: &mut Command) -> Result<String, String> {
    let output = shown(process::run(command, VERSION_LIMIT))?;
    let said = [output.stdout, output.stderr].concat();
    let line = text::lines(&said).next().unwrap_or_default();
    match output.status.success() {
        true => Ok(line),
        false => Err(format!("it ended with {}: {line}", output.status)),
    }
}

fn policy(policy: &Policy) -> Result<String, String> {
    if let Some(glob) = policy.allow_ref.iter().find(|glob| !fits_a_ref(glob)) {
        return Err(format!(
            "allowRef {glob:?} fits no ref, since full names begin with refs/; write refs/heads/{glob}"
        ));
    }
    let refs = match policy.allow_ref.as_slice() {
        [] => "any ref".to_owned(),
        globs => globs.join(" "),
    };
    let force = match policy.force_push {
        ForcePush::Refuse => "no force pushes",
        ForcePush::Lease => "force pushes with a lease",
    };
    let deletes = match policy.deletes {
        Deletes::Allow => format!("{} deletes a push", policy.max_deletes),
        Deletes::Refuse => "no deletes".to_owned(),
    };
    Ok(format!("{refs}; {force}; {deletes}"))
}

/// Whether a name that begins with `refs/` can match `glob`.
fn fits_a_ref(glob: &str) -> bool {
    const START: &str = "refs/";
    let fixed = glob.find(['*', '?']).map_or(glob, |end| &glob[..end]);
    fixed.starts_with(START) || (fixed.len() < glob.len() && START.starts_with(fixed))
}

/// Whether a credential is there for ssh, which takes a key only when nobody else can read it.
fn credential(file: &Path, private: bool) -> Result<String, String> {
    let problem = |error| format!("cannot read {}: {error}", file.display());
    fs::File::open(file).map_err(problem)?;
    let metadata = fs::metadata(file).map_err(problem)?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.len() == 0 {
        return Err(format!("{} is empty", file.display()));
    }
    let problem = match private {
        true => fs::read(file).ok().and_then(|key| key_file::problem(&key)),
        false => None,
    };
    if let Some(problem) = problem {
        return Err(format!("ssh cannot use {}: {problem}", file.display()));
    }
    if private && mode & 0o077 != 0 {
        return Err(format!(
            "{} has mode {mode:04o}: ssh takes it only with 0600 or less",
            file.display()
        ));
    }
    Ok(format!("{} ({mode:04o})", file.display()))
}

/// The error as the operator reads it.
pub fn shown<T, E: std::error::Error + 'static>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| text::chain(&error))
}

/// Where the gate's files are to be: each can be used, or made.
pub fn of_places(options: &Options) -> Vec<Condition> {
    let gate = |item, result| Condition::new("gate", item, result);
    let mut all = vec![
        gate("base path", usable(&options.base_path)),
        gate("run dir", run_dir(&options.run_dir)),
    ];
    if let Some(log) = &options.audit_log {
        all.push(gate("audit log", audit_log(log)));
    }
    all
}

fn run_dir(directory: &Path) -> Result<String, String> {
    fit_sockets(directory)?;
    usable(directory)
}

fn audit_log(file: &Path) -> Result<String, String> {
    let directory = file.parent().unwrap_or(file);
    if !directory.is_dir() {
        return Err(format!(
            "there is no directory {}; make it",
            directory.display()
        ));
    }
    let place = if file.exists() { file } else { directory };
    writable(place).map(|()| file.display().to_string())
}

/// Whether the hooks are there, and could run from a mirror.
fn hooks(options: &Options) -> Result<String, String> {
    use rustix::fs::{StatVfsMountFlags, statvfs};
    let hooks = shown(options.hooks())?;
    let place = existing(&options.base_path);
    let runs_nothing = |disk: rustix::fs::StatVfs| disk.f_flag.contains(StatVfsMountFlags::NOEXEC);
    if statvfs(place).is_ok_and(runs_nothing) {
        return Err(format!(
            "{} is mounted noexec, so the hooks of the mirrors cannot run; mount it without",
            place.display()
        ));
    }
    Ok(format!(
        "{}, {}",
        hooks.pre_receive.display(),
        hooks.access.display()
    ))
}

/// The part of the path that is there.
fn existing(directory: &Path) -> &Path {
    let there = directory
        .ancestors()
        .find(|place| place.symlink_metadata().is_ok());
    there.unwrap_or(directory)
}

/// Whether `directory` can be written to, or made where it is not there.
fn usable(directory: &Path) -> Result<String, String> {
    let there = existing(directory);
    writable(there)?;
    Ok(match there == directory {
        true => directory.display().to_string(),
        false => format!("{} (made at the start)", directory.display()),
    })
}

fn writable(place: &Path) -> Result<(), String> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    // The effective user, which is the one that will write.
    accessat(CWD, place, Access::WRITE_OK, AtFlags::EACCESS)
        .map_err(|error| format!("cannot write to {}: {error}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_without_refs_in_front_fits_nothing() {
        for glob in [
            "refs/heads/*",
            "*",
            "re*",
            "refs/heads/main",
            "r?fs/heads/x",
        ] {
            assert!(fits_a_ref(glob), "{glob}");
        }
        for glob in ["agent/*", "main", "heads/*", "/refs/heads/*", "refs"] {
            assert!(!fits_a_ref(glob), "{glob}");
        }
    }
}
