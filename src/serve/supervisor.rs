//! The first process, PID 1 in a container. It does little, so that little can end it: it holds the
//! port, starts the server, passes signals on, and reaps whatever ends.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, set_child_subreaper, wait,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Options, ServeError, address, exit, server};
use crate::process;
use crate::processes::children;

/// Tells the server which process is its supervisor.
const SUPERVISOR: &str = "GIT_GATE_SUPERVISOR";

/// How often the server may be killed within [`WINDOW`] before it is given up.
const MOST_DEATHS: usize = 5;

/// The time in which deaths count.
const WINDOW: Duration = Duration::from_secs(60);

/// The pause before the first restart; it doubles with each death in [`WINDOW`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How long what is left at the end gets to die.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Serves until a signal ends it; returns the exit code.
pub fn run(options: &Options) -> Result<u8, ServeError> {
    if is_supervised() {
        server::run(options)
    } else {
        supervise(options)
    }
}

/// Whether this process was started by [`supervise`].
fn is_supervised() -> bool {
    let parent = getppid().map(Pid::as_raw_nonzero);
    let named = std::env::var(SUPERVISOR)
        .ok()
        .and_then(|pid| pid.parse().ok());
    named.is_some() && named == parent
}

/// Starts the server and stays until it has ended.
fn supervise(options: &Options) -> Result<u8, ServeError> {
    let mut signals =
        Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM]).map_err(ServeError::System)?;
    // Orphans fall to this process also where it is not PID 1.
    set_child_subreaper(Some(getpid())).map_err(|error| ServeError::System(error.into()))?;
    let socket = address::bind_to_first(address::of_port(options.listen, options.port))?;
    let mut deaths = Vec::new();
    let mut ending = false;
    loop {
        let server = start(&socket, options)?;
        let status = watch(server, &mut signals, &mut ending);
        end_orphans();
        if let Some(code) = status.exit_status() {
            return Ok(u8::try_from(code).unwrap_or(exit::FAILED));
        }
        if ending {
            return Ok(exit::CUT);
        }
        deaths.retain(|death: &Instant| death.elapsed() < WINDOW);
        deaths.push(Instant::now());
        if deaths.len() >= MOST_DEATHS {
            return Err(ServeError::GivenUp(deaths.len()));
        }
        thread::sleep(FIRST_PAUSE * 2_u32.pow(u32::try_from(deaths.len()).unwrap_or(0)));
    }
}

/// Starts the server: this program with the same arguments, the port as its standard input. In a
/// process group of its own it gets only the signals that are passed on.
fn start(socket: &OwnedFd, options: &Options) -> Result<Pid, ServeError> {
    let socket = socket.try_clone().map_err(ServeError::System)?;
    let server = process::own_command()
        .args(std::env::args_os().skip(1))
        .env(SUPERVISOR, getpid().as_raw_nonzero().to_string())
        // Where it keeps its ssh connections, for itself as for the hooks.
        .env("GIT_GATE_RUN_DIR", &options.run_dir)
        .stdin(Stdio::from(socket))
        .process_group(0)
        .spawn()
        .map_err(ServeError::System)?;
    Ok(Pid::from_child(&server))
}

/// Passes signals on and reaps until the server has ended.
fn watch(server: Pid, signals: &mut Signals, ending: &mut bool) -> WaitStatus {
    loop {
        if let Some(status) = reap(Some(server)) {
            return status;
        }
        for signal in signals.wait() {
            let passed = match signal {
                SIGHUP => Signal::HUP,
                SIGINT | SIGTERM => {
                    *ending = true;
                    Signal::TERM
                }
                _ => continue,
            };
            // Fails only when the server has ended, which is seen above.
            let _ = kill_process(server, passed);
        }
    }
}

/// Reaps all that has ended; returns the status of `server` if it was among that.
fn reap(server: Option<Pid>) -> Option<WaitStatus> {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if Some(pid) == server {
            return Some(status);
        }
    }
    None
}

/// Ends what the server left behind: ssh connections, hooks of a server that was killed.
fn end_orphans() {
    let end = Instant::now() + END_LIMIT;
    loop {
        reap(None);
        let left = children();
        if left.is_empty() || Instant::now() > end {
            return;
        }
        for pid in left {
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}
