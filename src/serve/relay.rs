//! Bytes between a client and the git daemon that serves it, until one of them has ended or the
//! client has been silent for too long while it was its turn.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::set_tcp_quickack;

use super::answer::Answer;
use super::clients::{LimitReached, Permit, SentAway};
use super::flow::{BUFFER, Flow};
use super::git_request::{self, Request, Service};
use super::hook_stderr::LastWords;
use crate::process;
use crate::settings::Limits;

/// How long a client may take to read the last bytes and close, once the server has.
pub const LINGER: Duration = Duration::from_secs(5);

/// How long a push waits for the first word of its client before it gives its place to others, and
/// how long in the middle, where the server's signs of life come at least every 5 s.
const FIRST_REST: Duration = Duration::from_secs(1);
pub const LATER_REST: Duration = Duration::from_secs(12);

/// How long a push whose client has spoken waits until it looks for a place again.
pub const NO_PERMIT: Duration = Duration::from_millis(50);

/// How long each side may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For which the client may be silent while it is its turn.
    pub client: Duration,
    /// For which the server may be silent while it is its turn: the access hook's refresh.
    pub server: Duration,
}

/// What passed, and why it ended.
#[derive(Debug)]
pub struct Passed {
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// Why it ended.
    pub end: End,
    /// Whether the client asked for anything after it had seen the refs.
    pub has_asked: bool,
    /// The start of what the server said to that.
    pub answer: Vec<u8>,
}

/// Why a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server was done.
    Done,
    /// The client went away before.
    ClientGone,
    /// The client was silent for longer than it may.
    ClientStalled,
    /// The push waited for its client, and was given up.
    SentAway(SentAway),
    /// The client spoke after a wait, and no place came free for it.
    NoPermit(LimitReached),
    /// The server was silent for longer than it may.
    ServerStalled,
    /// The client sent more than it may.
    TooLarge,
}

/// Acknowledges what was read at once. git writes its requests in small parts and leaves Nagle's
/// algorithm on, so it holds the next part back until the one before is acknowledged: 40 ms, when
/// that waits for an answer to go with (tcp(7), TCP_QUICKACK, which lasts for one read).
pub fn acknowledge(client: &TcpStream) {
    // Without it the client is served all the same, later.
    let _ = set_tcp_quickack(client, true);
}

/// The two ends and the state between them.
struct Relay<'a> {
    client: &'a mut TcpStream,
    server: UnixStream,
    request: &'a Request,
    to_server: Flow,
    to_client: Flow,
    /// Whether the client can still be written to.
    client_reads: bool,
    end: End,
    last_byte: Instant,
    /// Whether the client spoke last.
    client_spoke: bool,
    /// Bytes of the client that only open the connection.
    unasked: u64,
    /// What the server said once the client had spoken again.
    answer: Answer,
    /// The gate's last words, where they did not go to the client.
    last_words: &'a LastWords,
    permit: &'a Permit,
    limits: &'a Limits,
    /// Whether it has given its place to others.
    resting: bool,
    /// The limit that forbids a place to the client, which has spoken.
    full: Option<LimitReached>,
}

/// Passes bytes until the server has closed its end; `early` is what the client sent behind its
/// request.
///
/// A client that is gone or stalled does not end a push: what the server says goes nowhere then,
/// and it is left to come to its end, since its hook may be forwarding. A fetch is cut.
pub fn relay(
    client: &mut TcpStream,
    server: UnixStream,
    request: &Request,
    early: &[u8],
    patience: Patience,
    (permit, limits): (&Permit, &Limits),
    last_words: &LastWords,
) -> io::Result<Passed> {
    client.set_nonblocking(true)?;
    server.set_nonblocking(true)?;
    let mut first = request.packet();
    let unasked = first.len() as u64;
    first.extend_from_slice(early);
    let mut answer = Answer::default();
    answer.hear_client(early);
    let mut relay = Relay {
        client,
        server,
        request,
        to_server: Flow::holding(&first),
        to_client: Flow::new(),
        client_reads: true,
        end: End::Done,
        last_byte: Instant::now(),
        client_spoke: true,
        unasked,
        answer,
        last_words,
        permit,
        limits,
        resting: false,
        full: None,
    };
    // The request is not an answer: the turn is the server's until it has said something.
    relay.run(patience)?;
    if relay.client_reads {
        linger(relay.client, LINGER);
    }
    Ok(Passed {
        received: relay.to_server.total,
        sent: relay.to_client.total,
        end: relay.end,
        has_asked: relay.has_asked(),
        answer: relay.answer.start,
    })
}

impl Relay<'_> {
    fn run(&mut self, patience: Patience) -> io::Result<()> {
        while self.to_client.open || (self.client_reads && !self.to_client.is_empty()) {
            let (limit, end) = if self.is_servers_turn() {
                (patience.server, End::ServerStalled)
            } else {
                (patience.client, End::ClientStalled)
            };
            let silent = self.last_byte.elapsed();
            let left = limit.saturating_sub(silent);
            // Once the client is gone, the server ends by its own limits.
            if left.is_zero() && self.end == End::Done {
                self.run_out(end, limit);
                continue;
            }
            let rest = self.rest_after().saturating_sub(silent);
            if rest.is_zero() && !self.resting {
                self.resting = true;
                self.permit.rest(self.has_spoken());
            }
            let next = if self.resting { left } else { left.min(rest) };
            let timeout = (self.end == End::Done).then_some(next);
            if self.step(timeout)? {
                self.last_byte = Instant::now();
            }
        }
        Ok(())
    }

    /// One side took longer than `limit`.
    fn run_out(&mut self, end: End, limit: Duration) {
        let (end, words) = match (end, self.full) {
            (End::ClientStalled, Some(full)) => (End::NoPermit(full), git_request::no_permit(full)),
            (End::ClientStalled, None) => (end, self.request.stalled(limit)),
            _ => (end, Vec::new()),
        };
        if self.to_client.is_empty() {
            let _ = self.client.write(&words);
        }
        self.lose_client(end);
    }

    /// Whether the client sent anything since the refs were told.
    fn has_spoken(&self) -> bool {
        self.to_server.total > self.unasked
    }

    /// Whether the client sent more than the packet that says that it wants nothing (`0000`).
    fn has_asked(&self) -> bool {
        self.to_server.total > self.unasked + 4
    }

    /// Keeps what the server has just said, where it answers something, and adds the gate's words.
    fn explain(&mut self) {
        let has_asked = self.has_asked();
        let (flow, answer) = (&mut self.to_client, &mut self.answer);
        let said = &flow.buffer[flow.start..flow.end];
        if has_asked {
            answer.keep(said);
        }
        if self.request.service != Service::Push {
            return;
        }
        if answer.wants_reason(said)
            && let Some(report) = git_request::with_reason(said, &self.last_words.take())
            && report.len() <= BUFFER
        {
            (flow.start, flow.end) = (0, report.len());
            flow.buffer[..report.len()].copy_from_slice(&report);
        } else if let Some((at, words)) = answer.explain_gits_refusal(said) {
            let start = flow.start;
            flow.insert(start + at, &words);
        }
    }

    /// After what silence the place goes to others: of a push whose client is waited for.
    fn rest_after(&self) -> Duration {
        let is_push = self.request.service == Service::Push;
        match (
            is_push && self.end == End::Done && self.to_client.total > 0,
            self.client_spoke,
        ) {
            (false, _) => Duration::MAX,
            (true, false) if !self.has_spoken() => FIRST_REST,
            (true, _) => LATER_REST,
        }
    }

    /// Whether what the client sends may be read: a push that waited needs a place again.
    fn may_go_on(&mut self) -> bool {
        if self.resting {
            if let Some(why) = self.permit.sent_away() {
                let _ = self.client.write(&git_request::sent_away(why));
                self.lose_client(End::SentAway(why));
                return false;
            }
            self.full = self.permit.wake(self.limits).err();
            if self.full.is_some() {
                thread::sleep(NO_PERMIT);
                return false;
            }
            self.resting = false;
        }
        true
    }

    fn is_servers_turn(&self) -> bool {
        let answered = self.to_client.total > 0;
        let waiting = self.to_server.is_empty() && self.to_client.is_empty();
        !answered || (waiting && self.client_spoke && self.request.ends_turn(&self.to_server.tail))
    }

    /// Waits for one side to be ready and passes what can pass; whether anything did.
    fn step(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let (client, server) = self.wait(timeout)?;
        let broken = PollFlags::ERR | PollFlags::HUP;
        let mut moved = false;
        let is_heard = client.intersects(PollFlags::IN | broken) && self.to_server.wants_more();
        if is_heard && self.may_go_on() {
            match self.to_server.fill(self.client) {
                Ok(true) => {
                    let flow = &self.to_server;
                    self.answer.hear_client(&flow.buffer[flow.start..flow.end]);
                    (moved, self.client_spoke) = (true, true);
                    acknowledge(self.client);
                }
                Ok(false) => {}
                Err(_) => self.lose_client(End::ClientGone),
            }
            if !self.to_server.open {
                let _ = self.server.shutdown(Shutdown::Write);
            }
        }
        if server.intersects(PollFlags::OUT) && !self.to_server.is_empty() {
            match self.to_server.drain(&mut self.server) {
                Ok(some) => moved |= some,
                // The server reads no more: it has said, or will say, why.
                Err(_) => self.to_server.discard(),
            }
        }
        if server.intersects(PollFlags::IN | broken) && self.to_client.wants_more() {
            match self.to_client.fill(&mut self.server) {
                Ok(true) => {
                    (moved, self.client_spoke) = (true, false);
                    self.explain();
                }
                Ok(false) => {}
                Err(_) => self.to_client.open = false,
            }
        }
        if !self.client_reads {
            self.to_client.discard();
        } else if client.intersects(PollFlags::OUT | broken) && !self.to_client.is_empty() {
            match self.to_client.drain(self.client) {
                Ok(some) => moved |= some,
                Err(_) => self.lose_client(End::ClientGone),
            }
        }
        Ok(moved)
    }

    fn wait(&self, timeout: Option<Duration>) -> io::Result<(PollFlags, PollFlags)> {
        let when = |condition, flag| if condition { flag } else { PollFlags::empty() };
        let client = when(self.to_server.wants_more(), PollFlags::IN)
            | when(
                self.client_reads && !self.to_client.is_empty(),
                PollFlags::OUT,
            );
        let server = when(self.to_client.wants_more(), PollFlags::IN)
            | when(!self.to_server.is_empty(), PollFlags::OUT);
        // A side that nothing is wanted of would wake us again and again by its end alone.
        let sides = [
            (PollFd::new(&*self.client, client), client),
            (PollFd::new(&self.server, server), server),
        ];
        let [of_client, of_server] = sides.map(|(fd, flags)| (!flags.is_empty()).then_some(fd));
        let mut fds: Vec<_> = of_client.iter().chain(&of_server).cloned().collect();
        process::poll(&mut fds, timeout)?;
        let mut ready = fds.iter().map(PollFd::revents);
        let mut take = |asked: bool| asked.then(|| ready.next()).flatten();
        let client = take(of_client.is_some()).unwrap_or_else(PollFlags::empty);
        let server = take(of_server.is_some()).unwrap_or_else(PollFlags::empty);
        Ok((client, server))
    }

    /// Gives up the client. A push may be past its point of no return: the server is told that
    /// nothing more comes, and goes on. A fetch is of use to nobody.
    fn lose_client(&mut self, end: End) {
        self.end = end;
        self.client_reads = false;
        self.to_server.open = false;
        self.to_server.discard();
        self.to_client.discard();
        let _ = self.client.shutdown(Shutdown::Write);
        let how = match self.request.service {
            Service::Push => Shutdown::Write,
            Service::Fetch => Shutdown::Both,
        };
        let _ = self.server.shutdown(how);
    }
}

/// Closes towards the client and waits until it has closed too, for `limit` at most. Bytes of the
/// client that nobody read would make the system reset the connection, and with it the server's
/// last words.
pub fn linger(client: &mut TcpStream, limit: Duration) {
    let _ = client.shutdown(Shutdown::Write);
    let _ = client.set_nonblocking(false);
    let end = Instant::now() + limit;
    let mut sink = vec![0; 64 << 10];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timed = !left.is_zero() && client.set_read_timeout(Some(left)).is_ok();
        if !timed || !matches!(client.read(&mut sink), Ok(1..)) {
            return;
        }
    }
}
