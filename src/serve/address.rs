//! The addresses that gate-init listens on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};

use super::ServeError;

/// Takes the first of `addresses` that can be had, without listening yet: the server listens once it is
/// ready, and a server that is restarted finds the clients that came meanwhile.
pub fn bind_to_first(addresses: Vec<SocketAddr>) -> Result<OwnedFd, ServeError> {
    // One socket takes both families; a system without IPv6 has only the other.
    let mut problem = None;
    for address in addresses {
        match bind_to(address) {
            Ok(socket) => return Ok(socket),
            Err(source) => problem = Some(ServeError::Listen { address, source }),
        }
    }
    Err(problem.unwrap_or(ServeError::System(io::ErrorKind::AddrNotAvailable.into())))
}

/// The addresses at which `port` may be listened on: the first that works is taken.
pub fn of_port(listen: Option<IpAddr>, port: u16) -> Vec<SocketAddr> {
    let all = match listen {
        Some(ip) => vec![ip],
        None => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
    };
    all.into_iter()
        .map(|ip| SocketAddr::new(ip, port))
        .collect()
}

fn bind_to(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}
