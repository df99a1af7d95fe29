//! The server: prepares the mirrors, serves them, reloads, drains.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::agents::{self, Agents};
use super::condition::Condition;
use super::git_daemon::find_daemon;
use super::hook_reports::Reports;
use super::http::Http;
use super::maintenance::prepare;
use super::metrics::Metrics;
use super::mirrors::Mirror;
use super::push_sessions::PushSessions;
use super::run_dir::{HEALTH_SOCKET, WATCH_SOCKET, lock, make_run_dir};
use super::scanner_pool::{Kept, Pool};
use super::sessions::Sessions;
use super::state::{Changing, Gate, Served};
use super::watchers;
use super::{Options, ServeError, exit, http, listener, maintenance};
use crate::audit::{self, Event, Kind, Log};
use crate::config::Config;
use crate::debug_log::{self, Request};
use crate::{text, unix_socket};

/// How many mirrors are made ready at a time.
const SIDE_BY_SIDE: usize = 8;

/// How long the last lines of the log get.
const LOG_LIMIT: Duration = Duration::from_secs(2);

/// The most file descriptors that are asked for: enough for every waiting and served client.
const MOST_FILES: u64 = 16_384;

/// Serves until a signal ends it; returns the exit code.
pub fn run(options: &Options) -> Result<u8, ServeError> {
    // The supervisor may be killed: nobody would pass signals on then.
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| ServeError::System(error.into()))?;
    raise_file_limit();
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(ServeError::System)?;
    let config = options.load_config()?;
    let _base_path = lock(&options.base_path)?;
    let _run_dir = make_run_dir(&options.run_dir)?;
    let gate = Arc::new(open(options, &config)?);
    let health = bind_stream(&options.run_dir.join(HEALTH_SOCKET))?;
    install(&gate, &config, true)?;
    debug_log::begin("server", Request::default());
    if let Some(problem) = debug_log::problem() {
        gate.say(&problem);
    }

    let listener = listen_on_stdin()?;
    let address = listener.local_addr().map_err(ServeError::System)?;
    spawn("audit", &gate, |gate| {
        gate.reports.run(&|report| gate.hear(report))
    })?;
    let accepting = listener.try_clone().map_err(ServeError::System)?;
    spawn("listen", &gate, move |gate| {
        listener::run(gate, &accepting, &health)
    })?;
    let watch = options.run_dir.join(WATCH_SOCKET);
    let told = Arc::clone(&gate);
    watchers::start(Arc::clone(&gate.watchers), &watch, move || told.now())
        .map_err(|source| socket_error(&watch, source))?;
    spawn("examine", &gate, |gate| gate.examine())?;
    spawn("upkeep", &gate, maintenance::run)?;
    let http = http::start(&gate, &config.http)?;
    announce(&gate, address, &http);

    wait_for_end(&gate, &mut signals);
    drain(&gate, &listener, &http, signals)
}

/// Opens everything that stays as it is until the end.
fn open(options: &Options, config: &Config) -> Result<Gate, ServeError> {
    let log = options.audit_log.as_deref();
    let name = options.name();
    let log = Log::open(log, &name).map_err(|source| ServeError::Directory {
        path: log.map_or_else(PathBuf::new, Path::to_owned),
        source,
    })?;
    Ok(Gate {
        hooks: options.hooks()?,
        daemon: find_daemon()?,
        environment: environment(&options.run_dir),
        options: options.clone(),
        clients: Arc::default(),
        log,
        metrics: Metrics::of(&name),
        watchers: Arc::default(),
        reports: listen_to_hooks(&options.run_dir.join(audit::SOCKET))?,
        scanners: start_scanners(options, config)?,
        sessions: Sessions::start(&options.run_dir, &options.base_path)
            .map_err(ServeError::System)?,
        push_sessions: PushSessions::start(&options.run_dir).map_err(ServeError::System)?,
        changing: Changing::default(),
    })
}

/// Scanners that are started ahead, for the rules of `config`.
fn start_scanners(options: &Options, config: &Config) -> Result<Pool, ServeError> {
    let kept = Kept::from(&config.limits);
    Pool::start(&options.run_dir, kept, &rules(config)).map_err(ServeError::System)
}

/// The sets of rules that scanners are needed for, each once.
fn rules(config: &Config) -> Vec<Option<PathBuf>> {
    let all = config
        .upstreams
        .iter()
        .map(|upstream| upstream.gitleaks_config.clone());
    BTreeSet::from_iter(all).into_iter().collect()
}

/// Serves the mirrors of `config` in place of what was served, and makes them ready side by side: one
/// whose upstream says nothing holds up no other. What cannot be made ready is reported, and tried
/// again when a client asks for it.
fn install(gate: &Arc<Gate>, config: &Config, at_start: bool) -> Result<(), ServeError> {
    let before = gate.served();
    let (mut mirrors, mut new) = (BTreeMap::new(), VecDeque::new());
    for upstream in &config.upstreams {
        let name = &upstream.name;
        let known = before
            .mirrors
            .get(name)
            .filter(|_| before.limits == config.limits);
        let mirror = match known.filter(|mirror| mirror.upstream == *upstream) {
            Some(mirror) => Arc::clone(mirror),
            None => {
                let mirror = Mirror::new(
                    upstream,
                    &config.limits,
                    &gate.options.base_path,
                    &gate.options.creds_dir,
                    &gate.hooks.pre_receive,
                );
                let mirror = Arc::new(if at_start {
                    mirror.recovering()
                } else {
                    mirror
                });
                new.push_back((name.clone(), Arc::clone(&mirror)));
                mirror
            }
        };
        mirrors.insert(name.clone(), mirror);
    }
    let served = Served {
        mirrors,
        limits: config.limits.clone(),
        config: config.clone(),
        agents: Agents::read(config, &gate.options.creds_dir),
    };
    gate.serve(served);
    for problem in agents::conditions(config, &gate.options.creds_dir)
        .iter()
        .filter_map(Condition::problem)
    {
        gate.say(&format!("an agent is not let in: {problem}"));
    }
    let workers = new.len().min(SIDE_BY_SIDE);
    let new = Arc::new(Mutex::new(new));
    for _ in 0..workers {
        let new = Arc::clone(&new);
        spawn("prepare", gate, move |gate| {
            let next = || {
                new.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front()
            };
            while let Some((name, mirror)) = next() {
                prepare(gate, &name, &mirror);
            }
        })?;
    }
    Ok(())
}

fn announce(gate: &Gate, address: SocketAddr, http: &Http) {
    let count = gate.served().mirrors.len();
    let repositories = if count == 1 {
        "1 repository".to_owned()
    } else {
        format!("{count} repositories")
    };
    let mut serving = format!("serving {repositories} on git://{address}");
    if let Some(address) = http.address {
        serving += &format!(" and http://{address}");
    }
    gate.say(&serving);
    gate.record(&Event {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        reason: Some(serving),
        ..Event::now(Kind::Start)
    });
}

/// Returns once a signal asks for the end; reloads until then.
fn wait_for_end(gate: &Arc<Gate>, signals: &mut Signals) {
    for signal in signals.forever() {
        if signal != SIGHUP {
            return;
        }
        reload(gate);
    }
}

/// Reads the configuration again; one that cannot be used changes nothing.
fn reload(gate: &Arc<Gate>) {
    gate.log.reopen();
    let reason = match gate.options.load_config() {
        Ok(config) => {
            let changes = gate.served().config.changes(&config);
            if let Err(error) = install(gate, &config, false) {
                gate.say(&text::chain(&error));
            }
            gate.scanners
                .keep(Kept::from(&config.limits), &rules(&config));
            gate.examine();
            match changes.is_empty() {
                true => "reloaded: nothing changed".to_owned(),
                false => format!("reloaded: {}", changes.join("; ")),
            }
        }
        Err(error) => format!(
            "not reloaded, everything stays as it was: {}",
            text::chain(&error)
        ),
    };
    gate.say(&reason);
    gate.record(&Event {
        reason: Some(reason),
        ..Event::now(Kind::Reload)
    });
}

/// Lets those who are being served come to their end, up to the limit or a second signal.
fn drain(
    gate: &Arc<Gate>,
    listener: &TcpListener,
    http: &Http,
    mut signals: Signals,
) -> Result<u8, ServeError> {
    gate.start_to_drain();
    http.drain();
    gate.clients.end_waiting();
    // The supervisor holds the socket too: closing it here would leave clients waiting.
    let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
    let limit = gate.served().limits.drain;
    if gate.clients.count() > 0 {
        let clients = text::plural(gate.clients.count(), "client");
        gate.say(&format!(
            "ending: {clients} left, up to {limit} s; signal again to end now"
        ));
    }
    spawn("hurry", gate, move |gate| {
        if signals.forever().any(|signal| signal != SIGHUP) {
            gate.end_now();
        }
    })?;
    let hurry = || gate.is_in_a_hurry();
    let began = Instant::now();
    let limit = Duration::from_secs(limit);
    // Between two requests of a conversation over HTTP nobody has a place.
    http.wait(http::CONVERSATION.min(limit), hurry);
    let left = gate
        .clients
        .drain(limit.saturating_sub(began.elapsed()), hurry);
    gate.clients.cut();
    // Those who were cut off have their lines in the log too.
    gate.clients.drain(LOG_LIMIT, || false);
    http.wait(LOG_LIMIT, || false);
    // Their working directories go with them.
    gate.scanners.end();
    gate.sessions.end();
    gate.push_sessions.end();
    let (code, reason) = match left {
        0 => (exit::DONE, "ended".to_owned()),
        _ => (
            exit::CUT,
            format!("ended, {} cut off", text::plural(left, "client")),
        ),
    };
    gate.say(&reason);
    gate.record(&Event {
        code: Some(code),
        reason: Some(reason),
        ..Event::now(Kind::Exit)
    });
    gate.log.flush(LOG_LIMIT);
    Ok(code)
}

fn spawn(
    name: &str,
    gate: &Arc<Gate>,
    work: impl FnOnce(&Arc<Gate>) + Send + 'static,
) -> Result<(), ServeError> {
    let gate = Arc::clone(gate);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || work(&gate))
        .map(drop)
        .map_err(ServeError::System)
}

/// The port that the supervisor holds.
fn listen_on_stdin() -> Result<TcpListener, ServeError> {
    const BACKLOG: i32 = 1024;
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(ServeError::System)?;
    rustix::net::listen(&socket, BACKLOG).map_err(|error| ServeError::System(error.into()))?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).map_err(ServeError::System)?;
    Ok(listener)
}

/// git daemon and the hooks get this and nothing else: no variable of the operator's shell may
/// change what git does.
fn environment(run_dir: &Path) -> Vec<(OsString, OsString)> {
    let passed = [
        "PATH",
        "HOME",
        "TMPDIR",
        "TZ",
        "GIT_GATE_GITLEAKS",
        debug_log::VARIABLE,
    ];
    let mut all: Vec<_> = passed
        .iter()
        .filter_map(|&name| Some((name.into(), std::env::var_os(name)?)))
        .collect();
    all.push(("LANG".into(), "C".into()));
    all.push(("GIT_CONFIG_NOSYSTEM".into(), "1".into()));
    all.push(("GIT_CONFIG_GLOBAL".into(), "/dev/null".into()));
    all.push(("GIT_GATE_RUN_DIR".into(), run_dir.into()));
    all
}

fn listen_to_hooks(path: &Path) -> Result<Reports, ServeError> {
    let _ = fs::remove_file(path);
    let bound = UnixDatagram::bind(path).and_then(Reports::new);
    bound.map_err(|source| socket_error(path, source))
}

fn bind_stream(path: &Path) -> Result<UnixListener, ServeError> {
    let bound = unix_socket::listen(path).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    bound.map_err(|source| socket_error(path, source))
}

fn socket_error(path: &Path, source: io::Error) -> ServeError {
    ServeError::Directory {
        path: path.to_owned(),
        source,
    }
}

/// A client takes four file descriptors, and the usual soft limit is 1024.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    if limit.current.is_some_and(|current| current < most) {
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(most),
                maximum: limit.maximum,
            },
        );
    }
}
