//! ssh, with the pinned host key and the one key file and nothing else: no agent, no configuration
//! of the user or the system, no other known hosts, no forwarding (ssh_config(5)).
//!
//! git starts its ssh as a program only where `GIT_SSH` names one: a command line in
//! `GIT_SSH_COMMAND` goes through a shell (git(1)). So git is told that our own binary is its ssh
//! (`helper_role`), with the arguments in an environment variable.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::context::Context;
use super::control_master::Master;
use super::helper_role::{AS_SSH, MASTER};
use super::ls_refs;
use super::mux_client::MuxSession;
use super::{Budget, UpstreamError, key_file};
use crate::bound::{AS_BOUND, bound};
use crate::process::{self, Output};
use crate::settings::Settings;
use crate::url::ssh_url::UpstreamUrl;
use crate::{debug_log, git};

/// Starts opening the connection that a forward will need, and does not wait for it. What goes
/// wrong is reported by the forward, which opens it again.
pub fn open_early(settings: &Settings) {
    if let Ok(ssh) = Ssh::new(settings, &git::hook_git_dir()) {
        // Dies with the hook, and so does an ssh that is not logged in yet.
        let _ = std::thread::Builder::new().spawn(move || ssh.open());
    }
}

/// How one upstream is reached.
#[derive(Debug, Clone)]
pub(super) struct Ssh {
    pub url: UpstreamUrl,
    pub context: Context,
    arguments: Vec<String>,
    master: Option<Master>,
    connect: Duration,
    /// How long a session that was opened ahead waits; zero where none is.
    pub session_idle: Duration,
}

impl Ssh {
    /// Checks the URL and that the key and the pinned host keys exist. Contacts nobody.
    ///
    /// `git_dir` is where connection sockets go when there is no run directory.
    pub fn new(settings: &Settings, git_dir: &Path) -> Result<Self, UpstreamError> {
        let url: UpstreamUrl = settings.url.parse()?;
        let key = read(&settings.identity_file).ok_or_else(|| UpstreamError::MissingKey {
            path: settings.identity_file.clone(),
        })?;
        if let Some(reason) = key_file::problem(&key) {
            let path = settings.identity_file.clone();
            return Err(UpstreamError::UnusableKey {
                path,
                reason: reason.to_owned(),
            });
        }
        let known_hosts =
            read(&settings.known_hosts).ok_or_else(|| UpstreamError::MissingKnownHosts {
                path: settings.known_hosts.clone(),
            })?;
        let arguments = arguments(settings);
        let identity = [
            url.user().as_bytes(),
            url.known_hosts_name().as_bytes(),
            &key,
            &known_hosts,
            arguments.join("\0").as_bytes(),
        ]
        .join(&0);
        Ok(Self {
            master: Master::locate(&identity, settings.limits.ssh_persist, git_dir),
            context: Context {
                upstream: url.canonical(),
                key: settings.identity_file.clone(),
                known_hosts: settings.known_hosts.clone(),
                connect: settings.limits.connect,
                silence: settings.limits.silence,
                format: "sha1",
            },
            connect: Duration::from_secs(settings.limits.connect),
            session_idle: Duration::from_secs(settings.limits.session_idle),
            url,
            arguments,
        })
    }

    /// Makes sure that the shared connection stands, where there is a place for its socket.
    pub fn open(&self) -> Result<(), UpstreamError> {
        match &self.master {
            Some(master) => {
                master.open(&self.context, self.connect, || self.master_command(master))
            }
            None => Ok(()),
        }
    }

    /// Whether commands share one connection. A shared one may have broken before a command used
    /// it, so a second try, on a new one, makes sense.
    pub fn is_shared(&self) -> bool {
        self.master.is_some()
    }

    /// A git command in `git_dir` that reaches this upstream by ssh and dies with this process.
    pub fn git(&self, git_dir: &Path) -> Command {
        let mut arguments = self.arguments.clone();
        // Every binary of ours plays ssh's part when asked to.
        let program = process::own_program();
        let mut command = bound(&git::command(git_dir), &program);
        if let Some(master) = &self.master {
            arguments.extend(of_master(master));
            command.env(MASTER, master.socket());
        }
        command
            .env("GIT_SSH", &program)
            .env("GIT_SSH_VARIANT", "ssh")
            .env(AS_SSH, serde_json::Value::from(arguments).to_string());
        command
    }

    /// Has git's upload-pack on the upstream list its refs, and end; `None` where only git knows the path.
    pub fn advertise(&self) -> Option<Command> {
        let mut command = bound(&self.upload_pack()?, &process::own_program());
        // It lists them unasked, unless it is asked for version 2 of the protocol (gitprotocol-v2(5)).
        command.env_remove("GIT_PROTOCOL");
        Some(command)
    }

    /// As [`Ssh::advertise`], in a session of the shared connection: what it prints until that `is_enough`;
    /// `None` where it ends before, or there is none to be had.
    pub fn read_advertised(
        &self,
        budget: &Budget,
        is_enough: impl FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let master = self.master.as_ref()?;
        let _noted = debug_log::command(&self.upload_pack()?);
        let (output, theirs) = io::pipe().ok()?;
        let nothing = File::options().read(true).write(true).open("/dev/null");
        let nothing = nothing.ok()?;
        let streams = [nothing.as_fd(), theirs.as_fd(), nothing.as_fd()];
        let session =
            MuxSession::ask(master.socket(), &self.remote_command()?, &[], streams).ok()?;
        drop(theirs);
        let said = ls_refs::hear(output, budget, is_enough).ok();
        session.leave();
        said
    }

    fn upload_pack(&self) -> Option<Command> {
        let mut command = Command::new("ssh");
        command.args(&self.arguments);
        if let Some(master) = &self.master {
            command.args(of_master(master));
        }
        command.args(self.destination()).arg(self.remote_command()?);
        Some(command)
    }

    fn remote_command(&self) -> Option<String> {
        Some(format!("git-upload-pack {}", for_shell(self.path()?)))
    }

    /// Where the shared connection's master listens, and how git itself starts receive-pack over it; `None`
    /// where no connection is shared, or only git knows the path.
    pub fn receive_pack(&self) -> Option<(PathBuf, String)> {
        let command = format!("git-receive-pack {}", for_shell(self.path()?));
        Some((self.master.as_ref()?.socket().to_owned(), command))
    }

    /// The path as the upstream gets it: git decodes one (`%20`), and takes `/~name` for a path in a
    /// home.
    fn path(&self) -> Option<&str> {
        let path = self.url.path();
        let in_home = path.strip_prefix('/').filter(|path| path.starts_with('~'));
        (!path.contains('%')).then_some(in_home.unwrap_or(path))
    }

    /// git's upload-pack in a session of the shared connection that is opened ahead, and what such a session
    /// stands for; `None` where none is to be opened, or no connection is shared. Version 2 of the
    /// protocol is asked for.
    pub fn session(&self) -> Option<(String, Command)> {
        if self.session_idle.is_zero() {
            return None;
        }
        let socket = self.master.as_ref()?.socket();
        let identity = format!("{} {}", socket.display(), self.url);
        let mut command = self.upload_pack()?;
        command.env("GIT_PROTOCOL", "version=2");
        Some((identity, command))
    }

    /// Explains a command that has failed by itself; looks into why the shared connection ended, too.
    pub fn explain(&self, output: &Output) -> UpstreamError {
        let error = self.context.git_error(&output.stderr);
        if !matches!(error, UpstreamError::Lost { .. }) {
            return error;
        }
        let last_words = self.master.as_ref().and_then(Master::last_words);
        last_words
            .and_then(|words| self.context.ssh_error(&words))
            .unwrap_or(error)
    }

    fn master_command(&self, master: &Master) -> Command {
        let mut command = process::own_command();
        let persist = format!("-oControlPersist={}", master.persist);
        command
            .env(AS_BOUND, "ssh")
            .args(&self.arguments)
            .args(["-f", "-N", "-M", &persist, "-E"])
            .arg(master.log())
            .arg(format!("-oControlPath={}", quoted(master.socket())))
            .args(self.destination());
        command
    }

    /// ssh's arguments for whom to reach.
    fn destination(&self) -> [String; 3] {
        let (port, user, host) = (self.url.port(), self.url.user(), self.url.host());
        ["-p".to_owned(), port.to_string(), format!("{user}@{host}")]
    }
}

/// ssh's arguments for a command that uses the shared connection.
fn of_master(master: &Master) -> [String; 2] {
    [
        format!("-oControlPath={}", quoted(master.socket())),
        "-oControlMaster=no".to_owned(),
    ]
}

/// The content of a regular file that has some.
fn read(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path)
        .ok()
        .filter(|content| !content.is_empty())
}

/// ssh's arguments for every connection. The first value of an option counts, so nothing that git
/// adds behind them can change these.
fn arguments(settings: &Settings) -> Vec<String> {
    let limits = &settings.limits;
    // One probe after half the time, an end after the other half.
    let probe = limits.silence.div_ceil(2).max(1);
    let mut arguments: Vec<String> = ["-F", "/dev/null", "-T"].map(str::to_owned).into();
    let options = [
        ("IdentityFile", quoted(&settings.identity_file)),
        ("IdentitiesOnly", "yes".to_owned()),
        ("IdentityAgent", "none".to_owned()),
        ("UserKnownHostsFile", quoted(&settings.known_hosts)),
        ("GlobalKnownHostsFile", "/dev/null".to_owned()),
        ("StrictHostKeyChecking", "yes".to_owned()),
        ("UpdateHostKeys", "no".to_owned()),
        ("PreferredAuthentications", "publickey".to_owned()),
        ("BatchMode", "yes".to_owned()),
        ("ConnectTimeout", limits.connect.max(1).to_string()),
        ("ServerAliveInterval", probe.to_string()),
        ("ServerAliveCountMax", "1".to_owned()),
        ("ClearAllForwardings", "yes".to_owned()),
        ("ForwardAgent", "no".to_owned()),
        ("ForwardX11", "no".to_owned()),
        ("PermitLocalCommand", "no".to_owned()),
        ("ProxyCommand", "none".to_owned()),
        ("CanonicalizeHostname", "no".to_owned()),
        // The level at which ssh says that the server has stopped answering.
        ("LogLevel", "INFO".to_owned()),
        // A master only passes on what its own configuration names.
        ("SendEnv", "GIT_PROTOCOL".to_owned()),
    ];
    arguments.extend(options.map(|(name, value)| format!("-o{name}={value}")));
    arguments
}

/// A path in the single quotes that git puts around it (git's quote.h): forges read no others.
fn for_shell(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''").replace('!', r"'\!'"))
}

/// A path as ssh_config(5) takes it: in double quotes, `%` doubled.
fn quoted(path: impl AsRef<OsStr>) -> String {
    let mut out = String::from("\"");
    for c in path.as_ref().to_string_lossy().chars() {
        match c {
            '"' | '\\' => {
                let _ = write!(out, "\\{c}");
            }
            '%' => out.push_str("%%"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(directory: &Path) -> Settings {
        Settings {
            url: "ssh://git@host/app.git".to_owned(),
            identity_file: directory.join("key"),
            known_hosts: directory.join("known hosts 100%"),
            ..Settings::without_upstream()
        }
    }

    #[test]
    fn a_missing_file_is_named_before_anybody_is_contacted() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let error = Ssh::new(&settings, dir.path()).unwrap_err();
        assert!(matches!(error, UpstreamError::MissingKey { .. }), "{error}");
        std::fs::write(&settings.identity_file, "-----BEGIN PRIVATE KEY-----\n").unwrap();
        let error = Ssh::new(&settings, dir.path()).unwrap_err();
        assert!(matches!(error, UpstreamError::MissingKnownHosts { .. }));
    }

    #[test]
    fn ssh_reads_our_options_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        // `ssh -G` prints the configuration that a connection would use.
        let shown = Command::new("ssh")
            .args(arguments(&settings))
            .args([
                "-o",
                "UserKnownHostsFile=/other",
                "-o",
                "StrictHostKeyChecking=no",
            ])
            .args(["-G", "git@host"])
            .output()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let expected = [
            format!("identityfile {}", settings.identity_file.display()),
            format!("userknownhostsfile {}", settings.known_hosts.display()),
            "globalknownhostsfile /dev/null".to_owned(),
            "stricthostkeychecking true".to_owned(),
            "identityagent none".to_owned(),
            "identitiesonly yes".to_owned(),
            "batchmode yes".to_owned(),
            "connecttimeout 10".to_owned(),
            "serveraliveinterval 10".to_owned(),
        ];
        for line in expected {
            assert!(
                shown.lines().any(|l| l == line),
                "{line} is not in\n{shown}"
            );
        }
        assert_eq!(shown.matches("\nidentityfile ").count(), 1);
    }
}
