//! How gate-init lends a gitleaks that is started already: starting one takes 60 times as long as
//! the scan of a small push. The other side is `serve::scanner_pool`.
//!
//! Over a unix socket in the run folder the hook sends a [`Request`] as one line of JSON. The answer
//! is the token of its canaries, one line of JSON too, with three descriptors (unix(7), SCM_RIGHTS):
//! the input, the report, what gitleaks says besides. When it has ended, its wait status follows on a line of
//! its own. A hook that hangs up ends its scanner. gate-init hangs up when it has none to lend.

use std::io::{self, BufRead, BufReader, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType, sockopt,
};
use rustix::process::getuid;
use serde::{Deserialize, Serialize};

use super::launch::{Keeper, Process, Recipe};

/// The socket's name in the run folder.
pub(crate) const SOCKET: &str = "scanner";

/// How long gate-init may think. Starting a gitleaks takes about as long.
const ANSWER_LIMIT: Duration = Duration::from_millis(250);

/// How long a line of this conversation may be, in bytes.
pub(crate) const LINE_LIMIT: u64 = 16 << 10;

/// Which gitleaks a hook needs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    /// Its program.
    pub(crate) program: PathBuf,
    /// The operator's rules.
    pub(crate) rules: Option<PathBuf>,
    /// What both are, as the hook sees them.
    pub(crate) fingerprint: String,
}

/// A gitleaks that gate-init started: the line to gate-init.
pub(crate) struct Lent(UnixStream);

impl Lent {
    /// How it ended; `None` when it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        self.0.set_read_timeout(Some(limit))?;
        let mut line = String::new();
        match BufReader::new((&self.0).take(LINE_LIMIT)).read_line(&mut line) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let status = line.trim_end().parse();
        let status = status.map_err(|_| io::Error::other("gate-init hung up during the scan"))?;
        Ok(Some(ExitStatus::from_raw(status)))
    }
}

/// The folder of gate-init's sockets.
pub(crate) fn run_dir() -> PathBuf {
    std::env::var_os("GIT_GATE_RUN_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| "/run/git-gate".into(), PathBuf::from)
}

/// Whether the other end of `stream` belongs to the user of this process. Others must not be able
/// to lend a gitleaks that finds nothing, nor to take one that is needed.
pub(crate) fn is_ours(stream: &UnixStream) -> bool {
    sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == getuid())
}

/// A gitleaks from gate-init, when it has one for `recipe` at once.
pub(crate) fn borrow(recipe: &Recipe) -> Option<Process> {
    try_borrow(recipe).ok().flatten()
}

fn try_borrow(recipe: &Recipe) -> io::Result<Option<Process>> {
    let mut stream = connect(&recipe.run_dir.join(SOCKET))?;
    if !is_ours(&stream) {
        return Ok(None);
    }
    let request = Request {
        program: recipe.program.clone(),
        rules: recipe.rules.file.clone(),
        fingerprint: recipe.fingerprint().map_err(io::Error::other)?,
    };
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(&line)?;
    let (answer, descriptors) = receive(&stream)?;
    let Ok([input, report, errors]) = <[OwnedFd; 3]>::try_from(descriptors) else {
        return Ok(None);
    };
    Ok(Some(Process {
        keeper: Keeper::Lent(Lent(stream)),
        input,
        report,
        errors,
        canary: serde_json::from_slice(&answer)?,
    }))
}

/// Connects without waiting for a gate-init that has too much to do.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    let stream = UnixStream::from(stream);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The answer and what came with it. gate-init sends both at once, so they arrive at once.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut answer = vec![0; 1 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut answer)];
        match net::recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            result => break result?,
        }
    };
    answer.truncate(received.bytes);
    let descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    Ok((answer, descriptors.collect()))
}
