//! Who may use the gate: agents by their tokens, and what may be done without one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq};

use super::condition::Condition;
use crate::agent::{Agent, Asking, Narrowing, Rights, VARIABLE};
use crate::config::Config;

/// The shortest token: 20 letters and digits are over 100 bits, which nobody guesses.
const SHORTEST: usize = 20;

/// The longest one, and the largest file that is read for it.
const LONGEST: u64 = 4096;

/// Who asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The agent's name; none without a token.
    pub name: Option<String>,
    /// What it may do; none where the gate tells nobody apart.
    rights: Option<Rights>,
    /// What its hooks are told.
    told: Option<String>,
}

impl Caller {
    fn new(name: Option<&str>, rights: &Rights) -> Self {
        let rights = name.map_or_else(|| rights.clone(), |name| rights.of(name));
        let asking = Asking {
            name: name.map(str::to_owned),
            read_only: rights.read_only,
            policy: rights.policy.clone(),
        };
        Self {
            name: asking.name.clone(),
            told: serde_json::to_string(&asking).ok(),
            rights: Some(rights),
        }
    }

    /// Who gives the token of `agent`.
    pub fn of(agent: &Agent) -> Self {
        Self::new(Some(&agent.name), &agent.rights)
    }

    /// The rules for its pushes, besides those of the upstream.
    pub fn policy(&self) -> Option<&Narrowing> {
        self.rights.as_ref().map(|rights| &rights.policy)
    }

    /// Whether it may see the repository `name`.
    pub fn sees(&self, name: &str) -> bool {
        let rights = self.rights.as_ref();
        rights.is_none_or(|rights| rights.include(name))
    }

    /// Whether it may push where pushes are taken.
    pub fn may_push(&self) -> bool {
        let rights = self.rights.as_ref();
        rights.is_none_or(|rights| !rights.read_only)
    }

    /// The variable by which hooks learn of it.
    pub fn environment(&self) -> Option<(&'static str, &str)> {
        Some((VARIABLE, self.told.as_deref()?))
    }
}

/// All agents of a configuration, with their tokens.
#[derive(Debug, Default)]
pub struct Agents {
    known: Vec<(Arc<Caller>, Vec<u8>)>,
    /// Who gives no token, where that is enough.
    anonymous: Option<Arc<Caller>>,
    /// Whether it takes a token to be somebody.
    are_told_apart: bool,
}

impl Agents {
    /// The agents of `config`, whose tokens are read now. One whose token cannot be used is let in by no
    /// token; [`conditions`] tells.
    pub fn read(config: &Config, creds_dir: &Path) -> Self {
        let known = config.agents.iter().zip(tokens(config, creds_dir));
        let known =
            known.filter_map(|(agent, token)| Some((Arc::new(Caller::of(agent)), token.ok()?)));
        let are_told_apart = !config.agents.is_empty();
        let anonymous = config.anonymous.as_ref();
        let anonymous = anonymous.map(|rights| Caller::new(None, rights));
        Self {
            known: known.collect(),
            anonymous: match are_told_apart {
                true => anonymous.map(Arc::new),
                false => Some(Arc::default()),
            },
            are_told_apart,
        }
    }

    /// Whether it takes a token to be somebody.
    pub fn are_told_apart(&self) -> bool {
        self.are_told_apart
    }

    /// Whether an agent is called `name`.
    pub fn has(&self, name: &str) -> bool {
        let mut known = self.known.iter();
        known.any(|(caller, _)| caller.name.as_deref() == Some(name))
    }

    /// Who gives this token. How long it takes tells nothing of any.
    pub fn by_token(&self, given: &[u8]) -> Option<Arc<Caller>> {
        let mut found = None;
        for (caller, token) in &self.known {
            let is_same: Choice = token.as_slice().ct_eq(given);
            if bool::from(is_same) {
                found = Some(Arc::clone(caller));
            }
        }
        found
    }

    /// Who gives none, where that is enough.
    pub fn without_token(&self) -> Option<Arc<Caller>> {
        self.anonymous.clone()
    }
}

/// Whether the token of each agent can be used.
pub fn conditions(config: &Config, creds_dir: &Path) -> Vec<Condition> {
    let tokens = config.agents.iter().zip(tokens(config, creds_dir));
    tokens
        .map(|(agent, token)| {
            let file = token_file(agent, creds_dir);
            let found = token.map(|_| file.display().to_string());
            Condition::new(&agent.name, "agent token", found)
        })
        .collect()
}

fn token_file(agent: &Agent, creds_dir: &Path) -> PathBuf {
    creds_dir.join(&agent.token_file)
}

/// The token of each agent, or why it is of no use.
fn tokens(config: &Config, creds_dir: &Path) -> Vec<Result<Vec<u8>, String>> {
    let agents = config.agents.iter();
    let mut tokens: Vec<_> = agents
        .map(|agent| read(&token_file(agent, creds_dir)))
        .collect();
    // Nobody could say which of two it is.
    let same_as = |(at, one): (usize, &Result<Vec<u8>, String>)| {
        let others = tokens.iter().zip(&config.agents).enumerate();
        let mut same = others.filter(|&(other, (token, _))| {
            other != at && one.is_ok() && token.as_ref().ok() == one.as_ref().ok()
        });
        same.next().map(|(_, (_, agent))| agent.name.clone())
    };
    let same: Vec<_> = tokens.iter().enumerate().map(same_as).collect();
    for (token, same) in tokens.iter_mut().zip(same) {
        if let Some(other) = same {
            *token = Err(format!("agent {other} has the same token"));
        }
    }
    tokens
}

/// The token in `file`, without the line's end.
fn read(file: &Path) -> Result<Vec<u8>, String> {
    let problem = |problem: &str| Err(format!("{} {problem}", file.display()));
    let size = match fs::metadata(file) {
        Ok(metadata) => metadata.len(),
        Err(error) => return problem(&format!("cannot be read: {error}")),
    };
    if size > LONGEST {
        return problem("is too large for a token");
    }
    let content = match fs::read(file) {
        Ok(content) => content,
        Err(error) => return problem(&format!("cannot be read: {error}")),
    };
    let token = content.trim_ascii();
    if !token.iter().all(u8::is_ascii_graphic) {
        return problem("must hold one token of printable ASCII characters, and nothing else");
    }
    if token.len() < SHORTEST {
        return problem("holds a token of less than 20 characters, which could be guessed");
    }
    Ok(token.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_short_lost_or_anothers_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["a", "b"].map(|part| part.repeat(20));
        let short = "c".repeat(19);
        for (name, token) in [
            ("one", &one),
            ("two", &two),
            ("also", &two),
            ("short", &short),
        ] {
            fs::write(directory.path().join(name), format!("{token}\n")).unwrap();
        }
        let agents = ["one", "two", "also", "short", "lost"].map(
            |name| serde_json::json!({"name": name, "tokenFile": name, "repositories": ["*"]}),
        );
        let config = serde_json::json!({ "agents": agents });
        let config: Config = serde_json::from_value(config).unwrap();
        let read = Agents::read(&config, directory.path());
        let who = |token: &str| read.by_token(token.as_bytes())?.name.clone();
        assert_eq!(who(&one).as_deref(), Some("one"));
        for token in [&two, &short, "", &one[1..]] {
            assert_eq!(who(token), None, "{token}");
        }
        assert!(read.without_token().is_none());
        let problems = conditions(&config, directory.path());
        let problems: Vec<_> = problems.iter().filter_map(Condition::problem).collect();
        assert_eq!(problems.len(), 4, "{problems:?}");
        // Where there are no agents, everybody is let in.
        let open = Agents::read(&Config::default(), directory.path());
        assert!(open.without_token().unwrap().sees("any"));
    }
}
