//! What the running gate-init tells, line by line.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::serve::run_dir::WATCH_SOCKET;
use crate::serve::watchers::Word;
use crate::unix_socket;

/// The longest line that is read: an event's lists are bounded.
const LONGEST: u64 = 1 << 20;

/// What waits to be shown; the socket fills up behind it.
const QUEUE: usize = 256;

/// How long a gate that serves may say nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// The pause before a gate that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// What came; `None` where no gate-init answers.
pub type Heard = Option<Word>;

/// The words of the gate-init that serves, whichever does.
pub struct Feed(Receiver<Heard>);

impl Feed {
    /// Listens to whoever serves with `run_dir`.
    pub fn start(run_dir: &Path) -> io::Result<Self> {
        let (sender, words) = sync_channel(QUEUE);
        let socket = run_dir.join(WATCH_SOCKET);
        thread::Builder::new().spawn(move || listen(&socket, &sender))?;
        Ok(Self(words))
    }

    /// What has come since.
    pub fn words(&self) -> impl Iterator<Item = Heard> {
        self.0.try_iter()
    }
}

fn listen(socket: &PathBuf, sender: &SyncSender<Heard>) {
    loop {
        let connected = UnixStream::connect(socket).and_then(unix_socket::of_ours);
        let _ = connected.and_then(|stream| pass_on(stream, sender));
        if sender.send(None).is_err() {
            return;
        }
        thread::sleep(PAUSE);
    }
}

fn pass_on(stream: UnixStream, sender: &SyncSender<Heard>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        if (&mut lines).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let word = serde_json::from_slice(&line)?;
        if sender.send(Some(word)).is_err() {
            return Ok(());
        }
    }
}
