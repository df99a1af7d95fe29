//! Locks that die with their process: flock(2) on a file that stays where it is.
//!
//! The file also holds a note: who has the lock, and a state that outlives its holder. It is only
//! written under the lock, in place, so there is no temporary file to be left behind. A holder
//! that ends well takes its name off the note; a name that is still there tells the next holder
//! that its predecessor was killed ([`Lock::was_abandoned`]).

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// How much of a note is read. A note is a few hundred bytes.
const NOTE_LIMIT: u64 = 64 << 10;

/// Why there is no lock.
#[derive(Debug, Error)]
pub enum LockError {
    /// The lock file cannot be opened or locked at all.
    #[error("cannot lock {}", path.display())]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else had it for the whole time.
    #[error("waited {} s for {holder}", waited.as_secs())]
    Busy {
        /// Who has it, in words.
        holder: String,
        /// How long the wait was.
        waited: Duration,
    },
}

/// A moment of this boot, in nanoseconds, on a clock that all processes share, that never jumps and
/// that also runs while the machine sleeps (clock_gettime(2), CLOCK_BOOTTIME).
pub type Moment = u64;

/// This moment.
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanoseconds).unwrap_or(0)
}

/// Who holds a lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Holder {
    /// What it does: `a fetch`, `a push`.
    what: String,
    pid: u32,
    since: Moment,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Note {
    holder: Option<Holder>,
    #[serde(default)]
    state: Value,
}

/// A held lock. Dropping it, or the end of the process, gives it up.
#[derive(Debug)]
pub struct Lock {
    /// `None` once it was handed over.
    file: Option<File>,
    note: Note,
    abandoned: bool,
    untidy: bool,
}

impl Lock {
    /// Takes the lock `path`, made when it is not there, for `what` ("a push"); waits at most
    /// `limit` for another holder.
    pub fn acquire(path: &Path, what: &str, limit: Duration) -> Result<Self, LockError> {
        let end = Instant::now() + limit;
        let unusable = |source| LockError::Unusable {
            path: path.to_owned(),
            source,
        };
        loop {
            let file = open(path).map_err(unusable)?;
            let left = end.saturating_duration_since(Instant::now());
            let Some(file) = lock(file, left).map_err(unusable)? else {
                return Err(LockError::Busy {
                    holder: describe_holder(path),
                    waited: limit,
                });
            };
            // Somebody may have removed or replaced the file while we waited for its lock.
            if is_at(&file, path) {
                return Ok(Self::taken(file, what));
            }
        }
    }

    /// A lock that another process took and handed over with [`Lock::hand_over`].
    pub fn taken_over(file: File) -> Self {
        let note = read_note(&file);
        Self {
            file: Some(file),
            note,
            abandoned: false,
            untidy: false,
        }
    }

    fn taken(file: File, what: &str) -> Self {
        let mut note = read_note(&file);
        let abandoned = note.holder.is_some();
        note.holder = Some(Holder {
            what: what.to_owned(),
            pid: std::process::id(),
            since: now(),
        });
        let mut lock = Self {
            file: Some(file),
            note,
            abandoned,
            untidy: false,
        };
        lock.write_note();
        lock
    }

    /// Whether the last holder was killed, so that what it guarded may need tidying.
    pub fn was_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Lets the next holder know that there is still something to tidy.
    pub fn leave_untidy(&mut self) {
        self.untidy = true;
    }

    /// The state that was last set, if it is of this type.
    pub fn state<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(&self.note.state).ok()
    }

    /// Sets the state that the next holders see.
    pub fn set_state<T: Serialize>(&mut self, state: &T) {
        self.note.state = serde_json::to_value(state).unwrap_or_default();
        self.write_note();
    }

    /// The file that carries the lock, to be given to another process: the lock lasts until every
    /// copy of the descriptor is closed.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Leaves the lock to the process that got a copy of [`Lock::file`].
    pub fn hand_over(mut self) {
        self.file = None;
    }

    /// A note that cannot be written (disk full) is no reason to fail: it is only read by people
    /// and by those who can do without.
    fn write_note(&mut self) {
        if let (Some(file), Ok(mut text)) = (&self.file, serde_json::to_vec(&self.note)) {
            text.push(b'\n');
            // Within one page, so a kill cannot tear it. What a longer note leaves behind is not read.
            let _ = file.write_all_at(&text, 0);
            let _ = file.set_len(text.len() as u64);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.untidy {
            self.note.holder = None;
        }
        self.write_note();
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Locks `file`; `None` when that takes longer than `limit`. flock has no time limit of its own,
/// so a thread waits in it. A thread that gets the lock too late gives it up at once.
fn lock(file: File, limit: Duration) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => return Ok(Some(file)),
        Err(TryLockError::Error(error)) => return Err(error),
        Err(TryLockError::WouldBlock) => {}
    }
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let locked = file.lock().map(|()| file);
        let _ = sender.send(locked);
    })?;
    receiver.recv_timeout(limit).ok().transpose()
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn read_note(file: &File) -> Note {
    let mut text = vec![0; NOTE_LIMIT.min(file.metadata().map_or(0, |m| m.len())) as usize];
    let read = file.read_at(&mut text, 0).unwrap_or(0);
    // The first value only: a kill between writing and cutting leaves a tail.
    serde_json::Deserializer::from_slice(&text[..read])
        .into_iter::<Note>()
        .next()
        .and_then(Result::ok)
        .unwrap_or_default()
}

fn describe_holder(path: &Path) -> String {
    let holder = File::open(path)
        .ok()
        .and_then(|file| read_note(&file).holder);
    match holder {
        Some(holder) => {
            let held = Duration::from_nanos(now().saturating_sub(holder.since));
            format!(
                "{} (process {}), which has the lock for {} s",
                holder.what,
                holder.pid,
                held.as_secs()
            )
        }
        None => "another fetch or push".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_second_holder_waits_for_a_limited_time_and_says_for_whom() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::acquire(&path, "a push", SOON).unwrap();
        let error = Lock::acquire(&path, "a fetch", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(&error, LockError::Busy { .. }));
        let text = error.to_string();
        assert!(text.contains("a push (process "), "{text}");
        drop(first);
        Lock::acquire(&path, "a fetch", SOON).unwrap();
    }

    #[test]
    fn the_state_passes_to_the_next_holder() {
        let path = tempfile::tempdir().unwrap().keep().join("lock");
        let mut lock = Lock::acquire(&path, "a fetch", SOON).unwrap();
        assert_eq!(lock.state::<u32>(), None);
        lock.set_state(&7_u32);
        drop(lock);
        let lock = Lock::acquire(&path, "a fetch", SOON).unwrap();
        assert_eq!(lock.state::<u32>(), Some(7));
        assert!(!lock.was_abandoned());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_removed_file_does_not_let_two_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::acquire(&path, "a push", SOON).unwrap();
        let waiting = {
            let path = path.clone();
            thread::spawn(move || Lock::acquire(&path, "a fetch", SOON).map(drop))
        };
        fs::remove_file(&path).unwrap();
        let second = Lock::acquire(&path, "a push", SOON).unwrap();
        drop(first);
        drop(second);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn a_handed_over_lock_lasts_as_long_as_the_other_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::acquire(&path, "a push", SOON).unwrap();
        let copy = lock.file().unwrap().try_clone().unwrap();
        lock.hand_over();
        assert!(Lock::acquire(&path, "a fetch", Duration::ZERO).is_err());
        drop(Lock::taken_over(copy));
        let next = Lock::acquire(&path, "a fetch", SOON).unwrap();
        assert!(!next.was_abandoned());
    }

    #[test]
    fn a_holder_that_was_killed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::acquire(&path, "a push", SOON).unwrap();
        // What a kill leaves: the name on the note and no lock.
        lock.hand_over();
        assert!(
            Lock::acquire(&path, "a fetch", SOON)
                .unwrap()
                .was_abandoned()
        );
        assert!(
            !Lock::acquire(&path, "a fetch", SOON)
                .unwrap()
                .was_abandoned()
        );
    }
}
