//! The parts that this program plays beside its own: it is started again, by itself or by git, to become
//! another one that ends with its parent, to be git's ssh, to answer git's question for a credential, or
//! to keep a lock.

use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::context::NOT_STARTED;
use super::mux_client::MuxSession;
use super::{askpass, lock_holder, push_session};
use crate::bound::AS_BOUND;

/// Set: this process is to play ssh. A JSON array of the arguments in front of git's own.
pub(super) const AS_SSH: &str = "GIT_GATE_SSH";

/// Where the master of the shared connection listens, for a process that plays ssh.
pub(super) const MASTER: &str = "GIT_GATE_SSH_MASTER";

/// The mirror for whose push gate-init may have opened a session.
pub(super) const OPENED_FOR: &str = "GIT_GATE_SSH_OPENED_FOR";

/// ssh's exit status where it failed itself (ssh(1)): else it is the command's.
pub(super) const OF_SSH: i32 = 255;

/// When this process was started by one of ours, or by git, to play another part (play ssh,
/// become a git command that dies with its parent, keep a lock), plays it and does not return.
/// Each binary's `main` calls it first.
pub fn play_if_asked() {
    if let Some(program) = std::env::var_os(AS_BOUND) {
        let mut command = Command::new(program);
        command.env_remove(AS_BOUND);
        become_program(command);
    }
    askpass::answer_if_asked();
    if let Some(arguments) = std::env::var_os(AS_SSH) {
        let arguments: Vec<String> =
            serde_json::from_slice(arguments.as_encoded_bytes()).unwrap_or_default();
        if arguments.is_empty() {
            // Without the pins ssh would be a free ssh.
            std::process::exit(OF_SSH);
        }
        end_with_parent();
        if let Some(status) = run_in_shared_connection() {
            std::process::exit(status);
        }
        let mut command = Command::new("ssh");
        command
            .args(arguments)
            .env_remove(AS_SSH)
            .env_remove(MASTER);
        become_program(command);
    }
    lock_holder::hold_if_asked();
}

/// Has the kernel end this process when its parent ends: a killed hook leaves no git and no ssh behind
/// (prctl(2), PR_SET_PDEATHSIG).
fn end_with_parent() {
    // Where this fails it still ends, when its pipes do.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Runs git's command on the upstream, the last of our own arguments, in a session of the shared
/// connection; `None` where there is none to be had. Its exit status is git's to explain.
fn run_in_shared_connection() -> Option<i32> {
    let socket = std::env::var_os(MASTER)?;
    let command = std::env::args().next_back()?;
    if let Some(git_dir) = std::env::var_os(OPENED_FOR)
        && let Some(status) = push_session::run(git_dir.as_ref(), socket.as_ref(), &command)
    {
        return Some(status);
    }
    let protocol = std::env::var("GIT_PROTOCOL").ok();
    let environment = protocol.map(|version| format!("GIT_PROTOCOL={version}"));
    let (input, output, messages) = (io::stdin(), io::stdout(), io::stderr());
    let streams = [input.as_fd(), output.as_fd(), messages.as_fd()];
    let environment = environment.as_slice();
    let mut session = MuxSession::ask(socket.as_ref(), &command, environment, streams).ok()?;
    session.opened().ok()?;
    // Without a status the connection broke, which is ssh's to say.
    Some(session.exit_status().unwrap_or(OF_SSH))
}

/// Replaces this process by `command` with our own arguments behind it; it ends with its parent.
fn become_program(mut command: Command) -> ! {
    end_with_parent();
    let error = command.args(std::env::args_os().skip(1)).exec();
    let program = command.get_program().display();
    // Whoever reads this process's words knows it by them.
    let _ = writeln!(io::stderr(), "{program} {NOT_STARTED}: {error}");
    std::process::exit(OF_SSH)
}
