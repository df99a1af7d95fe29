//! A question to git's own upload-pack in one round trip (gitprotocol-v2(5), `ls-refs`).
//!
//! gate-init opens a session ahead, while nobody waits: its channel, its command and the server's
//! capabilities have come when a fetch or a push needs to know the upstream's refs. A hook borrows the
//! session over a socket in the run directory, asks its one question and says what came of it.
//!
//! One question a session: to the second one git 2.47 answers from the loose refs that it read for
//! the first, and so misses those that were made or moved since. Before the first question it has
//! read none.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use git2::{ObjectFormat, Repository};

use super::Budget;
use super::listing::{LISTING_LIMIT, Lines, Listing};
use super::ssh::Ssh;
use super::waiting_session::{AGAIN, Request, SOCKET, UNFIT};
use crate::deadline::Deadline;
use crate::git::pkt_line::{self, packet};
use crate::ref_pattern::RefPattern;
use crate::{process, unix_socket};

/// How long the upstream may be silent in a session, before it is asked in a new one.
const SILENCE: Duration = Duration::from_secs(5);

/// How many packets of capabilities are read.
const MOST_CAPABILITIES: usize = 64;

/// Bytes of the patterns that go into a question: a pipe takes it whole, however slow the reader is.
const PATTERNS_LIMIT: usize = 32 << 10;

/// A hook's line to gate-init, with a session where there was one.
pub(super) struct Loan {
    stream: UnixStream,
    session: Option<(File, File)>,
    word: u8,
}

impl Loan {
    /// Asks gate-init, where there is one.
    pub fn take(ssh: &Ssh, git_dir: &Path) -> Option<Self> {
        let (identity, _) = ssh.session()?;
        let git_dir = git_dir.to_owned();
        Self::try_take(&Request { git_dir, identity }).ok()
    }

    fn try_take(request: &Request) -> io::Result<Self> {
        let stream = unix_socket::ask(&unix_socket::run_dir().join(SOCKET), || Ok(request))?;
        let (_, descriptors) = unix_socket::receive(&stream)?;
        let session = <[_; 2]>::try_from(descriptors).ok();
        Ok(Self {
            stream,
            session: session.map(|[input, output]| (input.into(), output.into())),
            word: AGAIN,
        })
    }

    /// What the upstream has now, unless the session is gone, silent or not understood.
    pub fn ask(
        &mut self,
        repository: &Repository,
        patterns: &[RefPattern],
        budget: &Budget,
    ) -> Option<Listing> {
        let (mut input, output) = self.session.take()?;
        let mut packets = Packets::new(output, budget.deadline);
        let format = repository.object_format();
        let Ok(capabilities) = Capabilities::read(&mut packets) else {
            return None;
        };
        if !capabilities.speak_v2 {
            self.word = UNFIT;
            return None;
        }
        if capabilities.format != format {
            return None;
        }
        input
            .write_all(&question(&capabilities, patterns))
            .and_then(|()| answer(&mut packets, format, patterns))
            .ok()
    }

    /// Lets gate-init open the next session: the upstream has answered, in this one or in another.
    pub fn renew(mut self) {
        let _ = self.stream.write_all(&[self.word]);
    }
}

/// What the server can do, as far as it matters here.
struct Capabilities {
    speak_v2: bool,
    /// It names the branch of a HEAD without commits.
    unborn: bool,
    format: ObjectFormat,
    names_format: bool,
}

impl Capabilities {
    fn read(packets: &mut Packets) -> io::Result<Self> {
        let mut found = Self {
            speak_v2: packets.next()?.as_deref() == Some(b"version 2"),
            unborn: false,
            format: ObjectFormat::Sha1,
            names_format: false,
        };
        let mut lists = false;
        for _ in 0..MOST_CAPABILITIES {
            // Version 0 and 1 go on with all refs.
            let packet = if found.speak_v2 {
                packets.next()?
            } else {
                None
            };
            let Some(packet) = packet else {
                found.speak_v2 &= lists;
                return Ok(found);
            };
            let (name, value) = match packet.iter().position(|&b| b == b'=') {
                Some(end) => (&packet[..end], &packet[end + 1..]),
                None => (&packet[..], &b""[..]),
            };
            match name {
                b"ls-refs" => {
                    lists = true;
                    found.unborn = value.split(|&b| b == b' ').any(|word| word == b"unborn");
                }
                b"object-format" => {
                    found.names_format = true;
                    if value == b"sha256" {
                        found.format = ObjectFormat::Sha256;
                    }
                }
                _ => {}
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn question(capabilities: &Capabilities, patterns: &[RefPattern]) -> Vec<u8> {
    let mut question = packet("command=ls-refs\n");
    if capabilities.names_format {
        question.extend(packet(match capabilities.format {
            ObjectFormat::Sha256 => "object-format=sha256\n",
            _ => "object-format=sha1\n",
        }));
    }
    // The delimiter stands alone.
    question.extend_from_slice(b"0001");
    question.extend(packet("symrefs\n"));
    if capabilities.unborn {
        question.extend(packet("unborn\n"));
    }
    // What these let through too much is left out when the answer is read.
    let wanted: Vec<_> = patterns.iter().filter(|one| !one.is_negative()).collect();
    let length: usize = wanted.iter().map(|one| one.prefix().len() + 20).sum();
    if !wanted.is_empty() && length < PATTERNS_LIMIT {
        question.extend(packet("ref-prefix HEAD\n"));
        for pattern in wanted {
            question.extend(packet(&format!("ref-prefix {}\n", pattern.prefix())));
        }
    }
    question.extend_from_slice(b"0000");
    question
}

/// Reads lines `OID NAME [ATTRIBUTE …]` and `unborn NAME [ATTRIBUTE …]`.
fn answer(
    packets: &mut Packets,
    format: ObjectFormat,
    patterns: &[RefPattern],
) -> io::Result<Listing> {
    let mut lines = Lines::new(format, patterns);
    while let Some(line) = packets.next()? {
        let mut words = line.split(|&b| b == b' ');
        let (Some(value), Some(name)) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        for word in words {
            if let Some(target) = word.strip_prefix(b"symref-target:") {
                lines.symref(name, target);
            }
        }
        if value != b"unborn" {
            lines.add(value, name);
        }
    }
    match lines.complete {
        true => Ok(lines.listing()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// What the upstream says, packet by packet (gitprotocol-common(5), pkt-line).
struct Packets {
    stream: File,
    deadline: Deadline,
    buffer: Vec<u8>,
    /// Where what was not given out yet begins and ends in the buffer.
    start: usize,
    end: usize,
    /// Bytes that may still come.
    left: usize,
}

impl Packets {
    fn new(stream: File, deadline: Deadline) -> Self {
        Self {
            stream,
            deadline,
            buffer: vec![0; 2 * pkt_line::LONGEST],
            start: 0,
            end: 0,
            left: LISTING_LIMIT,
        }
    }

    /// The next packet without its newline; `None` for a flush.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        self.fill(4)?;
        let digits = self.buffer[self.start..].first_chunk();
        let length = digits.and_then(|digits| pkt_line::length(*digits));
        match length.ok_or_else(malformed)? {
            0 => {
                self.start += 4;
                Ok(None)
            }
            length @ 5..=pkt_line::LONGEST => {
                self.fill(length)?;
                let packet = &self.buffer[self.start + 4..self.start + length];
                self.start += length;
                if packet.starts_with(b"ERR ") {
                    return Err(malformed());
                }
                Ok(Some(packet.strip_suffix(b"\n").unwrap_or(packet).to_vec()))
            }
            _ => Err(malformed()),
        }
    }

    /// Reads until there are `length` bytes, of one packet at most.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        if self.start + length > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < length {
            let limit = SILENCE.min(self.deadline.left());
            if !process::wait_for_any(&[self.stream.as_fd()], limit)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let read = self.stream.read(&mut self.buffer[self.end..])?;
            if read == 0 || read > self.left {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.end += read;
            self.left -= read;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Refs;

    const FLUSH: &[u8] = b"0000";

    fn packets(bytes: &[u8]) -> Packets {
        Packets::new(
            process::in_memory(bytes).unwrap(),
            Deadline::of("refreshTimeout", 60),
        )
    }

    fn listed(bytes: &[u8]) -> io::Result<Listing> {
        answer(&mut packets(bytes), ObjectFormat::Sha1, &[])
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let id = "1".repeat(40);
        let head = packet(&format!("{id} HEAD symref-target:refs/heads/main\n"));
        let main = packet(&format!("{id} refs/heads/main\n"));
        let whole = [&head[..], &main, FLUSH].concat();
        let listing = listed(&whole).unwrap();
        assert_eq!(listing.refs.count(), 1);
        assert!(listing.head == super::super::listing::Head::Ref("refs/heads/main".to_owned()));
        for end in 0..whole.len() {
            assert!(listed(&whole[..end]).is_err(), "{end}");
        }
        let lies = [
            &b"zzzz"[..],
            b"+0ff",
            b"0001",
            b"0002",
            b"0003",
            b"0004",
            b"fff1",
            b"0009ERR x",
            b"0006ab0000",
            b"0013nothex refs/a0000",
        ];
        for lie in lies {
            let bytes = [&head[..], lie, FLUSH].concat();
            assert!(listed(&bytes).is_err(), "{}", String::from_utf8_lossy(lie));
        }
        let unborn = [
            &packet("unborn HEAD symref-target:refs/heads/trunk\n")[..],
            FLUSH,
        ]
        .concat();
        let empty = listed(&unborn).unwrap();
        assert!(empty.head == super::super::listing::Head::Ref("refs/heads/trunk".to_owned()));
        assert_eq!(empty.changes(&Refs::default()), Some(Default::default()));
    }

    #[test]
    fn only_a_server_of_version_2_that_lists_refs_is_asked() {
        let of = |lines: &[&str]| {
            let bytes = lines
                .iter()
                .flat_map(|line| packet(line))
                .collect::<Vec<_>>();
            Capabilities::read(&mut packets(&[&bytes[..], FLUSH].concat()))
        };
        let id = "1".repeat(40);
        assert!(!of(&[&format!("{id} HEAD\0multi_ack\n")]).unwrap().speak_v2);
        assert!(!of(&["version 1\n"]).unwrap().speak_v2);
        assert!(!of(&["version 2\n", "fetch\n"]).unwrap().speak_v2);
        let found = of(&["version 2\n", "ls-refs=unborn\n", "object-format=sha256\n"]).unwrap();
        assert!(found.speak_v2 && found.unborn && found.format == ObjectFormat::Sha256);
        assert!(of(&["version 2\n"; MOST_CAPABILITIES + 2]).is_err());
    }

    #[test]
    fn a_question_names_what_patterns_begin_with() {
        let patterns =
            ["refs/heads/*", "^refs/heads/wip/*"].map(|text| text.to_owned().try_into().unwrap());
        let capabilities = Capabilities {
            speak_v2: true,
            unborn: true,
            format: ObjectFormat::Sha1,
            names_format: true,
        };
        let text = question(&capabilities, &patterns);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "0014command=ls-refs\n0017object-format=sha1\n0001000csymrefs\n000bunborn\n0014ref-prefix HEAD\n001bref-prefix refs/heads/\n0000"
        );
    }
}
