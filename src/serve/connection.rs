//! One client: its mirror is looked up, git daemon is started for it, and bytes are passed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, test_kill_process_group};

use super::clients::Place;
use super::git_request::{Request, Service, error_packet};
use super::hook_stderr::LastWords;
use super::mirrors::Mirror;
use super::relay::{End, LINGER, Patience, linger, relay};
use super::server::Gate;
use super::unreported;
use super::unreported::{Outcome, Served};
use crate::audit::{Event, Kind};
use crate::deadline::Deadline;
use crate::settings::Limits;
use crate::{process, text};

/// How long git daemon may take to end once it has closed its connection.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How long a client waits for a mirror that is being made ready before it is told so.
const READY_LIMIT: Duration = Duration::from_secs(5);

/// How long a push that was given up is still listened to: a pre-push hook may run all tests.
const STALLED_LIMIT: Duration = Duration::from_secs(900);

/// The most memory that git may ask for at once while it takes a push in (`GIT_ALLOC_LIMIT`): a delta
/// of some bytes may stand for gigabytes. A client packs what is over 512 MiB without deltas
/// (`core.bigFileThreshold`, git-config(1)), and that is streamed.
const MEMORY: &str = "513m";

/// Seconds of processor time that each git process may take for a push: deltas of a few kilobytes may
/// stand for hours. The hooks lift it for themselves, since their time has limits of its own.
const WORK: u64 = 900;

/// The most names of repositories that a client is told.
const MOST_NAMES: usize = 20;

/// The most that git daemon may say about one client.
const SAID_LIMIT: u64 = 64 << 10;

/// How many lines of that the audit log may need, and how long it waits for each.
const SAID_LINES: usize = 4;
const SAID_WAIT: Duration = Duration::from_millis(500);

/// A client that has a place.
pub struct Client {
    /// Its socket.
    pub stream: TcpStream,
    /// Its address.
    pub peer: SocketAddr,
    /// What it sent behind its request.
    pub early: Vec<u8>,
    /// What it asks for.
    pub request: Request,
    /// Its place.
    pub place: Place,
}

/// Serves `client` to its end.
pub fn serve(gate: &Arc<Gate>, mut client: Client) {
    if let Err(reason) = try_serve(gate, &mut client) {
        let event = event(gate, client.peer, &client.request, Kind::Refusal);
        gate.record(&Event {
            reason: Some(reason.clone()),
            ..event
        });
        let _ = client.stream.set_nonblocking(false);
        let _ = client.stream.set_write_timeout(Some(END_LIMIT));
        let _ = client.stream.write_all(&error_packet(&reason));
        linger(&mut client.stream, LINGER);
    }
}

/// An error is what the client is told: nothing has been sent to it then.
fn try_serve(gate: &Arc<Gate>, client: &mut Client) -> Result<(), String> {
    let served = gate.served();
    let name = &client.request.name;
    let mirror = served.mirrors.get(name).ok_or_else(|| {
        let names = served.mirrors.keys().map(String::as_str);
        let mut shown = names.take(MOST_NAMES).collect::<Vec<_>>().join(", ");
        if let Some(more) = served
            .mirrors
            .len()
            .checked_sub(MOST_NAMES)
            .filter(|&more| more > 0)
        {
            shown += &format!(" and {more} more");
        }
        format!("no repository of that name here; this gate serves {shown}")
    })?;
    mirror
        .ensure_ready(READY_LIMIT, &|line| gate.say(line))
        .map_err(|error| format!("{name}: {}", text::chain(&error)))?;
    let (mut child, ours) = start_daemon(gate, mirror, client)
        .map_err(|error| format!("cannot start git daemon: {error}"))?;
    let peer = shown_peer(client.peer);
    gate.reports.expect(gate, &peer);
    client
        .place
        .serve(client.stream.try_clone().ok(), Pid::from_child(&child));
    let last_words = Arc::new(LastWords::default());
    let said = child.stderr.take();
    let said = said.map(|said| pass_on(gate, said, Arc::clone(&last_words)));
    let limits = &served.limits;
    let idle = match client.request.service {
        Service::Fetch => limits.idle_client,
        Service::Push => limits.idle_push,
    };
    let patience = Patience {
        client: Duration::from_secs(idle),
        server: Duration::from_secs(limits.lock + limits.refresh + limits.idle_client),
    };
    let (request, early) = (&client.request, &client.early);
    let place = (&client.place, limits);
    let passed = match relay(
        &mut client.stream,
        ours,
        request,
        early,
        patience,
        place,
        &last_words,
    ) {
        Ok(passed) => {
            gate.metrics.traffic(name, passed.received, passed.sent);
            Some(passed)
        }
        Err(error) => {
            gate.say(&format!("a connection broke: {error}"));
            None
        }
    };
    let status = process::wait(&mut child, END_LIMIT).ok().flatten();
    if status.is_none() {
        process::end_group(&mut child);
    }
    // A receive-pack that was killed leaves its hook, which goes on: it may be forwarding.
    let group = Pid::from_child(&child);
    let hooks_end = hooks_end(limits);
    let is_over = || test_kill_process_group(group).is_err() || hooks_end.is_over();
    if is_over() {
        client.place.served();
    }
    let has_reported = gate.reports.has_reported(gate, &peer, is_over);
    client.place.served();
    let passed = passed.as_ref();
    let limit = passed.and_then(|passed| stall(gate, client, passed.end, patience));
    match (has_reported, limit) {
        (true, None) => {}
        // The request has its line.
        (true, Some(limit)) => gate.record(&Event {
            service: None,
            ..limit
        }),
        (false, Some(limit)) => gate.record(&limit),
        (false, None) => {
            let served = Served {
                request: &client.request,
                passed,
                status,
                said: said.map_or_else(Vec::new, heard),
            };
            record_outcome(gate, client, unreported::outcome(&served));
        }
    }
    let has_stalled = passed.is_some_and(|passed| passed.end == End::ClientStalled);
    if has_stalled && client.request.service == Service::Push {
        // git reads why it was given up only after it has sent its ref updates; sent to a closed
        // socket, they would end it without a word (`SIGPIPE`). It waits without a place.
        client.place.rest();
        linger(&mut client.stream, STALLED_LIMIT);
    }
    Ok(())
}

/// When a hook that is left alone has ended, by its own limits.
fn hooks_end(limits: &Limits) -> Deadline {
    let seconds = limits.lock.saturating_add(limits.scan);
    Deadline::of("forwardTimeout", seconds.saturating_add(limits.forward))
}

/// Records what became of a client that no hook has reported on.
fn record_outcome(gate: &Gate, client: &Client, outcome: Outcome) {
    if outcome.is_lost {
        gate.log.lose();
    }
    gate.record(&Event {
        reason: outcome.reason,
        ..event(gate, client.peer, &client.request, outcome.kind)
    });
}

/// git daemon, as inetd would start it: for one client, on a socket of its own.
fn start_daemon(
    gate: &Gate,
    mirror: &Mirror,
    client: &Client,
) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    let idle = gate.served().limits.idle_client;
    let mut command = Command::new(&gate.daemon);
    command
        .args(["--inetd", "--log-destination=stderr"])
        .args(["--strict-paths", "--export-all", "--enable=receive-pack"])
        .arg("--informative-errors")
        .arg(format!("--timeout={idle}"))
        .arg(format!("--init-timeout={idle}"))
        .arg(option("--base-path=", &gate.options.base_path))
        .arg(option("--access-hook=", &gate.hooks.access))
        .arg("--")
        .arg(&mirror.path)
        .env_clear()
        .envs(gate.environment.iter().cloned())
        .env("REMOTE_ADDR", shown_address(client.peer))
        .env("REMOTE_PORT", client.peer.port().to_string())
        .stdin(Stdio::from(theirs.try_clone()?))
        .stdout(Stdio::from(theirs))
        .stderr(Stdio::piped())
        .process_group(0);
    let is_push = client.request.service == Service::Push;
    if is_push {
        command.env("GIT_ALLOC_LIMIT", MEMORY);
    }
    let mut child = command.spawn()?;
    if is_push && let Err(errno) = limit_work(&child) {
        process::end_group(&mut child);
        return Err(errno.into());
    }
    Ok((child, ours))
}

/// Limits the processor time of `child` and of what it starts.
fn limit_work(child: &Child) -> Result<(), Errno> {
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = Some(maximum.map_or(WORK, |maximum| maximum.min(WORK)));
    let limit = Rlimit { current, maximum };
    prlimit(Some(Pid::from_child(child)), Resource::Cpu, limit).map(drop)
}

/// `--name=` with a path behind it, whatever bytes that has.
fn option(name: &str, path: &std::path::Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push(path);
    option
}

/// Writes what git daemon says to the operator's log, without what it repeats of the client's words,
/// on a thread that ends with it. The first lines can be received too.
fn pass_on(gate: &Arc<Gate>, said: ChildStderr, last_words: Arc<LastWords>) -> Receiver<String> {
    let gate = Arc::clone(gate);
    let (sender, receiver) = mpsc::sync_channel(SAID_LINES);
    let _ = thread::Builder::new()
        .name("daemon-log".to_owned())
        .spawn(move || {
            let mut said = BufReader::new(said);
            let lines = said.by_ref().take(SAID_LIMIT).split(b'\n');
            let mut sender = Some(sender);
            for line in lines.map_while(Result::ok) {
                // These go back to the client alone.
                last_words.hear(&text::line(&line));
                let (words, goes_on) = text::gits_words(&line);
                if let Some(to) = &sender {
                    gate.say(&format!("daemon: {words}"));
                    let _ = to.try_send(words);
                }
                if goes_on {
                    sender = None;
                }
            }
            drop(sender);
            // Read on to the end: a full pipe would stop git daemon.
            let _ = std::io::copy(&mut said, &mut std::io::sink());
        });
    receiver
}

/// The first lines of a git daemon that has ended. What it left behind may hold its standard error.
fn heard(said: Receiver<String>) -> Vec<String> {
    let next = || said.recv_timeout(SAID_WAIT).ok();
    std::iter::from_fn(next).take(SAID_LINES).collect()
}

/// The event of a client that was ended because it, or its server, was silent.
fn stall(gate: &Gate, client: &Client, end: End, patience: Patience) -> Option<Event> {
    let waited = |patience: Duration| patience.as_secs();
    let (limit, reason) = match (end, client.request.service) {
        (End::Done | End::ClientGone, _) => return None,
        (End::ClientStalled, Service::Fetch) => (
            "idleClient",
            format!("silent for {} s", waited(patience.client)),
        ),
        (End::ClientStalled, Service::Push) => (
            "idlePush",
            format!("silent for {} s", waited(patience.client)),
        ),
        (End::Evicted, _) => ("idlePush", "waited longest of too many".to_owned()),
        // Its parts are the wait for the lock and the refresh.
        (End::ServerStalled, _) => (
            "refreshTimeout",
            format!("not answered within {} s", waited(patience.server)),
        ),
    };
    Some(Event {
        limit: Some(limit.to_owned()),
        reason: Some(reason),
        ..event(gate, client.peer, &client.request, Kind::Limit)
    })
}

/// A client's address and port, as the hooks write them.
pub fn shown_peer(peer: SocketAddr) -> String {
    format!("{}:{}", shown_address(peer), peer.port())
}

/// As git daemon writes it: an IPv6 address stands in brackets.
fn shown_address(peer: SocketAddr) -> String {
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// An event of the client at `peer`. A repository that the gate does not serve is not named: the client chose
/// the word, and nobody has scanned it.
pub fn event(gate: &Gate, peer: SocketAddr, request: &Request, kind: Kind) -> Event {
    let name = &request.name;
    let is_served = gate.served().mirrors.contains_key(name);
    Event {
        repository: is_served.then(|| name.clone()),
        peer: Some(shown_peer(peer)),
        service: Some(request.service.word().to_owned()),
        ..Event::now(kind)
    }
}
