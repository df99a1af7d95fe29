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
pub struct Live {
    table: Mutex<Table>,
    /// Rung when a client leaves.
    left: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    clients: HashMap<u64, Client>,
}

#[derive(Debug)]
struct Client {
    peer: IpAddr,
    socket: Option<TcpStream>,
    /// The process group of its git daemon.
    server: Option<Pid>,
    /// Since when it waits for its client, without taking a place.
    resting: Option<Instant>,
    /// Whether it was given up for another one that waits.
    evicted: bool,
}

/// One client's place; dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    live: Arc<Live>,
    id: u64,
}

/// The limit that keeps a client out: its name in gate.json and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full(pub &'static str, pub u64);

impl Live {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a client, or says which limit forbids it.
    pub fn enter(self: &Arc<Self>, peer: SocketAddr, limits: &Limits) -> Result<Place, Full> {
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
            evicted: false,
        };
        table.clients.insert(id, client);
        Ok(Place {
            live: Arc::clone(self),
            id,
        })
    }

    /// How many clients are being served.
    pub fn count(&self) -> usize {
        self.table().clients.len()
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
    fn room(&self, peer: IpAddr, limits: &Limits) -> Result<(), Full> {
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
                return Err(Full(name, limit));
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
        if let Some(oldest) = of_peer.min_by_key(|client| client.resting) {
            oldest.evicted = true;
            // Its relay reads an end, and looks why.
            if let Some(socket) = &oldest.socket {
                let _ = socket.shutdown(Shutdown::Read);
            }
        }
    }
}

impl Client {
    fn is_waiting(&self) -> bool {
        self.resting.is_some() && !self.evicted
    }
}

impl Place {
    /// Gives the place to others while the client is waited for.
    pub fn rest(&self) {
        let mut table = self.live.table();
        if let Some(client) = table.clients.get_mut(&self.id) {
            client.resting = Some(Instant::now());
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

    /// Takes a place again; false when there is none now.
    pub fn wake(&self, limits: &Limits) -> bool {
        let mut table = self.live.table();
        let Some(peer) = table.clients.get(&self.id).map(|client| client.peer) else {
            return true;
        };
        if table.room(peer, limits).is_err() {
            return false;
        }
        if let Some(client) = table.clients.get_mut(&self.id) {
            client.resting = None;
        }
        true
    }

    /// Whether it was given up for another push that waits.
    pub fn is_evicted(&self) -> bool {
        self.live
            .table()
            .clients
            .get(&self.id)
            .is_some_and(|client| client.evicted)
    }

    /// Notes the client's socket and the process that serves it, so that both can be ended.
    pub fn serve(&self, socket: Option<TcpStream>, server: Pid) {
        if let Some(client) = self.live.table().clients.get_mut(&self.id) {
            client.socket = socket;
            client.server = Some(server);
        }
    }

    /// Notes that the process has ended: its number may soon be another's.
    pub fn served(&self) {
        if let Some(client) = self.live.table().clients.get_mut(&self.id) {
            client.server = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.live.table().clients.remove(&self.id);
        self.live.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_per_peer_and_freed() {
        let live = Arc::new(Live::default());
        let limits = Limits {
            connections: 3,
            connections_per_peer: 2,
            ..Limits::default()
        };
        let peer = |text: &str| text.parse().unwrap();
        let first = live.enter(peer("10.0.0.1:1"), &limits).unwrap();
        let _second = live.enter(peer("[::ffff:10.0.0.1]:2"), &limits).unwrap();
        let full = live.enter(peer("10.0.0.1:3"), &limits).unwrap_err();
        assert_eq!(full, Full("maxConnectionsPerPeer", 2));
        let _other = live.enter(peer("10.0.0.2:1"), &limits).unwrap();
        let full = live.enter(peer("10.0.0.3:1"), &limits).unwrap_err();
        assert_eq!(full, Full("maxConnections", 3));
        drop(first);
        assert!(live.enter(peer("10.0.0.3:1"), &limits).is_ok());
    }

    #[test]
    fn a_push_that_waits_takes_no_place_and_many_of_one_address_end_first() {
        let live = Arc::new(Live::default());
        let limits = Limits {
            connections: 2,
            connections_per_peer: 1,
            ..Limits::default()
        };
        let peer = |text: &str| text.parse().unwrap();
        let other = live.enter(peer("10.0.0.2:1"), &limits).unwrap();
        other.rest();
        let many: Vec<_> = (1..=MOST_RESTING)
            .map(|_| {
                let place = live.enter(peer("10.0.0.1:1"), &limits).unwrap();
                place.rest();
                place
            })
            .collect();
        assert!(!other.is_evicted() && many[0].is_evicted() && !many[1].is_evicted());
        assert!(many[1].wake(&limits));
        assert!(!many[2].wake(&limits), "its address has no other place");
        assert!(other.wake(&limits));
    }
}
