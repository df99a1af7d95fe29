//! The hook's side of a refusal: the operator is told, and may answer while the push waits.

use std::ffi::OsStr;
use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::record::{Answer, Record};
use super::store::Store;
use crate::process;
use crate::settings::Policy;
use crate::text;

/// How long the program of `git-gate.notify` may take.
const NOTIFY_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two looks for the answer.
const PAUSE: Duration = Duration::from_millis(200);

/// How often a client that waits is told so. git itself keeps the line alive (`receive.keepAlive`); and
/// nobody may be reading.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// The most signs of life: they have room in a pipe that nobody reads.
const MOST_SIGNS: u32 = 200;

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The operator accepts it: the push is to be judged anew.
    Accepted,
    /// It stays refused; in words, why, where the operator said something.
    Refused(Option<String>),
}

/// A refusal that is kept, on its way to the operator.
pub struct Question<'a> {
    /// Where it is kept.
    pub store: &'a Store,
    /// What it is.
    pub record: &'a Record,
    /// How the operator is told, and how long it waits.
    pub policy: &'a Policy,
}

impl Question<'_> {
    /// Asks. What the client is to see meanwhile goes to `say`.
    pub fn ask(&self, say: &mut dyn FnMut(&str)) -> Outcome {
        if let Some(outcome) = self.answered(self.record.answer.as_ref()) {
            return outcome;
        }
        let id = &self.record.id;
        say(&format!(
            "refusal {id}; the operator answers it with `gate-init accept {id} --reason TEXT` or `gate-init deny {id} --reason TEXT`"
        ));
        let waits = self.policy.hold > 0;
        if (waits || self.record.count == 1)
            && let Err(problem) = self.notify()
        {
            say(&format!("the operator could not be told of it: {problem}"));
        }
        match waits {
            true => self.wait(say),
            false => Outcome::Refused(None),
        }
    }

    fn answered(&self, answer: Option<&Answer>) -> Option<Outcome> {
        let answer = answer?;
        let (by, at, reason) = (&answer.by, &answer.at, &answer.reason);
        Some(match answer.accepted {
            true => Outcome::Accepted,
            false => Outcome::Refused(Some(format!(
                "{by} denied it on {at} (refusal {}): {reason}",
                self.record.id
            ))),
        })
    }

    fn wait(&self, say: &mut dyn FnMut(&str)) -> Outcome {
        let (id, limit) = (&self.record.id, Duration::from_secs(self.policy.hold));
        say(&format!(
            "waiting for the operator, {id}, up to {} s",
            limit.as_secs()
        ));
        let (start, mut signs) = (Instant::now(), 0);
        while start.elapsed() < limit {
            let answer = self.store.get(id).and_then(|record| record.answer);
            if let Some(outcome) = self.answered(answer.as_ref()) {
                return outcome;
            }
            if signs < MOST_SIGNS && start.elapsed() > SIGN_OF_LIFE * (signs + 1) {
                signs += 1;
                say(&format!("still waiting for the operator, {id}"));
            }
            thread::sleep(PAUSE);
        }
        Outcome::Refused(Some(format!(
            "the operator gave no answer within {} s",
            limit.as_secs()
        )))
    }

    /// Starts the operator's program with the refusal as JSON on its standard input. No shell.
    fn notify(&self) -> Result<(), String> {
        let Some((program, arguments)) = self.policy.notify.split_first() else {
            return Ok(());
        };
        let json = serde_json::to_vec(self.record).unwrap_or_default();
        let input = process::in_memory(&json).map_err(|error: io::Error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(input).current_dir("/");
        // It is no part of the push: git in it must not see the quarantine.
        let is_git = |name: &OsStr| name.as_encoded_bytes().starts_with(b"GIT_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_git(name)) {
            command.env_remove(name);
        }
        let ended =
            process::run(&mut command, NOTIFY_LIMIT).map_err(|error| text::chain(&error))?;
        match ended.status.success() {
            true => Ok(()),
            false => Err(format!(
                "the program of git-gate.notify ended with {}",
                ended.status
            )),
        }
    }
}
