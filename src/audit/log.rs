//! gate-init's writer: lines go to threads that may block on a full pipe or disk, so that nothing
//! else does.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use super::{Event, Kind};
use crate::append;

/// Lines that wait for a slow reader; more are lost, and counted.
const QUEUE: usize = 4096;

enum Message {
    Line(String),
    /// There is something else to do.
    Wake,
    /// Answers when all lines before are written.
    Flush(SyncSender<()>),
}

/// The audit log and gate-init's standard error. Clones write to the same.
#[derive(Clone, Debug)]
pub struct Log {
    audit: SyncSender<Message>,
    terminal: SyncSender<Message>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The gate's name, in each event.
    gate: String,
    /// Lines lost since the start.
    lost: AtomicU64,
    /// Events lost since the last one that was written.
    missing: AtomicU64,
    /// Whether the file is to be opened anew: it may have been rotated.
    reopen: AtomicBool,
}

impl State {
    fn line(&self, event: &Event) -> String {
        let event = Event {
            gate: Some(self.gate.clone()),
            ..event.clone()
        };
        event.line()
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an event as lost; whether it is the first after one that was written.
    fn lose_event(&self) -> bool {
        self.lose();
        self.missing.fetch_add(1, Ordering::Relaxed) == 0
    }
}

impl Log {
    /// Opens `file` to add to it what the gate `name` does; without one the events go to standard error
    /// too.
    pub fn open(file: Option<&Path>, name: &str) -> io::Result<Self> {
        let state = Arc::new(State {
            gate: name.to_owned(),
            ..State::default()
        });
        let (terminal, lines) = mpsc::sync_channel(QUEUE);
        let of_terminal = Arc::clone(&state);
        start(move || write_to_terminal(&lines, &of_terminal))?;
        let audit = match file {
            None => terminal.clone(),
            Some(path) => {
                let (audit, lines) = mpsc::sync_channel(QUEUE);
                let mut writer = Writer {
                    file: append::open(path)?,
                    path: path.to_owned(),
                    torn: append::is_torn(path),
                    terminal: terminal.clone(),
                    state: Arc::clone(&state),
                };
                start(move || writer.run(&lines))?;
                audit
            }
        };
        Ok(Self {
            audit,
            terminal,
            state,
        })
    }

    /// Writes one event.
    pub fn event(&self, event: &Event) {
        let line = Message::Line(self.state.line(event));
        let is_lost = self.audit.try_send(line).is_err();
        if is_lost && self.state.lose_event() {
            self.say("the audit log's reader is too slow: events are lost, and counted");
        }
    }

    /// Writes one line for people to standard error.
    pub fn say(&self, line: &str) {
        tell(&self.terminal, &self.state, line);
    }

    /// Counts a line that did not even reach the log.
    pub fn lose(&self) {
        self.state.lose();
    }

    /// How many lines were lost: the reader was too slow, the disk full, or the line never came.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Opens the file anew before the next line.
    pub fn reopen(&self) {
        self.state.reopen.store(true, Ordering::Release);
        // With a full queue the writer is awake.
        let _ = self.audit.try_send(Message::Wake);
    }

    /// Waits until all lines are written, for `limit` at most.
    pub fn flush(&self, limit: Duration) {
        for sender in [&self.audit, &self.terminal] {
            let (done, written) = mpsc::sync_channel(1);
            if sender.try_send(Message::Flush(done)).is_ok() {
                let _ = written.recv_timeout(limit);
            }
        }
    }
}

fn start(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("log".to_owned()).spawn(work);
    thread.map(drop)
}

fn tell(terminal: &SyncSender<Message>, state: &State, line: &str) {
    let line = Message::Line(format!("git-gate: {line}"));
    if terminal.try_send(line).is_err() {
        state.lose();
    }
}

fn write_to_terminal(messages: &Receiver<Message>, state: &State) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Line(line) => {
                if writeln!(io::stderr(), "{line}").is_err() {
                    state.lose();
                }
            }
            Message::Wake => {}
            Message::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

/// Writes the audit log's file. A line that cannot be written is lost: a full disk must not end the
/// gate.
struct Writer {
    file: File,
    path: PathBuf,
    /// Whether the file ends in the middle of a line.
    torn: bool,
    terminal: SyncSender<Message>,
    state: Arc<State>,
}

impl Writer {
    fn run(&mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            if self.state.reopen.swap(false, Ordering::Acquire) {
                self.reopen();
            }
            match message {
                Message::Line(line) => self.write(&line),
                Message::Wake => {}
                Message::Flush(done) => {
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn write(&mut self, line: &str) {
        if let Err(error) = append::write(&mut self.file, &mut self.torn, line) {
            if self.state.lose_event() {
                self.say(&format!(
                    "the audit log {} cannot be written: {error}; events are lost, and counted, until it can",
                    self.path.display()
                ));
            }
            return;
        }
        let missing = self.state.missing.swap(0, Ordering::Relaxed);
        if missing > 0 {
            self.say(&format!(
                "the audit log is written again; lost before: {missing}"
            ));
        }
    }

    /// An operator who rotates the log has to know when that did not work: the lines still go to the
    /// old file.
    fn reopen(&mut self) {
        match append::open(&self.path) {
            Ok(file) => {
                self.file = file;
                self.torn = append::is_torn(&self.path);
            }
            Err(error) => {
                let reason = format!(
                    "cannot open the audit log {} anew: {error}; its lines go to the file that was open before",
                    self.path.display()
                );
                self.say(&reason);
                let event = Event {
                    reason: Some(reason),
                    ..Event::now(Kind::Reload)
                };
                self.write(&self.state.line(&event));
            }
        }
    }

    fn say(&self, line: &str) {
        tell(&self.terminal, &self.state, line);
    }
}
