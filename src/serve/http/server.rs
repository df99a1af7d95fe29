//! Connections and their requests.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::body::{self, Reply};
use super::connection::{Connection, lock};
use super::git;
use super::login::{self, Login};
use super::route::{self, Route};
use crate::config;
use crate::serve::state::Gate;
use crate::serve::{Options, ServeError, address, git_request, policy};

/// The most connections at once, those without a request included. What is asked for takes one of the
/// places that are limited (`maxConnections`).
const MOST_CONNECTIONS: usize = 512;

/// The most bytes of a request's head.
const MOST_HEAD: usize = 32 << 10;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The pause after the system refused to accept (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

/// What serves HTTP; nothing, where it is off.
pub struct Http {
    /// Where git is served.
    pub address: Option<SocketAddr>,
    ending: watch::Sender<bool>,
    pub(super) ended: Mutex<mpsc::Receiver<Infallible>>,
}

impl Http {
    /// Has no further connections accepted, and each one closed behind what it is at.
    pub fn drain(&self) {
        let _ = self.ending.send(true);
    }

    /// Waits until the last connection has ended, for `limit` at most or until `hurry` says so.
    pub fn wait(&self, limit: Duration, hurry: impl Fn() -> bool) {
        let ended = lock(&self.ended);
        let end = Instant::now() + limit;
        while Instant::now() < end && !hurry() {
            if ended.recv_timeout(PAUSE) == Err(mpsc::RecvTimeoutError::Disconnected) {
                break;
            }
        }
    }
}

/// What is served at an address.
#[derive(Debug, Clone, Copy)]
enum What {
    Git,
    Admin,
}

/// The addresses that `config` has listened on, each with the others that would do.
pub fn addresses(options: &Options, http: &config::Http) -> Vec<SocketAddr> {
    let git = http.port.into_iter();
    git.flat_map(|port| address::of_port(options.listen, port))
        .chain(http.admin)
        .collect()
}

/// Starts to serve what `config` names, on a thread of its own.
pub fn start(gate: &Arc<Gate>, config: &config::Http) -> Result<Http, ServeError> {
    let git = config.port.map(|port| {
        let addresses = address::of_port(gate.options.listen, port);
        listen(address::bind_to_first(addresses)?)
    });
    let admin = config
        .admin
        .map(|address| listen(address::bind_to_first(vec![address])?));
    let git = git.transpose()?;
    let admin = admin.transpose()?;
    let address = git.as_ref().and_then(|git| git.local_addr().ok());
    let (ending, is_ending) = watch::channel(false);
    let (over, ended) = mpsc::channel();
    let listeners = [(git, What::Git), (admin, What::Admin)];
    let listeners: Vec<_> = listeners
        .into_iter()
        .filter_map(|(listener, what)| Some((listener?, what)))
        .collect();
    if !listeners.is_empty() {
        let gate = Arc::clone(gate);
        thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                if let Err(error) = run(&gate, listeners, &is_ending) {
                    gate.say(&format!("HTTP is not served: {error}"));
                }
                drop(over);
            })
            .map_err(ServeError::System)?;
    }
    Ok(Http {
        address,
        ending,
        ended: Mutex::new(ended),
    })
}

fn listen(socket: OwnedFd) -> Result<TcpListener, ServeError> {
    rustix::net::listen(&socket, BACKLOG).map_err(|error| ServeError::System(error.into()))?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).map_err(ServeError::System)?;
    Ok(listener)
}

/// Serves until the gate ends and the last connection has.
fn run(
    gate: &Arc<Gate>,
    listeners: Vec<(TcpListener, What)>,
    ending: &watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut serving = JoinSet::new();
        for (listener, what) in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serving.spawn(accept(Arc::clone(gate), listener, what, ending.clone()));
        }
        while serving.join_next().await.is_some() {}
        Ok(())
    })
}

/// Accepts connections until the gate ends, then waits for the last one.
async fn accept(
    gate: Arc<Gate>,
    listener: tokio::net::TcpListener,
    what: What,
    mut ending: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let open = Arc::new(AtomicUsize::new(0));
    let is_ending = ending.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = ending.wait_for(|&ending| ending) => break,
        };
        match accepted {
            // Nothing can be said to it before it has asked.
            Ok(_) if open.load(Ordering::Relaxed) >= MOST_CONNECTIONS => {}
            Ok((stream, peer)) => {
                let opened = Opened::new(&open);
                let (gate, ending) = (Arc::clone(&gate), is_ending.clone());
                connections.spawn(async move {
                    let _opened = opened;
                    // A client that breaks off, or sends what is no HTTP, needs no word.
                    let _ = serve(gate, stream, peer, what, ending).await;
                });
            }
            Err(error) => {
                gate.say(&format!("cannot accept a client: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One of the connections that are open.
struct Opened(Arc<AtomicUsize>);

impl Opened {
    pub(super) fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection to its end; a request's head must come within `limits.idleClient`.
async fn serve(
    gate: Arc<Gate>,
    stream: TcpStream,
    peer: SocketAddr,
    what: What,
    mut ending: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let connection = Arc::new(Connection::new(peer, stream.try_clone()?));
    let ours = Arc::clone(&connection);
    let idle = gate.idle_limit();
    let service = service_fn(move |request| {
        let (gate, connection) = (Arc::clone(&gate), Arc::clone(&connection));
        async move {
            Ok::<_, Infallible>(match what {
                What::Git => answer(&gate, connection, request).await,
                What::Admin => watch_over(&gate, &request),
            })
        }
    });
    let mut serving = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_header_size(MOST_HEAD)
            .serve_connection(TokioIo::new(TcpStream::from_std(stream)?), service)
    );
    tokio::select! {
        served = serving.as_mut() => return Ok(served?),
        _ = ending.wait_for(|&ending| ending) => {}
    }
    // A client that was told refs comes back with the rest, and is let come to its end.
    while ours.is_in_conversation() {
        tokio::select! {
            served = serving.as_mut() => return Ok(served?),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    serving.as_mut().graceful_shutdown();
    Ok(serving.await?)
}

/// Answers a request of a git client.
async fn answer(
    gate: &Arc<Gate>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Reply> {
    connection.look_for_a_proxy(request.headers());
    let login = Login::of(request.headers(), &gate.served().agents);
    if let Some(asked) = route::of_policy(&request) {
        return match git::admit(gate, connection.peer, asked, login) {
            Ok(asked) => tell_policy(gate, &asked),
            Err((status, reason)) => login::refuse(status, &reason),
        };
    }
    let Route {
        request: asked,
        step,
    } = match Route::of(&request) {
        Ok(route) => route,
        Err((status, reason)) => return body::say(status, reason),
    };
    match git::admit(gate, connection.peer, asked, login) {
        Ok(asked) => {
            let route = Route {
                request: asked,
                step,
            };
            git::answer(gate, connection, route, request.into_body()).await
        }
        Err((status, reason)) => login::refuse(status, &reason),
    }
}

/// Tells an agent what its pushes are held against.
fn tell_policy(gate: &Gate, asked: &git_request::Request) -> Response<Reply> {
    let served = gate.served();
    let mirror = served.mirrors.get(&asked.name);
    let rules =
        mirror.map(|mirror| policy::describe(&mirror.upstream, &served.limits, &asked.caller));
    let body = Reply::Whole(Some(rules.unwrap_or_default().into()));
    body::respond(StatusCode::OK, "application/json", body)
}

/// Answers who watches the gate: 200 where it can take pushes, 503 and the reasons where not.
fn watch_over(gate: &Gate, request: &Request<Incoming>) -> Response<Reply> {
    if request.method() != Method::GET {
        return body::say(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here");
    }
    match request.uri().path() {
        "/-/healthz" => match gate.problems() {
            problems if problems.is_empty() => body::say(StatusCode::OK, "it serves"),
            problems => {
                let reason = ServeError::Unhealthy(problems.join("; ")).to_string();
                body::say(StatusCode::SERVICE_UNAVAILABLE, &reason)
            }
        },
        "/-/metrics" => body::text(StatusCode::OK, gate.metrics()),
        _ => body::say(
            StatusCode::NOT_FOUND,
            "only /-/healthz and /-/metrics are served here",
        ),
    }
}
