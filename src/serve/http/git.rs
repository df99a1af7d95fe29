//! One request of git: the mirror is refreshed where a conversation begins, git is started, and what
//! it says is the answer. A request that has begun comes to its end also when its client is gone.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use rustix::process::Pid;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::Connection;
use super::body::{self, Reply};
use super::intent::Intent;
use super::login::Login;
use super::opening::Opening;
use super::pump::{self, Pump, Upload};
use super::route::{Packing, Route, Step};
use crate::audit::Kind;
use crate::debug_log::Noted;
use crate::git::{self, pkt_line};
use crate::serve::asked::{Asked, shown_peer};
use crate::serve::connection::{self, Ran};
use crate::serve::git_child;
use crate::serve::git_request::{self, Request, Service};
use crate::serve::hook_stderr::LastWords;
use crate::serve::mirrors::Mirror;
use crate::serve::relay::Patience;
use crate::serve::state::Gate;
use crate::serve::unreported::Outcome;
use crate::{process, text};

/// What a client without a token is told.
const NO_TOKEN: &str = "this gate knows agents by their tokens: give yours as the password (any user \
                        name will do), or as a Bearer; the operator has it";

/// What one with a wrong token is told.
const WRONG_TOKEN: &str = "this token is no agent's of this gate (it may have been replaced); ask the \
                           operator for the one that is";

/// How many parts of an answer wait for a client that reads slowly.
const WAITING_PARTS: usize = 2;

/// What the access hook may take longer than its own limits.
const HOOK_MARGIN: Duration = Duration::from_secs(10);

/// `request` as one of whoever has made the `login`, where it may be; else the refusal.
pub fn admit(
    gate: &Gate,
    peer: SocketAddr,
    mut request: Request,
    login: Login,
) -> Result<Request, (StatusCode, String)> {
    let refuse = |request: &Request, reason: &str| connection::refused(gate, peer, request, reason);
    let ask = |reason: &str| (StatusCode::UNAUTHORIZED, reason.to_owned());
    let (caller, has_token) = match login {
        Login::Known { caller, has_token } => (caller, has_token),
        // git asks without its token first: that is no request yet.
        Login::None => return Err(ask(NO_TOKEN)),
        Login::Wrong => {
            refuse(&request, WRONG_TOKEN);
            return Err(ask(WRONG_TOKEN));
        }
    };
    let served = gate.served();
    let is_there = served.mirrors.contains_key(&request.name) && caller.sees(&request.name);
    let is_allowed = is_there && (request.service == Service::Fetch || caller.may_push());
    if !is_allowed && !has_token {
        return Err(ask(NO_TOKEN));
    }
    request.caller = caller;
    if !is_there {
        let reason = connection::unknown(&served, &request);
        refuse(&request, &reason);
        return Err((StatusCode::NOT_FOUND, reason));
    }
    Ok(request)
}

/// Answers the request `route` whose body is `incoming`.
pub async fn answer(
    gate: &Arc<Gate>,
    connection: Arc<Connection>,
    route: Route,
    incoming: Incoming,
) -> Response<Reply> {
    let peer = connection.peer;
    let permit = match connection::admit(gate, peer, &route.request) {
        Ok(permit) => permit,
        Err(reason) => {
            connection.has_pushed();
            return refuse(&route.request, route.step, &reason);
        }
    };
    let asked = Arc::new(Asked {
        peer,
        request: route.request,
        permit,
    });
    let (sender, head) = oneshot::channel();
    let conversation = Conversation {
        gate: Arc::clone(gate),
        connection,
        asked,
        step: route.step,
    };
    // On its own: hyper drops the answer of a client that is gone, and a push is not to end with it.
    tokio::spawn(conversation.run(incoming, sender));
    // The sender is dropped unused only where the system gave no thread.
    head.await.unwrap_or_else(|_| {
        let reason = "the gate could not serve this; try again";
        body::say(StatusCode::SERVICE_UNAVAILABLE, reason)
    })
}

/// The refusal of a request in git's own protocol, so that every client shows it.
fn refuse(request: &Request, step: Step, reason: &str) -> Response<Reply> {
    let packet = match (request.service, step) {
        // It reads the side-band by now.
        (Service::Push, Step::Call(_)) => git_request::cut_off(reason),
        _ => git_request::error_packet(reason),
    };
    let whole = [preamble(request, step), packet.into()].concat();
    let body = Reply::Whole(Some(whole.into()));
    body::respond(StatusCode::OK, &kind(request, step), body)
}

/// What stands in front of refs (gitprotocol-http(5), "Smart Server Response").
fn preamble(request: &Request, step: Step) -> Bytes {
    let (_, is_second) = request.protocol();
    // There is no second version of a push.
    if step != Step::Advertise || (is_second && request.service == Service::Fetch) {
        return Bytes::new();
    }
    let line = format!("# service={}\n", request.service.command());
    [pkt_line::packet(&line), b"0000".to_vec()].concat().into()
}

fn kind(request: &Request, step: Step) -> String {
    let what = match step {
        Step::Advertise => "advertisement",
        Step::Call(_) => "result",
    };
    format!("application/x-{}-{what}", request.service.command())
}

/// A request that is being served.
struct Conversation {
    gate: Arc<Gate>,
    connection: Arc<Connection>,
    asked: Arc<Asked>,
    step: Step,
}

impl Conversation {
    async fn run(self, incoming: Incoming, head: oneshot::Sender<Response<Reply>>) {
        let limits = self.gate.served().limits.clone();
        let patience = pump::patience(&self.asked, &limits);
        let packing = match self.step {
            Step::Advertise => Packing::Plain,
            Step::Call(packing) => packing,
        };
        let mut upload = Upload::new(incoming, packing, Arc::clone(&self.asked), patience, limits);
        let opening = match self.step {
            Step::Advertise => Opening::default(),
            Step::Call(_) => upload.open().await,
        };
        let is_call = self.step != Step::Advertise;
        // git sends a flush packet ahead of a large push, to ask whether it may: that is none yet.
        if is_call && upload.has_asked() && self.asked.request.service == Service::Push {
            self.connection.has_pushed();
        }
        let (gate, asked) = (Arc::clone(&self.gate), Arc::clone(&self.asked));
        let (connection, step) = (Arc::clone(&self.connection), self.step);
        let started = spawn_blocking(move || {
            let started = start(&gate, &connection, &asked, step, &opening);
            if let Err(Refusal::Unrecorded(reason)) = &started {
                connection::refused(&gate, asked.peer, &asked.request, reason);
            }
            started
        });
        let started = match started.await {
            Ok(Ok(started)) => started,
            Ok(Err(Refusal::Recorded(reason) | Refusal::Unrecorded(reason))) => {
                let _ = head.send(refuse(&self.asked.request, self.step, &reason));
                return upload.discard().await;
            }
            Err(_) => return,
        };
        self.pass(started, upload, patience, head).await;
    }

    /// Passes bytes between the client and the git that was `started`, and concludes when both are done.
    async fn pass(
        self,
        started: Started,
        upload: Upload,
        patience: Patience,
        head: oneshot::Sender<Response<Reply>>,
    ) {
        let is_call = self.step != Step::Advertise;
        let (sender, parts) = mpsc::channel(WAITING_PARTS);
        let preamble = preamble(&self.asked.request, self.step);
        if !preamble.is_empty() {
            let _ = sender.try_send(preamble);
        }
        let kind = kind(&self.asked.request, self.step);
        let _ = head.send(body::respond(StatusCode::OK, &kind, Reply::Parts(parts)));
        let Started {
            mut child,
            noted,
            socket,
            is_told,
        } = started;
        let last_words = Arc::new(LastWords::default());
        let said = child.stderr.take();
        let said = said.map(|said| connection::pass_on(&self.gate, said, Arc::clone(&last_words)));
        let pump = Pump {
            asked: Arc::clone(&self.asked),
            connection: Arc::clone(&self.connection),
            git: Pid::from_child(&child),
            patience,
            last_words,
            is_call,
        };
        let passed = match pump.run(socket, upload, sender).await {
            Ok(passed) => Some(passed),
            Err(error) => {
                self.gate.say(&format!("a connection broke: {error}"));
                None
            }
        };
        let has_asked = passed.as_ref().is_some_and(|passed| passed.has_asked);
        let is_told = is_told || (is_call && !has_asked);
        let ran = Ran {
            child,
            noted,
            said,
            passed,
            is_told,
        };
        let _ = spawn_blocking(move || {
            connection::conclude(&self.gate, &self.asked, ran, patience);
        })
        .await;
    }
}

/// Why a request is refused; whether the audit log has it already.
enum Refusal {
    Recorded(String),
    Unrecorded(String),
}

/// A git that serves the request.
struct Started {
    child: std::process::Child,
    /// The same, for the debug log.
    noted: Option<Noted>,
    socket: std::os::unix::net::UnixStream,
    /// Whether the audit log has a line for the conversation, or will have one from the hook.
    is_told: bool,
}

/// Refreshes the mirror where that is due, and starts git.
fn start(
    gate: &Arc<Gate>,
    connection: &Connection,
    asked: &Asked,
    step: Step,
    opening: &Opening,
) -> Result<Started, Refusal> {
    let served = gate.served();
    let request = &asked.request;
    let mirror = connection::find_mirror(gate, &served, request).map_err(Refusal::Unrecorded)?;
    if request.service == Service::Push {
        connection.expects(gate.expects_push(&mirror));
    }
    if is_refresh_due(connection, &mirror, request, step, opening) {
        refresh(gate, asked, &mirror)?;
    }
    if step == Step::Advertise {
        connection.refreshed(&request.name);
    }
    connection.comes_back(step == Step::Advertise || opening.lists_refs);
    // Only a push that is sent has a hook behind it.
    let is_told = request.service == Service::Fetch || step == Step::Advertise;
    if !is_told {
        gate.expect_report(&shown_peer(asked.peer));
    } else if request.service == Service::Push {
        connection.intends(Intent::new(gate, asked.peer, request));
    }
    let command = git_command(gate, &mirror, asked, step);
    let started = git_child::start_git(asked, command);
    let (child, socket, noted) =
        started.map_err(|error| Refusal::Unrecorded(format!("cannot start git: {error}")))?;
    let cut = connection.socket.try_clone().ok();
    asked.permit.serve(cut, Pid::from_child(&child));
    Ok(Started {
        child,
        noted,
        socket,
        is_told,
    })
}

/// Whether the upstream is to be asked first: where a client is told refs, unless it was told them on
/// this connection, and where it was told others than there are here.
fn is_refresh_due(
    connection: &Connection,
    mirror: &Mirror,
    request: &Request,
    step: Step,
    opening: &Opening,
) -> bool {
    step == Step::Advertise
        || (opening.lists_refs && !connection.is_fresh(&request.name))
        || git::open(&mirror.path).is_ok_and(|repository| opening.is_ahead_of(&repository))
}

/// Runs the access hook as git daemon does (git-daemon(1), `--access-hook`): the first line of its
/// standard output is why it refuses.
fn refresh(gate: &Gate, asked: &Asked, mirror: &Mirror) -> Result<(), Refusal> {
    let limits = &gate.served().limits;
    let limit = asked.patience(limits).server + HOOK_MARGIN;
    let peer = shown_peer(asked.peer);
    let service = asked.request.service;
    let mut command = Command::new(&gate.hooks.access);
    command.arg(service.program()).arg(&mirror.path);
    git_child::with_environment(gate, asked, &mut command);
    command.current_dir(&mirror.path);
    gate.expect_report(&peer);
    let ran = process::run(&mut command, limit);
    let has_reported = gate.has_reported(&peer, || true);
    let reason = match &ran {
        Ok(output) if output.status.success() => {
            // A push has its line from the other hook.
            if !has_reported && service == Service::Fetch {
                connection::record_outcome(gate, asked, Outcome::lost(Kind::Fetch));
            }
            return Ok(());
        }
        Ok(output) => {
            let said = text::line(
                output
                    .stdout
                    .split(|&byte| byte == b'\n')
                    .next()
                    .unwrap_or(&[]),
            );
            match said.strip_prefix("git-gate: ") {
                Some(reason) => reason.to_owned(),
                None => format!(
                    "the access hook ended without a word: {}",
                    process::how_it_ended(output.status)
                ),
            }
        }
        Err(error) => text::chain(error),
    };
    Err(match has_reported {
        true => Refusal::Recorded(reason),
        false => Refusal::Unrecorded(reason),
    })
}

/// The git command that answers (git-upload-pack(1), git-receive-pack(1)).
fn git_command(gate: &Gate, mirror: &Mirror, asked: &Asked, step: Step) -> Command {
    let mut command = Command::new("git");
    command.arg(asked.request.service.program());
    command.arg("--stateless-rpc");
    if step == Step::Advertise {
        // The name that git 2.30 knows too.
        command.arg("--advertise-refs");
    }
    command.arg(&mirror.path);
    git_child::with_environment(gate, asked, &mut command);
    let (protocol, _) = asked.request.protocol();
    command.env("GIT_PROTOCOL", protocol);
    command
}
