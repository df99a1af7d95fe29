//! What receive-pack answers to a push, and the gate's own words in it.

use memchr::memmem;

use super::git_request;
use super::pkt_line::Packets;

/// Bytes of the answer that are kept: what went wrong stands at its start.
const KEPT: usize = 16 << 10;

/// The answer to a push, as it comes.
#[derive(Debug, Default)]
pub struct Answer {
    /// Its start.
    pub start: Vec<u8>,
    packets: Packets,
    /// Whether the client has no side-band, on which it would show what the hook says.
    is_plain: bool,
}

impl Answer {
    /// Looks in what the client said for what it can do.
    pub fn hear_client(&mut self, said: &[u8]) {
        self.is_plain |= git_request::is_plain(said);
    }

    /// Keeps the start of what the server says.
    pub fn keep(&mut self, said: &[u8]) {
        let room = KEPT.saturating_sub(self.start.len());
        self.start.extend_from_slice(&said[..said.len().min(room)]);
    }

    /// Says in the gate's words what git refuses before any hook has seen it: behind git's report, on
    /// the side-band that the client shows (gitprotocol-pack(5), "Report Status"). Returns where in
    /// `said` they belong, and the words.
    pub fn explain_gits_refusal(&mut self, said: &[u8]) -> Option<(usize, Vec<u8>)> {
        let has = |words: &[u8]| memmem::find(&self.start, words).is_some();
        let is_refusal = has(b"\x01") && has(b"unpack ") && !has(b"unpack ok");
        let end = self.packets.flush(said)?;
        is_refusal.then(|| (end, git_request::refused_by_git()))
    }

    /// Whether `said` is the report of a refusal for a client without a side-band, which reads why the
    /// hook refuses in the report of each ref ([`git_request::with_reason`]): all else that the hook says
    /// goes to the gate's log.
    pub fn wants_reason(&self, said: &[u8]) -> bool {
        self.is_plain && memmem::find(said, git_request::DECLINED).is_some()
    }
}
