//! One client: its mirror is looked up, git daemon is started for it, and bytes are passed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process_group};

use super::asked::{Asked, shown_peer};
use super::clients::{LimitReached, Permit, SentAway};
use super::git_child::start_daemon;
use super::git_request::{Request, Service, error_packet};
use super::hook_stderr::LastWords;
use super::mirrors::Mirror;
use super::relay::{End, LINGER, Passed, Patience, linger, relay};
use super::state::{Gate, Served};
use super::unreported::{self, Finished, Outcome};
use crate::audit::{Event, Kind};
use crate::deadline::Deadline;
use crate::debug_log::{self, Noted};
use crate::settings::Limits;
use crate::{process, text};

/// How long git daemon may take to end once it has closed its connection.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How long a client waits for a mirror that is being made ready before it is told so.
const READY_LIMIT: Duration = Duration::from_secs(5);

/// How long a push that was given up is still listened to: a pre-push hook may run all tests.
const STALLED_LIMIT: Duration = Duration::from_secs(900);

/// The most names of repositories that a client is told.
const MOST_NAMES: usize = 20;

/// The most that git daemon may say about one client.
const SAID_LIMIT: u64 = 64 << 10;

/// How many lines of that the audit log may need, and how long it waits for each.
const SAID_LINES: usize = 4;
const SAID_WAIT: Duration = Duration::from_millis(500);

/// A client of git's own protocol.
pub struct Client {
    /// Its socket.
    pub stream: TcpStream,
    /// What it sent behind its request.
    pub early: Vec<u8>,
    /// The request.
    pub asked: Asked,
}

/// Serves `client` to its end.
pub fn serve(gate: &Arc<Gate>, mut client: Client) {
    if let Err(reason) = try_serve(gate, &mut client) {
        refused(gate, client.asked.peer, &client.asked.request, &reason);
        let _ = client.stream.set_nonblocking(false);
        let _ = client.stream.set_write_timeout(Some(END_LIMIT));
        let _ = client.stream.write_all(&error_packet(&reason));
        linger(&mut client.stream, LINGER);
    }
}

/// A place for `request` of the client at `peer`; else what the client is told.
pub fn admit(gate: &Gate, peer: SocketAddr, request: &Request) -> Result<Permit, String> {
    let limits = &gate.served().limits;
    gate.clients
        .acquire(peer, limits)
        .map_err(|LimitReached(limit, most)| {
            let reason = format!("busy: {most} clients are served already ({limit}); try again");
            gate.record(&Event {
                limit: Some(limit.to_owned()),
                reason: Some(reason.clone()),
                ..event(gate, peer, request, Kind::Limit)
            });
            reason
        })
}

/// Records that `request` is refused for `reason`, before any hook has seen it.
pub fn refused(gate: &Gate, peer: SocketAddr, request: &Request, reason: &str) {
    gate.record(&Event {
        reason: Some(reason.to_owned()),
        ..event(gate, peer, request, Kind::Refusal)
    });
}

/// The mirror that `request` names, made ready; else what the client is told.
pub fn find_mirror(gate: &Gate, served: &Served, request: &Request) -> Result<Arc<Mirror>, String> {
    let name = &request.name;
    let mirror = served
        .mirrors
        .get(name)
        .filter(|_| request.caller.sees(name));
    let mirror = mirror.ok_or_else(|| unknown(served, request))?;
    mirror
        .ensure_ready(READY_LIMIT, &|line| gate.say(line))
        .map_err(|error| format!("{name}: {}", text::chain(&error)))?;
    Ok(Arc::clone(mirror))
}

/// What a client is told that names a repository which is not served, or not to it.
pub fn unknown(served: &Served, request: &Request) -> String {
    let names = served.mirrors.keys().map(String::as_str);
    let names: Vec<_> = names.filter(|name| request.caller.sees(name)).collect();
    if names.is_empty() {
        return "no repository of that name here".to_owned();
    }
    let more = names.len().saturating_sub(MOST_NAMES);
    let mut shown = names[..names.len() - more].join(", ");
    if more > 0 {
        shown += &format!(" and {more} more");
    }
    format!("no repository of that name here; this gate serves {shown}")
}

/// An error is what the client is told: nothing has been sent to it then.
fn try_serve(gate: &Arc<Gate>, client: &mut Client) -> Result<(), String> {
    let served = gate.served();
    let asked = &client.asked;
    let mirror = find_mirror(gate, &served, &asked.request)?;
    let (mut child, ours, noted) = start_daemon(gate, &mirror, asked)
        .map_err(|error| format!("cannot start git daemon: {error}"))?;
    gate.expect_report(&shown_peer(asked.peer));
    let socket = client.stream.try_clone().ok();
    asked.permit.serve(socket, Pid::from_child(&child));
    let is_push = asked.request.service == Service::Push;
    let _expected = is_push.then(|| gate.expects_push(&mirror));
    let last_words = Arc::new(LastWords::default());
    let said = child.stderr.take();
    let said = said.map(|said| pass_on(gate, said, Arc::clone(&last_words)));
    let patience = asked.patience(&served.limits);
    let passed = relay(
        &mut client.stream,
        ours,
        &asked.request,
        &client.early,
        patience,
        (&asked.permit, &served.limits),
        &last_words,
    );
    let passed = passed
        .inspect_err(|error| gate.say(&format!("a connection broke: {error}")))
        .ok();
    let has_stalled = passed
        .as_ref()
        .is_some_and(|passed| passed.end == End::ClientStalled);
    let ran = Ran {
        child,
        noted,
        said,
        passed,
        is_told: false,
    };
    conclude(gate, asked, ran, patience);
    if has_stalled && is_push {
        // git reads why it was given up only after it has sent its ref updates; sent to a closed
        // socket, they would end it without a word (`SIGPIPE`). It waits without a place.
        asked.permit.rest(true);
        linger(&mut client.stream, STALLED_LIMIT);
    }
    Ok(())
}

/// A git that served a request, and what became of it.
pub struct Ran {
    /// The process, which has closed its end or was given up.
    pub child: Child,
    /// The same, for the debug log.
    pub noted: Option<Noted>,
    /// What it said on its standard error.
    pub said: Option<Receiver<String>>,
    /// What passed; none where the connection broke.
    pub passed: Option<Passed>,
    /// Whether the audit log needs no line where all went well: another request has it.
    pub is_told: bool,
}

/// Waits until git and what it started have ended, and sees to it that the request has its line in
/// the audit log.
pub fn conclude(gate: &Gate, asked: &Asked, ran: Ran, patience: Patience) {
    let Ran {
        mut child,
        mut noted,
        said,
        passed,
        is_told,
    } = ran;
    let passed = passed.as_ref();
    if let Some(passed) = passed {
        let (received, sent) = (passed.received, passed.sent);
        gate.metrics.traffic(&asked.request.name, received, sent);
    }
    let status = process::wait(&mut child, END_LIMIT).ok().flatten();
    match status {
        Some(status) => debug_log::ended(&mut noted, status),
        None => process::end_group(&mut child),
    }
    drop(noted);
    // A receive-pack that was killed leaves its hook, which goes on: it may be forwarding.
    let group = Pid::from_child(&child);
    let hooks_end = hooks_end(&gate.served().limits);
    let is_over = || test_kill_process_group(group).is_err() || hooks_end.is_over();
    if is_over() {
        asked.permit.served();
    }
    let peer = shown_peer(asked.peer);
    let has_reported = is_told || gate.has_reported(&peer, is_over);
    asked.permit.served();
    let limit = passed.and_then(|passed| stall(gate, asked, passed.end, patience));
    match (has_reported, limit) {
        (true, None) => {}
        // The request has its line.
        (true, Some(limit)) => gate.record(&Event {
            service: None,
            ..limit
        }),
        (false, Some(limit)) => gate.record(&limit),
        (false, None) => {
            let served = Finished {
                request: &asked.request,
                passed,
                status,
                said: said.map_or_else(Vec::new, heard),
            };
            record_outcome(gate, asked, unreported::outcome(&served));
        }
    }
}

/// When a hook that is left alone has ended, by its own limits.
pub fn hooks_end(limits: &Limits) -> Deadline {
    let seconds = limits.lock.saturating_add(limits.scan);
    Deadline::of("forwardTimeout", seconds.saturating_add(limits.forward))
}

/// Records what became of a client that no hook has reported on.
pub fn record_outcome(gate: &Gate, asked: &Asked, outcome: Outcome) {
    if outcome.is_lost {
        gate.log.lose();
    }
    gate.record(&Event {
        reason: outcome.reason,
        ..event(gate, asked.peer, &asked.request, outcome.kind)
    });
}

/// Writes what git daemon says to the operator's log, without what it repeats of the client's words,
/// on a thread that ends with it. The first lines can be received too.
pub fn pass_on(
    gate: &Arc<Gate>,
    said: ChildStderr,
    last_words: Arc<LastWords>,
) -> Receiver<String> {
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
fn stall(gate: &Gate, asked: &Asked, end: End, patience: Patience) -> Option<Event> {
    let waited = |patience: Duration| patience.as_secs();
    let (limit, reason) = match (end, asked.request.service) {
        (End::Done | End::ClientGone, _) => return None,
        (End::ClientStalled, Service::Fetch) => (
            "idleClient",
            format!("silent for {} s", waited(patience.client)),
        ),
        (End::ClientStalled, Service::Push) => (
            "idlePush",
            format!("silent for {} s", waited(patience.client)),
        ),
        (End::TooLarge, _) => ("maxPushSize", "the request is too large".to_owned()),
        (End::SentAway(SentAway::Crowd), _) => {
            ("idlePush", "waited longest of too many".to_owned())
        }
        (End::SentAway(SentAway::Ending), _) => (
            "drainTimeout",
            "sent nothing before the gate ended".to_owned(),
        ),
        (End::NoPermit(LimitReached(name, most)), _) => (
            name,
            format!("no place of {most} came free for a push that had waited"),
        ),
        // Its parts are the wait for the lock and the refresh.
        (End::ServerStalled, _) => (
            "refreshTimeout",
            format!("not answered within {} s", waited(patience.server)),
        ),
    };
    Some(Event {
        limit: Some(limit.to_owned()),
        reason: Some(reason),
        ..event(gate, asked.peer, &asked.request, Kind::Limit)
    })
}

/// An event of the client at `peer`. A repository that the gate does not serve is not named: the client chose
/// the word, and nobody has scanned it.
pub fn event(gate: &Gate, peer: SocketAddr, request: &Request, kind: Kind) -> Event {
    let name = &request.name;
    let is_served = gate.served().mirrors.contains_key(name);
    Event {
        repository: is_served.then(|| name.clone()),
        peer: Some(shown_peer(peer)),
        agent: request.caller.name.clone(),
        service: Some(request.service.word().to_owned()),
        ..Event::now(kind)
    }
}
