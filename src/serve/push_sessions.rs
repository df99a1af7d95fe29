//! Sessions with the upstreams' receive-packs: gate-init opens one as a push comes, and lends it to the git that
//! forwards the push. `upstream::push_session` says what that is good for.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::session_ends;
use crate::unix_socket;
use crate::upstream::push_session::{SOCKET, Session};
use crate::upstream::waiting_session::Request;

/// The most that wait at once, one a mirror: sshd(8) takes ten sessions on a connection
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
    mirrors: HashMap<PathBuf, Pushes>,
}

/// The pushes that come to one mirror.
#[derive(Default)]
struct Pushes {
    expected: usize,
    /// How many of them have asked for a session.
    served: usize,
    /// The one for whoever asks next.
    session: Option<Session>,
    is_opening: bool,
}

/// A push that is expected. What was opened ends with the last one.
pub struct Expected {
    shared: Arc<Shared>,
    git_dir: PathBuf,
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
            move |stream| lend(&lending, &stream),
        )?;
        let going_on = Arc::clone(&shared);
        session_ends::keep(run_dir, move || !going_on.lock().ended)?;
        Ok(Self { shared })
    }

    /// A push to the mirror `git_dir` comes: a session for it opens meanwhile.
    pub fn expect(&self, git_dir: &Path) -> Option<Expected> {
        let git_dir = git_dir.canonicalize().ok()?;
        let mut open = self.shared.lock();
        open.mirrors.entry(git_dir.clone()).or_default().expected += 1;
        drop(open);
        self.shared.open(&git_dir);
        let shared = Arc::clone(&self.shared);
        Some(Expected { shared, git_dir })
    }

    /// Ends all sessions, and opens none any more.
    pub fn end(&self) {
        let mut open = self.shared.lock();
        open.ended = true;
        for pushes in std::mem::take(&mut open.mirrors).into_values() {
            pushes.end();
        }
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
        let Some(pushes) = open.mirrors.get_mut(&self.git_dir) else {
            return;
        };
        // One that was refused has not asked: then a session too many may be opened.
        pushes.expected -= 1;
        pushes.served = pushes.served.saturating_sub(1);
        if pushes.expected == 0
            && let Some(pushes) = open.mirrors.remove(&self.git_dir)
        {
            pushes.end();
        }
    }
}

impl Pushes {
    fn end(self) {
        self.session.into_iter().for_each(Session::end);
    }
}

impl Open {
    /// Whether a session is to be opened for a push to `git_dir`, which is noted then.
    fn is_wanted(&mut self, git_dir: &Path) -> bool {
        let has_any = |pushes: &&Pushes| pushes.session.is_some() || pushes.is_opening;
        let is_full = self.mirrors.values().filter(has_any).count() >= MOST;
        let Some(pushes) = self.mirrors.get_mut(git_dir) else {
            return false;
        };
        let is_wanted = pushes.expected > pushes.served && !has_any(&&*pushes) && !is_full;
        pushes.is_opening |= is_wanted;
        is_wanted && !self.ended
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the session for the next push to `git_dir`, unless there is one.
    fn open(self: &Arc<Self>, git_dir: &Path) {
        if !self.lock().is_wanted(git_dir) {
            return;
        }
        let (shared, mirror) = (Arc::clone(self), git_dir.to_owned());
        let opening = move || {
            let session = Session::open(&mirror);
            match (shared.lock().mirrors.get_mut(&mirror), session) {
                (Some(pushes), session) => {
                    pushes.is_opening = false;
                    pushes.session = session;
                }
                (None, Some(session)) => session.end(),
                (None, None) => {}
            }
        };
        if thread::Builder::new().spawn(opening).is_err()
            && let Some(pushes) = self.lock().mirrors.get_mut(git_dir)
        {
            // A later push may have its thread.
            pushes.is_opening = false;
        }
    }

    /// Drops sessions that have waited for too long; whether more are lent.
    fn tend(&self) -> bool {
        let mut open = self.lock();
        for pushes in open.mirrors.values_mut() {
            let old = pushes.session.take_if(|session| !session.is_fresh());
            old.into_iter().for_each(Session::end);
        }
        !open.ended
    }
}

fn lend(shared: &Arc<Shared>, stream: &UnixStream) -> io::Result<()> {
    let request: Request = unix_socket::read_request(stream)?;
    let session = shared
        .lock()
        .mirrors
        .get_mut(&request.git_dir)
        .and_then(|pushes| {
            pushes.served += 1;
            pushes.session.take()
        });
    // What the next one finds is as old as this forward.
    shared.open(&request.git_dir);
    match session {
        Some(session) if session.is_fresh() && session.identity == request.identity => {
            session.lend(stream)
        }
        // It stands for another key or other settings.
        Some(session) => {
            session.end();
            Ok(())
        }
        None => Ok(()),
    }
}
