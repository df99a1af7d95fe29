//! What receive-pack answers to a push, and the gate's own words in it.

use memchr::memmem;

use super::git_request;
use crate::git::pkt_line::Packets;

/// Bytes of the answer that are kept: what went wrong stands at its start.
const KEPT: usize = 16 << 10;

/// Bytes of the client's that are kept until its first command is whole.
const COMMAND_LIMIT: usize = 64 << 10;

/// The answer to a push, as it comes.
#[derive(Debug, Default)]
pub struct Answer {
    /// Its start.
    pub start: Vec<u8>,
    packets: Packets,
    /// What the client has said, until its first command is whole.
    command: Vec<u8>,
    /// Whether the client has no side-band, on which it would show what the hook says; `None` until that
    /// is known.
    is_plain: Option<bool>,
}

impl Answer {
    /// Looks in what the client said for what it can do.
    pub fn hear_client(&mut self, said: &[u8]) {
        if self.is_plain.is_some() {
            return;
        }
        let room = COMMAND_LIMIT - self.command.len();
        self.command
            .extend_from_slice(&said[..said.len().min(room)]);
        self.is_plain = git_request::is_plain(&self.command);
        if self.is_plain.is_some() || self.command.len() == COMMAND_LIMIT {
            self.is_plain.get_or_insert_default();
            self.command = Vec::new();
        }
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
        self.is_plain == Some(true) && memmem::find(said, git_request::DECLINED).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::pkt_line::packet;

    #[test]
    fn what_a_client_can_do_is_read_however_its_words_are_cut() {
        let (old, new) = ("0".repeat(40), "1".repeat(40));
        let command = |can: &str| {
            let command = packet(&format!("{old} {new} refs/heads/x\0{can}"));
            [packet(&format!("shallow {new}")), command].concat()
        };
        for (can, plain) in [
            (" report-status agent=x", true),
            ("report-status side-band-64k", false),
            ("agent=x", false),
        ] {
            let said = command(can);
            for cut in 0..=said.len() {
                let mut answer = Answer::default();
                answer.hear_client(&said[..cut]);
                answer.hear_client(&said[cut..]);
                answer.hear_client(b"0000PACK side-band");
                assert_eq!(answer.is_plain, Some(plain), "{can} {cut}");
            }
        }
    }
}
