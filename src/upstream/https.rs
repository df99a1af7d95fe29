//! git over HTTPS, with the token of the credentials directory and nothing else: no redirect, no proxy, no
//! login and no certificate of the environment (git-config(1), `http.*`).

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use git2::{ObjectType, Oid};

use super::askpass::{self, NO_TOKEN, Question};
use super::context::Context;
use super::{Budget, UpstreamError};
use crate::bound::bound;
use crate::process::{self, Output, Reading};
use crate::settings::Settings;
use crate::url::https_url::HttpsUrl;
use crate::{git, text, unix_socket};

/// A greeting of TLS 1.2 with one cipher suite (RFC 5246, "Client Hello") and 32 bytes for chance in its
/// middle: whoever speaks TLS answers, be it by an alert.
const HELLO: [&[u8]; 2] = [
    b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03",
    b"\x00\x00\x02\xc0\x2f\x01\x00",
];

/// How one upstream is reached.
#[derive(Debug, Clone)]
pub(super) struct Https {
    pub url: HttpsUrl,
    pub context: Context,
    question: Question,
    user: String,
    ca_file: Option<PathBuf>,
    connect: Duration,
    silence: Duration,
}

impl Https {
    /// Checks the URL and that the files are there. Contacts nobody, and reads no token.
    pub fn new(settings: &Settings) -> Result<Self, UpstreamError> {
        let url: HttpsUrl = settings.url.parse()?;
        let login = &settings.login;
        let token_file = login.token_file.clone();
        let token_file = token_file.filter(|_| login.command.is_empty());
        if let Some(problem) = token_file.as_deref().and_then(askpass::problem) {
            return Err(UpstreamError::NoToken { problem });
        }
        if let Some(file) = &login.ca_file
            && let Err(error) = std::fs::File::open(file)
        {
            let problem = format!("cannot read {}: {error}", file.display());
            return Err(UpstreamError::NoCa { problem });
        }
        let user = login.user.clone();
        let question = Question {
            prompt: format!("Password for 'https://{user}@{}'", url.authority()),
            kept: kept(settings),
            home: std::env::var_os("HOME").map(PathBuf::from),
            token_file,
            command: login.command.clone(),
        };
        Ok(Self {
            context: Context {
                upstream: url.as_str().to_owned(),
                key: login.token_file.clone().unwrap_or_default(),
                known_hosts: login.ca_file.clone().unwrap_or_default(),
                connect: settings.limits.connect,
                silence: settings.limits.silence,
                format: "sha1",
            },
            connect: Duration::from_secs(settings.limits.connect),
            silence: Duration::from_secs(settings.limits.silence),
            ca_file: login.ca_file.clone(),
            question,
            user,
            url,
        })
    }

    /// A git command in `git_dir` that reaches this upstream and dies with this process.
    pub fn git(&self, git_dir: &Path) -> Command {
        let mut command = git::command(git_dir);
        let silence = self.silence.as_secs().to_string();
        for (key, value) in [
            ("credential.helper", ""),
            ("credential.username", &self.user),
            ("http.proxy", ""),
            ("http.extraHeader", ""),
            ("http.followRedirects", "false"),
            ("http.sslVerify", "true"),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", &silence),
            // One round trip less, from git 2.46 on.
            ("http.proactiveAuth", "basic"),
            ("protocol.allow", "never"),
            ("protocol.https.allow", "always"),
        ] {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        if let Some(file) = &self.ca_file {
            let mut setting = std::ffi::OsString::from("http.sslCAInfo=");
            setting.push(file);
            command.arg("-c").arg(setting);
        }
        let program = process::own_program();
        let mut command = bound(&command, &program);
        for (name, _) in std::env::vars_os() {
            if is_of_http(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        // libcurl would read logins from a file there.
        command.env("HOME", "/dev/null");
        self.question.put_to(&mut command, &program);
        command
    }

    /// Runs a short `command` that asks for refs. libcurl has a limit for a server that falls silent, but
    /// none, of git's, for one that never begins: where the answer takes longer than that should, it is
    /// looked whether the server speaks at all, and waited for then.
    pub fn ask(
        &self,
        command: impl Fn() -> Command,
        most: usize,
        budget: &Budget,
    ) -> Result<Output, UpstreamError> {
        let limit = (self.connect + self.silence).min(budget.deadline.left());
        match process::run_read(&mut command(), limit, Reading::up_to(most)) {
            Err(process::ProcessError::TimedOut { .. }) => {}
            ran => return Ok(ran?),
        }
        self.knock()?;
        budget.run_read(&mut command(), Reading::up_to(most))
    }

    /// Whether somebody answers there.
    fn knock(&self) -> Result<(), UpstreamError> {
        let mut stream = self.connect()?;
        let mut hello = HELLO[0].to_vec();
        hello.extend_from_slice(&[0x5a; 32]);
        hello.extend_from_slice(HELLO[1]);
        let mut answer = || -> std::io::Result<usize> {
            stream.set_read_timeout(Some(self.silence))?;
            stream.write_all(&hello)?;
            stream.read(&mut [0; 64])
        };
        // One that ends the connection is not silent: git has words for it.
        match answer() {
            Err(error) if is_timeout(&error) => Err(self.context.silent()),
            _ => Ok(()),
        }
    }

    fn connect(&self) -> Result<TcpStream, UpstreamError> {
        let address = (self.url.host().to_owned(), self.url.port());
        let (sender, resolved) = mpsc::channel();
        // The resolver has limits of its own, and long ones.
        let _ = std::thread::Builder::new().spawn(move || {
            let _ = sender.send(address.to_socket_addrs().map(Vec::from_iter));
        });
        let end = Instant::now() + self.connect;
        let unreachable = |error: &std::io::Error| UpstreamError::Unreachable {
            upstream: self.context.upstream.clone(),
            reason: error.to_string(),
        };
        let resolved = resolved.recv_timeout(self.connect);
        let addresses = resolved.map_err(|_| self.context.slow_to_connect())?;
        let mut last = self.context.slow_to_connect();
        for address in addresses.map_err(|error| unreachable(&error))? {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => return Ok(stream),
                Err(error) if is_timeout(&error) => last = self.context.slow_to_connect(),
                Err(error) => last = unreachable(&error),
            }
        }
        Err(last)
    }

    /// Explains a command that has failed by itself.
    pub fn explain(&self, output: &Output) -> UpstreamError {
        let error = self.meaning(&output.stderr);
        let error = error.unwrap_or_else(|| self.context.git_error(&output.stderr));
        if matches!(error, UpstreamError::TokenRefused { .. }) {
            self.question.forget();
        }
        error
    }

    /// The meaning of the words that git and libcurl have for HTTP; those of 2.47 and 7.88, with GnuTLS
    /// and OpenSSL.
    fn meaning(&self, stderr: &[u8]) -> Option<UpstreamError> {
        // The upstream writes what stands behind `remote: `.
        let lines: Vec<String> = text::lines(stderr)
            .filter(|line| !line.starts_with("remote:"))
            .collect();
        let find = |words: &[&str]| {
            let matches = |line: &&String| words.iter().any(|word| line.contains(word));
            lines.iter().find(matches)
        };
        let upstream = self.context.upstream.clone();
        if let Some(problem) = lines.iter().find_map(|line| line.strip_prefix(NO_TOKEN)) {
            let problem = problem.to_owned();
            return Some(UpstreamError::NoToken { problem });
        }
        if find(&["Authentication failed", "could not read Password"]).is_some() {
            return Some(UpstreamError::TokenRefused { upstream });
        }
        if let Some(line) = find(&CERTIFICATE) {
            let reason = reason(line);
            return Some(UpstreamError::Certificate { upstream, reason });
        }
        if find(&["Operation too slow"]).is_some() {
            return Some(self.context.silent());
        }
        if find(&["timed out", "Timeout was reached"]).is_some() {
            return Some(self.context.slow_to_connect());
        }
        if find(&["' not found"]).is_some() {
            return Some(UpstreamError::NoRepository { upstream });
        }
        if let Some(line) = find(&UNREACHABLE) {
            let reason = reason(line);
            return Some(UpstreamError::Unreachable { upstream, reason });
        }
        let is_under_way = find(&["RPC failed"]).is_some();
        self.of_status(status(&lines)?, is_under_way)
    }

    /// The meaning of an HTTP status; `is_under_way` where the request itself was sent.
    fn of_status(&self, status: u16, is_under_way: bool) -> Option<UpstreamError> {
        let upstream = self.context.upstream.clone();
        Some(match status {
            401 => UpstreamError::TokenRefused { upstream },
            403 => UpstreamError::Forbidden { upstream },
            404 | 410 => UpstreamError::NoRepository { upstream },
            300..=399 => UpstreamError::Redirected { upstream },
            413 => UpstreamError::Refused {
                upstream,
                said: "the request is too large for it (HTTP 413)".to_owned(),
            },
            500.. if is_under_way => UpstreamError::Lost { upstream },
            _ => UpstreamError::Unreachable {
                upstream,
                reason: format!("it answered HTTP {status}"),
            },
        })
    }
}

/// Where a token that a command printed is kept: in gate-init's run directory, which nobody else may enter.
fn kept(settings: &Settings) -> Option<PathBuf> {
    let login = &settings.login;
    let directory = unix_socket::run_dir();
    if login.command.is_empty() || !unix_socket::is_private(&directory) {
        return None;
    }
    let words = [
        login.command.join("\0"),
        login.user.clone(),
        settings.url.clone(),
    ];
    let name = Oid::hash_object(ObjectType::Blob, words.join("\0").as_bytes()).ok()?;
    Some(directory.join(format!("token-{name}")))
}

/// Whether a variable of the environment changes what git and libcurl do, or has them print headers.
fn is_of_http(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let starts = [
        "GIT_SSL",
        "GIT_HTTP",
        "GIT_PROXY",
        "GIT_CURL",
        "GIT_TRACE",
        "SSL",
    ];
    upper.ends_with("_PROXY") || starts.iter().any(|start| upper.starts_with(start))
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

/// What stands behind git's `fatal: unable to access 'URL': `.
fn reason(line: &str) -> String {
    line.rsplit_once("': ")
        .map_or(line, |(_, reason)| reason)
        .to_owned()
}

/// The status that git names: `The requested URL returned error: 403`, or `RPC failed; HTTP 502 curl …`.
fn status(lines: &[String]) -> Option<u16> {
    let marks = ["returned error: ", "; HTTP "];
    let behind = |line: &String| {
        let mut rests = marks.iter().filter_map(|mark| line.split_once(mark));
        let (_, rest) = rests.next()?;
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    lines.iter().find_map(behind)
}

/// libcurl's words for a certificate that it does not trust.
const CERTIFICATE: [&str; 6] = [
    "certificate verification failed",
    "SSL certificate problem",
    "SSL: no alternative certificate subject name",
    "SSL: certificate subject name",
    "does not match target host",
    "SSL CA cert",
];

/// libcurl's words for a connection that does not come about.
const UNREACHABLE: [&str; 7] = [
    "Failed to connect",
    "Could not resolve",
    "Couldn't connect",
    "handshake failed",
    "SSL connect error",
    "SSL_connect",
    "gnutls_handshake",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found_in_both_of_gits_forms() {
        let of = |line: &str| status(&[line.to_owned()]);
        let access =
            "fatal: unable to access 'https://h/a/': The requested URL returned error: 403";
        assert_eq!(of(access), Some(403));
        let rpc = "error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502";
        assert_eq!(of(rpc), Some(502));
        assert_eq!(of("fatal: the remote end hung up unexpectedly"), None);
        assert_eq!(reason(access), "The requested URL returned error: 403");
    }

    #[test]
    fn no_variable_of_the_environment_leads_elsewhere() {
        for name in [
            "https_proxy",
            "ALL_PROXY",
            "GIT_SSL_NO_VERIFY",
            "SSLKEYLOGFILE",
            "GIT_TRACE_CURL",
        ] {
            assert!(is_of_http(name), "{name}");
        }
        assert!(!is_of_http("GIT_QUARANTINE_PATH") && !is_of_http("PATH"));
    }
}
