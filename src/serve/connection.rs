//! One client: its mirror is looked up, git daemon is started for it, and bytes are passed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::process::Pid;

use super::live::Place;
use super::relay::{End, LINGER, Patience, linger, relay};
use super::repos::Mirror;
use super::request::{Request, error_packet};
use super::server::Gate;
use crate::audit::{Event, Kind};
use crate::{process, text};

/// How long git daemon may take to end once it has closed its connection.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How many clients that were given up are still listened to, each on a thread that waits, and for
/// how long: a pre-push hook may run all tests.
const MOST_STALLED: usize = 64;
const STALLED_LIMIT: Duration = Duration::from_secs(900);

/// The most that git daemon may say about one client.
const SAID_LIMIT: u64 = 64 << 10;

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
    match try_serve(gate, &mut client) {
        Ok(Some(End::ClientStalled)) => hear_out(gate, client),
        Ok(_) => {}
        Err(reason) => {
            let mut event = event(gate, &client, Kind::Refusal);
            event.reason = Some(reason.clone());
            gate.record(&event);
            let _ = client.stream.set_nonblocking(false);
            let _ = client.stream.set_write_timeout(Some(END_LIMIT));
            let _ = client.stream.write_all(&error_packet(&reason));
            linger(&mut client.stream, LINGER);
        }
    }
}

/// Waits, without a place, until a client that was silent for too long comes back. git reads why it
/// was given up only after it has sent its ref updates; sent to a closed socket, they would end it
/// without a word (`SIGPIPE`).
fn hear_out(gate: &Gate, client: Client) {
    let Client {
        mut stream, place, ..
    } = client;
    drop(place);
    if gate.stalled.fetch_add(1, Ordering::Relaxed) < MOST_STALLED {
        linger(&mut stream, STALLED_LIMIT);
    }
    gate.stalled.fetch_sub(1, Ordering::Relaxed);
}

/// How the relay ended, where it did not break. An error is what the client is told: nothing has
/// been sent to it then.
fn try_serve(gate: &Arc<Gate>, client: &mut Client) -> Result<Option<End>, String> {
    let served = gate.served();
    let name = &client.request.name;
    let mirror = served.mirrors.get(name).ok_or_else(|| {
        let names: Vec<_> = served.mirrors.keys().map(String::as_str).collect();
        format!(
            "no repository of that name here; this gate serves {}",
            names.join(", ")
        )
    })?;
    mirror
        .ensure_ready(&|line| gate.say(line))
        .map_err(|error| format!("{name}: {}", text::chain(&error)))?;
    let (mut child, ours) = start_daemon(gate, mirror, client.peer)
        .map_err(|error| format!("cannot start git daemon: {error}"))?;
    client
        .place
        .serve(client.stream.try_clone().ok(), Pid::from_child(&child));
    if let Some(said) = child.stderr.take() {
        pass_on(gate, said);
    }
    let limits = &served.limits;
    let patience = Patience {
        client: Duration::from_secs(limits.idle_client),
        server: Duration::from_secs(limits.lock + limits.refresh + limits.idle_client),
    };
    let (request, early) = (&client.request, &client.early);
    let end = match relay(&mut client.stream, ours, request, early, patience) {
        Ok(passed) => {
            gate.metrics.traffic(name, passed.received, passed.sent);
            report_stall(gate, client, passed.end, patience);
            Some(passed.end)
        }
        Err(error) => {
            gate.say(&format!("a connection broke: {error}"));
            None
        }
    };
    if let Ok(None) | Err(_) = process::wait(&mut child, END_LIMIT) {
        process::end_group(&mut child);
    }
    client.place.served();
    Ok(end)
}

/// git daemon, as inetd would start it: for one client, on a socket of its own.
fn start_daemon(
    gate: &Gate,
    mirror: &Mirror,
    peer: SocketAddr,
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
        .env("REMOTE_ADDR", peer.ip().to_canonical().to_string())
        .env("REMOTE_PORT", peer.port().to_string())
        .stdin(Stdio::from(theirs.try_clone()?))
        .stdout(Stdio::from(theirs))
        .stderr(Stdio::piped())
        .process_group(0);
    Ok((command.spawn()?, ours))
}

/// `--name=` with a path behind it, whatever bytes that has.
fn option(name: &str, path: &std::path::Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push(path);
    option
}

/// Writes what git daemon says to the operator's log, without what it repeats of the client's words,
/// on a thread that ends with it.
fn pass_on(gate: &Arc<Gate>, said: ChildStderr) {
    let gate = Arc::clone(gate);
    let _ = thread::Builder::new()
        .name("daemon-log".to_owned())
        .spawn(move || {
            let mut said = BufReader::new(said);
            let lines = said.by_ref().take(SAID_LIMIT).split(b'\n');
            for line in lines.map_while(Result::ok) {
                let (words, goes_on) = text::gits_words(&line);
                gate.say(&format!("daemon: {words}"));
                if goes_on {
                    break;
                }
            }
            // Read on to the end: a full pipe would stop git daemon.
            let _ = std::io::copy(&mut said, &mut std::io::sink());
        });
}

fn report_stall(gate: &Gate, client: &Client, end: End, patience: Patience) {
    let reason = match end {
        End::Done | End::ClientGone => return,
        End::ClientStalled => format!("silent for {} s", patience.client.as_secs()),
        End::ServerStalled => format!("not answered within {} s", patience.server.as_secs()),
    };
    gate.record(&Event {
        limit: Some("idleClient".to_owned()),
        reason: Some(reason),
        ..event(gate, client, Kind::Limit)
    });
}

/// An event of `client`. A repository that the gate does not serve is not named: the client chose
/// the word, and nobody has scanned it.
fn event(gate: &Gate, client: &Client, kind: Kind) -> Event {
    let name = &client.request.name;
    let is_served = gate.served().mirrors.contains_key(name);
    Event {
        repository: is_served.then(|| name.clone()),
        peer: Some(client.peer.to_string()),
        service: Some(client.request.service.word().to_owned()),
        ..Event::now(kind)
    }
}
