//! Tokens that a forge issues for an upstream over https, each in the file that the gate reads.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use thiserror::Error;

use super::{ForgeError, HttpError, Patience};
use crate::interrupt::Interrupt;
use git_gate::replace_file::replace_file;
use git_gate::text;

/// The pause after a token that could not be had, and the shortest before the next one.
const RETRY: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_secs(1);

/// What a forge issues tokens for.
pub trait Issuer {
    /// A new token.
    fn issue(&self, patience: &Patience, interrupt: &Interrupt) -> Result<Issued, IssueError>;

    /// Has the forge forget the token `id`.
    fn take_back(&self, _id: &str, _patience: &Patience) -> Result<(), IssueError> {
        Ok(())
    }

    /// Whether its tokens are good until somebody takes them back.
    fn is_endless(&self) -> bool {
        false
    }
}

/// A token, which is shown nowhere.
pub struct Issued {
    pub(super) token: String,
    /// When another one is needed at the latest.
    pub(super) until: SystemTime,
    /// What takes it back, where it is not gone within hours by itself.
    pub(super) id: Option<String>,
}

/// Why there is no new token.
#[derive(Debug, Error)]
pub enum IssueError {
    /// The private key cannot be used.
    #[error("the app's private key {} {problem}; download one from the app's page", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It would be good for ever.
    #[error(
        "a token of this forge never ends by itself; use --watch, which deletes it when it ends"
    )]
    Endless,
    /// The forge gave none.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// The file cannot be written.
    #[error("cannot write the token to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A token may still be good.
    #[error("the token {id} is good still; delete it on the forge's page")]
    Left {
        /// Its id.
        id: String,
        /// Why it was not taken back.
        source: Box<IssueError>,
    },
}

/// A file with a token of `issuer`.
pub struct TokenFile<'a> {
    /// Who issues it.
    pub issuer: &'a dyn Issuer,
    /// The file.
    pub path: &'a Path,
    /// How long the forge gets.
    pub patience: &'a Patience,
}

impl TokenFile<'_> {
    /// Writes a new token, 0600 and as a whole; with `watch` again and again, each time when half of its
    /// time is over, until `interrupt`. A failure after the first time is told, and tried again. What was
    /// replaced is taken back, and the last one when the watch ends.
    pub fn keep(
        &self,
        watch: bool,
        interrupt: &Interrupt,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), IssueError> {
        if self.issuer.is_endless() && !watch {
            return Err(IssueError::Endless);
        }
        let mut kept = self.renew(interrupt, say)?;
        if !watch {
            return Ok(());
        }
        let mut wait = half_of_what_is_left(kept.until);
        while interrupt.sleep(wait) {
            match self.renew(interrupt, say) {
                Ok(renewed) => {
                    let before = std::mem::replace(&mut kept, renewed);
                    if let Err(error) = self.take_back(before) {
                        say(&text::causes(&error));
                    }
                    wait = half_of_what_is_left(kept.until);
                }
                Err(error) => {
                    wait = RETRY;
                    say(&format!(
                        "no new token, trying again in {} s; the one before holds until {}: {}",
                        RETRY.as_secs(),
                        humantime::format_rfc3339_seconds(kept.until),
                        text::causes(&error)
                    ));
                }
            }
        }
        self.take_back(kept)
    }

    fn renew(
        &self,
        interrupt: &Interrupt,
        say: &mut dyn FnMut(&str),
    ) -> Result<Issued, IssueError> {
        let issued = self.issuer.issue(self.patience, interrupt)?;
        if let Err(source) = replace_file(self.path, issued.token.as_bytes()) {
            self.take_back(issued)?;
            let path = self.path.to_owned();
            return Err(IssueError::Write { path, source });
        }
        let until = humantime::format_rfc3339_seconds(issued.until);
        say(&format!("{}: a token until {until}", self.path.display()));
        Ok(issued)
    }

    /// Also when the program is asked to end: a token that is left behind would be good still.
    fn take_back(&self, issued: Issued) -> Result<(), IssueError> {
        let Some(id) = issued.id else { return Ok(()) };
        let taken = self.issuer.take_back(&id, self.patience);
        taken.map_err(|error| IssueError::Left {
            id,
            source: Box::new(error),
        })
    }
}

fn half_of_what_is_left(until: SystemTime) -> Duration {
    let left = until.duration_since(SystemTime::now());
    (left.unwrap_or_default() / 2).max(SHORTEST)
}

/// The token in a member of a forge's answer.
pub(super) fn token_of(member: &Value) -> Result<String, HttpError> {
    let is_token =
        |token: &&str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let token = member.as_str().filter(is_token);
    token.map(str::to_owned).ok_or(HttpError::Content)
}
