//! A session of the shared connection, asked for as ssh itself does (OpenSSH's PROTOCOL.mux): to start an
//! ssh that asks for it takes 6 ms of processor time, half as long as all else that a refresh does here.
//!
//! The master gets the session's own streams as descriptors, so that nothing passes through this process.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::{process, unix_socket};

/// What the first four bytes of a message say.
const HELLO: u32 = 0x0000_0001;
const NEW_SESSION: u32 = 0x1000_0002;
const EXIT_MESSAGE: u32 = 0x8000_0004;
const SESSION_OPENED: u32 = 0x8000_0006;

/// The protocol's version.
const VERSION: u32 = 4;

/// The number of our one request.
const REQUEST: u32 = 1;

/// Says that there is no escape character.
const NO_ESCAPE: u32 = 0xffff_ffff;

/// The longest message that is read, in bytes: ssh's own are shorter by far.
const MESSAGE_LIMIT: usize = 64 << 10;

/// A master that takes no message, or says no hello, for so long does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// The socket in the run directory of a gate-init that keeps sessions until they end.
pub const ENDS: &str = "session-ends";

/// How long the end of a session is waited for; and where a client waits meanwhile.
const END_LIMIT: Duration = Duration::from_secs(60);
const SHORT_LIMIT: Duration = Duration::from_secs(1);

/// A session that was asked for. It ends when this is dropped; but no session is to be dropped that has not
/// ended (`serve::session_ends`).
pub struct MuxSession(UnixStream);

impl MuxSession {
    /// Asks the master at `socket` for a session in which `command` runs, with `streams` as its standard
    /// input, output and error, and `environment` as far as the master passes it on. Whether the upstream
    /// grants it is not waited for.
    pub fn ask(
        socket: &Path,
        command: &str,
        environment: &[String],
        streams: [BorrowedFd<'_>; 3],
    ) -> io::Result<Self> {
        let mut session = Self(unix_socket::of_ours(UnixStream::connect(socket)?)?);
        session.0.set_read_timeout(Some(ANSWER_LIMIT))?;
        session.0.set_write_timeout(Some(ANSWER_LIMIT))?;
        if session.receive()?[..] != [HELLO, VERSION] {
            return Err(io::ErrorKind::Unsupported.into());
        }
        session.send(&Message::new(&[HELLO, VERSION]))?;
        // No terminal, no X11, no agent, no subsystem.
        let mut request = Message::new(&[NEW_SESSION, REQUEST]);
        request.string("");
        for number in [0, 0, 0, 0, NO_ESCAPE] {
            request.number(number);
        }
        request.string("");
        request.string(command);
        environment.iter().for_each(|one| request.string(one));
        session.send(&request)?;
        for stream in streams {
            unix_socket::send(&session.0, &[0], &[stream])?;
        }
        Ok(session)
    }

    /// One that another process has asked for.
    pub fn taken_over(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// What the master says of it comes here.
    pub fn stream(&self) -> &UnixStream {
        &self.0
    }

    /// Whether the master has more to say now: of one that was granted, that it has ended.
    pub fn has_more(&self) -> bool {
        process::wait_for_any(&[self.0.as_fd()], Duration::ZERO).unwrap_or(true)
    }

    /// Waits until it has ended, but not for ever.
    pub fn wait_for_end(self) {
        self.wait(END_LIMIT);
    }

    fn wait(self, limit: Duration) {
        if self.0.set_read_timeout(Some(limit)).is_ok() {
            let _ = self.exit_status();
        }
    }

    /// Leaves it to gate-init, which waits until it has ended; else it is waited for here.
    pub fn leave(self) {
        let ends = unix_socket::run_dir().join(ENDS);
        let left = UnixStream::connect(ends)
            .and_then(unix_socket::of_ours)
            .and_then(|stream| unix_socket::send(&stream, b"\n", &[self.0.as_fd()]));
        if left.is_err() {
            self.wait(SHORT_LIMIT);
        }
    }

    /// Waits until the upstream has granted it; whoever started this process has a limit for that.
    pub fn opened(&mut self) -> io::Result<()> {
        self.0.set_read_timeout(None)?;
        match self.receive()?[..] {
            [SESSION_OPENED, REQUEST, ..] => Ok(()),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Waits until it has ended; the exit status of its command. The master hangs up when all of the session is
    /// over, a moment after it has told the status.
    pub fn exit_status(mut self) -> io::Result<i32> {
        let mut status = Err(io::ErrorKind::UnexpectedEof.into());
        while let Ok(message) = self.receive() {
            if let [EXIT_MESSAGE, _, number, ..] = message[..] {
                status = i32::try_from(number).map_err(io::Error::other);
            }
        }
        status
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        let length = u32::try_from(message.0.len()).map_err(io::Error::other)?;
        let bytes = [&length.to_be_bytes()[..], &message.0].concat();
        self.0.write_all(&bytes)
    }

    /// The next message, as the numbers that it begins with: that is all there is in those that count.
    fn receive(&mut self) -> io::Result<Vec<u32>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MESSAGE_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        let numbers = bytes.chunks_exact(4).take(3);
        let number = |four: &[u8]| four.iter().fold(0, |all, &byte| all << 8 | u32::from(byte));
        Ok(numbers.map(number).collect())
    }
}

/// A message without its length.
struct Message(Vec<u8>);

impl Message {
    fn new(numbers: &[u32]) -> Self {
        let mut message = Self(Vec::new());
        numbers.iter().for_each(|&number| message.number(number));
        message
    }

    fn number(&mut self, number: u32) {
        self.0.extend(number.to_be_bytes());
    }

    fn string(&mut self, text: &str) {
        // The arguments and variables of a process, which are below 2 MiB.
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text.as_bytes());
    }
}
