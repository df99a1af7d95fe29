//! Sessions with the upstreams' receive-packs: gate-init opens one as a push comes, and lends it to the git that
//! forwards the push. `upstream::push_session` says what that is good for.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::unix_socket;
use crate::upstream::push_session::{Request, SOCKET, Session};

/// The most that are open at once, one a mirror: sshd(8) takes ten sessions on a connection
/// (sshd_config(5), MaxSessions), and refreshes and forwards need theirs.
const MOST: usize = 4;

/// Opens and lends sessions, until it is dropped.
pub struct PushSessions {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared(Mutex<Open>);

#[derive(Default)]
struct Open {
    ended: bool,
    /// Number of the last push that was expected.
    last: u64,
    /// By mirror: for which push it was opened, and the session once it is there.
    sessions: HashMap<PathBuf, (u64, Option<Session>)>,
}

/// A push that is expected. The session that was opened for it ends with it, unless it was lent.
pub struct Expected {
    shared: Arc<Shared>,
    git_dir: PathBuf,
    number: u64,
}

impl PushSessions {
    /// Lends sessions over a socket in `run_dir`.
    pub fn start(run_dir: &Path) -> io::Result<Self> {
        let shared: Arc<Shared> = Arc::default();
        let (tending, lending) = (Arc::clone(&shared), Arc::clone(&shared));
        unix_socket::serve(
            "pushes",
            &run_dir.join(SOCKET),
            move || tending.tend(),
            // Who is hung up on opens a session of its own.
            move |stream| lending.lend(&stream),
        )?;
        Ok(Self { shared })
    }

    /// A push to the mirror `git_dir` comes. Its session opens meanwhile, unless another one waits there.
    pub fn expect(&self, git_dir: &Path) -> Option<Expected> {
        let git_dir = git_dir.canonicalize().ok()?;
        let number = self.shared.lock().enter(&git_dir)?;
        let shared = Arc::clone(&self.shared);
        let expected = Expected {
            shared: Arc::clone(&shared),
            git_dir: git_dir.clone(),
            number,
        };
        let opening = move || {
            let session = Session::open(&git_dir);
            if let Some((push, place)) = shared.lock().sessions.get_mut(&git_dir)
                && *push == number
            {
                *place = session;
            }
        };
        let _ = thread::Builder::new().spawn(opening);
        Some(expected)
    }

    /// Ends all sessions, and opens none any more.
    pub fn end(&self) {
        let mut open = self.shared.lock();
        open.ended = true;
        open.sessions.clear();
    }
}

impl Open {
    /// Makes a place for the session of a push to `git_dir`; its number.
    fn enter(&mut self, git_dir: &Path) -> Option<u64> {
        let is_full = self.sessions.len() >= MOST;
        if self.ended || is_full || self.sessions.contains_key(git_dir) {
            return None;
        }
        self.last += 1;
        self.sessions.insert(git_dir.to_owned(), (self.last, None));
        Some(self.last)
    }
}

impl Drop for PushSessions {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut open = self.shared.lock();
        let session = open.sessions.get(&self.git_dir);
        if session.is_some_and(|(push, _)| *push == self.number) {
            open.sessions.remove(&self.git_dir);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops sessions that have waited for too long; whether more are lent.
    fn tend(&self) -> bool {
        let mut open = self.lock();
        let is_fresh = |session: &Option<Session>| session.as_ref().is_none_or(Session::is_fresh);
        open.sessions.retain(|_, (_, session)| is_fresh(session));
        !open.ended
    }

    fn lend(&self, stream: &UnixStream) -> io::Result<()> {
        let request: Request = unix_socket::read_request(stream)?;
        let taken = self.lock().sessions.remove(&request.git_dir);
        let session = taken.and_then(|(_, session)| session);
        match session.filter(|session| session.is_fresh() && session.is_for(&request)) {
            Some(session) => session.lend(stream),
            None => Ok(()),
        }
    }
}
