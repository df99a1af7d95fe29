//! The scanners, the queue of hooks that wait for one, and one hook from its request to the end of its scan.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::stock::{Kept, Scanner, Stock, Ticket};
use crate::scan::gitleaks::lent::Returned;
use crate::scan::gitleaks::pool_client::{Request, SOCKET};
use crate::{process, unix_socket};

/// How often a hook that waits or works is looked after.
const STEP: Duration = Duration::from_millis(50);

/// How long a push may go on with its only scanner while others wait.
const TURN: Duration = Duration::from_secs(1);

/// Scanners to be lent. They end when it is dropped.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    stock: Mutex<Stock>,
    /// Rung when a scanner or a hook's turn has come free.
    changed: Condvar,
}

impl Pool {
    /// Keeps scanners for each of `rules`, the operator's files (`None`: gitleaks' own rules), and
    /// lends them over a socket in `run_dir`, which must be a private directory.
    ///
    /// Hooks with other rules teach it to keep scanners for these too. One that cannot be started
    /// is no error here: the hook starts its own, and says why that fails.
    pub fn start(run_dir: &Path, kept: Kept, rules: &[Option<PathBuf>]) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            stock: Mutex::new(Stock::new(run_dir, kept)),
            changed: Condvar::new(),
        });
        let (tending, lending) = (Arc::clone(&shared), Arc::clone(&shared));
        unix_socket::serve(
            "scanners",
            &run_dir.join(SOCKET),
            move || tending.tend(),
            // A hook that is hung up on starts its own scanner.
            move |stream| lending.lend(stream),
        )?;
        let pool = Self { shared };
        pool.keep(kept, rules);
        Ok(pool)
    }

    /// Keeps scanners for each of `rules` from now on, and ends all others.
    pub fn keep(&self, kept: Kept, rules: &[Option<PathBuf>]) {
        self.shared.stock().keep(kept, rules);
    }

    /// A push with these `rules` comes: scanners for it start while its client packs.
    pub fn expect(&self, rules: Option<&Path>) {
        self.shared.stock().wake(rules);
    }

    /// Lends nothing any more, and ends the scanners that wait.
    pub fn end(&self) {
        self.shared.stock().end();
        self.shared.changed.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks after the scanners that wait; whether the pool goes on.
    pub(super) fn tend(&self) -> bool {
        let mut stock = self.stock();
        stock.tend();
        !stock.has_ended()
    }

    /// One hook, from its request to the end of its scan. It is hung up on where it gets no scanner.
    fn lend(&self, mut stream: UnixStream) -> io::Result<()> {
        let request: Request = unix_socket::read_request(&stream)?;
        stream.write_all(b"\n")?;
        let ticket = self.stock().enter(&request);
        let lent = self.wait(ticket, &request, &stream).map(|mut scanner| {
            let turn = if request.waits { TURN } else { Duration::ZERO };
            let returned = send(&stream, &scanner)
                .and_then(|()| self.accompany(&mut scanner, &mut stream, turn));
            returned
                .ok()
                .flatten()
                .map(|Returned { bytes }| scanner.used(bytes))
        });
        self.stock().leave(ticket, lent.flatten());
        self.changed.notify_all();
        Ok(())
    }

    /// A scanner, once it is the hook's turn; none when the hook is gone, or is better off alone.
    fn wait(&self, ticket: Ticket, request: &Request, stream: &UnixStream) -> Option<Scanner> {
        let mut stock = self.stock();
        loop {
            // It says nothing while it waits.
            if process::wait_for_any(&[stream.as_fd()], Duration::ZERO).ok()? {
                return None;
            }
            if let Some(scanner) = stock.take(ticket, request).ok()? {
                // Somebody else is next now.
                self.changed.notify_all();
                return Some(scanner);
            }
            let waited = self.changed.wait_timeout(stock, STEP);
            (stock, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the hook gives the scanner back. A hook whose scanner ends learns how; where others
    /// wait, it is asked for it when its `turn` is over.
    fn accompany(
        &self,
        scanner: &mut Scanner,
        stream: &mut UnixStream,
        turn: Duration,
    ) -> io::Result<Option<Returned>> {
        let pidfd = scanner.own.pidfd()?;
        let (lent, mut is_asked) = (Instant::now(), false);
        loop {
            let mut watched = [
                PollFd::new(&pidfd, PollFlags::IN),
                PollFd::new(stream, PollFlags::IN | PollFlags::RDHUP),
            ];
            process::poll(&mut watched, (!is_asked).then_some(STEP))?;
            if !watched[1].revents().is_empty() {
                return unix_socket::hear(stream).map(Some);
            }
            if let Some(status) = scanner.own.wait(Duration::ZERO)? {
                writeln!(stream, "{}", status.into_raw())?;
                return Ok(None);
            }
            if !is_asked && lent.elapsed() >= turn && self.stock().is_short() {
                stream.write_all(b"\n")?;
                is_asked = true;
            }
        }
    }
}

/// Sends what the hook needs of `scanner`.
fn send(stream: &UnixStream, Scanner { ends, .. }: &Scanner) -> io::Result<()> {
    let mut line = serde_json::to_vec(&ends.canary)?;
    line.push(b'\n');
    let descriptors = [
        ends.input.as_fd(),
        ends.printed.as_fd(),
        ends.report.as_fd(),
    ];
    unix_socket::send(stream, &line, &descriptors)
}
