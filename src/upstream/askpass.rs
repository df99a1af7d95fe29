//! The token of an https upstream, which git asks for: git runs the program in `GIT_ASKPASS` without a
//! shell (gitcredentials(7)), and that is our own binary. So the token goes from its file to git, and the
//! hook that has read hostile objects never holds it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::process;
use crate::replace_file::replace_file;

/// Set: this process may be asked for a token. A [`Question`] as JSON.
const AS_ASKPASS: &str = "GIT_GATE_ASKPASS";

/// How a line begins that says why there is no token; whoever reads git's words knows it by that.
pub(super) const NO_TOKEN: &str = "no token: ";

/// The largest file of a token, and the most that a command prints, in bytes. Some are JSON Web Tokens.
const LONGEST: usize = 16 << 10;

/// How long the operator's command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// How long before its end a token is used no more: a push takes a while.
const MARGIN: Duration = Duration::from_secs(60);

/// Where a token is to be had, and for whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Question {
    /// git's words for this upstream and user, and no other.
    pub prompt: String,
    /// The file that holds it.
    pub token_file: Option<PathBuf>,
    /// The command that prints it, where there is no file.
    pub command: Vec<String>,
    /// Where what the command printed is kept until it expires.
    pub kept: Option<PathBuf>,
    /// The home of the user, which git does not get: the command may need it.
    pub home: Option<PathBuf>,
}

/// A token that was printed by a command.
#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
    /// Seconds since 1970.
    until: u64,
}

impl Question {
    /// Has the git of `command` ask this binary.
    pub fn put_to(&self, command: &mut Command, program: &Path) {
        let question = serde_json::to_string(self).unwrap_or_default();
        command.env("GIT_ASKPASS", program);
        command.env(AS_ASKPASS, question);
    }

    /// Drops what was kept: the upstream does not take it.
    pub fn forget(&self) {
        if let Some(kept) = &self.kept {
            let _ = fs::remove_file(kept);
        }
    }

    fn token(&self) -> Result<String, String> {
        match (&self.token_file, self.command.as_slice()) {
            (_, [program, arguments @ ..]) => self.printed(program, arguments),
            (Some(file), []) => read(file),
            (None, []) => Err("nothing says where it is".to_owned()),
        }
    }

    /// What the command prints: a token alone, which is asked for each time, or lines of git's credential
    /// helpers (git-credential(1)): `password=` and `password_expiry_utc=`.
    fn printed(&self, program: &str, arguments: &[String]) -> Result<String, String> {
        if let Some(token) = self.kept.as_deref().and_then(still_good) {
            return Ok(token);
        }
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_remove(AS_ASKPASS)
            .env_remove("GIT_ASKPASS")
            .env_remove("HOME")
            .envs(self.home.as_ref().map(|home| ("HOME", home)))
            .stdin(Stdio::null());
        // What it says may hold the secret by which it is let in.
        let ran = process::run(&mut command, COMMAND_LIMIT);
        let output = ran.map_err(|error| format!("credentialCommand: {error}"))?;
        if !output.status.success() {
            let how = process::how_it_ended(output.status);
            return Err(format!("credentialCommand {program}: {how}"));
        }
        let text = String::from_utf8(output.stdout).unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let token = field("password=").unwrap_or(text.trim());
        check(token).map_err(|problem| format!("credentialCommand {program} {problem}"))?;
        let until = field("password_expiry_utc=").and_then(|until| until.parse().ok());
        if let (Some(kept), Some(until)) = (&self.kept, until) {
            let token = token.to_owned();
            // Where it cannot be kept, it is asked for again.
            let _ = keep(kept, &Kept { token, until });
        }
        Ok(token.to_owned())
    }
}

/// Where git, which one of ours has started, asks this process for the token: prints it, and does not
/// return.
pub(super) fn answer_if_asked() {
    let Some(question) = std::env::var_os(AS_ASKPASS) else {
        return;
    };
    let asked = std::env::args().nth(1).unwrap_or_default();
    let question = serde_json::from_slice::<Question>(question.as_encoded_bytes());
    let answer = match question {
        Ok(question) if asked.starts_with(&question.prompt) => question.token(),
        // Another host, or another user.
        _ => Err("git asks for another one".to_owned()),
    };
    let code = match answer {
        Ok(token) => i32::from(writeln!(std::io::stdout(), "{token}").is_err()),
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "{NO_TOKEN}{problem}");
            1
        }
    };
    std::process::exit(code)
}

/// What is wrong with the file of a token, seen from outside.
pub fn problem(file: &Path) -> Option<String> {
    let shown = file.display();
    match fs::metadata(file) {
        Err(error) => Some(format!("cannot read {shown}: {error}")),
        Ok(metadata) if metadata.len() == 0 => Some(format!("{shown} is empty")),
        Ok(metadata) if metadata.len() > LONGEST as u64 => {
            Some(format!("{shown} is too large for a token"))
        }
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            Some(format!("others can read {shown}: it must have mode 0600"))
        }
        Ok(_) => None,
    }
}

fn read(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let content = match problem(file) {
        Some(problem) => return Err(problem),
        None => {
            fs::read_to_string(file).map_err(|error| format!("cannot read {shown}: {error}"))?
        }
    };
    let token = content.trim();
    check(token).map_err(|problem| format!("{shown} {problem}"))?;
    Ok(token.to_owned())
}

/// A token goes into a header, and git reads one line.
fn check(token: &str) -> Result<(), &'static str> {
    let is_well = token.bytes().all(|byte| byte.is_ascii_graphic());
    match is_well && !token.is_empty() && token.len() <= LONGEST {
        true => Ok(()),
        false => Err("holds no token: one word of printable ASCII characters, and nothing else"),
    }
}

/// The token in `file`, if it is good for a while.
fn still_good(file: &Path) -> Option<String> {
    let kept: Kept = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    (now + MARGIN < Duration::from_secs(kept.until)).then_some(kept.token)
}

fn keep(file: &Path, kept: &Kept) -> std::io::Result<()> {
    replace_file(file, &serde_json::to_vec(kept)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_prints_is_kept_until_it_expires_and_a_bare_token_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let question = |printed: &str| Question {
            prompt: String::new(),
            token_file: None,
            command: ["printf", printed].map(str::to_owned).into(),
            kept: Some(directory.path().join("kept")),
            home: None,
        };
        assert_eq!(question("word").token().unwrap(), "word");
        let lines = |token: &str, until: u64| {
            question(&format!(
                "username=x\\npassword={token}\\npassword_expiry_utc={until}\\n"
            ))
        };
        assert_eq!(lines("first", now + 3600).token().unwrap(), "first");
        assert_eq!(lines("second", now + 3600).token().unwrap(), "first");
        lines("", 0).forget();
        assert_eq!(lines("third", now + 30).token().unwrap(), "third");
        assert_eq!(lines("fourth", now + 30).token().unwrap(), "fourth");
        for bad in ["", "two words", "\\t", "password=\\n"] {
            let problem = question(bad).token().unwrap_err();
            assert!(problem.contains("holds no token"), "{problem}");
        }
        let mut broken = question("secret");
        broken.command[0] = "false".to_owned();
        let problem = broken.token().unwrap_err();
        assert!(
            problem.contains("false") && !problem.contains("secret"),
            "{problem}"
        );
    }
}
