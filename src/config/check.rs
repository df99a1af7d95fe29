//! The rules for `gate.json` that go beyond its shape.

use std::collections::HashSet;

use super::{Config, ConfigError, Upstream};
use crate::agent::{Agent, Rights};
use crate::settings::USER_PROBLEM;
use crate::text;
use crate::url::https_url::{HttpsUrl, is_https};
use crate::url::ssh_url::{UpstreamUrl, is_word};

/// The longest upstream name in bytes: with `-known_hosts` behind it, it is still a file name.
const NAME_LIMIT: usize = 200;

/// The longest name of an agent in bytes: a part of a ref, with more beside it.
const AGENT_NAME_LIMIT: usize = 100;

impl Config {
    /// Checks every rule that goes beyond the shape of the file.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some((name, problem)) = self.limits.out_of_range() {
            return Err(ConfigError::Limit { name, problem });
        }
        let mut seen = HashSet::new();
        for Upstream {
            name,
            url,
            user,
            credential_command,
            fsck,
            ..
        } in &self.upstreams
        {
            check_name(name)?;
            let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
            if let Some(id) = fsck.keys().find(|id| !is_id(id)) {
                return Err(ConfigError::Fsck {
                    name: name.clone(),
                    shown: text::line(id.as_bytes()),
                });
            }
            if !seen.insert(name.to_lowercase()) {
                return Err(ConfigError::Name {
                    shown: text::line(name.as_bytes()),
                    problem: "is a duplicate (names are case-insensitive)",
                });
            }
            check_url(url).map_err(|problem| ConfigError::Url {
                name: name.clone(),
                problem,
            })?;
            let wants_login = user.is_some() || !credential_command.is_empty();
            let problem = match user {
                _ if wants_login && !is_https(url) => {
                    "user and credentialCommand are for https alone".to_owned()
                }
                Some(user) if !is_word(user, "._-") => format!("user {USER_PROBLEM}"),
                _ => continue,
            };
            let name = name.clone();
            return Err(ConfigError::Login { name, problem });
        }
        self.check_agents()
    }

    /// Checks who may use the gate.
    fn check_agents(&self) -> Result<(), ConfigError> {
        let mut seen = HashSet::new();
        for Agent { name, rights, .. } in &self.agents {
            let subject = format!("agent {:?}", text::line(name.as_bytes()));
            let problem = match check_agent_name(name) {
                Some(problem) => Some(problem.to_owned()),
                None if !seen.insert(name.to_lowercase()) => {
                    Some("is a duplicate (names are case-insensitive)".to_owned())
                }
                None => self.problem_of(&rights.of(name)),
            };
            if let Some(problem) = problem {
                return Err(ConfigError::Agent { subject, problem });
            }
        }
        let anonymous = self.anonymous.as_ref();
        let problem = match anonymous {
            Some(_) if self.agents.is_empty() => {
                Some("says something only where there are agents".to_owned())
            }
            anonymous => anonymous.and_then(|rights| self.problem_of(rights)),
        };
        problem.map_or(Ok(()), |problem| {
            let subject = "anonymous".to_owned();
            Err(ConfigError::Agent { subject, problem })
        })
    }

    /// What is wrong with the repositories of `rights`: a misspelt one would be seen by nobody.
    fn problem_of(&self, rights: &Rights) -> Option<String> {
        let is_there = |glob: &&String| {
            let mut names = self.upstreams.iter().map(|one| &one.name);
            glob.contains(['*', '?']) || names.any(|name| name == *glob)
        };
        let missing = rights.repositories.iter().find(|glob| !is_there(glob))?;
        let names = self.upstreams.iter().map(|one| one.name.as_str());
        let hint = match text::nearest(missing, names) {
            Some(name) => format!("; did you mean {name:?}?"),
            None => String::new(),
        };
        let missing = text::line(missing.as_bytes());
        Some(format!(
            "repositories: there is no upstream {missing:?}{hint}"
        ))
    }
}

/// An agent's name stands in globs, labels and lines of the log.
fn check_agent_name(name: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > AGENT_NAME_LIMIT || !name.chars().all(is_plain) {
        return Some("the name must be 1 to 100 letters, digits, dots, dashes and underscores");
    }
    // It may be a part of a ref (git-check-ref-format(1)).
    let is_no_part = name.starts_with(['.', '-']) || name.contains("..");
    let is_no_part = is_no_part || name.ends_with('.') || name.to_lowercase().ends_with(".lock");
    is_no_part.then_some("the name could not stand in a ref")
}

/// A name becomes a directory, the start of two file names and a part of the agent's URL.
fn check_name(name: &str) -> Result<(), ConfigError> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_LIMIT {
        "is longer than 200 bytes"
    } else if name.contains(['/', '\\']) {
        "holds a slash"
    } else if name.starts_with(['.', '-']) {
        "begins with a dot or a dash"
    } else if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "holds a space or a control character"
    } else if name.contains(['%', '?', '#']) {
        "holds a character that means something else in a URL"
    } else if name.to_lowercase().ends_with(".git") {
        "ends with .git, which agents may add themselves: leave it out"
    } else {
        return Ok(());
    };
    Err(ConfigError::Name {
        shown: text::line(name.as_bytes()),
        problem,
    })
}

/// Whether `url` is one that the gate can use; if not, why.
fn check_url(url: &str) -> Result<(), String> {
    if is_https(url) {
        let parsed: Result<HttpsUrl, _> = url.parse();
        return parsed.map(drop).map_err(|error| error.to_string());
    }
    let parsed: Result<UpstreamUrl, _> = url.parse();
    parsed.map(drop).map_err(|error| error.to_string())
}
