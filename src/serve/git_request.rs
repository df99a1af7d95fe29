//! The first packet of a git:// connection, and the packets that gate-init itself sends.
//!
//! gitprotocol-pack(5): four hexadecimal digits of length, themselves included, then
//! `git-upload-pack /NAME.git\0host=HOST\0\0version=2\0`.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;

use super::agents::Caller;
use super::clients::{LimitReached, SentAway};
use crate::git::pkt_line::{self, packet};

/// The longest first packet that is read: names are short, and only `version=` is of use behind.
const LIMIT: usize = 4096;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A fetch, a clone, an ls-remote.
    Fetch,
    /// A push.
    Push,
}

impl Service {
    /// The one that git calls `command`.
    pub fn named(command: &str) -> Option<Self> {
        let mut all = [Self::Fetch, Self::Push].into_iter();
        all.find(|one| one.command() == command)
    }

    /// The name in the packet.
    pub fn command(self) -> &'static str {
        match self {
            Self::Fetch => "git-upload-pack",
            Self::Push => "git-receive-pack",
        }
    }

    /// The name behind `git `.
    pub fn program(self) -> &'static str {
        match self {
            Self::Fetch => "upload-pack",
            Self::Push => "receive-pack",
        }
    }

    /// The name in the audit log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Push => "push",
        }
    }
}

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Fetch or push.
    pub service: Service,
    /// The repository's name, without the slash in front and `.git` behind; not checked.
    pub name: String,
    /// The protocol version that the client can speak, 0 where it names none.
    version: u8,
    /// Who asks; whoever reads a request finds out.
    pub caller: Arc<Caller>,
}

/// What the bytes that arrived so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The start of a packet.
    Incomplete,
    /// A request, and the number of bytes that it takes.
    Request(Request, usize),
    /// Nothing that a git client sends here; what is wrong.
    Malformed(&'static str),
}

impl Request {
    /// A request for the repository at `path`, of a client that can speak `version`.
    pub fn new(service: Service, path: &str, version: u8) -> Self {
        let path = path.trim_matches('/');
        Self {
            service,
            name: path.strip_suffix(".git").unwrap_or(path).to_owned(),
            version,
            caller: Arc::default(),
        }
    }

    /// The protocol version as git takes it from its environment (git(1), `GIT_PROTOCOL`), and whether
    /// it is the second.
    pub fn protocol(&self) -> (String, bool) {
        (format!("version={}", self.version), self.version == 2)
    }

    /// Reads a request from the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Parsed {
        let Some(digits) = bytes.first_chunk::<4>() else {
            return Parsed::Incomplete;
        };
        match pkt_line::length(*digits) {
            Some(length @ 5..=LIMIT) if bytes.len() >= length => {
                match Self::parse_line(&bytes[4..length]) {
                    Some(request) => Parsed::Request(request, length),
                    None => Parsed::Malformed("only git fetch and git push are served here"),
                }
            }
            Some(5..=LIMIT) => Parsed::Incomplete,
            _ => Parsed::Malformed("this is not the git protocol"),
        }
    }

    fn parse_line(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == 0);
        let command = str::from_utf8(fields.next()?).ok()?.trim_end_matches('\n');
        let (service, path) = command.split_once(' ')?;
        let service = Service::named(service)?;
        let version = fields.find_map(|field| match field {
            b"version=1" => Some(1),
            b"version=2" => Some(2),
            _ => None,
        });
        Some(Self::new(service, path, version.unwrap_or(0)))
    }

    /// The packet for git daemon: written anew, so that it never sees a byte of the client's.
    pub fn packet(&self) -> Vec<u8> {
        let mut line = format!("{} /{}.git\0host=\0", self.service.command(), self.name);
        if self.version > 0 {
            let _ = write!(line, "\0version={}\0", self.version);
        }
        packet(&line)
    }

    /// Whether a request of the client is complete with `tail`, the end of what it sent: then it
    /// is the server's turn. gitprotocol-v2(5): each request ends with a flush packet;
    /// gitprotocol-pack(5): the last one is `done`.
    pub fn ends_turn(&self, tail: &[u8]) -> bool {
        self.service == Service::Fetch && (tail.ends_with(b"0000") || tail.ends_with(b"0009done\n"))
    }

    /// The packet for a client that was silent for `limit`.
    pub fn stalled(&self, limit: Duration) -> Vec<u8> {
        let seconds = limit.as_secs();
        match self.service {
            Service::Fetch => {
                let reason = format!("nothing came from you for {seconds} s (limits.idleClient)");
                error_packet(&reason)
            }
            Service::Push => cut_off(&format!(
                "nothing came from you for {seconds} s (limits.idlePush), so the push was cut off \
                 and nothing was forwarded. If your pre-push hook or the packing takes that long, \
                 run the hook's work first and push with --no-verify, push less at a time, or ask \
                 the operator for a higher limit."
            )),
        }
    }

    /// The packet for a request that is larger than it may be.
    pub fn too_large(&self) -> Vec<u8> {
        match self.service {
            Service::Fetch => error_packet("the request is too large: it wants too many objects"),
            Service::Push => cut_off(
                "the push is over git-gate.maxPushSize, so it was cut off and nothing was \
                 forwarded; push fewer commits at once",
            ),
        }
    }
}

/// The packet for a push that found no place when its client spoke again.
pub fn no_permit(LimitReached(limit, most): LimitReached) -> Vec<u8> {
    cut_off(&format!(
        "busy: no place came free of the {most} there are ({limit}), so the push was cut off and nothing \
         was forwarded. Push again later, or ask the operator for a higher limit."
    ))
}

/// The packet for a push that was given up while it waited for its client.
pub fn sent_away(why: SentAway) -> Vec<u8> {
    cut_off(match why {
        SentAway::Crowd => {
            "too many pushes wait for their clients, and this one for longest, so it was cut off and \
             nothing was forwarded. Push again."
        }
        SentAway::Ending => {
            "the gate is being stopped and nothing of this push has come, so it was cut off and nothing \
             was forwarded. Push again once the gate is back."
        }
    })
}

/// A push reads the server's side-band while it is its turn, of which stream 3 is a fatal error
/// (gitprotocol-pack(5)).
pub fn cut_off(reason: &str) -> Vec<u8> {
    packet(&format!("\x03git-gate: {reason}"))
}

/// The packet that says in the gate's words that git itself refuses the objects of a push; stream 2 of
/// the side-band is shown.
pub fn refused_by_git() -> Vec<u8> {
    packet(
        "\x02git-gate: git does not take the pushed objects, so nothing was scanned or forwarded; its \
         reason is above. If it names an object, `git fsck` in your clone shows it: make the commit \
         anew, or ask the operator which of git's checks are to hold here (\"fsck\" in gate.json, \
         receive.fsck.* in git config). If it names space or a size, push less at once, or tell the \
         operator.\n",
    )
}

/// Whether the first command of a push, as far as `said` has it, names a client without a side-band:
/// there it says what it can do (gitprotocol-pack(5)); `None` while that is not there yet.
pub fn is_plain(said: &[u8]) -> Option<bool> {
    // A shallow client names its commits ahead of its commands.
    let mut rest = said;
    let command = loop {
        let (length, line, behind) = pkt_line::split(rest)?;
        match line.starts_with(b"shallow ") {
            true => rest = behind,
            false if length == 0 => return Some(false),
            false => break line,
        }
    };
    let has = |words: &[u8]| memmem::find(command, words).is_some();
    Some((has(b"\0report-status") || has(b"\0 report-status")) && !has(b"side-band"))
}

/// git's reason for a ref that the hook refuses, at the end of its packet.
pub const DECLINED: &[u8] = b" pre-receive hook declined\n";

/// git's `report` of a push with `reason` in place of its own (gitprotocol-pack(5), "Report Status");
/// none where it is not whole, or there is no reason.
pub fn with_reason(mut report: &[u8], reason: &str) -> Option<Vec<u8>> {
    let mut told = Vec::new();
    while !report.is_empty() {
        let (_, line, rest) = pkt_line::split(report)?;
        match line.strip_suffix(DECLINED) {
            Some(of_ref) if !reason.is_empty() => {
                let of_ref = std::str::from_utf8(of_ref).ok()?;
                told.extend(packet(&format!("{of_ref} {reason}\n")));
            }
            _ => told.extend_from_slice(&report[..report.len() - rest.len()]),
        }
        report = rest;
    }
    Some(told)
}

/// The packet that refuses a client: git shows `message` behind `fatal: remote error: `.
pub fn error_packet(message: &str) -> Vec<u8> {
    packet(&format!("ERR git-gate: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_and_without_suffix_and_written_anew() {
        for path in ["/app.git", "/app", "app.git/"] {
            let bytes = packet(&format!(
                "git-upload-pack {path}\0host=h:1\0\0version=2\0x=y\0"
            ));
            let Parsed::Request(request, length) = Request::parse(&bytes) else {
                panic!("{path}")
            };
            assert_eq!(length, bytes.len());
            assert_eq!(
                request.packet(),
                packet("git-upload-pack /app.git\0host=\0\0version=2\0")
            );
        }
    }

    #[test]
    fn what_is_no_request_is_told_apart_from_what_is_not_complete() {
        assert_eq!(Request::parse(b"003"), Parsed::Incomplete);
        assert_eq!(Request::parse(b"0030git-upload-pack"), Parsed::Incomplete);
        for bad in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"0000",
            b"+03fgit",
            b"ffffgit",
            b"0009git x",
        ] {
            assert!(matches!(Request::parse(bad), Parsed::Malformed(_)));
        }
        let archive = packet("git-upload-archive /app.git\0host=h\0");
        assert!(matches!(Request::parse(&archive), Parsed::Malformed(_)));
    }
}
