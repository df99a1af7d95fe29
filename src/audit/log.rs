//! gate-init's writer: lines go to threads that may block on a full pipe or disk, so that nothing
//! else does.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use super::Event;

/// Lines that wait for a slow reader; more are lost, and counted.
const QUEUE: usize = 4096;

enum Message {
    Line(String),
    /// Opens the file anew: it may have been rotated.
    Reopen,
    /// Answers when all lines before are written.
    Flush(SyncSender<()>),
}

/// The audit log and gate-init's standard error. Clones write to the same.
#[derive(Clone, Debug)]
pub struct Log {
    audit: SyncSender<Message>,
    terminal: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Log {
    /// Opens `file` to add to it; without one the events go to standard error too.
    pub fn open(file: Option<&Path>) -> io::Result<Self> {
        let terminal = writer(None)?;
        let audit = match file {
            Some(file) => writer(Some(file.to_owned()))?,
            None => terminal.clone(),
        };
        Ok(Self {
            audit,
            terminal,
            lost: Arc::default(),
        })
    }

    /// Writes one event.
    pub fn event(&self, event: &Event) {
        self.pass(&self.audit, event.line());
    }

    /// Writes one line for people to standard error.
    pub fn say(&self, line: &str) {
        self.pass(&self.terminal, format!("git-gate: {line}"));
    }

    /// How many lines were lost because their reader was too slow.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Opens the file anew.
    pub fn reopen(&self) {
        let _ = self.audit.try_send(Message::Reopen);
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

    fn pass(&self, to: &SyncSender<Message>, line: String) {
        if to.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn writer(file: Option<PathBuf>) -> io::Result<SyncSender<Message>> {
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    let opened = file.as_deref().map(open).transpose()?;
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write(&receiver, file.as_deref(), opened))?;
    Ok(sender)
}

/// A line that cannot be written is lost: a full disk must not end the gate.
fn write(messages: &Receiver<Message>, path: Option<&Path>, mut file: Option<File>) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Line(line) => {
                let line = format!("{line}\n");
                let _ = match &mut file {
                    Some(file) => file.write_all(line.as_bytes()),
                    None => io::stderr().write_all(line.as_bytes()),
                };
            }
            Message::Reopen => {
                if let Some(Ok(again)) = path.map(open) {
                    file = Some(again);
                }
            }
            Message::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}
