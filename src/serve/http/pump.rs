//! Bytes between a client and the git that serves its request, until git has ended.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::Connection;
use super::body::Unpacker;
use super::opening::Opening;
use super::route::Packing;
use crate::serve::answer::Answer;
use crate::serve::asked::Asked;
use crate::serve::git_request::{self, Service};
use crate::serve::hook_stderr::LastWords;
use crate::serve::relay::{End, LATER_REST, LINGER, NO_PERMIT, Passed, Patience};
use crate::settings::Limits;

/// Bytes read from git at once.
const BUFFER: usize = 64 << 10;

/// The most bytes of a fetch's request: the ids that the client wants and has.
const MOST_WANTED: u64 = 64 << 20;

/// What a push may have besides what is counted by git as its pack.
const PUSH_MARGIN: u64 = 128 << 20;

/// What a client sends.
pub struct Upload {
    incoming: Incoming,
    unpacker: Unpacker,
    /// What came and is not unpacked yet.
    packed: Bytes,
    /// What was unpacked to be looked at, and where in it the next packet begins.
    opening: Vec<u8>,
    at: usize,
    received: u64,
    end: End,
    asked: Arc<Asked>,
    patience: Patience,
    limits: Limits,
}

impl Upload {
    /// The body `incoming` of a request.
    pub fn new(
        incoming: Incoming,
        packing: Packing,
        asked: Arc<Asked>,
        patience: Patience,
        limits: Limits,
    ) -> Self {
        Self {
            incoming,
            unpacker: Unpacker::new(packing),
            packed: Bytes::new(),
            opening: Vec::new(),
            at: 0,
            received: 0,
            end: End::Done,
            asked,
            patience,
            limits,
        }
    }

    /// Waits for the first packets and reads them.
    pub async fn open(&mut self) -> Opening {
        while !Opening::is_whole(&self.opening, &mut self.at) {
            match self.next().await {
                Some(part) => self.opening.extend_from_slice(&part),
                None => break,
            }
        }
        Opening::read(&self.opening)
    }

    /// Whether more came than a flush packet.
    pub fn has_asked(&self) -> bool {
        self.received > 4
    }

    /// Reads on and drops what comes, for a while: a client that is still sending would not read the
    /// answer when its connection is closed.
    pub async fn discard(mut self) {
        let _ = timeout(LINGER, async { while self.frame().await.is_some() {} }).await;
    }

    /// The next bytes for git; none at the end, or where there will be no more.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.packed.is_empty() {
                self.packed = self.frame().await?;
            }
            let Ok(part) = self.unpacker.next(&mut self.packed) else {
                return self.give_up(End::ClientGone);
            };
            self.received += part.len() as u64;
            let most = match self.asked.request.service {
                Service::Fetch => MOST_WANTED,
                Service::Push => self.limits.max_push_size.saturating_add(PUSH_MARGIN),
            };
            if self.received > most {
                return self.give_up(End::TooLarge);
            }
            if !part.is_empty() {
                return Some(part);
            }
        }
    }

    /// The next bytes as they come. A push that waits for its client gives its place to others.
    async fn frame(&mut self) -> Option<Bytes> {
        if self.end != End::Done {
            return None;
        }
        let limit = self.patience.client;
        let rest = match self.asked.request.service {
            Service::Push => LATER_REST.min(limit),
            Service::Fetch => limit,
        };
        let frame = match timeout(rest, data(&mut self.incoming)).await {
            Ok(frame) => frame,
            Err(_) if rest == limit => return self.give_up(End::ClientStalled),
            Err(_) => {
                self.asked.permit.rest(self.received > 0);
                let waited = timeout(limit - rest, data(&mut self.incoming)).await;
                let Ok(frame) = waited else {
                    return self.give_up(End::ClientStalled);
                };
                self.wake().await?;
                frame
            }
        };
        match frame {
            Ok(bytes) => bytes,
            Err(_) => self.give_up(End::ClientGone),
        }
    }

    /// Waits for a place, as long as for a client.
    async fn wake(&mut self) -> Option<()> {
        let permit = &self.asked.permit;
        let end = Instant::now() + self.patience.client;
        loop {
            if let Some(why) = permit.sent_away() {
                return self.give_up(End::SentAway(why));
            }
            match permit.wake(&self.limits) {
                Ok(()) => return Some(()),
                Err(full) if Instant::now() >= end => return self.give_up(End::NoPermit(full)),
                Err(_) => sleep(NO_PERMIT).await,
            }
        }
    }

    fn give_up<T>(&mut self, end: End) -> Option<T> {
        self.end = end;
        None
    }
}

/// The next bytes of a body; none at its end.
async fn data(incoming: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context));
        match frame.await.transpose()?.map(hyper::body::Frame::into_data) {
            None => return Ok(None),
            Some(Ok(bytes)) => return Ok(Some(bytes)),
            // Trailers say nothing to git.
            Some(Err(_)) => {}
        }
    }
}

/// A git and its client.
pub struct Pump {
    /// What is asked.
    pub asked: Arc<Asked>,
    /// Over which connection.
    pub connection: Arc<Connection>,
    /// The process group of the git.
    pub git: Pid,
    /// How long each side may take.
    pub patience: Patience,
    /// Why the hook refused.
    pub last_words: Arc<LastWords>,
    /// Whether it is a request with a body.
    pub is_call: bool,
}

/// What both directions know.
#[derive(Default)]
struct Both {
    answer: Mutex<Answer>,
    /// Why it ended, unless git was done.
    end: Mutex<Option<End>>,
    /// Whether the client has said all.
    is_heard: AtomicBool,
    /// Rung when git has ended.
    over: Notify,
}

impl Both {
    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first end counts.
    fn end(&self, end: End) {
        let mut first = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(end);
    }
}

impl Pump {
    /// Passes bytes until git has closed its end.
    pub async fn run(
        self,
        socket: UnixStream,
        mut upload: Upload,
        sender: mpsc::Sender<Bytes>,
    ) -> io::Result<Passed> {
        socket.set_nonblocking(true)?;
        let (from_git, to_git) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let both = Both::default();
        let (_, sent) = tokio::join!(
            self.send_up(&both, &mut upload, to_git, sender.clone()),
            self.send_down(&both, from_git, sender),
        );
        let received = upload.received;
        let has_asked = self.is_call && upload.has_asked();
        tokio::spawn(upload.discard());
        let answer = both.answer.into_inner();
        let end = both.end.into_inner();
        Ok(Passed {
            received,
            sent,
            end: end
                .unwrap_or_else(PoisonError::into_inner)
                .unwrap_or(End::Done),
            has_asked,
            answer: answer.unwrap_or_else(PoisonError::into_inner).start,
        })
    }

    /// Passes what the client sends, until its end or git's.
    async fn send_up(
        &self,
        both: &Both,
        upload: &mut Upload,
        to_git: OwnedWriteHalf,
        sender: mpsc::Sender<Bytes>,
    ) {
        let mut to_git = Some(to_git);
        let mut next = Some(Bytes::from(std::mem::take(&mut upload.opening)));
        while let Some(part) = next {
            both.answer().hear_client(&part);
            // Where git reads no more, it has said, or will say, why.
            if let Some(git) = &mut to_git
                && git.write_all(&part).await.is_err()
            {
                to_git = None;
            }
            next = tokio::select! {
                part = upload.next() => part,
                () = both.over.notified() => return,
            };
        }
        // git reads an end.
        drop(to_git);
        both.is_heard.store(true, Ordering::Relaxed);
        let words = match upload.end {
            End::Done => return,
            End::ClientStalled => self.asked.request.stalled(self.patience.client),
            End::SentAway(why) => git_request::sent_away(why),
            End::NoPermit(full) => git_request::no_permit(full),
            End::TooLarge => self.asked.request.too_large(),
            End::ClientGone | End::ServerStalled => Vec::new(),
        };
        let _ = sender.try_send(words.into());
        both.end(upload.end);
        self.end_fetch();
    }

    /// Passes what git says, until its end; returns how many bytes that were. A push goes on without
    /// its client: its hook may be forwarding.
    async fn send_down(
        &self,
        both: &Both,
        mut from_git: OwnedReadHalf,
        sender: mpsc::Sender<Bytes>,
    ) -> u64 {
        let mut sender = Some(sender);
        let mut buffer = BytesMut::new();
        let mut sent = 0;
        loop {
            buffer.reserve(BUFFER);
            let client_is_gone = async {
                match &sender {
                    Some(sender) => sender.closed().await,
                    None => std::future::pending().await,
                }
            };
            let read = tokio::select! {
                read = from_git.read_buf(&mut buffer) => read,
                () = client_is_gone => {
                    self.lose_client(both, &mut sender, End::ClientGone);
                    continue;
                }
                () = sleep(self.patience.server), if sender.is_some() => {
                    if both.is_heard.load(Ordering::Relaxed) {
                        self.lose_client(both, &mut sender, End::ServerStalled);
                    }
                    continue;
                }
            };
            if !matches!(read, Ok(1..)) {
                break;
            }
            let said = buffer.split().freeze();
            sent += said.len() as u64;
            for part in self.explained(both, said).await {
                let Some(to_client) = &sender else { break };
                match timeout(self.patience.client, to_client.send(part)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => self.lose_client(both, &mut sender, End::ClientGone),
                    Err(_) => self.lose_client(both, &mut sender, End::ClientStalled),
                }
            }
        }
        both.over.notify_one();
        sent
    }

    /// What git `said`, with the gate's own words.
    async fn explained(&self, both: &Both, said: Bytes) -> Vec<Bytes> {
        if !self.is_call || self.asked.request.service == Service::Fetch {
            return vec![said];
        }
        both.answer().keep(&said);
        if both.answer().wants_reason(&said) {
            let last_words = Arc::clone(&self.last_words);
            let reason = spawn_blocking(move || last_words.take()).await;
            let report = git_request::with_reason(&said, &reason.unwrap_or_default());
            return vec![report.map_or(said, Bytes::from)];
        }
        match both.answer().explain_gits_refusal(&said) {
            Some((at, words)) => vec![said.slice(..at), words.into(), said.slice(at..)],
            None => vec![said],
        }
    }

    /// Gives up the client; a fetch is of use to nobody then.
    fn lose_client(&self, both: &Both, sender: &mut Option<mpsc::Sender<Bytes>>, end: End) {
        both.end(end);
        *sender = None;
        let _ = self.connection.socket.shutdown(Shutdown::Both);
        self.end_fetch();
    }

    fn end_fetch(&self) {
        if self.asked.request.service == Service::Fetch {
            let _ = kill_process_group(self.git, Signal::KILL);
        }
    }
}

/// How long the server may be silent while it is its turn: a push as long as its hook may take.
pub fn patience(asked: &Asked, limits: &Limits) -> Patience {
    let usual = asked.patience(limits);
    match asked.request.service {
        Service::Fetch => usual,
        Service::Push => Patience {
            server: Duration::from_secs(limits.lock + limits.scan + limits.forward),
            ..usual
        },
    }
}
