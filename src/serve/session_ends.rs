//! Sessions that have said what a hook wanted to know, kept until they end.
//!
//! OpenSSH's master takes it badly when its client hangs up on a session that is still open: when the session has
//! ended, a round trip later, the master hangs up on whoever has the number by then that the client's
//! connection had (mux.c, `mux_master_session_cleanup_cb`), and a fetch or a push breaks off. A hook
//! has no time to wait for that, so it leaves the connection here.

use std::io;
use std::path::Path;

use crate::unix_socket;
use crate::upstream::mux_client::{ENDS, MuxSession};

/// Keeps sessions that come over a socket in `run_dir`, as long as `goes_on`.
pub fn keep(run_dir: &Path, goes_on: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
    unix_socket::serve("session-ends", &run_dir.join(ENDS), goes_on, |stream| {
        let stream = unix_socket::of_ours(stream)?;
        let (_, descriptors) = unix_socket::receive(&stream)?;
        for descriptor in descriptors {
            MuxSession::taken_over(descriptor.into()).wait_for_end();
        }
        Ok(())
    })
}
