//! A request that has a place, whatever it came over.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::clients::Permit;
use super::git_request::{Request, Service};
use super::relay::Patience;
use crate::settings::Limits;

/// A request that has a place, whatever it came over.
pub struct Asked {
    /// The client's address.
    pub peer: SocketAddr,
    /// What it asks for.
    pub request: Request,
    /// Its place.
    pub permit: Permit,
}

impl Asked {
    /// How long each side may take.
    pub fn patience(&self, limits: &Limits) -> Patience {
        let idle = match self.request.service {
            Service::Fetch => limits.idle_client,
            Service::Push => limits.idle_push,
        };
        Patience {
            client: Duration::from_secs(idle),
            server: Duration::from_secs(limits.lock + limits.refresh + limits.idle_client),
        }
    }
}

/// A client's address and port, as the hooks write them.
pub fn shown_peer(peer: SocketAddr) -> String {
    format!("{}:{}", shown_address(peer), peer.port())
}

/// As git daemon writes it: an IPv6 address stands in brackets.
pub fn shown_address(peer: SocketAddr) -> String {
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
