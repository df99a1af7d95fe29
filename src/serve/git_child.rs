//! The git that serves one client: how it is started, and what it may take.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::asked::{Asked, shown_address};
use super::git_request::Service;
use super::mirrors::Mirror;
use super::state::Gate;
use crate::debug_log::{self, Noted};
use crate::process;

/// The most memory that git may ask for at once while it takes a push in (`GIT_ALLOC_LIMIT`): a delta
/// of some bytes may stand for gigabytes. A client packs what is over 512 MiB without deltas
/// (`core.bigFileThreshold`, git-config(1)), and that is streamed.
const MEMORY: &str = "513m";

/// Seconds of processor time that each git process may take for a push: deltas of a few kilobytes may
/// stand for hours. The hooks lift it for themselves, since their time has limits of its own.
const WORK: u64 = 900;

/// A git that serves a request, our end of its socket, and its note for the debug log.
pub type Started = (Child, UnixStream, Option<Noted>);

/// git daemon, as inetd would start it: for one client, on a socket of its own.
pub fn start_daemon(gate: &Gate, mirror: &Mirror, asked: &Asked) -> std::io::Result<Started> {
    let idle = gate.served().limits.idle_client;
    let mut command = Command::new(&gate.daemon);
    command
        .args(["--inetd", "--log-destination=stderr"])
        .args(["--strict-paths", "--export-all", "--enable=receive-pack"])
        .arg("--informative-errors")
        .arg(format!("--timeout={idle}"))
        .arg(format!("--init-timeout={idle}"))
        .arg(option("--base-path=", &gate.options.base_path))
        .arg(option("--access-hook=", &gate.hooks.access))
        .arg("--")
        .arg(&mirror.path);
    with_environment(gate, asked, &mut command);
    start_git(asked, command)
}

/// Gives `command` what git and the hooks may know of the gate and of the client.
pub fn with_environment(gate: &Gate, asked: &Asked, command: &mut Command) {
    command
        .env_clear()
        .envs(gate.environment.iter().cloned())
        .env("REMOTE_ADDR", shown_address(asked.peer))
        .env("REMOTE_PORT", asked.peer.port().to_string())
        .envs(asked.request.caller.environment());
}

/// Starts a git that serves a request on a socket of its own, within the limits of a push.
pub fn start_git(asked: &Asked, mut command: Command) -> std::io::Result<Started> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    command
        .stdin(Stdio::from(theirs.try_clone()?))
        .stdout(Stdio::from(theirs))
        .stderr(Stdio::piped())
        .process_group(0);
    let is_push = asked.request.service == Service::Push;
    if is_push {
        command.env("GIT_ALLOC_LIMIT", MEMORY);
    }
    let noted = debug_log::command(&command);
    let mut child = command.spawn()?;
    if is_push && let Err(errno) = limit_work(&child) {
        process::end_group(&mut child);
        return Err(errno.into());
    }
    Ok((child, ours, noted))
}

/// Limits the processor time of `child` and of what it starts.
fn limit_work(child: &Child) -> Result<(), Errno> {
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = Some(maximum.map_or(WORK, |maximum| maximum.min(WORK)));
    let limit = Rlimit { current, maximum };
    prlimit(Some(Pid::from_child(child)), Resource::Cpu, limit).map(drop)
}

/// `--name=` with a path behind it, whatever bytes that has.
fn option(name: &str, path: &std::path::Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push(path);
    option
}
