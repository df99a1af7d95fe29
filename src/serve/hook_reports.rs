//! What the hooks report, and which clients none of them has reported on: so that each request has
//! its line in the audit log, whoever was killed.

use std::collections::HashMap;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::audit::Event;
use crate::process;

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

/// Takes a report; none is a line that cannot be read.
type Hear<'a> = dyn Fn(Option<Event>) + 'a;

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

    /// Lets `hear` have what comes, without an end.
    pub fn run(&self, hear: &Hear<'_>) {
        loop {
            let mut socket = [PollFd::new(&self.socket, PollFlags::IN)];
            if process::poll(&mut socket, None).is_err() {
                thread::sleep(PAUSE);
            }
            self.with_all(hear, |_| {});
        }
    }

    /// Says that `peer` is about to be served.
    pub fn expect(&self, hear: &Hear<'_>, peer: &str) {
        self.with_all(hear, |clients| clients.insert(peer.to_owned(), false));
    }

    /// Whether a hook has reported on `peer`; waits for that until `is_over`, when no hook is left. A
    /// hook reports before it ends, so its report is here then.
    pub fn has_reported(&self, hear: &Hear<'_>, peer: &str, is_over: impl Fn() -> bool) -> bool {
        loop {
            let last = is_over();
            let reported = self.with_all(hear, |clients| clients.get(peer) == Some(&true));
            if reported || last {
                self.with_all(hear, |clients| clients.remove(peer));
                return reported;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Does something once all that has come is recorded.
    fn with_all<R>(
        &self,
        hear: &Hear<'_>,
        then: impl FnOnce(&mut HashMap<String, bool>) -> R,
    ) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { clients, buffer } = &mut *state;
        while let Ok(length) = self.socket.recv(buffer) {
            let event = serde_json::from_slice::<Event>(&buffer[..length]).ok();
            let peer = event.as_ref().and_then(|event| event.peer.clone());
            hear(event);
            let client = peer.and_then(|peer| clients.get_mut(&peer));
            if let Some(has_reported) = client {
                *has_reported = true;
            }
        }
        then(clients)
    }
}
