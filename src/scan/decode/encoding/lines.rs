//! A text line by line, the long runs in it, and what comes out of them.

use std::ops::Range;

use super::{base_n, escapes, hex_dump};
use crate::deadline::Deadline;
use crate::scan::decode::archive::{self, unscannable};
use crate::scan::decode::input::{BLOCK, Source, Window};
use crate::scan::decode::{DecodeError, Depth, Member, Step, Walk, strings};

/// How many encodings may be wrapped in each other; gitleaks unwraps as many again.
const ENCODINGS: u64 = 5;

/// A position in a text and the number of its line, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) line: u64,
}

/// Goes through a text line by line, until a deadline.
pub(super) struct Lines<'s> {
    window: Window<'s>,
    line: u64,
    deadline: Deadline,
    /// From which position on the deadline is looked at again: the clock costs as much as a line.
    checked_at: u64,
}

impl<'s> Lines<'s> {
    pub(super) fn new(source: &'s Source<'s>, from: Place, deadline: Deadline) -> Self {
        Self {
            window: Window::new(source, from.at),
            line: from.line,
            deadline,
            checked_at: from.at,
        }
    }

    /// Where the next line begins.
    pub(super) fn place(&self) -> Place {
        Place {
            at: self.window.position(),
            line: self.line,
        }
    }

    /// The next line without its line end, and where it is. A line longer than the window comes in
    /// parts.
    pub(super) fn next(&mut self) -> Result<Option<(Place, &[u8])>, DecodeError> {
        let place = self.place();
        if place.at >= self.checked_at {
            self.deadline.check()?;
            self.checked_at = place.at + BLOCK as u64;
        }
        let line = self.window.take_line()?;
        if line.is_empty() {
            return Ok(None);
        }
        let text = line.strip_suffix(b"\n");
        self.line += u64::from(text.is_some());
        Ok(Some((place, text.unwrap_or(line))))
    }

    /// Goes on from there.
    pub(super) fn seek(&mut self, to: Place) {
        self.window.seek(to.at);
        self.line = to.line;
    }
}

/// Whether `line` may stand within a run, a dump or a text of escapes.
pub(crate) fn may_go_on(line: &[u8]) -> bool {
    base_n::may_go_on(line) || hex_dump::may_go_on(line) || escapes::may_go_on(line)
}

/// The runs of at least `least` bytes that are all `is_in`. Looks at every `least`th byte and
/// around it.
pub(super) fn long_runs<'l>(
    line: &'l [u8],
    least: usize,
    is_in: impl Fn(u8) -> bool + 'l,
) -> impl Iterator<Item = Range<usize>> + 'l {
    let (mut from, mut probe) = (0, least - 1);
    std::iter::from_fn(move || {
        while probe < line.len() {
            let start = line[from..=probe]
                .iter()
                .rposition(|&b| !is_in(b))
                .map_or(from, |at| from + at + 1);
            let rest = &line[probe..];
            let end = probe + rest.iter().position(|&b| !is_in(b)).unwrap_or(rest.len());
            from = end.max(probe) + 1;
            probe = from + least - 1;
            if end >= start + least {
                return Some(start..end);
            }
        }
        None
    })
}

impl Walk<'_> {
    /// The lines of `source`, from its start.
    pub(super) fn lines<'s>(&self, source: &'s Source<'s>) -> Lines<'s> {
        Lines::new(source, Place { at: 0, line: 1 }, self.budget.deadline)
    }

    /// Decodes the runs and dumps in the text `source`.
    pub(crate) fn encoded(
        &mut self,
        source: &Source<'_>,
        member: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        self.runs(source, member, depth)?;
        self.dumps(source, member, depth)?;
        self.records(source, member, depth)?;
        self.ascii85(source, member, depth)
    }

    /// Resolves the escapes in a piece of text that starts at `line`.
    pub(crate) fn escapes(
        &mut self,
        text: &[u8],
        member: &Member,
        line: u64,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        escapes::resolve(text).map_or(Ok(()), |resolved| {
            let resolved = Source::Bytes(resolved.into());
            self.decoded(&resolved, "escapes", member, line, depth)
        })
    }

    /// Walks what came out of an encoding that begins at `line`.
    pub(super) fn decoded(
        &mut self,
        source: &Source<'_>,
        how: &'static str,
        member: &Member,
        line: u64,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        // Most of what looks encoded is a name or a hash, and decodes to noise.
        if let Source::Bytes(bytes) = source
            && !strings::has_run(bytes, strings::MEANINGFUL)
            && !archive::may_hold(bytes)
        {
            return Ok(());
        }
        let inside = member.inside(Step::Decoded { how, line });
        if depth.encodings >= ENCODINGS {
            let problem = format!("it is encoded more than {ENCODINGS} times over");
            return Err(unscannable(&inside, problem));
        }
        let depth = Depth {
            encodings: depth.encodings + 1,
            ..depth
        };
        self.content(source, &inside, depth)
    }
}
