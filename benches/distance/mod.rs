//! A link with a delay and a rate, as a relay on loopback: what git over ssh costs when the forge is
//! not next door. There is no netem in most containers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are passed on at a time.
const PIECE: usize = 16 << 10;

/// Pieces that are under way in one direction at most: 4 MiB.
const UNDER_WAY: usize = 256;

/// One direction's delay, and its rate in bytes a second.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub delay: Duration,
    pub rate: f64,
}

/// Relays to `target` over `link` until the program ends; returns where it listens.
pub fn relay(target: SocketAddr, link: Link) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // The three packets of TCP's own beginning.
            thread::sleep(2 * link.delay);
            if let Ok(server) = TcpStream::connect(target) {
                connect(&client, &server, link);
                connect(&server, &client, link);
            }
        }
    });
    address
}

fn connect(from: &TcpStream, to: &TcpStream, link: Link) {
    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    to.set_nodelay(true).unwrap();
    let (sender, receiver) = sync_channel(UNDER_WAY);
    thread::spawn(move || take(from, &sender, link.delay));
    thread::spawn(move || give(to, &receiver, link.rate));
}

/// Reads pieces, each with the moment at which its first byte may arrive.
fn take(mut from: TcpStream, pieces: &SyncSender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let arrives = Instant::now() + delay;
        if pieces.send((arrives, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
}

/// Writes each piece when it has arrived, no faster than the link takes them.
fn give(mut to: TcpStream, pieces: &Receiver<(Instant, Vec<u8>)>, rate: f64) {
    let mut free = Instant::now();
    for (arrives, piece) in pieces {
        free = free.max(arrives) + Duration::from_secs_f64(piece.len() as f64 / rate);
        thread::sleep(free.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
