//! `gate-init check`: everything but serving, as a table; `gate-init health`: whether it serves.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::options::Hooks;
use super::repos::Mirror;
use super::server::{self, HEALTH_SOCKET};
use super::{Options, ServeError};
use crate::config::{Config, Upstream};
use crate::scan::engine::{cage, process::locate};
use crate::settings::{Deletes, ForcePush, Policy};
use crate::{git, process, text};

/// How long a program may take to tell its version.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// How long the health check waits for an answer.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// The table that is being written.
struct Table<'a, W> {
    out: &'a mut W,
    colours: bool,
    well: bool,
}

impl<W: Write> Table<'_, W> {
    /// One row: what was looked at, and what was found or what is wrong.
    fn row(&mut self, subject: &str, item: &str, result: Result<String, String>) -> io::Result<()> {
        let (word, colour, shown) = match &result {
            Ok(found) => ("ok", "32", found),
            Err(problem) => ("FAIL", "31", problem),
        };
        self.well &= result.is_ok();
        let word = format!("{word:<4}");
        let word = if self.colours {
            format!("\x1b[{colour}m{word}\x1b[0m")
        } else {
            word
        };
        let shown = text::line(shown.as_bytes());
        writeln!(self.out, "{word}  {subject:<16}  {item:<12}  {shown}")
    }
}

/// Prepares the mirrors, contacts each upstream, and writes what it found; whether all is well.
pub fn check(options: &Options, out: &mut impl Write, colours: bool) -> Result<bool, ServeError> {
    let config = options.load_config()?;
    let mut table = Table {
        out,
        colours,
        well: true,
    };
    let written = check_programs(options, &mut table)
        .and_then(|hooks| check_upstreams(options, &config, hooks.as_ref(), &mut table));
    written.map_err(ServeError::System)?;
    Ok(table.well)
}

fn check_programs<W: Write>(
    options: &Options,
    table: &mut Table<'_, W>,
) -> io::Result<Option<Hooks>> {
    table.row("gate", "git", version(Command::new("git").arg("--version")))?;
    let daemon = server::find_daemon().map(|daemon| daemon.display().to_string());
    table.row(
        "gate",
        "git daemon",
        daemon.map_err(|error| text::chain(&error)),
    )?;
    table.row("gate", "ssh", version(Command::new("ssh").arg("-V")))?;
    let gitleaks = locate()
        .map_err(|error| text::chain(&error))
        .and_then(|program| version(Command::new(program).arg("version")));
    table.row("gate", "gitleaks", gitleaks)?;
    table.row("gate", "cage", Ok(caged()))?;
    let hooks = options.hooks();
    let shown = match &hooks {
        Ok(hooks) => Ok(format!(
            "{}, {}",
            hooks.pre_receive.display(),
            hooks.access.display()
        )),
        Err(error) => Err(text::chain(error)),
    };
    table.row("gate", "hooks", shown)?;
    for (item, folder) in [
        ("base path", &options.base_path),
        ("run dir", &options.run_dir),
    ] {
        table.row("gate", item, writable(folder))?;
    }
    Ok(hooks.ok())
}

/// What this kernel keeps the scanner from. Without any of it the gate works all the same.
fn caged() -> String {
    let support = cage::support();
    let kept_from = [
        (support.files, "files"),
        (support.tcp, "TCP"),
        (support.signals, "signals"),
        (support.system_calls, "sockets and other processes"),
    ];
    let (closed, open): (Vec<_>, Vec<_>) =
        kept_from.into_iter().partition(|(is_closed, _)| *is_closed);
    let words = |list: Vec<(bool, &'static str)>| {
        list.into_iter()
            .map(|(_, word)| word)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (closed.is_empty(), open.is_empty()) {
        (_, true) => format!("no {}", words(closed)),
        (true, _) => "this kernel has none".to_owned(),
        _ => format!(
            "no {}; this kernel cannot close {}",
            words(closed),
            words(open)
        ),
    }
}

/// What a program says of its version, on whichever stream.
fn version(command: &mut Command) -> Result<String, String> {
    let output = process::run(command, VERSION_LIMIT).map_err(|error| text::chain(&error))?;
    let said = [output.stdout, output.stderr].concat();
    let line = text::lines(&said).next().unwrap_or_default();
    if output.status.success() {
        Ok(line)
    } else {
        Err(line)
    }
}

fn writable(folder: &Path) -> Result<String, String> {
    let tried = fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    match tried {
        Ok(_) => Ok(folder.display().to_string()),
        Err(error) => Err(format!("cannot write to {}: {error}", folder.display())),
    }
}

fn check_upstreams<W: Write>(
    options: &Options,
    config: &Config,
    hooks: Option<&Hooks>,
    table: &mut Table<'_, W>,
) -> io::Result<()> {
    if config.upstreams.is_empty() {
        let problem = "no upstreams: name them in gate.json or as NAME=URL";
        table.row("gate", "upstreams", Err(problem.to_owned()))?;
    }
    for upstream in &config.upstreams {
        let name = &upstream.name;
        table.row(name, "policy", Ok(describe(&upstream.policy)))?;
        if let Some(hooks) = hooks {
            check_upstream(options, config, upstream, hooks, table)?;
        }
    }
    Ok(())
}

fn check_upstream<W: Write>(
    options: &Options,
    config: &Config,
    upstream: &Upstream,
    hooks: &Hooks,
    table: &mut Table<'_, W>,
) -> io::Result<()> {
    let name = &upstream.name;
    let (base, creds) = (&options.base_path, &options.creds_dir);
    let mirror = Mirror::new(upstream, &config.limits, base, creds, &hooks.pre_receive);
    table.row(name, "key", readable(&mirror.identity_file, true))?;
    table.row(name, "known_hosts", readable(&mirror.known_hosts, false))?;
    // A message about what was set aside is not lost: gate-init itself is not at work here.
    let mut said = Vec::new();
    let collect = std::cell::RefCell::new(&mut said);
    let prepared = mirror.ensure_ready(&|line| collect.borrow_mut().push(line.to_owned()));
    for line in said {
        table.row(name, "mirror", Ok(line))?;
    }
    if let Err(error) = prepared {
        return table.row(name, "mirror", Err(text::chain(&error)));
    }
    table.row(name, "mirror", Ok(mirror.path.display().to_string()))?;
    let refreshed = refresh(&mirror);
    let reached = refreshed.is_ok();
    table.row(name, "upstream", refreshed)?;
    if reached {
        table.row(name, "HEAD", head(&mirror.path))?;
    }
    Ok(())
}

/// Whether a credential is there for ssh, which takes a key only when nobody else can read it.
fn readable(file: &Path, private: bool) -> Result<String, String> {
    let problem = |error| format!("cannot read {}: {error}", file.display());
    fs::File::open(file).map_err(problem)?;
    let mode = fs::metadata(file).map_err(problem)?.permissions().mode() & 0o777;
    if private && mode & 0o077 != 0 {
        return Err(format!(
            "{} has mode {mode:04o}: ssh takes it only with 0600 or less",
            file.display()
        ));
    }
    Ok(format!("{} ({mode:04o})", file.display()))
}

fn refresh(mirror: &Mirror) -> Result<String, String> {
    mirror.refresh().map_err(|error| text::chain(&error))?;
    let repository = git::open(&mirror.path).map_err(|error| text::chain(&error))?;
    Ok(format!(
        "{} ({})",
        mirror.upstream.url,
        repository.object_format().str()
    ))
}

/// What HEAD names, and whether that is there.
fn head(path: &Path) -> Result<String, String> {
    let repository = git::open(path).map_err(|error| text::chain(&error))?;
    let head = repository
        .find_reference("HEAD")
        .map_err(|error| text::chain(&error))?;
    let target = head
        .symbolic_target()
        .ok()
        .flatten()
        .unwrap_or("detached")
        .to_owned();
    let there = if head.resolve().is_ok() {
        ""
    } else {
        ", which has no commits yet"
    };
    Ok(format!("{}{there}", text::ref_name(&target)))
}

fn describe(policy: &Policy) -> String {
    let refs = match policy.allow_ref.as_slice() {
        [] => "any ref".to_owned(),
        globs => globs.join(" "),
    };
    let force = match policy.force_push {
        ForcePush::Refuse => "no force pushes",
        ForcePush::Lease => "force pushes with a lease",
    };
    let deletes = match policy.deletes {
        Deletes::Allow => "deletes",
        Deletes::Refuse => "no deletes",
    };
    format!("{refs}; {force}; {deletes}")
}

/// Asks the gate-init that serves how it is: its counters, as Prometheus reads them.
pub fn health(options: &Options) -> Result<String, ServeError> {
    let socket = options.run_dir.join(HEALTH_SOCKET);
    let ask = || -> io::Result<String> {
        let mut stream = UnixStream::connect(&socket)?;
        stream.set_read_timeout(Some(HEALTH_LIMIT))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(answer),
        }
    };
    ask().map_err(|source| ServeError::NotServing {
        path: socket.clone(),
        source,
    })
}
