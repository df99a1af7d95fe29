//! A push of which the refs were asked for. Its line in the audit log comes with the ref updates, which
//! the client sends in another request: where it sends none, the line is written here.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::audit::Kind;
use crate::serve::connection;
use crate::serve::git_request::Request;
use crate::serve::state::Gate;

/// Dropped, it writes the line of a push that found everything up to date.
pub struct Intent(Option<(Arc<Gate>, SocketAddr, Request)>);

impl Intent {
    /// Of the client at `peer`.
    pub fn new(gate: &Arc<Gate>, peer: SocketAddr, request: &Request) -> Self {
        Self(Some((Arc::clone(gate), peer, request.clone())))
    }

    /// Another request has the line.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        if let Some((gate, peer, request)) = self.0.take() {
            gate.record(&connection::event(&gate, peer, &request, Kind::Push));
        }
    }
}
