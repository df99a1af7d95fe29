//! A gate in front of the rig's upstreams, of one of three kinds.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    PATIENCE, Ran, Rig, Upstream, baseline, binary, client, descendants, free_port, gitleaks,
    has_ended, signal, wait_until,
};

/// What serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `gate-init`, as in the image.
    Init,
    /// Our two hooks in bare repositories with the git config keys, served by a plain git daemon.
    DropIn,
    /// As `Init`, with every program that it or a child of it starts written to the file `execs`.
    Traced,
    /// The shell gate that is being replaced (see [`baseline`]).
    Baseline,
}

/// A running gate.
pub struct Gate {
    pub port: u16,
    folder: PathBuf,
    command: Command,
    server: Option<Child>,
}

impl Gate {
    pub(super) fn start(
        rig: &Rig,
        kind: Kind,
        upstreams: &[Upstream],
        extra: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gate-")
            .tempdir_in(rig.path())
            .unwrap()
            .keep();
        let port = free_port();
        let mut command = match kind {
            Kind::Init => init(rig, &folder, port, upstreams),
            Kind::Traced => traced(&init(rig, &folder, port, upstreams), &folder),
            Kind::DropIn => drop_in(rig, &folder, port, upstreams),
            Kind::Baseline => baseline::command(rig, &folder, port, upstreams),
        };
        for (name, value) in extra {
            match name.strip_suffix('=') {
                Some(variable) => command.env(variable, value),
                None => command.args([name, value]),
            };
        }
        let mut gate = Self {
            port,
            folder,
            command,
            server: None,
        };
        gate.launch();
        gate
    }

    fn launch(&mut self) {
        let log = File::create(self.folder.join("log")).unwrap();
        self.command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.server = Some(self.command.spawn().unwrap());
        wait_until("the gate listens", || {
            assert!(self.is_running(), "the gate ended: {}", self.log());
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Stops the gate and starts it again on the same folder, with `more` arguments behind the
    /// old ones.
    pub fn restart(&mut self, more: &[&str]) {
        self.stop();
        self.command.args(more);
        self.launch();
    }

    /// Kills the gate, as a machine that goes down does, and starts it again on the same folder.
    pub fn crash(&mut self) {
        self.kill();
        self.launch();
    }

    /// The URL under which an agent sees upstream `name`.
    pub fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}.git", self.port)
    }

    /// The gate's bare repository of upstream `name`.
    pub fn repository(&self, name: &str) -> PathBuf {
        self.folder.join("git").join(format!("{name}.git"))
    }

    /// The gate's folder: `git`, `run`, `log`.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The lines of strace(1) for each program that was, or was to be, started below a [`Kind::Traced`] gate.
    pub fn executions(&self) -> Vec<String> {
        let traces = fs::read_dir(executions_in(&self.folder)).unwrap();
        let text = traces.map(|trace| fs::read_to_string(trace.unwrap().path()).unwrap());
        let text: String = text.collect();
        text.lines().map(str::to_owned).collect()
    }

    /// Everything that the gate printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Waits until the mirror of upstream `name` is there, with the hook that comes last.
    pub fn wait_for_mirror(&self, name: &str) {
        let hook = self.repository(name).join("hooks/pre-receive");
        wait_until("the mirror is ready", || hook.exists());
    }

    /// Runs git in the gate's repository of upstream `name`, which a gate that serves already may still
    /// be making.
    pub fn git(&self, name: &str, arguments: &[&str]) -> Ran {
        self.wait_for_mirror(name);
        Ran::of(
            client::git(&self.folder)
                .current_dir(self.repository(name))
                .args(arguments),
        )
    }

    /// `gate-init` with these arguments, as its operator runs it beside this gate.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("gate-init"));
        command.args(arguments);
        command.arg("--base-path").arg(self.folder.join("git"));
        command.arg("--run-dir").arg(self.folder.join("run"));
        command.env("USER", "olga");
        command
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the gate runs").id()
    }

    /// The pre-receive hook that runs now, if one does.
    pub fn hook(&self) -> Option<u32> {
        let is_hook = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name == "pre-receive\n")
        };
        descendants(self.pid()).into_iter().find(is_hook)
    }

    /// Whether the server is still there.
    pub fn is_running(&mut self) -> bool {
        self.server
            .as_mut()
            .is_some_and(|server| server.try_wait().unwrap().is_none())
    }

    /// Asks the server to end and returns its exit code; `None` when it had to be killed.
    pub fn stop(&mut self) -> Option<i32> {
        let mut server = self.server.take()?;
        let all = descendants(server.id());
        signal(server.id(), Signal::TERM);
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match server.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() > end => break None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        for pid in all {
            signal(pid, Signal::KILL);
        }
        let _ = server.wait();
        status.and_then(|status| status.code())
    }
}

impl Gate {
    fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let all = descendants(server.id());
            let _ = server.kill();
            let _ = server.wait();
            for &pid in &all {
                signal(pid, Signal::KILL);
            }
            wait_until("the killed gate is gone", || {
                all.iter().all(|&pid| has_ended(pid))
            });
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // What the gate said is gone with its directory.
        if std::thread::panicking() {
            println!("the gate's log:\n{}", self.log());
        }
        self.kill();
    }
}

/// The environment of a gate: nothing but what it needs, so that no test depends on this machine.
fn gate_command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "TMPDIR"));
    command
        .env("HOME", folder)
        .env("GIT_GATE_GITLEAKS", gitleaks());
    command
}

fn init(rig: &Rig, folder: &Path, port: u16, upstreams: &[Upstream]) -> Command {
    let mut command = gate_command(&binary("gate-init"), folder);
    command.arg("--base-path").arg(folder.join("git"));
    command.arg("--creds-dir").arg(rig.path().join("creds"));
    command.arg("--run-dir").arg(folder.join("run"));
    command.args(["--listen", "127.0.0.1", "--port", &port.to_string()]);
    command.args(
        upstreams
            .iter()
            .map(|upstream| format!("{}={}", upstream.name, upstream.url)),
    );
    command
}

/// `command` under strace(1).
fn traced(command: &Command, folder: &Path) -> Command {
    fs::create_dir_all(executions_in(folder)).unwrap();
    let mut strace = Command::new("strace");
    strace.args([
        // A file for each process: in one file, two that start at once tear each other's lines.
        "-ff",
        "-qq",
        "-s",
        "4096",
        "-e",
        "trace=execve,execveat",
        "-o",
    ]);
    strace
        .arg(executions_in(folder).join("of"))
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    strace.env_clear();
    strace.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    strace
}

fn executions_in(folder: &Path) -> PathBuf {
    folder.join("execs")
}

/// Bare repositories made by hand, as an operator would who only takes the hooks.
fn drop_in(rig: &Rig, folder: &Path, port: u16, upstreams: &[Upstream]) -> Command {
    for upstream in upstreams {
        let repository = folder.join("git").join(format!("{}.git", upstream.name));
        let git = |arguments: &[&str]| Ran::of(client::git(folder).args(arguments)).success();
        let format = upstream.git(&["rev-parse", "--show-object-format"]);
        let path = repository.to_str().unwrap();
        git(&[
            "init",
            "-q",
            "--bare",
            &format!("--object-format={format}"),
            path,
        ]);
        git(&[
            "-C",
            path,
            "remote",
            "add",
            "--mirror=fetch",
            "origin",
            &upstream.url,
        ]);
        let (key, hosts) = (rig.key(&upstream.name), rig.known_hosts(&upstream.name));
        git(&[
            "-C",
            path,
            "config",
            "git-gate.identityFile",
            key.to_str().unwrap(),
        ]);
        git(&[
            "-C",
            path,
            "config",
            "git-gate.knownHosts",
            hosts.to_str().unwrap(),
        ]);
        git(&["-C", path, "config", "receive.denyCurrentBranch", "ignore"]);
        let _ = fs::remove_file(repository.join("hooks/pre-receive"));
        symlink(
            binary("gate-pre-receive"),
            repository.join("hooks/pre-receive"),
        )
        .unwrap();
    }
    let mut command = gate_command(Path::new("git"), folder);
    command.args([
        "daemon",
        "--reuseaddr",
        "--export-all",
        "--enable=receive-pack",
        "--informative-errors",
    ]);
    command.args(["--listen=127.0.0.1", &format!("--port={port}")]);
    command.arg(format!("--base-path={}", folder.join("git").display()));
    command.arg(format!(
        "--access-hook={}",
        binary("gate-access-hook").display()
    ));
    command
}
