//! Sessions with the upstream's receive-pack that gate-init opens as a push comes, and lends to the git that
//! forwards it: by then their channel and their command have come, and receive-pack has listed its refs, which
//! is two round trips less. Nothing is sent in them before that.
//!
//! git takes such a session for its ssh (`helper_role`). What receive-pack has listed is as old as the push:
//! where somebody moved a ref since, the lease of that ref does not hold, and the forward asks anew.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::helper_role::OF_SSH;
use super::mux_client::MuxSession;
use super::ssh::Ssh;
use super::waiting_session::Request;
use crate::settings::Settings;
use crate::{git, unix_socket};

/// The socket's name in the run directory.
pub const SOCKET: &str = "receive-pack";

/// How long a session waits for its push: a forge ends one that says nothing.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// A session that waits, to be lent or ended.
pub struct Session {
    /// What it stands for.
    pub identity: String,
    since: Instant,
    session: MuxSession,
    streams: Streams,
}

/// Our ends of a session's streams.
struct Streams {
    input: PipeWriter,
    output: PipeReader,
    messages: PipeReader,
}

impl Session {
    /// Opens one with the upstream of the mirror `git_dir`, and does not wait for it; `None` where there is no
    /// connection yet, or no push is taken.
    pub fn open(git_dir: &Path) -> Option<Self> {
        let settings = Settings::read(&git::open(git_dir).ok()?).ok()?;
        if settings.read_only {
            // Nothing will be forwarded.
            return None;
        }
        let (master, command) = Ssh::new(&settings, git_dir).ok()?.receive_pack()?;
        Self::try_open(&master, &command).ok()
    }

    fn try_open(master: &Path, command: &str) -> io::Result<Self> {
        let (its_input, input) = io::pipe()?;
        let (output, its_output) = io::pipe()?;
        let (messages, its_messages) = io::pipe()?;
        let streams = [its_input.as_fd(), its_output.as_fd(), its_messages.as_fd()];
        let session = MuxSession::ask(master, command, &[], streams)?;
        Ok(Self {
            identity: identity(master, command),
            since: Instant::now(),
            session,
            streams: Streams {
                input,
                output,
                messages,
            },
        })
    }

    /// Whether it may still be lent.
    pub fn is_fresh(&self) -> bool {
        self.since.elapsed() < WAIT_LIMIT
    }

    /// Hands it over to whoever is at the other end of `stream`.
    pub fn lend(self, stream: &UnixStream) -> io::Result<()> {
        let descriptors = [
            self.streams.input.as_fd(),
            self.streams.output.as_fd(),
            self.streams.messages.as_fd(),
            self.session.stream().as_fd(),
        ];
        unix_socket::send(stream, b"\n", &descriptors)
    }

    /// Ends one that nobody has: receive-pack ends when it has nothing to read.
    pub fn end(self) {
        let Self {
            session, streams, ..
        } = self;
        drop(streams);
        // Without a thread it is cut off.
        let _ = thread::Builder::new().spawn(|| session.wait_for_end());
    }
}

/// Runs git's `command` in a session that gate-init has opened, over the connection of `master`, for a push
/// of the mirror `git_dir`, with the streams of this process; its exit status, or `None` where there is no such
/// session and nothing was read or written.
pub(super) fn run(git_dir: &Path, master: &Path, command: &str) -> Option<i32> {
    let [input, output, messages, session] = take(git_dir, master, command).ok()?;
    let mut session = MuxSession::taken_over(session.into());
    session.opened().ok()?;
    if session.has_more() {
        // It has ended meanwhile.
        return None;
    }
    let own = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned();
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let (stdin, stdout, stderr) = (own(&stdin).ok()?, own(&stdout).ok()?, own(&stderr).ok()?);
    copy(stdin, input);
    let rest = [copy(output, stdout), copy(messages, stderr)];
    // From here on another session would find git's words gone.
    let status = session.exit_status().unwrap_or(OF_SSH);
    for copying in rest {
        let _ = copying.join();
    }
    Some(status)
}

/// What a session stands for: the connection, and what runs on the upstream.
fn identity(master: &Path, command: &str) -> String {
    format!("{} {command}", master.display())
}

fn take(git_dir: &Path, master: &Path, command: &str) -> io::Result<[OwnedFd; 4]> {
    let socket = unix_socket::run_dir().join(SOCKET);
    let request = Request {
        git_dir: git_dir.to_owned(),
        identity: identity(master, command),
    };
    let stream = unix_socket::ask(&socket, || Ok(request))?;
    let (_, descriptors) = unix_socket::receive(&stream)?;
    descriptors
        .try_into()
        .map_err(|_| io::ErrorKind::NotFound.into())
}

/// Passes on all that comes from one stream to the other, which has an end then.
fn copy(from: OwnedFd, to: OwnedFd) -> JoinHandle<()> {
    thread::spawn(move || {
        let from: &mut dyn Read = &mut File::from(from);
        let to: &mut dyn Write = &mut File::from(to);
        let _ = io::copy(from, to);
    })
}
