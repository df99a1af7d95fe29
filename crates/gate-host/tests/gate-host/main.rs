//! gate-host, the operator's side: against real git, sshd, ssh-keygen and HTTP. The rig is the gate's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "../../../../tests/rig/mod.rs"]
mod rig;

mod forge; // deploy keys over HTTP
mod gitconfig; // the agent's rules, judged by git
mod manifest; // what is refused and how
mod mistakes; // what each mistake is told, for docs/troubleshooting.md
mod prepare; // the stage, deploy keys, and both taken back
mod scan; // host keys of a real sshd
mod server; // a forge on loopback
mod tls; // the roots of the system
mod token; // tokens that a forge issues
mod whole; // forge, sshd and gate together

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::binary;
use server::{Forge, TOKEN};

/// A host key to pin where no host is asked.
const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

/// An operator's directory, and gate-host in it.
struct Operator {
    folder: tempfile::TempDir,
}

/// How gate-host ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// What [`Operator::prepare`] asks for.
const PREPARE: &[&str] = &[
    "prepare",
    "bottle.toml",
    "--slug",
    "dev",
    "--stage",
    "stage",
];

impl Operator {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the directory.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// An ssh private key in the directory, with this passphrase.
    fn identity(&self, name: &str, passphrase: &str) -> PathBuf {
        let path = self.path(name);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        path
    }

    /// Writes `bottle.toml` with a provisioned key for each `team/NAME` on `forge`.
    fn provisioned(&self, forge: &Forge, names: &[&str]) {
        let entry = |name: &&str| {
            format!(
                "[git-gate.repos.{name}]\n\
                 upstream = \"ssh://git@forge.example/team/{name}.git\"\n\
                 known_host_key = \"{HOST_KEY}\"\n\
                 provisioned_key = {{ provider = \"gitea\", token_env = \"FORGE_TOKEN\", \
                 api_url = \"{}\" }}\n",
                forge.url
            )
        };
        self.write("bottle.toml", &names.iter().map(entry).collect::<String>());
    }

    /// gate-host in the directory, with the forge's token and nothing else in its environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("gate-host"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            .env("FORGE_TOKEN", TOKEN)
            .current_dir(self.folder.path())
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// `prepare bottle.toml` into `stage`.
    fn prepare(&self) -> Ran {
        self.run(PREPARE)
    }

    /// `revoke bottle.toml` of `stage`.
    fn revoke(&self) -> Ran {
        self.run(&["revoke", "bottle.toml", "--stage", "stage"])
    }

    /// The names of the files in `stage`.
    fn staged(&self) -> Vec<String> {
        names_in(&self.path("stage"))
    }
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    fn from(ran: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: ran.status.code().expect("an exit code"),
            out: text(ran.stdout),
            err: text(ran.stderr),
        }
    }

    /// Fails the test unless the exit code is `code` and all `words` were said; never a token.
    #[track_caller]
    fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {}", self.err);
        }
        assert!(!self.err.contains(TOKEN) && !self.out.contains(TOKEN));
        self
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| name(entry.unwrap()))
        .collect();
    names.sort();
    names
}

/// Fails the test unless `file` of this repository holds `value`; with `GIT_GATE_REGENERATE` in the
/// environment it is written instead.
#[track_caller]
fn assert_generated(file: &str, value: &serde_json::Value) {
    let path = rig::repository().join(file);
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("GIT_GATE_REGENERATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        text,
        "{file} is out of date"
    );
}
