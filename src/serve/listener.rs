//! Accepts clients and reads their first packet, all on one thread. A client takes one of the places
//! that are limited only once its request is there, so that those who only connect keep nobody out.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::asked::{Asked, shown_peer};
use super::connection::{self, Client};
use super::git_request::{Parsed, Request, error_packet};
use super::relay;
use super::state::Gate;
use crate::audit::{Event, Kind};
use crate::process::{self, is_temporary};

/// Clients whose request has not arrived; when there are more, the one that waited longest goes.
const MOST_WAITING: usize = 512;

/// The pause after the system refused to accept (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

/// The longest wait before the loop looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// How long who asks for the health may take to read it, and how many may at once.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);
const MOST_ASKING: usize = 16;

/// Bytes that are written at once.
const PIECE: usize = 16 << 10;

/// What a client is told where it takes a token to be somebody.
const NO_TOKEN: &str = "this gate knows agents by their tokens, which git:// cannot carry: use its http:// \
                        URL with your token as the password; the operator has both";

/// A client whose request has not arrived yet.
struct Waiting {
    stream: TcpStream,
    peer: SocketAddr,
    bytes: Vec<u8>,
    since: Instant,
}

/// Serves until the gate drains.
pub fn run(gate: &Arc<Gate>, listener: &TcpListener, health: &UnixListener) {
    let mut waiting = VecDeque::new();
    let asking = Arc::new(());
    while !gate.is_draining() {
        let Some(ready) = wait(listener, health, &waiting, gate.idle_limit()) else {
            thread::sleep(PAUSE);
            continue;
        };
        if ready[0] {
            accept(gate, listener, &mut waiting);
        }
        if ready[1] {
            answer_health(gate, health, &asking);
        }
        // New clients were added behind those that were waited for.
        let known = ready.len() - 2;
        let added = waiting.split_off(known.min(waiting.len()));
        let kept = waiting
            .drain(..)
            .zip(&ready[2..])
            .filter_map(|(client, &ready)| step(gate, client, ready));
        waiting = kept.chain(added).collect();
        while waiting.len() > MOST_WAITING {
            waiting.pop_front();
        }
    }
}

/// Which of listener, health check and waiting clients are ready; `None` when the system fails.
fn wait(
    listener: &TcpListener,
    health: &UnixListener,
    waiting: &VecDeque<Waiting>,
    limit: Duration,
) -> Option<Vec<bool>> {
    let mut fds = vec![
        PollFd::new(listener, PollFlags::IN),
        PollFd::new(health, PollFlags::IN),
    ];
    fds.extend(
        waiting
            .iter()
            .map(|client| PollFd::new(&client.stream, PollFlags::IN)),
    );
    // The oldest is the first whose time is over.
    let left = waiting
        .front()
        .map(|client| limit.saturating_sub(client.since.elapsed()));
    process::poll(&mut fds, Some(left.unwrap_or(LOOK).min(LOOK))).ok()?;
    Some(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
}

fn accept(gate: &Gate, listener: &TcpListener, waiting: &mut VecDeque<Waiting>) {
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                if stream.set_nonblocking(true).is_ok() {
                    waiting.push_back(Waiting {
                        stream,
                        peer,
                        bytes: Vec::new(),
                        since: Instant::now(),
                    });
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock || gate.is_draining() => return,
            // A client that is gone already.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                gate.log.say(&format!("cannot accept a client: {error}"));
                thread::sleep(PAUSE);
                return;
            }
        }
    }
}

/// Reads on for a waiting client; gives it back unless it was passed on or is gone.
fn step(gate: &Arc<Gate>, mut client: Waiting, ready: bool) -> Option<Waiting> {
    if ready && !read(&mut client) {
        return None;
    }
    match Request::parse(&client.bytes) {
        Parsed::Incomplete if client.since.elapsed() < gate.idle_limit() => return Some(client),
        Parsed::Incomplete => {
            let limit = gate.idle_limit().as_secs();
            let reason = format!("no request within {limit} s");
            gate.record(&Event {
                peer: Some(shown_peer(client.peer)),
                limit: Some("idleClient".to_owned()),
                reason: Some(reason.clone()),
                ..Event::now(Kind::Limit)
            });
            refuse(client.stream, &reason);
        }
        Parsed::Malformed(problem) => refuse(client.stream, problem),
        Parsed::Request(request, length) => admit(gate, client, request, length),
    }
    None
}

/// Reads what is there; whether the client still is.
fn read(client: &mut Waiting) -> bool {
    let mut buffer = [0; 4096];
    match client.stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            client.bytes.extend_from_slice(&buffer[..length]);
            relay::acknowledge(&client.stream);
            true
        }
        Err(error) => is_temporary(&error),
    }
}

/// Gives a client with a request one of the places and a thread.
fn admit(gate: &Arc<Gate>, client: Waiting, mut request: Request, length: usize) {
    let Some(caller) = gate.served().agents.without_token() else {
        connection::refused(gate, client.peer, &request, NO_TOKEN);
        return refuse(client.stream, NO_TOKEN);
    };
    request.caller = caller;
    let permit = match connection::admit(gate, client.peer, &request) {
        Ok(permit) => permit,
        Err(reason) => return refuse(client.stream, &reason),
    };
    let event = connection::event(gate, client.peer, &request, Kind::Refusal);
    let served = Client {
        stream: client.stream,
        early: client.bytes[length..].to_vec(),
        asked: Asked {
            peer: client.peer,
            request,
            permit,
        },
    };
    let serving = Arc::clone(gate);
    let thread = thread::Builder::new()
        .name("client".to_owned())
        .spawn(move || connection::serve(&serving, served));
    // The client is dropped with the closure.
    if let Err(error) = thread {
        gate.record(&Event {
            reason: Some(format!("the system gives no thread: {error}")),
            ..event
        });
    }
}

/// Tells a client why it is not served.
fn refuse(mut stream: TcpStream, reason: &str) {
    // The packet fits into the socket's buffer.
    let _ = stream.write_all(&error_packet(reason));
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// Tells the health check how it is going. Its queue is this loop: an answer means that clients are
/// answered too.
fn answer_health(gate: &Gate, health: &UnixListener, asking: &Arc<()>) {
    while let Ok((stream, _)) = health.accept() {
        if Arc::strong_count(asking) > MOST_ASKING {
            continue;
        }
        let text = gate.metrics();
        let asking = Arc::clone(asking);
        // On a thread of its own: who asks may read slowly, and all of it is to arrive.
        let _ = thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || {
                let told = tell(&stream, text.as_bytes(), HEALTH_LIMIT);
                drop(asking);
                told
            });
    }
}

/// Writes `text`, within `limit` in all.
fn tell(mut stream: &UnixStream, mut text: &[u8], limit: Duration) -> std::io::Result<()> {
    let end = Instant::now() + limit;
    stream.set_nonblocking(false)?;
    while !text.is_empty() {
        // Zero is no time-out (`set_write_timeout`).
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        // The system waits anew for each piece that it takes of a longer text.
        match stream.write(&text[..text.len().min(PIECE)]) {
            Ok(written) => text = &text[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_the_health_slowly_gets_all_of_it_or_its_time_is_over() {
        let text = vec![b'x'; 4 << 20];
        let read_slowly = |mut stream: UnixStream| {
            let mut part = vec![0; 16 << 10];
            let mut total = 0;
            while let Ok(length @ 1..) = stream.read(&mut part) {
                total += length;
                thread::sleep(Duration::from_millis(1));
            }
            total
        };
        let told = |limit| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let reader = thread::spawn(move || read_slowly(theirs));
            let told = tell(&ours, &text, limit);
            drop(ours);
            (told, reader.join().unwrap())
        };
        let (whole, total) = told(Duration::from_secs(600));
        assert!(whole.is_ok() && total == text.len());
        let (cut, total) = told(Duration::from_millis(20));
        assert!(cut.is_err() && total < text.len());
    }
}
