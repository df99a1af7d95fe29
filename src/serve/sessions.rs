//! Sessions with the upstreams that are opened ahead: gate-init keeps one for each mirror that was
//! asked for, lends it to the next hook and opens another. `upstream::waiting_session` says what is asked.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::unix_socket;
use crate::upstream::waiting_session::{AGAIN, Request, SOCKET, Session, UNFIT};

/// How long a hook may keep a session.
const LOAN_LIMIT: Duration = Duration::from_secs(3600);

/// For how long an upstream that does not speak version 2 is not asked in it again.
const UNFIT_FOR: Duration = Duration::from_secs(3600);

/// Keeps sessions, until it ends.
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    /// The directory of the mirrors.
    base_path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    ended: bool,
    sessions: HashMap<PathBuf, Session>,
    /// Upstreams without version 2, each by what its sessions would stand for.
    unfit: HashMap<String, Instant>,
}

impl Sessions {
    /// Lends sessions over a socket in `run_dir` to the hooks of the mirrors in `base_path`.
    pub fn start(run_dir: &Path, base_path: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            base_path: base_path.canonicalize().unwrap_or(base_path.to_owned()),
            kept: Mutex::default(),
        });
        let (tending, lending) = (Arc::clone(&shared), Arc::clone(&shared));
        unix_socket::serve(
            "sessions",
            &run_dir.join(SOCKET),
            move || tending.tend(),
            // A hook that is hung up on asks in a session of its own.
            move |stream| lending.lend(stream),
        )?;
        Ok(Self { shared })
    }

    /// Ends all sessions, and opens none any more.
    pub fn end(&self) {
        let mut kept = self.shared.lock();
        kept.ended = true;
        kept.sessions.clear();
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops sessions that have ended; whether more are lent.
    fn tend(&self) -> bool {
        let mut kept = self.lock();
        kept.sessions.retain(|_, session| session.is_open());
        kept.unfit.retain(|_, until| Instant::now() < *until);
        !kept.ended
    }

    /// One hook, from its request to its word on what came of it.
    fn lend(&self, mut stream: UnixStream) -> io::Result<()> {
        let request: Request = unix_socket::read_request(&stream)?;
        // Nothing is kept for a repository that somebody has only looked at.
        if request.git_dir.parent() != Some(&self.base_path) {
            return Ok(());
        }
        let session = self.lock().sessions.remove(&request.git_dir);
        // One that stands for another key or other settings ends here.
        let mut session = session.filter(|session| session.identity == request.identity);
        session = session.and_then(|mut session| session.is_open().then_some(session));
        match &mut session {
            Some(session) => session.lend(&stream)?,
            None => unix_socket::send(&stream, b"\n", &[])?,
        }
        stream.set_read_timeout(Some(LOAN_LIMIT))?;
        let mut word = [0];
        let read = stream.read(&mut word);
        drop(session);
        match read? {
            1 if word[0] == AGAIN => self.open(request),
            1 if word[0] == UNFIT => {
                let until = Instant::now() + UNFIT_FOR;
                self.lock().unfit.insert(request.identity, until);
            }
            _ => {}
        }
        Ok(())
    }

    /// Opens the session for the next hook, unless another one has.
    fn open(&self, Request { git_dir, identity }: Request) {
        let mut kept = self.lock();
        let is_wanted = !kept.ended && !kept.unfit.contains_key(&identity);
        if is_wanted
            && !kept.sessions.contains_key(&git_dir)
            && let Some(session) = Session::open(&git_dir)
        {
            kept.sessions.insert(git_dir, session);
        }
    }
}
