//! Host keys: the lines that pin them, and the scan that fetches them for a person to compare.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use ssh_key::{Algorithm, HashAlg, PublicKey};
use thiserror::Error;

use git_gate::process::{self, ProcessError};
use git_gate::text;
use git_gate::url::ssh_url::UpstreamUrl;

/// Seconds that ssh-keyscan waits for one connection (its `-T`).
const CONNECT_SECONDS: u64 = 10;

/// How long a whole scan may take: ssh-keyscan connects once a key type.
const SCAN_LIMIT: Duration = Duration::from_secs(60);

/// Why a host key line is refused.
#[derive(Debug, Error)]
pub enum HostKeyError {
    /// It holds a line break, which would start a second known_hosts line.
    #[error("a host key is one line")]
    SeveralLines,
    /// It begins with a host name, as lines of known_hosts and ssh-keyscan do.
    #[error("leave out the host name before {0:?}: the upstream's URL names the host")]
    HostName(String),
    /// It is not a public key that ssh can read.
    #[error("not a host key such as `ssh-ed25519 AAAA…`: {0}")]
    Unreadable(ssh_key::Error),
    /// It is a key of a kind that sshd does not have as a host key.
    #[error("{0} is not a kind of host key that ssh accepts")]
    Algorithm(String),
}

/// A host's public key, as it stands in the manifest: `ssh-ed25519 AAAA… [comment]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey(PublicKey);

impl HostKey {
    /// Reads one key line: type, base64 and an optional comment (sshd(8), authorized_keys).
    pub fn parse(line: &str) -> Result<Self, HostKeyError> {
        let line = line.trim();
        if line.chars().any(char::is_control) {
            return Err(HostKeyError::SeveralLines);
        }
        let mut words = line.split_whitespace().skip(1);
        if let Some(word) = words.next().filter(|word| is_key_type(word)) {
            return Err(HostKeyError::HostName(word.to_owned()));
        }
        let key = PublicKey::from_openssh(line).map_err(HostKeyError::Unreadable)?;
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => Ok(Self(key)),
            other => Err(HostKeyError::Algorithm(text::line(
                other.as_str().as_bytes(),
            ))),
        }
    }

    /// The key's type, such as `ssh-ed25519`.
    pub fn algorithm(&self) -> String {
        self.0.algorithm().as_str().to_owned()
    }

    /// The fingerprint in the form that ssh shows: `SHA256:…` (ssh-keygen(1), `-l`).
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The line of known_hosts (sshd(8)) that pins this key for `url`, line break included.
    pub fn known_hosts_line(&self, url: &UpstreamUrl) -> String {
        format!("{} {self}\n", url.known_hosts_name())
    }
}

impl fmt::Display for HostKey {
    /// Type, base64 and comment: what [`HostKey::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.0.to_openssh().map_err(|_| fmt::Error)?;
        f.write_str(line.trim_end())
    }
}

/// Whether `word` is written like a key type and so cannot be base64.
fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}

/// Why a scan brought no keys.
#[derive(Debug, Error)]
pub enum ScanError {
    /// Nothing that names a host.
    #[error("{0:?} is not HOST, HOST:PORT, [IPV6]:PORT or the URL of an upstream")]
    Target(String),
    /// ssh-keyscan could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The host gave no key.
    #[error(
        "{host} port {port} gave no host key{reason}; check the name, the port and the network"
    )]
    NoKeys {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What ssh-keyscan said, led by `: `; may be empty.
        reason: String,
    },
    /// What came back is no key.
    #[error("{host} sent a host key that cannot be used")]
    Key {
        /// The host.
        host: String,
        /// What is wrong with it.
        source: HostKeyError,
    },
}

/// Reads what is to be scanned: `HOST`, `HOST:PORT`, `[IPV6]:PORT`, or the URL of an upstream.
pub fn target(text: &str) -> Result<UpstreamUrl, ScanError> {
    let url = match text.parse() {
        Err(_) if !text.contains(['/', '@']) => format!("ssh://git@{text}/any").parse(),
        url => url,
    };
    url.map_err(|_| ScanError::Target(text::line(text.as_bytes())))
}

/// Asks `target` for its host keys with ssh-keyscan(1). What comes back is what the network says:
/// it is worth nothing until a person has compared the fingerprints with the host's own.
pub fn scan(target: &UpstreamUrl) -> Result<Vec<HostKey>, ScanError> {
    let mut command = Command::new("ssh-keyscan");
    command
        .env("LC_ALL", "C")
        .args(["-T", &CONNECT_SECONDS.to_string()])
        .args(["-p", &target.port().to_string(), "--", target.host()]);
    let output = process::run(&mut command, SCAN_LIMIT)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut keys = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(_host, key)| HostKey::parse(key))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| ScanError::Key {
            host: target.host().to_owned(),
            source,
        })?;
    if keys.is_empty() {
        let said = text::lines(&output.stderr).find(|line| !line.starts_with('#'));
        return Err(ScanError::NoKeys {
            host: target.host().to_owned(),
            port: target.port(),
            reason: said.map(|said| format!(": {said}")).unwrap_or_default(),
        });
    }
    keys.sort_by_key(|key| (key.algorithm() != "ssh-ed25519", key.algorithm()));
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn a_port_other_than_22_takes_the_bracketed_form() {
        let key = HostKey::parse(&format!("  {ED25519} the forge\n")).unwrap();
        let line = |text: &str| key.known_hosts_line(&target(text).unwrap());
        assert_eq!(line("h"), format!("h {ED25519} the forge\n"));
        assert_eq!(line("h:2222"), format!("[h]:2222 {ED25519} the forge\n"));
    }

    #[test]
    fn the_fingerprint_is_the_one_that_github_publishes() {
        assert_eq!(
            HostKey::parse(ED25519).unwrap().fingerprint(),
            "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
        );
    }

    #[test]
    fn a_line_that_would_pin_anything_else_is_refused() {
        for line in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &format!("{ED25519}\nevil {ED25519}"),
            &format!("github.com {ED25519}"),
            &format!("@cert-authority * {ED25519}"),
            &ED25519.replace("ssh-ed25519", "ssh-rsa"),
            "ssh-future AAAACnNzaC1mdXR1cmUAAAAA",
        ] {
            assert!(HostKey::parse(line).is_err(), "{line:?} was taken");
        }
        let error = HostKey::parse(&format!("github.com {ED25519}")).unwrap_err();
        assert!(error.to_string().starts_with("leave out the host name"));
    }

    #[test]
    fn targets_are_hosts_or_urls() {
        let read = |text: &str| target(text).ok().map(|t| (t.host().to_owned(), t.port()));
        for (text, host, port) in [
            ("forge.example", "forge.example", 22),
            ("forge:2222", "forge", 2222),
            ("[::1]:2222", "::1", 2222),
            ("[::1]", "::1", 22),
            ("git@forge:o/app.git", "forge", 22),
            ("ssh://git@forge:2222/o/app.git", "forge", 2222),
        ] {
            assert_eq!(read(text), Some((host.to_owned(), port)), "{text:?}");
        }
        for text in [
            "", "-oX", "h:", "h:0", "h:99999", "a b", "[::1", "[::1]x", "h;id", "h/x",
        ] {
            assert_eq!(read(text), None, "{text:?} was taken");
        }
    }
}
