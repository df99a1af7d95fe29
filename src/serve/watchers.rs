//! Who watches: `gate-init watch` reads from a socket what happens, as it happens.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::audit::Event;
use crate::unix_socket;

/// How many may watch at once.
const MOST: usize = 8;

/// What a new watcher is told of the past: so many events, and bytes of them.
const RECENT: usize = 200;
const RECENT_BYTES: usize = 1 << 20;

/// Events that wait for a watcher that reads slowly; with more it is hung up on, and may come again.
const QUEUE: usize = 256;

/// How often a watcher is told how the gate is.
const BEAT: Duration = Duration::from_secs(1);

/// How long a watcher may take to read.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// One line, for all who watch.
type Line = Arc<str>;

/// One line of JSON to a watcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    /// What happened.
    Event(Box<Event>),
    /// How the gate is now.
    Now(Now),
}

/// How the gate is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Now {
    /// How many clients are being served.
    pub clients: usize,
    /// What refuses pushes.
    pub problems: Vec<String>,
}

/// All who watch, and what they would be told of the past.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    recent: VecDeque<Line>,
    bytes: usize,
    watching: Vec<SyncSender<Line>>,
}

impl Watchers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all watchers of `event`, and waits for none.
    pub fn tell(&self, event: &Event) {
        let line: Line = format!("{{\"event\":{}}}\n", event.line()).into();
        let mut state = self.state();
        state
            .watching
            .retain(|one| one.try_send(Arc::clone(&line)).is_ok());
        state.bytes += line.len();
        state.recent.push_back(line);
        while state.recent.len() > RECENT || state.bytes > RECENT_BYTES {
            let oldest = state.recent.pop_front();
            state.bytes -= oldest.map_or(0, |line| line.len());
        }
    }

    /// What a new watcher is told first, and what follows; `None` where too many watch.
    fn enter(&self) -> Option<(Vec<Line>, Receiver<Line>)> {
        let mut state = self.state();
        let (sender, lines) = sync_channel(QUEUE);
        (state.watching.len() < MOST).then(|| {
            state.watching.push(sender);
            (state.recent.iter().cloned().collect(), lines)
        })
    }
}

/// Lets watchers in, each on a thread of its own, without an end. `now` says how the gate is.
pub fn start(
    watchers: Arc<Watchers>,
    socket: &Path,
    now: impl Fn() -> Now + Send + Sync + 'static,
) -> io::Result<()> {
    let serve = move |stream| serve(&watchers, stream, &now);
    unix_socket::serve("watch", socket, || true, serve)
}

fn serve(watchers: &Watchers, stream: UnixStream, now: &dyn Fn() -> Now) -> io::Result<()> {
    let mut stream = unix_socket::of_ours(stream)?;
    // One that is hung up on comes again.
    let Some((recent, lines)) = watchers.enter() else {
        return Ok(());
    };
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    for line in recent {
        stream.write_all(line.as_bytes())?;
    }
    loop {
        unix_socket::say(&mut stream, &Word::Now(now()))?;
        match lines.recv_timeout(BEAT) {
            Ok(line) => stream.write_all(line.as_bytes())?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Kind;

    #[test]
    fn a_watcher_that_does_not_read_is_hung_up_on_and_the_past_is_bounded() {
        let watchers = Watchers::default();
        let (_, lines) = watchers.enter().unwrap();
        let event = Event {
            reason: Some("x".repeat(10_000)),
            ..Event::now(Kind::Push)
        };
        for _ in 0..=QUEUE {
            watchers.tell(&event);
        }
        assert_eq!(lines.iter().count(), QUEUE);
        let (recent, _lines) = watchers.enter().unwrap();
        let bytes: usize = recent.iter().map(|line| line.len()).sum();
        assert!((900_000..=RECENT_BYTES).contains(&bytes), "{bytes}");
        let more: Vec<_> = (1..MOST).map(|_| watchers.enter().unwrap()).collect();
        assert!(watchers.enter().is_none());
        drop(more);
        watchers.tell(&event);
        assert!(watchers.enter().is_some());
    }
}
