//! The clients that are being served, and how many there may be.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::settings::Limits;

/// The most pushes that wait for their clients: each keeps a git daemon and a receive-pack.
const MOST_RESTING: usize = 128;

/// All clients that are being served.
#[derive(Debug, Default)]
pub struct ClientRegistry {
    table: Mutex<Table>,
    /// Rung when a client leaves.
    left: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    /// Whether the gate ends.
    ending: bool,
    next: u64,
    clients: HashMap<u64, Client>,
}

#[derive(Debug)]
struct Client {
    peer: IpAddr,
    socket: Option<TcpStream>,
    /// The process group of its git daemon.
    server: Option<Pid>,
    /// Where it waits for its client, without taking a place.
    resting: Option<Rest>,
    /// Whether it was given up while it waited.
    sent_away: Option<SentAway>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    since: Instant,
    /// Whether the client has begun to send its push.
    has_begun: bool,
}

/// Why a push that waits for its client is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentAway {
    /// Too many wait, and it waited longest.
    Crowd,
    /// The gate ends, and nothing of the push has come.
    Ending,
}

/// One client's place; dropping it frees the place.
#[derive(Debug)]
pub struct Permit {
    registry: Arc<ClientRegistry>,
    id: u64,
}

/// The limit that keeps a client out: its name in gate.json and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReached(pub &'static str, pub u64);

impl ClientRegistry {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a client, or says which limit forbids it.
    pub fn acquire(
        self: &Arc<Self>,
        peer: SocketAddr,
        limits: &Limits,
    ) -> Result<Permit, LimitReached> {
        // An IPv4 client of a socket for both families has an address that is mapped into IPv6.
        let peer = peer.ip().to_canonical();
        let mut table = self.table();
        table.room(peer, limits)?;
        let id = table.next;
        table.next += 1;
        let client = Client {
            peer,
            socket: None,
            server: None,
            resting: None,
            sent_away: None,
        };
        table.clients.insert(id, client);
        Ok(Permit {
            registry: Arc::clone(self),
            id,
        })
    }

    /// How many clients are being served.
    pub fn count(&self) -> usize {
        self.table().clients.len()
    }

    /// Sends the pushes away, now and from now on, that wait for a client which has sent nothing yet:
    /// there is nothing to finish.
    pub fn end_waiting(&self) {
        let mut table = self.table();
        table.ending = true;
        for client in table.clients.values_mut() {
            client.send_away_at_end();
        }
    }

    /// Waits until nobody is being served, for `limit` at most or until `hurry` says so; returns
    /// how many are left.
    pub fn drain(&self, limit: Duration, hurry: impl Fn() -> bool) -> usize {
        const LOOK: Duration = Duration::from_millis(100);
        let end = Instant::now() + limit;
        let mut table = self.table();
        while !table.clients.is_empty() && Instant::now() < end && !hurry() {
            let (next, _) = self
                .left
                .wait_timeout(table, LOOK)
                .unwrap_or_else(PoisonError::into_inner);
            table = next;
        }
        table.clients.len()
    }

    /// Cuts everybody off and ends their git daemons.
    pub fn cut(&self) {
        for client in self.table().clients.values() {
            if let Some(socket) = &client.socket {
                let _ = socket.shutdown(Shutdown::Both);
            }
            if let Some(server) = client.server {
                let _ = kill_process_group(server, Signal::KILL);
            }
        }
    }
}

impl Table {
    /// Whether one more client may be served, or which limit forbids it.
    fn room(&self, peer: IpAddr, limits: &Limits) -> Result<(), LimitReached> {
        let at_work = || {
            self.clients
                .values()
                .filter(|client| client.resting.is_none())
        };
        let from_peer = at_work().filter(|client| client.peer == peer).count();
        for (count, name, limit) in [
            (at_work().count(), "maxConnections", limits.connections),
            (
                from_peer,
                "maxConnectionsPerPeer",
                limits.connections_per_peer,
            ),
        ] {
            if count as u64 >= limit {
                return Err(LimitReached(name, limit));
            }
        }
        Ok(())
    }

    /// Gives up the push that waited longest, of the address that has the most of them.
    fn evict(&mut self) {
        let mut waiting: HashMap<IpAddr, usize> = HashMap::new();
        for client in self.clients.values().filter(|client| client.is_waiting()) {
            *waiting.entry(client.peer).or_default() += 1;
        }
        let Some((&peer, _)) = waiting.iter().max_by_key(|(_, count)| **count) else {
            return;
        };
        let of_peer = self
            .clients
            .values_mut()
            .filter(|client| client.peer == peer && client.is_waiting());
        if let Some(oldest) = of_peer.min_by_key(|client| client.resting.map(|rest| rest.since)) {
            oldest.send_away(SentAway::Crowd);
        }
    }
}

impl Client {
    fn is_waiting(&self) -> bool {
        self.resting.is_some() && self.sent_away.is_none()
    }

    fn send_away(&mut self, why: SentAway) {
        self.sent_away = Some(why);
        // Its relay reads an end, and looks why.
        if let Some(socket) = &self.socket {
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    fn send_away_at_end(&mut self) {
        if self.is_waiting() && self.resting.is_some_and(|rest| !rest.has_begun) {
            self.send_away(SentAway::Ending);
        }
    }
}

impl Permit {
    /// Gives the place to others while the client is waited for, which has begun to send its push or
    /// has not.
    pub fn rest(&self, has_begun: bool) {
        let mut table = self.registry.table();
        let ending = table.ending;
        if let Some(client) = table.clients.get_mut(&self.id) {
            let since = Instant::now();
            client.resting = Some(Rest { since, has_begun });
            if ending {
                client.send_away_at_end();
            }
        }
        if table
            .clients
            .values()
            .filter(|client| client.is_waiting())
            .count()
            > MOST_RESTING
        {
            table.evict();
        }
    }

    /// Takes a place again, or says which limit forbids it now.
    pub fn wake(&self, limits: &Limits) -> Result<(), LimitReached> {
        let mut table = self.registry.table();
        if let Some(peer) = table.clients.get(&self.id).map(|client| client.peer) {
            table.room(peer, limits)?;
        }
        if let Some(client) = table.clients.get_mut(&self.id) {
            client.resting = None;
        }
        Ok(())
    }

    /// Whether it was given up while it waited.
    pub fn sent_away(&self) -> Option<SentAway> {
        self.registry.table().clients.get(&self.id)?.sent_away
    }

    /// Notes the client's socket and the process that serves it, so that both can be ended.
    pub fn serve(&self, socket: Option<TcpStream>, server: Pid) {
        if let Some(client) = self.registry.table().clients.get_mut(&self.id) {
            client.socket = socket;
            client.server = Some(server);
        }
    }

    /// Notes that the process has ended: its number may soon be another's.
    pub fn served(&self) {
        if let Some(client) = self.registry.table().clients.get_mut(&self.id) {
            client.server = None;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.registry.table().clients.remove(&self.id);
        self.registry.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_per_peer_and_freed() {
        let clients = Arc::new(ClientRegistry::default());
        let limits = Limits {
            connections: 3,
            connections_per_peer: 2,
            ..Limits::default()
        };
        let peer = |text: &str| text.parse().unwrap();
        let first = clients.acquire(peer("10.0.0.1:1"), &limits).unwrap();
        let _second = clients
            .acquire(peer("[::ffff:10.0.0.1]:2"), &limits)
            .unwrap();
        let full = clients.acquire(peer("10.0.0.1:3"), &limits).unwrap_err();
        assert_eq!(full, LimitReached("maxConnectionsPerPeer", 2));
        let _other = clients.acquire(peer("10.0.0.2:1"), &limits).unwrap();
        let full = clients.acquire(peer("10.0.0.3:1"), &limits).unwrap_err();
        assert_eq!(full, LimitReached("maxConnections", 3));
        drop(first);
        assert!(clients.acquire(peer("10.0.0.3:1"), &limits).is_ok());
    }

    #[test]
    fn a_push_that_waits_takes_no_place_and_is_the_first_to_go() {
        let clients = Arc::new(ClientRegistry::default());
        let limits = Limits {
            connections: 2,
            connections_per_peer: 1,
            ..Limits::default()
        };
        let peer = |text: &str| text.parse().unwrap();
        let other = clients.acquire(peer("10.0.0.2:1"), &limits).unwrap();
        other.rest(false);
        let many: Vec<_> = (1..=MOST_RESTING)
            .map(|_| {
                let permit = clients.acquire(peer("10.0.0.1:1"), &limits).unwrap();
                permit.rest(true);
                permit
            })
            .collect();
        assert_eq!(other.sent_away(), None);
        assert_eq!(many[0].sent_away(), Some(SentAway::Crowd));
        assert_eq!(many[1].sent_away(), None);
        assert_eq!(many[1].wake(&limits), Ok(()));
        let full = LimitReached("maxConnectionsPerPeer", 1);
        assert_eq!(many[2].wake(&limits), Err(full));
        // An end sends those away that have sent nothing, also those that begin to wait then.
        clients.end_waiting();
        assert_eq!(other.sent_away(), Some(SentAway::Ending));
        assert_eq!(many[2].sent_away(), None);
        many[1].rest(false);
        assert_eq!(many[1].sent_away(), Some(SentAway::Ending));
    }
}
