//! How gate-init lends what it keeps: over a unix socket in its run directory, with descriptors
//! beside the bytes (unix(7), SCM_RIGHTS).

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};
use rustix::process::getuid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::process;

/// How long a line of such a conversation may be, in bytes.
pub const LINE_LIMIT: u64 = 16 << 10;

/// How long a hook may take to ask.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);

/// How long gate-init may think about a request: what is lent comes at once or not at all.
const ANSWER_LIMIT: Duration = Duration::from_millis(250);

/// How often what waits to be lent is tended.
const LOOK: Duration = Duration::from_secs(1);

/// The directory of gate-init's sockets.
pub fn run_dir() -> PathBuf {
    std::env::var_os("GIT_GATE_RUN_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| "/run/git-gate".into(), PathBuf::from)
}

/// Whether `dir` is a directory of this user's that nobody else may enter.
pub fn is_private(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir).is_ok_and(|metadata| {
        metadata.is_dir()
            && metadata.uid() == getuid().as_raw()
            && metadata.permissions().mode() & 0o077 == 0
    })
}

/// Whether the other end of `stream` belongs to the user of this process. Others must not be able
/// to lend something that lies, nor to take what is needed.
fn is_ours(stream: &UnixStream) -> bool {
    sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == getuid())
}

/// `stream`, where its other end belongs to the user of this process.
pub fn of_ours(stream: UnixStream) -> io::Result<UnixStream> {
    match is_ours(&stream) {
        true => Ok(stream),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// Listens at `path`, where an earlier gate-init may have left its socket.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// Listens at `path` on a thread of that `name`: each hook that comes is lent to on one of its own, and what
/// waits to be lent is tended in between, until `tend` says that this is over.
pub fn serve(
    name: &str,
    path: &Path,
    tend: impl Fn() -> bool + Send + 'static,
    lend: impl Fn(UnixStream) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<()> {
    let listener = listen(path)?;
    listener.set_nonblocking(true)?;
    let lend = Arc::new(lend);
    let serve = move || {
        while tend() {
            let _ = process::wait_for_any(&[listener.as_fd()], LOOK);
            while let Ok((stream, _)) = listener.accept() {
                let lend = Arc::clone(&lend);
                // A hook that gets no thread, or an error, is hung up on.
                let _ = thread::Builder::new().spawn(move || {
                    stream.set_nonblocking(false)?;
                    lend(stream)
                });
            }
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(serve)?;
    Ok(())
}

/// Asks gate-init at `socket` for what `request` says, made once it is known that it is there; the
/// answer is to be received.
pub fn ask<T: Serialize>(
    socket: &Path,
    request: impl FnOnce() -> io::Result<T>,
) -> io::Result<UnixStream> {
    let mut stream = of_ours(connect(socket)?)?;
    let request = request()?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    say(&mut stream, &request)?;
    Ok(stream)
}

/// Sends one line of JSON.
pub fn say(stream: &mut UnixStream, word: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Whether a gate-init of this user answers at `socket`, which an earlier one may have left.
pub fn is_there(socket: &Path) -> bool {
    connect(socket).is_ok_and(|stream| is_ours(&stream))
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

/// Reads what a hook of this user asks for: one line of JSON.
pub fn read_request<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<T> {
    if !is_ours(stream) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    stream.set_write_timeout(Some(REQUEST_LIMIT))?;
    hear(stream)
}

/// Reads one line of JSON.
pub fn hear<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE_LIMIT)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// Sends an answer and up to four descriptors with it.
pub fn send(stream: &UnixStream, answer: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let parts = [IoSlice::new(answer)];
    net::sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The answer and what came with it. gate-init sends both at once, so they arrive at once.
pub fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut answer = vec![0; 1 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
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
