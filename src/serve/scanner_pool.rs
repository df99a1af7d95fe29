//! Scanners started ahead: gate-init keeps some gitleaks that wait for their input, lends one to
//! each hook that asks for it and starts the next. `scan::gitleaks::pool_client` says how they talk.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::scan::gitleaks::EngineError;
use crate::scan::gitleaks::launch::{Keeper, Own, Process, Recipe, locate};
use crate::scan::gitleaks::pool_client::{Request, SOCKET};
use crate::unix_socket;

/// How long to wait when no client can be accepted, for want of descriptors say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long after a scan its scanner is replaced when another one waits. The push is being forwarded
/// then, and a start takes a whole core for 0.3 s.
const QUIET: Duration = Duration::from_secs(1);

/// For how many sets of rules scanners are kept. Who asks for another one starts its own.
const MOST_KINDS: usize = 16;

/// Scanners started ahead. They end when it is dropped.
pub struct Pool {
    shared: Arc<Shared>,
    listener: UnixListener,
}

struct Shared {
    run_dir: PathBuf,
    /// How many wait of each kind.
    count: AtomicUsize,
    kinds: Mutex<HashMap<Key, Kind>>,
}

/// A program, and the operator's rules.
type Key = (PathBuf, Option<PathBuf>);

/// The scanners of one key.
struct Kind {
    recipe: Recipe,
    fingerprint: String,
    /// The one that was started first in front: the last may not be ready yet.
    waiting: VecDeque<Process>,
}

impl Pool {
    /// Keeps `count` scanners for each of `rules`, the operator's files (`None`: gitleaks' own
    /// rules), and lends them over a socket in `run_dir`, which must be a private folder.
    ///
    /// Hooks with other rules teach it to keep scanners for these too. One that cannot be started
    /// is no error here: the hook starts its own, and says why that fails.
    pub fn start(run_dir: &Path, count: usize, rules: &[Option<PathBuf>]) -> io::Result<Self> {
        let pool = Self::empty(run_dir, count)?;
        pool.keep(count, rules);
        Ok(pool)
    }

    /// As [`Pool::start`], with nothing to lend before a hook has asked for it.
    pub fn empty(run_dir: &Path, count: usize) -> io::Result<Self> {
        let listener = unix_socket::listen(&run_dir.join(SOCKET))?;
        let shared = Arc::new(Shared {
            run_dir: run_dir.to_owned(),
            count: AtomicUsize::new(count),
            kinds: Mutex::default(),
        });
        let pool = Self {
            shared: Arc::clone(&shared),
            listener: listener.try_clone()?,
        };
        thread::Builder::new()
            .name("scanners".to_owned())
            .spawn(move || shared.serve(&listener))?;
        Ok(pool)
    }

    /// Keeps `count` scanners for each of `rules` from now on, and ends all others.
    pub fn keep(&self, count: usize, rules: &[Option<PathBuf>]) {
        self.shared.count.store(count, Ordering::Relaxed);
        let mut kinds = self.shared.lock();
        kinds.retain(|(_, kept), _| rules.contains(kept));
        for kind in kinds.values_mut() {
            kind.waiting.truncate(count);
            kind.fill(count);
        }
        let Ok(program) = locate() else {
            return;
        };
        for file in rules {
            self.shared
                .learn(&mut kinds, (program.clone(), file.clone()));
        }
    }
}

impl Pool {
    /// Lends nothing any more, and ends the scanners that wait.
    pub fn end(&self) {
        // The thread's accept(2) fails then.
        let _ = shutdown(&self.listener, Shutdown::Both);
        self.shared.count.store(0, Ordering::Relaxed);
        self.shared.lock().clear();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends scanners until the socket is shut down.
    fn serve(self: &Arc<Self>, listener: &UnixListener) {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let shared = Arc::clone(self);
                    // A hook that gets no thread is hung up on, and starts its own scanner.
                    let _ = thread::Builder::new().spawn(move || shared.lend(stream));
                }
                // accept(2): the socket does not listen any more.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
                Err(_) => thread::sleep(ACCEPT_AGAIN),
            }
        }
    }

    /// One hook, from its request to the end of its scanner.
    fn lend(&self, mut stream: UnixStream) -> Option<()> {
        let request: Request = unix_socket::read_request(&stream).ok()?;
        let key = (request.program, request.rules);
        let Some(process) = self.take(&key, &request.fingerprint) else {
            drop(stream);
            self.refill(&key, 1);
            return None;
        };
        let lent = send(&stream, &process).and_then(|()| {
            self.refill(&key, 1);
            // Only the hook has its input now: when the hook is gone, gitleaks reads its end.
            let streams = (process.input, process.report, process.errors);
            drop(streams);
            match process.keeper {
                Keeper::Own(own) => accompany(own, &mut stream),
                Keeper::Lent(_) => Ok(()),
            }
        });
        drop(stream);
        thread::sleep(QUIET);
        self.refill(&key, usize::MAX);
        lent.ok()
    }

    /// A waiting scanner, unless what was started is no longer what is asked for.
    fn take(&self, key: &Key, fingerprint: &str) -> Option<Process> {
        let mut kinds = self.lock();
        if kinds
            .get(key)
            .is_none_or(|kind| kind.fingerprint != fingerprint)
        {
            kinds.remove(key);
            self.learn(&mut kinds, key.clone());
            return None;
        }
        let waiting = &mut kinds.get_mut(key)?.waiting;
        // One that died meanwhile would refuse a push for nothing.
        std::iter::from_fn(|| waiting.pop_front()).find_map(Process::if_running)
    }

    fn learn(&self, kinds: &mut HashMap<Key, Kind>, key: Key) {
        if kinds.len() < MOST_KINDS
            && !kinds.contains_key(&key)
            && let Ok(kind) = self.kind(&key)
        {
            kinds.insert(key, kind);
        }
    }

    fn kind(&self, (program, rules): &Key) -> Result<Kind, EngineError> {
        let recipe = Recipe::read(program.clone(), rules.as_deref(), self.run_dir.clone())?;
        let mut kind = Kind {
            fingerprint: recipe.fingerprint()?,
            recipe,
            waiting: VecDeque::new(),
        };
        kind.fill(self.count.load(Ordering::Relaxed));
        Ok(kind)
    }

    /// Starts what is missing of `key`, until `most` wait.
    fn refill(&self, key: &Key, most: usize) {
        if let Some(kind) = self.lock().get_mut(key) {
            kind.fill(self.count.load(Ordering::Relaxed).min(most));
        }
    }
}

impl Kind {
    /// Starts what is missing or has died, as far as it can be started.
    fn fill(&mut self, count: usize) {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        self.waiting = waiting.filter_map(Process::if_running).collect();
        while self.waiting.len() < count
            && let Ok(process) = self.recipe.start()
        {
            self.waiting.push_back(process);
        }
    }
}

/// Sends what the hook needs of `process`.
fn send(stream: &UnixStream, process: &Process) -> io::Result<()> {
    let mut line = serde_json::to_vec(&process.canary)?;
    line.push(b'\n');
    let descriptors = [
        process.input.as_fd(),
        process.report.as_fd(),
        process.errors.as_fd(),
    ];
    unix_socket::send(stream, &line, &descriptors)
}

/// Waits until the scanner or the hook ends. The hook learns how its scanner ended; a scanner
/// without a hook is ended.
fn accompany(mut own: Own, stream: &mut UnixStream) -> io::Result<()> {
    let pidfd = own.pidfd()?;
    loop {
        let mut watched = [
            PollFd::new(&pidfd, PollFlags::IN),
            PollFd::new(stream, PollFlags::RDHUP),
        ];
        match poll(&mut watched, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = own.wait(Duration::ZERO)? {
            return writeln!(stream, "{}", status.into_raw());
        }
        if !watched[1].revents().is_empty() {
            return Ok(());
        }
    }
}
