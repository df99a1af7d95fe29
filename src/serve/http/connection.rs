//! What is known of a client's connection from one request to the next.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::HeaderMap;

use super::intent::Intent;
use crate::serve::push_sessions::Expected;

/// What proxies add to the head of a request.
const PROXY: [&str; 4] = ["via", "forwarded", "x-forwarded-for", "x-real-ip"];

/// How long what a refresh told a client is good for its next request.
const FRESH: Duration = Duration::from_secs(15);

/// How long a client may take to come back with the rest of its conversation when the gate ends.
pub const CONVERSATION: Duration = Duration::from_secs(5);

/// A client's connection.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    /// A second handle, to cut off a client that does not read.
    pub(super) socket: std::net::TcpStream,
    /// The repository that was refreshed for the client, and when: what that told it stays good for its
    /// next request.
    refreshed: Mutex<Option<(String, Instant)>>,
    /// Since when the client is expected to come back with the rest of its conversation.
    told: Mutex<Option<Instant>>,
    /// The push that is prepared for.
    expected: Mutex<Option<Expected>>,
    /// The push that the client has been told refs for.
    intent: Mutex<Option<Intent>>,
    /// Whether a proxy sends several clients' requests over it.
    is_shared: AtomicBool,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, socket: std::net::TcpStream) -> Self {
        Self {
            peer,
            socket,
            refreshed: Mutex::default(),
            told: Mutex::default(),
            expected: Mutex::default(),
            intent: Mutex::default(),
            is_shared: AtomicBool::new(false),
        }
    }

    /// Looks in the head of a request for the words of a proxy, which may keep a connection for others.
    pub(super) fn look_for_a_proxy(&self, headers: &HeaderMap) {
        if PROXY.iter().any(|&name| headers.contains_key(name)) {
            self.is_shared.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that `repository` was refreshed for a client that is told so.
    pub(super) fn refreshed(&self, repository: &str) {
        *lock(&self.refreshed) = Some((repository.to_owned(), Instant::now()));
    }

    /// Whether `repository` was refreshed for this client a moment ago; that counts once.
    pub(super) fn is_fresh(&self, repository: &str) -> bool {
        let last = lock(&self.refreshed).take();
        !self.is_shared.load(Ordering::Relaxed)
            && last.is_some_and(|(name, when)| name == repository && when.elapsed() < FRESH)
    }

    /// Keeps what is got ready for a push until the connection ends, or the next one comes over it.
    pub(super) fn expects(&self, push: Option<Expected>) {
        if let Some(push) = push {
            *lock(&self.expected) = Some(push);
        }
    }

    /// Notes that the client was told refs for a push. Behind a proxy the push may come over another
    /// connection.
    pub(super) fn intends(&self, intent: Intent) {
        match self.is_shared.load(Ordering::Relaxed) {
            true => intent.forget(),
            false => drop(lock(&self.intent).replace(intent)),
        }
    }

    /// Notes that the client sends its push, which has a line of its own.
    pub(super) fn has_pushed(&self) {
        if let Some(intent) = lock(&self.intent).take() {
            intent.forget();
        }
    }

    /// Notes whether the client comes back once it has its answer.
    pub(super) fn comes_back(&self, it_does: bool) {
        *lock(&self.told) = it_does.then(Instant::now);
    }

    /// Whether the client may still come back.
    pub(super) fn is_in_conversation(&self) -> bool {
        let told = *lock(&self.told);
        told.is_some_and(|told| told.elapsed() < CONVERSATION)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
