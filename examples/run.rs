//! `make run`: a gate on loopback, in front of a throwaway upstream or of a real one, until Ctrl-C.
//!
//! Everything lies in one temporary directory, which is removed at the end.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a demonstration"
)]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;

/// Starts a gate on loopback and prints lines to try.
#[derive(Parser)]
struct Arguments {
    /// The upstream, `ssh://user@host:port/path`; without it a throwaway one is made.
    #[arg(long, requires_all = ["key", "known_hosts"])]
    upstream: Option<String>,
    /// The ssh private key for the upstream.
    #[arg(long)]
    key: Option<PathBuf>,
    /// A file with the upstream's pinned host key.
    #[arg(long)]
    known_hosts: Option<PathBuf>,
    /// The port to listen on.
    #[arg(long, default_value_t = 9418)]
    port: u16,
    /// The port of HTTP.
    #[arg(long, default_value_t = 9420)]
    http_port: u16,
}

/// A running gate-init, ended with this value.
struct GateInit(Child);

impl Drop for GateInit {
    fn drop(&mut self) {
        rig::signal(self.0.id(), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("make run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    for (port, other) in [
        (arguments.port, "PORT=9419"),
        (arguments.http_port, "HTTP_PORT=9421"),
    ] {
        drop(TcpListener::bind(("127.0.0.1", port)).with_context(|| {
            format!("port {port} of 127.0.0.1 cannot be had; name another one: make run {other}")
        })?);
    }
    let rig = rig::Rig::new();
    let (name, url) = match &arguments.upstream {
        None => (String::from("app"), rig.upstream("app").url),
        Some(url) => (name_of(url), url.clone()),
    };
    if let (Some(key), Some(known_hosts)) = (&arguments.key, &arguments.known_hosts) {
        copy(key, &rig.key(&name))?;
        copy(known_hosts, &rig.known_hosts(&name))?;
    }
    let mut gate = start(&rig, &name, &url, arguments)?;
    print_lines(&name, &url, arguments);
    while !stop.load(Ordering::Relaxed) {
        if let Some(status) = gate.0.try_wait()? {
            bail!("gate-init ended: {status}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("\nmake run: stopping");
    Ok(())
}

fn start(rig: &rig::Rig, name: &str, url: &str, arguments: &Arguments) -> Result<GateInit> {
    let mut command = Command::new(rig::binary("gate-init"));
    command.arg("--base-path").arg(rig.path().join("git"));
    command.arg("--creds-dir").arg(rig.path().join("creds"));
    command.arg("--run-dir").arg(rig.path().join("run"));
    command
        .args(["--listen", "127.0.0.1"])
        .args(["--port", &arguments.port.to_string()])
        .args(["--http-port", &arguments.http_port.to_string()])
        .arg(format!("{name}={url}"));
    command
        .env("GIT_GATE_GITLEAKS", rig::gitleaks())
        .stdin(Stdio::null());
    // A group of its own: Ctrl-C ends this program, which then ends the gate in order.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut gate = GateInit(command.spawn().context("cannot start gate-init")?);
    // Its own word: another program may answer on the port.
    while !is_well(rig)? {
        if let Some(status) = gate.0.try_wait()? {
            bail!("gate-init ended: {status}; its reason is above");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(gate)
}

fn is_well(rig: &rig::Rig) -> Result<bool> {
    let mut health = Command::new(rig::binary("gate-init"));
    health
        .args(["health", "--run-dir"])
        .arg(rig.path().join("run"));
    Ok(health
        .output()
        .context("cannot ask gate-init")?
        .status
        .success())
}

/// The last part of the upstream's path, without `.git`.
fn name_of(url: &str) -> String {
    let last = url.rsplit(['/', ':']).next().unwrap_or_default();
    last.strip_suffix(".git").unwrap_or(last).to_owned()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot read {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn print_lines(name: &str, url: &str, arguments: &Arguments) {
    let port = if arguments.port == 9418 {
        String::new()
    } else {
        format!(":{}", arguments.port)
    };
    let http_port = arguments.http_port;
    let kind = if arguments.upstream.is_some() {
        "upstream"
    } else {
        "throwaway upstream"
    };
    println!(
        "\n\
         The gate is ready, in front of the {kind} {url}\n\
         Its URLs for an agent:  git://127.0.0.1{port}/{name}.git\n\
         \x20                       http://127.0.0.1:{http_port}/{name}.git\n\
         \n\
         Try, in another terminal:\n\
         \n\
         \x20   git clone git://127.0.0.1{port}/{name}.git /tmp/try && cd /tmp/try\n\
         \n\
         \x20   # A clean push is scanned and forwarded:\n\
         \x20   echo hello > hello.txt && git add hello.txt && git commit -m 'say hello'\n\
         \x20   git push origin HEAD:refs/heads/hello\n\
         \n\
         \x20   # A push with a secret is refused, and nothing of it reaches the upstream\n\
         \x20   # (this one is made up on the spot):\n\
         \x20   echo \"token = ghp_$(head -c 27 /dev/urandom | base64 | tr '+/' 'ab')\" > config.txt\n\
         \x20   git add config.txt && git commit -m 'add config'\n\
         \x20   git push origin HEAD:refs/heads/leak\n\
         \n\
         Ctrl-C stops the gate and removes everything but your clone."
    );
}
