//! The walk over one object: each container in it is opened, and what is in that walked again.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::input::Source;
use crate::deadline::{Deadline, Missed};
use crate::git::STATE_DIR;
use crate::settings::Limits;
use crate::text::ref_name;

/// Bytes of one piece at most, what it shares with the piece before included.
pub const PIECE: usize = 80 << 10;

/// Bytes at the end of a piece that the next one repeats: whole lines where there are any.
pub const OVERLAP: usize = 16 << 10;

/// Content up to this size is held in memory; larger content is spooled to a file.
pub const MEMORY_LIMIT: usize = 4 << 20;

/// The largest window (dictionary) that a decompressor may ask for: what `zstd -d`
/// takes by default, and twice what `xz -9` needs.
pub const WINDOW_LIMIT: usize = 128 << 20;

/// The settings that bound all archives of a push together.
const PUSH_WIDE: [&str; 2] = ["archiveEntries", "archiveSize"];

/// Why not all text of an object could be handed over: the push is refused.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// A bound of the push was hit.
    #[error(
        "{bound} ({}); the limit is {limit}, set by git-gate.{setting}",
        shown(member)
    )]
    Bound {
        /// What was too much, in words.
        bound: &'static str,
        /// The setting's name, without `git-gate.`.
        setting: &'static str,
        /// Its value.
        limit: u64,
        /// Where.
        member: Member,
    },
    /// It is an archive and cannot be opened.
    #[error("{} cannot be scanned: {problem}", shown(member))]
    Unscannable {
        /// Where.
        member: Member,
        /// Why, in words; nothing from the content.
        problem: String,
    },
    /// The content could not be read.
    #[error("cannot read the content")]
    Read(#[source] io::Error),
    /// Large content could not be written to a temporary file.
    #[error(
        "cannot write a temporary file below git-gate/ in the mirror; try again, or tell the operator: the disk may be full"
    )]
    Spool(#[source] io::Error),
    /// The time is over.
    #[error("the scan was ended, since {0}")]
    TimedOut(Missed),
    /// The sink refused a piece.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

// By hand: the words hold the cause already, and `#[from]` would have it told twice.
impl From<Missed> for DecodeError {
    fn from(missed: Missed) -> Self {
        Self::TimedOut(missed)
    }
}

/// Where `member` is, for an error.
fn shown(member: &Member) -> String {
    match member.path.is_empty() {
        true => "the file itself".to_owned(),
        false => format!("in it, {member}"),
    }
}

impl DecodeError {
    /// What in the object was not read, and why in words; nothing where the error is another one.
    pub fn unread(&self) -> Option<(&Member, String)> {
        match self {
            Self::Bound {
                bound,
                setting,
                limit,
                member,
            } => {
                let why = format!("{bound}; the limit is {limit}, set by git-gate.{setting}");
                Some((member, why))
            }
            Self::Unscannable { member, problem } => {
                Some((member, format!("it cannot be scanned: {problem}")))
            }
            _ => None,
        }
    }

    /// Whether a bound of the whole push was passed.
    pub fn is_of_the_push(&self) -> bool {
        matches!(self, Self::Bound { setting, .. } if PUSH_WIDE.contains(setting))
    }
}

/// Why a sink refused a piece.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Takes the text views of an object.
pub trait Sink {
    /// Takes one piece of at most [`PIECE`] bytes. Consecutive pieces of a view share up to
    /// [`OVERLAP`] bytes, and more where a private key would be cut. `first_line` is the line of the
    /// piece's first byte, from 1, in the view; it is the object's own line where
    /// [`ViewKind::has_lines`] says so and [`Member::path`] is empty.
    fn text(&mut self, member: &Member, first_line: u64, text: &[u8]) -> Result<(), SinkError>;
}

/// Where a text view came from inside an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// From the object inwards; empty for the object itself.
    pub path: Vec<Step>,
    /// How the bytes were read.
    pub kind: ViewKind,
}

/// One step from a container to what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A named member of an archive; an untrusted name, with invalid UTF-8 replaced.
    Name(String),
    /// The content of a container that names nothing, such as `gzip`.
    Inside(&'static str),
    /// What an encoding holds.
    Decoded {
        /// The encoding, such as `base64`.
        how: &'static str,
        /// The line in the view around it where the encoded text begins.
        line: u64,
    },
}

/// How bytes were read as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ViewKind {
    /// As they are.
    #[default]
    Text,
    /// As UTF-16, in either order.
    Utf16,
    /// As UTF-32, in either order.
    Utf32,
    /// As the printable strings of binary data.
    Strings,
    /// The names and comments of an archive.
    Names,
}

impl ViewKind {
    /// Whether the view's lines are the lines of the bytes that it was made from.
    pub fn has_lines(self) -> bool {
        matches!(self, Self::Text | Self::Utf16 | Self::Utf32)
    }
}

impl fmt::Display for ViewKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Utf16 => "UTF-16",
            Self::Utf32 => "UTF-32",
            Self::Strings => "strings of binary data",
            Self::Names => "names in the archive",
        })
    }
}

impl Member {
    /// The innermost name: what path-bound rules look at. None where no step has a name.
    pub fn name(&self) -> Option<&str> {
        self.path.iter().rev().find_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Inside(_) | Step::Decoded { .. } => None,
        })
    }

    pub(crate) fn inside(&self, step: Step) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        Self {
            path,
            kind: ViewKind::Text,
        }
    }

    pub(crate) fn read_as(&self, kind: ViewKind) -> Self {
        Self {
            path: self.path.clone(),
            kind,
        }
    }
}

/// The way inwards, such as `inner.zip!dir/file.txt`, safe to print; what looks like a token in a
/// name is cut. Nothing for the object itself.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.path.iter().enumerate() {
            if index > 0 {
                f.write_str("!")?;
            }
            match step {
                Step::Name(name) => f.write_str(&ref_name(name))?,
                Step::Inside(what) => write!(f, "({what})")?,
                Step::Decoded { how, line } => write!(f, "({how} at line {line})")?,
            }
        }
        Ok(())
    }
}

/// What one push may still cost: shared by all its objects.
#[derive(Debug, Clone)]
pub struct Budget {
    pub(crate) limits: Limits,
    pub(crate) deadline: Deadline,
    pub(crate) entries: u64,
    pub(crate) size: u64,
    pub(crate) spool: PathBuf,
}

/// What a push has cost so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub(crate) entries: u64,
    pub(crate) size: u64,
}

impl Budget {
    /// What was spent so far.
    pub fn spent(&self) -> Spent {
        let (entries, size) = (self.entries, self.size);
        Spent { entries, size }
    }

    /// Takes back what was spent since `spent`.
    pub fn take_back(&mut self, spent: Spent) {
        self.entries = spent.entries;
        self.size = spent.size;
    }

    /// A whole push's budget: `archiveDepth`, `archiveEntries`, `archiveSize` and `archiveRatio`,
    /// and the time until `deadline`. Large content is spooled to nameless files in the gate's own
    /// directory of the mirror `git_dir`: the system's temporary directory may be memory.
    pub fn new(limits: &Limits, deadline: Deadline, git_dir: &Path) -> Self {
        Self {
            limits: limits.clone(),
            deadline,
            entries: 0,
            size: 0,
            spool: git_dir.join(STATE_DIR),
        }
    }
}

/// An object's bytes.
pub enum Content<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// As a stream of any length.
    Stream(&'a mut dyn Read),
}

/// Hands each text in `content` to `sink`.
pub fn views(
    content: Content<'_>,
    budget: &mut Budget,
    sink: &mut dyn Sink,
) -> Result<(), DecodeError> {
    let source = match content {
        Content::Bytes(bytes) => Source::Bytes(bytes.into()),
        Content::Stream(stream) => Source::load(stream, &budget.spool)?,
    };
    let deadline = budget.deadline;
    let mut walk = Walk {
        budget,
        sink,
        unread: None,
    };
    let walked = walk.content(&source, &Member::default(), Depth::default());
    match walked.and(walk.unread.map_or(Ok(()), Err)) {
        // A decoder that was stopped says that its input is damaged.
        Err(DecodeError::Unscannable { .. } | DecodeError::Read(_)) if deadline.is_over() => {
            Err(deadline.missed().into())
        }
        walked => walked,
    }
}

/// Whether `content` is text with nothing inside it to unpack: no NUL byte, and UTF-8. Its lines
/// may then be compared with another version's and given to [`views`] in parts.
pub fn is_plain(content: &[u8]) -> bool {
    memchr::memchr(0, content).is_none() && std::str::from_utf8(content).is_ok()
}

/// Whether `line` may stand within something that is encoded over several lines: a part of that may
/// decode to nothing. Its first and its last line may look otherwise.
pub fn may_go_on(line: &[u8]) -> bool {
    super::encoding::may_go_on(line.strip_suffix(b"\n").unwrap_or(line))
}

/// How far inside the object some content is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Depth {
    pub(crate) archives: u64,
    pub(crate) encodings: u64,
}

/// One object's walk.
pub(crate) struct Walk<'a> {
    pub(crate) budget: &'a mut Budget,
    pub(crate) sink: &'a mut dyn Sink,
    /// The first of what cannot be opened: the walk goes on, and ends with it.
    pub(crate) unread: Option<DecodeError>,
}

impl Walk<'_> {
    /// Every text of `source`, which stands at `place`.
    pub(crate) fn content(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        let survey = source.survey(self.budget.deadline)?;
        let archives = match survey.nul || !survey.ascii {
            true => self.archives(source, place, depth),
            false => Ok(()),
        };
        match archives.and_then(|()| super::archive::encrypted::refuse(source, place)) {
            // Its bytes are scanned all the same, the names in it among them, which the error shows.
            Err(error) if error.unread().is_some() => {
                self.unread.get_or_insert(error);
            }
            opened => opened?,
        }
        if !survey.nul && !survey.ascii {
            self.ebcdic(source, place, depth)?;
        }
        // What comes out of an encoding without NUL bytes is mostly noise: hashes are base64, too.
        let is_text = !survey.nul
            && (depth.encodings == 0
                || super::strings::is_text(&source.peek(0, super::input::BLOCK)?));
        if is_text {
            return self.text(source, place, depth);
        }
        if survey.nul {
            self.unicode(source, place, depth)?;
        }
        self.strings(source, place, survey.nul, depth)
    }

    /// Notes that one of several things in a container cannot be opened, and lets the others be: what
    /// the operator accepts is scanned as far as it goes. Past a bound of the push none can be opened.
    pub(crate) fn go_on<T>(
        &mut self,
        opened: Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match opened {
            Err(error) if error.unread().is_some() && !error.is_of_the_push() => {
                self.unread.get_or_insert(error);
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }
}
