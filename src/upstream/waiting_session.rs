//! Sessions with the upstream that gate-init opens ahead, while nobody waits, and lends to hooks over a
//! socket in its run directory: their channel and their command have come when a fetch or a push needs
//! to know the upstream's refs, so that the question costs one round trip.
//!
//! One question a session: to the second one git 2.47 answers from the loose refs that it read for
//! the first, and so misses those that were made or moved since. Before the first question it has
//! read none.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use git2::Repository;
use serde::{Deserialize, Serialize};

use super::Budget;
use super::listing::Listing;
use super::ls_refs;
use super::ssh::Ssh;
use crate::debug_log::{self, Noted};
use crate::ref_pattern::RefPattern;
use crate::settings::Settings;
use crate::{git, process, unix_socket};

/// The socket's name in the run directory.
pub const SOCKET: &str = "ls-refs";

/// A hook's word that another session is wanted.
pub const AGAIN: u8 = b'+';

/// A hook's word that the upstream does not speak version 2.
pub const UNFIT: u8 = b'-';

/// Which session a hook needs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The mirror.
    pub git_dir: PathBuf,
    /// What the session has to stand for: see [`Ssh::session`].
    pub identity: String,
}

/// A session that waits for its question. It ends when it is dropped.
pub struct Session {
    /// What it stands for.
    pub identity: String,
    /// When nobody needs it any more.
    pub until: Instant,
    child: Child,
    _noted: Option<Noted>,
}

impl Session {
    /// Opens a session with the upstream of the mirror `git_dir`, and does not wait for it; `None`
    /// where there is to be none.
    pub fn open(git_dir: &Path) -> Option<Self> {
        let settings = Settings::read(&git::open(git_dir).ok()?).ok()?;
        let ssh = Ssh::new(&settings, git_dir).ok()?;
        let (identity, mut command) = ssh.session()?;
        let noted = debug_log::command(&command);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        Some(Self {
            identity,
            until: Instant::now() + ssh.session_idle,
            child: child.ok()?,
            _noted: noted,
        })
    }

    /// Whether it can still be asked.
    pub fn is_open(&mut self) -> bool {
        Instant::now() < self.until && matches!(self.child.try_wait(), Ok(None))
    }

    /// Lends it to the hook at the other end of `stream`, which alone has its streams then: it ends
    /// with the hook.
    pub fn lend(&mut self, stream: &UnixStream) -> io::Result<()> {
        let (Some(input), Some(output)) = (self.child.stdin.take(), self.child.stdout.take())
        else {
            return Err(io::ErrorKind::NotFound.into());
        };
        unix_socket::send(stream, b"\n", &[input.as_fd(), output.as_fd()])
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        process::end_group(&mut self.child);
    }
}

/// A hook's line to gate-init, with a session where there was one.
pub(super) struct Loan {
    stream: UnixStream,
    session: Option<(File, File)>,
    word: u8,
}

impl Loan {
    /// Asks gate-init, where there is one.
    pub fn take(ssh: &Ssh, git_dir: &Path) -> Option<Self> {
        let (identity, _) = ssh.session()?;
        let git_dir = git_dir.to_owned();
        Self::try_take(&Request { git_dir, identity }).ok()
    }

    fn try_take(request: &Request) -> io::Result<Self> {
        let stream = unix_socket::ask(&unix_socket::run_dir().join(SOCKET), || Ok(request))?;
        let (_, descriptors) = unix_socket::receive(&stream)?;
        let session = <[_; 2]>::try_from(descriptors).ok();
        Ok(Self {
            stream,
            session: session.map(|[input, output]| (input.into(), output.into())),
            word: AGAIN,
        })
    }

    /// What the upstream has now, unless the session is gone, silent or not understood.
    pub fn ask(
        &mut self,
        repository: &Repository,
        patterns: &[RefPattern],
        budget: &Budget,
    ) -> Option<Listing> {
        let (mut input, output) = self.session.take()?;
        let format = repository.object_format();
        let question = ls_refs::question(format, patterns);
        input.write_all(&question).ok()?;
        drop(input);
        let said = ls_refs::hear(output, budget, |_| false).ok()?;
        let answer = ls_refs::read(&said, format, patterns)?;
        if !answer.is_asked {
            self.word = UNFIT;
            return None;
        }
        Some(answer.listing)
    }

    /// Lets gate-init open the next session: the upstream has answered, in this one or in another.
    pub fn renew(mut self) {
        let _ = self.stream.write_all(&[self.word]);
    }
}
