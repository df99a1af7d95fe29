//! `gate-init check`: what a start would find, as a table; `gate-init health`: whether it serves.
//!
//! A check looks and changes nothing: a gate may be serving from the same directories.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::condition::Condition;
use super::conditions::{self, shown};
use super::metrics::PROBLEM;
use super::mirrors::Mirror;
use super::run_dir::{HEALTH_SOCKET, fit_sockets};
use super::{Options, ServeError, address, agents, http, mirror_settings};
use crate::config::{Config, Upstream};
use crate::refusals::Store;
use crate::scan::exceptions::Exceptions;
use crate::serving_lock::servers_of;
use crate::upstream::{self, Seen};
use crate::{process, table, text};

/// How long the health check waits for an answer.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// The longest answer that is read: a gate of a thousand repositories has one of 1 MB.
const MOST_SAID: usize = 64 << 20;

/// Looks at all that a start would need, contacts each upstream, and writes what it found; whether
/// all is well.
pub fn check(options: &Options, out: &mut impl Write, colours: bool) -> Result<bool, ServeError> {
    let config = options.load_config()?;
    let well = Cell::new(true);
    let mut table = |condition: &Condition| {
        well.set(well.get() && condition.result.is_ok());
        write_row(out, condition, colours).map_err(ServeError::System)
    };
    let pushes = conditions::of_pushes(options, &config);
    let (of_gate, of_upstreams): (Vec<_>, Vec<_>) = pushes
        .into_iter()
        .partition(|condition| condition.subject == "gate");
    let of_agents = agents::conditions(&config, &options.creds_dir);
    let of_places = conditions::of_places(options);
    for condition in of_gate.iter().chain(&of_places).chain(&of_agents) {
        table(condition)?;
    }
    table(&serving(options, &config))?;
    for upstream in &config.upstreams {
        for condition in of_upstreams
            .iter()
            .filter(|one| one.subject == upstream.name)
        {
            table(condition)?;
        }
        for condition in look(options, &config, upstream) {
            table(&condition)?;
        }
    }
    Ok(well.get())
}

fn write_row(out: &mut impl Write, condition: &Condition, colours: bool) -> io::Result<()> {
    let (word, colour, found) = match &condition.result {
        Ok(found) => ("ok", "32", found),
        Err(problem) => ("FAIL", "31", problem),
    };
    let found = text::line(found.as_bytes());
    let row = [word, &condition.subject, condition.item, &found];
    let row = table::line([4, 16, 12, 0], row);
    match (colours, row.split_at(word.len())) {
        (true, (word, rest)) => writeln!(out, "\x1b[{colour}m{word}\x1b[0m{rest}"),
        (false, _) => writeln!(out, "{row}"),
    }
}

/// Whether a gate could be started here now, or whose place is taken.
fn serving(options: &Options, config: &Config) -> Condition {
    let found = |result| Condition::new("gate", "start", result);
    let places = [&options.base_path, &options.run_dir].map(|place| (place, servers_of(place)));
    let [(_, of_base_path), (run_dir, of_run_dir)] = &places;
    // Who has both is the gate that is being looked at.
    if let Some(pid) = of_base_path.iter().find(|pid| of_run_dir.contains(pid)) {
        let limit = HEALTH_LIMIT.as_secs();
        let run_dir = run_dir.display();
        return found(match ask(options) {
            Ok(_) => Ok(format!(
                "process {pid} serves already (run directory {run_dir})"
            )),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(format!(
                "process {pid} serves already, but says nothing within {limit} s; restart it"
            )),
            Err(error) => Err(format!("process {pid} serves already, but: {error}")),
        });
    }
    for (place, pids) in &places {
        if let Some(pid) = pids.first() {
            let place = place.display();
            return found(Err(format!(
                "process {pid} serves {place} already; stop it first"
            )));
        }
    }
    let git = address::of_port(options.listen, options.port);
    let mut ports = git
        .into_iter()
        .chain(http::addresses(options, &config.http));
    let address = ports.find_map(|address| {
        let bound = TcpListener::bind(address);
        bound
            .err()
            .map(|error| format!("cannot listen on {address}: {error}"))
    });
    match address {
        Some(problem) => found(Err(problem)),
        None => found(Ok("nothing is in its way".to_owned())),
    }
}

/// The mirror as it is, and the upstream as it answers, by way of a temporary directory.
fn look(options: &Options, config: &Config, upstream: &Upstream) -> Vec<Condition> {
    let of = |item, result| Condition::new(&upstream.name, item, result);
    let (base, creds) = (&options.base_path, &options.creds_dir);
    let mirror = Mirror::new(upstream, &config.limits, base, creds, Path::new(""));
    let mut rows = vec![of("mirror", Ok(mirror.describe()))];
    rows.extend(idle(upstream, &mirror.path).map(|found| of("idle", Ok(found))));
    let mut settings = mirror_settings::settings(upstream, &config.limits, creds);
    // No connection stays open.
    settings.limits.ssh_persist = 0;
    let seen = shown(tempfile::tempdir())
        .and_then(|directory| shown(upstream::look(directory.path(), &settings)));
    match seen {
        Err(problem) => rows.push(of("upstream", Err(problem))),
        Ok(Seen { format, head, refs }) => {
            let refs = text::plural(refs, "ref");
            let url = &upstream.url;
            rows.push(of("upstream", Ok(format!("{url} ({format}, {refs})"))));
            rows.push(of("HEAD", Ok(head)));
        }
    }
    rows
}

/// Which exceptions can be taken out, since they let nothing through any more.
fn idle(upstream: &Upstream, mirror: &Path) -> Option<String> {
    let store = Store::of(mirror);
    let uses = store.uses();
    let accepted = Some(Store::accepted(mirror)).filter(|file| file.exists());
    let files = upstream.exceptions.iter().cloned().chain(accepted);
    let idle = files.flat_map(|file| {
        let lines = Exceptions::read(Some(&file)).map(|read| read.idle(uses.as_ref()));
        let lines = lines.unwrap_or_default().join(", ");
        (!lines.is_empty()).then(|| format!("{}: {lines}", file.display()))
    });
    let idle: Vec<_> = idle.collect();
    (!idle.is_empty()).then(|| idle.join("; "))
}

/// Asks the gate-init that serves how it is: its counters, as Prometheus reads them. An error where
/// none answers, or where it says that pushes cannot work.
pub fn health(options: &Options) -> Result<String, ServeError> {
    fit_sockets(&options.run_dir).map_err(ServeError::LongRunDir)?;
    let answer = ask(options).map_err(|source| ServeError::NotServing {
        path: options.run_dir.join(HEALTH_SOCKET),
        source,
    })?;
    let problems: Vec<_> = answer
        .lines()
        .filter_map(|line| line.strip_prefix(PROBLEM))
        .collect();
    match problems.is_empty() {
        true => Ok(answer),
        false => Err(ServeError::Unhealthy(problems.join("; "))),
    }
}

/// The answer of the gate-init whose run directory it is, within [`HEALTH_LIMIT`] in all.
fn ask(options: &Options) -> io::Result<String> {
    let mut stream = UnixStream::connect(options.run_dir.join(HEALTH_SOCKET))?;
    let end = Instant::now() + HEALTH_LIMIT;
    let (mut answer, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if !process::wait_for_any(&[stream.as_fd()], left)? || answer.len() > MOST_SAID {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut part)? {
            0 if answer.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => return String::from_utf8(answer).map_err(io::Error::other),
            length => answer.extend_from_slice(&part[..length]),
        }
    }
}
