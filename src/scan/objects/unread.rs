//! What cannot be opened, or not whole: nobody knows what is in it, so it refuses as a secret does.

use std::collections::HashSet;

use git2::Oid;

use crate::scan::ScanError;
use crate::scan::decode::DecodeError;
use crate::scan::exceptions::{Exceptions, Ruling, UNSCANNABLE};
use crate::scan::source::Source;

/// How many are told apart; the push is refused anyway.
const TOLD: usize = 1000;

/// An object that could not be read whole, and is not accepted as it is.
#[derive(Debug)]
pub struct Unread {
    /// Where.
    pub source: Source,
    /// The object.
    pub id: Oid,
    /// Why.
    pub problem: DecodeError,
    /// What the exceptions say.
    pub ruling: Ruling,
}

/// All of a push.
#[derive(Debug, Default)]
pub struct AllUnread {
    seen: HashSet<Oid>,
    refused: Vec<Unread>,
    more: usize,
    /// A bound of the whole push was passed: that the next archives do not fit either says nothing.
    is_spent: bool,
}

/// What became of a text that was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was read whole.
    Whole,
    /// It was not, and that refuses the push.
    Refused,
    /// It was not, and the operator accepts that.
    Accepted,
}

impl AllUnread {
    /// Notes what of `source` was `read`. The scan goes on: what else is in the push is told as well.
    pub fn note(
        &mut self,
        source: Source,
        read: Result<(), ScanError>,
        exceptions: &Exceptions,
    ) -> Result<Outcome, ScanError> {
        let (id, problem) = match read {
            Err(ScanError::Unscannable { id, problem }) => (id, problem),
            read => return read.map(|()| Outcome::Whole),
        };
        self.seen.insert(id);
        let ruling = exceptions.ruling(UNSCANNABLE, "", Some(&id.to_string()));
        if ruling == Ruling::Accepted {
            return Ok(Outcome::Accepted);
        }
        let is_of_the_push = problem.is_of_the_push();
        match self.refused.len() < TOLD {
            _ if is_of_the_push && self.is_spent => {}
            true => self.refused.push(Unread {
                source,
                id,
                problem,
                ruling,
            }),
            false => self.more += 1,
        }
        self.is_spent |= is_of_the_push;
        Ok(Outcome::Refused)
    }

    /// What was `read` again, as far as it can be.
    pub fn again(&self, read: Result<(), ScanError>) -> Result<(), ScanError> {
        match read {
            Err(ScanError::Unscannable { id, .. }) if self.seen.contains(&id) => Ok(()),
            read => read,
        }
    }

    /// Whether nothing refuses the push.
    pub fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// What refuses the push, and how many there are besides.
    pub fn take(&mut self) -> (Vec<Unread>, usize) {
        (std::mem::take(&mut self.refused), self.more)
    }
}
