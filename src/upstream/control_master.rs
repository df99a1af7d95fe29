//! The shared connection: an ssh that stays open for a while, so that a fetch or a push costs one
//! session (14 ms) and no handshake (180 ms) (ssh_config(5), ControlMaster).
//!
//! Its socket's name is a hash of everything that the connection stands for, the content of the
//! key and of the known hosts included: with another key there is another connection.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use git2::{ObjectType, Oid};
use rustix::process::{Pid, Signal, kill_process};

use super::UpstreamError;
use super::context::Context;
use crate::debug_log;
use crate::mirror::lock::Lock;
use crate::unix_socket::is_private;
use crate::{process, processes};

/// gate-init's run directory when nothing else is set.
const RUN_DIR: &str = "/run/git-gate";

/// The longest path of a socket: 108 bytes with the final NUL (unix(7)), less the 17 that ssh puts
/// behind the name while it binds it.
const PATH_LIMIT: usize = 108 - 1 - 17;

/// The length of a socket's name.
const NAME: usize = 16;

/// A connection that answers nothing for this long is replaced.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// The hello of a master: a length of at least 8, and MUX_MSG_HELLO (openssh, PROTOCOL.mux).
const HELLO: [u8; 4] = [0, 0, 0, 1];

#[derive(Debug, Clone)]
pub(crate) struct Master {
    /// Seconds that it stays open when nobody uses it.
    pub persist: u64,
    socket: PathBuf,
}

impl Master {
    /// Where the connection called `identity` has its socket; `None` where there is no safe or no
    /// short enough place for it. Then each command makes its own connection.
    pub fn locate(identity: &[u8], persist: u64, git_dir: &Path) -> Option<Self> {
        // To ssh, `ControlPersist=0` is for ever.
        if persist == 0 {
            return None;
        }
        let name = Oid::hash_object(ObjectType::Blob, identity)
            .ok()?
            .to_string();
        let socket = directory(git_dir)?.join(&name[..NAME]);
        Some(Self { persist, socket })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Why the connection ended, or could not be made: what its ssh printed.
    pub fn last_words(&self) -> Option<Vec<u8>> {
        fs::read(self.log()).ok()
    }

    /// Makes sure that the connection stands, with `command` when it has to be made.
    ///
    /// One process at a time makes it: a second ssh that finds the socket taken would stay behind
    /// for ever, as a master of nothing.
    pub fn open(
        &self,
        context: &Context,
        limit: Duration,
        command: impl FnOnce() -> Command,
    ) -> Result<(), UpstreamError> {
        if self.answers() {
            return Ok(());
        }
        let starting = self.socket.with_extension("lock");
        let _lock = Lock::acquire(&starting, "another connection attempt", limit)
            .map_err(|_| context.slow_to_connect())?;
        if self.answers() {
            return Ok(());
        }
        self.end();
        self.start(&mut command(), context, limit)
    }

    fn start(
        &self,
        command: &mut Command,
        context: &Context,
        limit: Duration,
    ) -> Result<(), UpstreamError> {
        let system = |source| UpstreamError::System {
            what: "start ssh",
            source,
        };
        // In the background ssh has no standard error any more, so it writes to a log (`-E`). What it
        // says before it opens that one goes there too.
        File::create(self.log()).map_err(system)?;
        let log = File::options().append(true).open(self.log());
        // Nothing of ours may stay open in it: git daemon and the client wait for the end of the
        // hook's own streams.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.map_err(system)?);
        std::os::unix::process::CommandExt::process_group(command, 0);
        let mut noted = debug_log::command(command);
        let mut ssh = command.spawn().map_err(system)?;
        // ssh goes into the background once it is logged in. It has its own limit up to there,
        // and words for it.
        let patience = limit + Duration::from_secs(1);
        let status = process::wait(&mut ssh, patience).map_err(system)?;
        if let Some(status) = status {
            debug_log::ended(&mut noted, status);
        }
        match status {
            Some(status) if status.success() => Ok(()),
            Some(_) => {
                let words = self.last_words().unwrap_or_default();
                Err(context
                    .ssh_error(&words)
                    .unwrap_or_else(|| context.git_error(&words)))
            }
            None => {
                process::end_group(&mut ssh);
                Err(context.slow_to_connect())
            }
        }
    }

    /// Whether a master is there and alive: it says hello first, to everybody who connects.
    fn answers(&self) -> bool {
        let hello = || -> io::Result<[u8; 8]> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            let mut head = [0; 8];
            stream.read_exact(&mut head)?;
            Ok(head)
        };
        hello().is_ok_and(|head| head[4..] == HELLO)
    }

    /// Ends the master, also one that no longer listens to anybody, and removes its socket.
    /// Whether there was one.
    pub fn end(&self) -> bool {
        let ours = self.socket.as_os_str().as_bytes();
        let masters = processes::all()
            .filter(|entry| entry.arguments.iter().any(|a| a == b"-M"))
            .filter(|entry| entry.arguments.iter().any(|a| contains(a, ours)))
            .filter_map(|entry| Pid::from_raw(entry.pid));
        let mut ended = false;
        for pid in masters {
            // One that is not ours refuses, and one that is gone needs nothing.
            ended |= kill_process(pid, Signal::KILL).is_ok();
        }
        fs::remove_file(&self.socket).is_ok() || ended
    }

    /// Where its ssh writes what it has to say.
    pub fn log(&self) -> PathBuf {
        self.socket.with_extension("log")
    }
}

fn contains(argument: &[u8], part: &[u8]) -> bool {
    argument.windows(part.len()).any(|window| window == part)
}

/// The directory for sockets, which only this user may enter: the run directory, else the repository's
/// own, else gate-init's where that one's path is too long.
fn directory(git_dir: &Path) -> Option<PathBuf> {
    let named = std::env::var_os("GIT_GATE_RUN_DIR").map(PathBuf::from);
    if let Some(named) = &named {
        // Best effort: what counts is whether the directory is private in the end.
        let _ = DirBuilder::new().mode(0o700).create(named);
    }
    [
        named,
        crate::mirror::state_dir(git_dir).ok(),
        Some(RUN_DIR.into()),
    ]
    .into_iter()
    .flatten()
    .find(|dir| is_private(dir) && dir.as_os_str().len() + NAME < PATH_LIMIT)
}
