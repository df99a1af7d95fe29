//! What the hooks report, and which clients none of them has reported on: so that each request has
//! its line in the audit log, whoever was killed.

use std::collections::HashMap;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::server::Gate;
use crate::audit::Event;
use crate::upstream::OTHER_FORMAT;

/// More than any event has: its lists are bounded.
const LONGEST: usize = 256 << 10;

/// The pause between two looks, and after the system refused to wait.
const PAUSE: Duration = Duration::from_millis(50);

/// The socket that the hooks write to.
#[derive(Debug)]
pub struct Reports {
    socket: UnixDatagram,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The clients that are being served, by address and port, and whether a hook has reported.
    clients: HashMap<String, bool>,
    buffer: Vec<u8>,
}

impl Reports {
    /// Takes reports from `socket`.
    pub fn new(socket: UnixDatagram) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            state: Mutex::new(State {
                clients: HashMap::new(),
                buffer: vec![0; LONGEST],
            }),
        })
    }

    /// Records what comes, without an end.
    pub fn run(&self, gate: &Gate) {
        loop {
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => thread::sleep(PAUSE),
            }
            self.with_all(gate, |_| {});
        }
    }

    /// Says that `peer` is about to be served.
    pub fn expect(&self, gate: &Gate, peer: &str) {
        self.with_all(gate, |clients| clients.insert(peer.to_owned(), false));
    }

    /// Whether a hook has reported on `peer`; waits for that until `is_over`, when no hook is left. A
    /// hook reports before it ends, so its report is here then.
    pub fn has_reported(&self, gate: &Gate, peer: &str, is_over: impl Fn() -> bool) -> bool {
        loop {
            let last = is_over();
            let reported = self.with_all(gate, |clients| clients.get(peer) == Some(&true));
            if reported || last {
                self.with_all(gate, |clients| clients.remove(peer));
                return reported;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Does something once all that has come is recorded.
    fn with_all<R>(&self, gate: &Gate, then: impl FnOnce(&mut HashMap<String, bool>) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { clients, buffer } = &mut *state;
        while let Ok(length) = self.socket.recv(buffer) {
            let Ok(event) = serde_json::from_slice::<Event>(&buffer[..length]) else {
                gate.log.lose();
                continue;
            };
            gate.record(&event);
            let is_other_format = |reason: &str| reason.contains(OTHER_FORMAT);
            if event.reason.as_deref().is_some_and(is_other_format)
                && let Some(name) = &event.repository
            {
                gate.wants_care(name);
            }
            let client = event.peer.as_ref().and_then(|peer| clients.get_mut(peer));
            if let Some(has_reported) = client {
                *has_reported = true;
            }
        }
        then(clients)
    }
}
