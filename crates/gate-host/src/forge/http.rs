//! One HTTP request with an end: a time limit, a bounded answer, few repetitions, no redirects.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use serde_json::Value;
use thiserror::Error;
use ureq::Agent;
use ureq::http::{HeaderMap, Request, Response, request::Builder};
use ureq::tls::{RootCerts, TlsConfig};

use crate::interrupt::Interrupt;
use git_gate::text;

/// How much of an answer is read. The largest expected is a page of 50 keys, about 250 KB.
const BODY_LIMIT: u64 = 2 << 20;

/// How long the forge gets.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For one request and its answer.
    pub request: Duration,
    /// How often a request is sent while the answer is 429 or 5xx.
    pub attempts: u32,
    /// The first wait between two of them; it doubles each time. A `Retry-After` of the forge
    /// counts instead.
    pub wait: Duration,
    /// The longest wait, whatever the forge asks for.
    pub longest_wait: Duration,
}

impl Default for Patience {
    /// 20 s a request, 4 attempts, 1 s between the first two and at most 30 s.
    fn default() -> Self {
        Self {
            request: Duration::from_secs(20),
            attempts: 4,
            wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
        }
    }
}

/// Why there is no usable answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// No connection: the request was never sent.
    #[error("{0}")]
    Unreached(String),
    /// The request may have been sent, but no whole answer came back.
    #[error("{0}")]
    Broken(String),
    /// The answer is not the JSON that belongs there.
    #[error("the answer is not what the API documents; is api_url the forge's?")]
    Content,
    /// An interrupt came while waiting to try again.
    #[error("interrupted")]
    Interrupted,
    /// An answer with another status than the wanted one.
    #[error("status {}", .0.status)]
    Status(Answer),
}

/// An answer of the forge: untrusted.
#[derive(Debug)]
pub struct Answer {
    pub(super) status: u16,
    location: Option<String>,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Answer {
    fn read(response: Response<ureq::Body>) -> Result<Self, ureq::Error> {
        let header = |name: &str, headers: &HeaderMap| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.trim().to_owned())
        };
        let headers = response.headers();
        let location = header("location", headers);
        let retry_after = header("retry-after", headers).and_then(|value| value.parse().ok());
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut reader = response.into_body().into_reader().take(BODY_LIMIT);
        reader.read_to_end(&mut body).map_err(ureq::Error::from)?;
        Ok(Self {
            status,
            location,
            retry_after: retry_after.map(Duration::from_secs),
            body,
        })
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, HttpError> {
        serde_json::from_slice(&self.body).map_err(|_| HttpError::Content)
    }

    /// The forge's own words, led by `: `; empty when it said nothing readable.
    pub(super) fn message(&self) -> String {
        let body = self.json().unwrap_or_default();
        let said: Vec<String> = [&body["message"], &body["errors"], &body["error"]]
            .into_iter()
            .filter(|value| !value.is_null())
            .map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
            .chain(self.location.clone())
            .collect();
        let said = text::line(said.join("; ").as_bytes());
        if said.is_empty() {
            said
        } else {
            format!(": {said}")
        }
    }

    fn is_worth_another_try(&self) -> bool {
        self.status == 429 || (500..600).contains(&self.status)
    }
}

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        })
    }
}

/// The client: the system's TLS roots, its proxy settings, no redirects, nothing kept open.
pub(super) struct Http {
    agent: Agent,
    patience: Patience,
}

impl Http {
    /// `plain`: http, which is for loopback only and so never through a proxy.
    pub(super) fn new(patience: &Patience, plain: bool) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        let mut config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(patience.request))
            // A redirect could carry the token to another host and turns POST into GET.
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .user_agent(concat!("git-gate/", env!("CARGO_PKG_VERSION")));
        if plain {
            config = config.proxy(None);
        }
        Self {
            agent: config.build().new_agent(),
            patience: patience.clone(),
        }
    }

    /// Sends the request that `complete` makes of method and URL, again on 429 and 5xx. Returns
    /// how often it was sent and the last answer.
    pub(super) fn send(
        &self,
        method: Method,
        url: &str,
        interrupt: &Interrupt,
        complete: impl Fn(Builder) -> Result<Request<Vec<u8>>, ureq::http::Error>,
    ) -> (u32, Result<Answer, HttpError>) {
        let mut wait = self.patience.wait;
        let mut tried = 0;
        loop {
            tried += 1;
            let builder = Request::builder()
                .method(method.to_string().as_str())
                .uri(url);
            let answer = complete(builder)
                .map_err(ureq::Error::from)
                .and_then(|request| self.agent.run(request))
                .and_then(Answer::read)
                .map_err(|error| self.describe(&error));
            match answer {
                Ok(answer) if answer.is_worth_another_try() && tried < self.patience.attempts => {
                    let asked = answer.retry_after.unwrap_or(wait);
                    if !interrupt.sleep(asked.min(self.patience.longest_wait)) {
                        return (tried, Err(HttpError::Interrupted));
                    }
                    wait *= 2;
                }
                answer => return (tried, answer),
            }
        }
    }

    fn describe(&self, error: &ureq::Error) -> HttpError {
        use ureq::{Error, Timeout};
        let limit = self.patience.request.as_secs_f32();
        let text = match error {
            Error::Timeout(_) => format!("no whole answer within {limit} s"),
            Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "the connection ended in the middle of the answer".to_owned()
            }
            error => error.to_string(),
        };
        let text = text::line(text.as_bytes());
        let was_sent = match error {
            Error::HostNotFound | Error::ConnectionFailed | Error::Tls(_) => false,
            Error::Timeout(Timeout::Resolve | Timeout::Connect) => false,
            Error::Io(error) => is_of_open_connection(error),
            _ => true,
        };
        if was_sent {
            HttpError::Broken(text)
        } else {
            HttpError::Unreached(text)
        }
    }
}

/// Whether an error comes from a connection that stood. The others come from the name service,
/// connect(2), and a handshake in which the certificate was refused.
fn is_of_open_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, TimedOut, UnexpectedEof,
        WouldBlock,
    };
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match error.kind() {
        InvalidData => !matches!(tls, Some(rustls::Error::InvalidCertificate(_))),
        kind => matches!(
            kind,
            BrokenPipe
                | ConnectionAborted
                | ConnectionReset
                | TimedOut
                | UnexpectedEof
                | WouldBlock
        ),
    }
}
