//! What one line of the audit log says, and how it gets there.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::append;
use crate::push::RefUpdate;

/// The socket's name in the run directory.
pub const SOCKET: &str = "audit";

/// How long a hook waits for room in the socket.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// What is behind the name of a log where its lost lines are counted.
pub const LOST: &str = ".lost";

/// The most refs, findings and lines of the upstream that one event lists; with it, an event fits
/// into one datagram.
pub const LIST_LIMIT: usize = 50;

/// The most suspects that one event lists.
pub const SUSPECT_LIMIT: usize = 20;

/// What happened.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// gate-init serves.
    #[default]
    Start,
    /// gate-init has read its configuration again, or could not.
    Reload,
    /// gate-init ends.
    Exit,
    /// A mirror was set aside, or cannot be made or refreshed without a client.
    Mirror,
    /// A fetch was served.
    Fetch,
    /// A push was scanned and forwarded.
    Push,
    /// A fetch or push was refused; `service` says which.
    Refusal,
    /// A push was refused by the ref policy, before any scan.
    Policy,
    /// A client was refused or ended because of one of the limits.
    Limit,
    /// The operator has answered a refusal.
    Answer,
}

impl Kind {
    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reload => "reload",
            Self::Exit => "exit",
            Self::Mirror => "mirror",
            Self::Fetch => "fetch",
            Self::Push => "push",
            Self::Refusal => "refusal",
            Self::Policy => "policy",
            Self::Limit => "limit",
            Self::Answer => "answer",
        }
    }
}

/// One line of the audit log. What does not apply is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "git-gate audit event")]
pub struct Event {
    /// When it happened: RFC 3339, UTC, milliseconds.
    pub time: String,
    /// What happened.
    pub event: Kind,
    /// The gate whose event it is: `--gate-name`, or the name of its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The repository's name at the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The client's address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The agent whose token the client gave, by its name in gate.json.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// `fetch` or `push`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Why, in words; for a refusal, what the client was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The limit's name in gate.json.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// gate-init's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// Ref updates, the first 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<RefChange>,
    /// How many ref updates there were in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_count: Option<u64>,
    /// Objects scanned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Bytes of text scanned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Secrets found, the first 50, with nothing of the secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// The id by which the operator answers the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// How many secrets were found in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding_count: Option<u64>,
    /// What may be secrets, the first 20, with nothing of them; they refused nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<Finding>,
    /// How many there were in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspect_count: Option<u64>,
    /// Seconds that each phase took: `receive`, `policy`, `scan`, `forward`, `refresh`, `total`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub seconds: BTreeMap<String, f64>,
    /// What the upstream said, the first 50 lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<String>,
    /// gate-init's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A ref update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefChange {
    /// The ref; `refs/heads/… (ref update 2)` where nobody has scanned its name, or something was
    /// found in it.
    pub name: String,
    /// The object id before, all zeros for a new ref.
    pub old: String,
    /// The object id after, all zeros for a deleted one.
    pub new: String,
}

impl RefChange {
    /// The first of `updates`, with their names as they may be shown.
    pub fn first(updates: &[RefUpdate]) -> Vec<Self> {
        let change = |update: &RefUpdate| Self {
            name: update.shown(),
            old: update.old.to_string(),
            new: update.new.to_string(),
        };
        updates.iter().take(LIST_LIMIT).map(change).collect()
    }
}

/// Where a secret was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Finding {
    /// The scanner's rule.
    pub rule: String,
    /// The path in the tree, or what else held it.
    pub path: String,
    /// The line, from 1; 0 where there is none.
    pub line: u64,
}

impl Event {
    /// An event that happens now.
    pub fn now(event: Kind) -> Self {
        Self {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            event,
            ..Self::default()
        }
    }

    /// The event as one line, without its end.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Records `event`, for a hook: to gate-init, else to the file in `GIT_GATE_AUDIT_LOG`, else not at
/// all. It never fails, and waits [`SEND_LIMIT`] at most.
pub fn record(event: &Event) {
    let line = event.line();
    if let Some(run_dir) = std::env::var_os("GIT_GATE_RUN_DIR") {
        // gate-init knows of the client: it writes a line of its own where this one does not come.
        let _ = send(&Path::new(&run_dir).join(SOCKET), &line);
    } else if let Some(file) = std::env::var_os("GIT_GATE_AUDIT_LOG").map(PathBuf::from)
        && add(&file, &line).is_err()
    {
        count_lost(&file);
    }
}

/// Records `event` for the operator's own commands: to the gate-init that serves with `run_dir`, else to
/// `file`. Whether it was recorded.
pub fn record_for(run_dir: &Path, file: Option<&Path>, event: &Event) -> bool {
    let line = event.line();
    send(&run_dir.join(SOCKET), &line).is_ok() || file.is_some_and(|file| add(file, &line).is_ok())
}

/// A socket holds few datagrams, and gate-init takes them at once: so there is room in a moment.
fn send(socket: &Path, line: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    datagram.set_write_timeout(Some(SEND_LIMIT))?;
    datagram.send_to(line.as_bytes(), socket).map(drop)
}

fn add(file: &Path, line: &str) -> io::Result<()> {
    let mut torn = append::is_torn(file);
    append::write(&mut append::open_now(file)?, &mut torn, line)
}

/// Nobody else counts without gate-init: the size of `FILE.lost` is the number of lines that are
/// missing. A disk that is full has room for it where the file has a block already.
fn count_lost(file: &Path) {
    let mut name = file.as_os_str().to_owned();
    name.push(LOST);
    if let Ok(mut lost) = append::open_now(Path::new(&name)) {
        let _ = lost.write_all(b"x");
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;

    #[test]
    fn the_published_schema_is_that_of_the_types() {
        let schema = schemars::schema_for!(Event).to_value();
        crate::config::tests::assert_published("docs/audit.schema.json", &schema);
    }

    #[test]
    fn what_does_not_apply_is_left_out() {
        let event = Event {
            time: "2026-01-01T00:00:00.000Z".to_owned(),
            event: Kind::Limit,
            limit: Some("idleClient".to_owned()),
            ..Event::default()
        };
        assert_eq!(
            event.line(),
            r#"{"time":"2026-01-01T00:00:00.000Z","event":"limit","limit":"idleClient"}"#
        );
    }
}
