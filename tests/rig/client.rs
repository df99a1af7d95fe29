//! A plain `git` as an agent has it: own home, nothing of this machine's configuration.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Sshd;

/// A folder to work in and git's environment for it.
#[derive(Clone)]
pub struct Client {
    home: PathBuf,
    folder: PathBuf,
}

/// How a command ended and all that it printed.
#[derive(Debug)]
pub struct Ran {
    pub ok: bool,
    /// Standard output, then standard error.
    pub text: String,
}

impl Ran {
    /// Runs `command` to its end.
    pub fn of(command: &mut Command) -> Self {
        let ran = command.stdin(Stdio::null()).output().unwrap();
        let text = [ran.stdout, ran.stderr].concat();
        Self {
            ok: ran.status.success(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// Fails the test unless the command succeeded; returns what it printed.
    #[track_caller]
    pub fn success(self) -> String {
        assert!(self.ok, "should have succeeded:\n{}", self.text);
        self.text
    }

    /// Fails the test unless the command failed; returns what it printed.
    #[track_caller]
    pub fn failure(self) -> String {
        assert!(!self.ok, "should have failed:\n{}", self.text);
        self.text
    }
}

impl Client {
    pub(super) fn new(home: &Path) -> Self {
        fs::create_dir_all(home).unwrap();
        Self {
            home: home.to_owned(),
            folder: home.to_owned(),
        }
    }

    /// The folder that commands run in.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The same client in a folder below this one.
    pub fn at(&self, folder: &str) -> Self {
        Self {
            home: self.home.clone(),
            folder: self.folder.join(folder),
        }
    }

    /// Runs git.
    pub fn git(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command().args(arguments))
    }

    /// git, to be run in another way.
    pub fn command(&self) -> Command {
        let mut command = git(&self.home);
        command.current_dir(&self.folder);
        command
    }

    /// Runs git with `input` and returns its standard output without the last newline.
    pub fn git_with_input(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = self.command();
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let ran = child.wait_with_output().unwrap();
        assert!(
            ran.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    }

    /// Clones `url` into the folder `name` and returns the client in there.
    #[track_caller]
    pub fn clone_of(&self, url: &str, name: &str) -> Self {
        self.git(&["clone", "-q", url, name]).success();
        self.at(name)
    }

    /// Writes a file below the client's folder.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes a file, commits it, and returns the commit's id.
    #[track_caller]
    pub fn commit(&self, file: &str, content: impl AsRef<[u8]>, message: &str) -> String {
        self.write(file, content);
        self.git(&["add", "--all", "--force"]).success();
        self.git(&["commit", "-q", "--allow-empty", "-m", message])
            .success();
        self.id("HEAD")
    }

    /// Writes a blob into the repository; its id.
    #[track_caller]
    pub fn blob(&self, content: impl AsRef<[u8]>) -> String {
        self.git_with_input(&["hash-object", "-w", "--stdin"], content.as_ref())
    }

    /// The object id of a revision.
    #[track_caller]
    pub fn id(&self, revision: &str) -> String {
        self.git(&["rev-parse", revision])
            .success()
            .trim()
            .to_owned()
    }

    /// Lets this client reach the upstream itself, with the gate's credential.
    pub fn use_ssh(&self, sshd: &Sshd) {
        let known_hosts = self.home.join("known_hosts");
        fs::write(&known_hosts, sshd.known_hosts_line()).unwrap();
        let ssh = format!(
            "ssh -F /dev/null -i {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o BatchMode=yes",
            sshd.client_key().display(),
            known_hosts.display()
        );
        let config = self.home.join(".gitconfig");
        Ran::of(
            git(&self.home)
                .args(["config", "--file"])
                .arg(config)
                .args(["core.sshCommand", &ssh]),
        )
        .success();
    }
}

/// git with nothing of this machine's configuration.
pub(super) fn git(home: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    command
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Agent")
        .env("GIT_AUTHOR_EMAIL", "agent@example.com")
        .env("GIT_COMMITTER_NAME", "Agent")
        .env("GIT_COMMITTER_EMAIL", "agent@example.com")
        .current_dir(home);
    for (index, (key, value)) in SETTINGS.iter().enumerate() {
        command
            .env(format!("GIT_CONFIG_KEY_{index}"), key)
            .env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command.env("GIT_CONFIG_COUNT", SETTINGS.len().to_string());
    command
}

const SETTINGS: [(&str, &str); 4] = [
    ("init.defaultBranch", "main"),
    ("advice.detachedHead", "false"),
    // A test is over when its command is; nothing may go on behind it.
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
];
