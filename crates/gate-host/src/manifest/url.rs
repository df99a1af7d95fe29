//! An upstream's URL, of either kind.

use std::fmt;

use git_gate::url::https_url::{HttpsUrl, is_https};
use git_gate::url::ssh_url::{UpstreamUrl, UrlError, bracketed};

/// The URL of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// Over ssh.
    Ssh(UpstreamUrl),
    /// Over https.
    Https(HttpsUrl),
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        match is_https(text) {
            true => text.parse().map(Self::Https),
            false => text.parse().map(Self::Ssh),
        }
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        match self {
            Self::Ssh(url) => url.host(),
            Self::Https(url) => url.host(),
        }
    }

    /// The account that ssh URLs of this upstream name.
    pub fn user(&self) -> &str {
        match self {
            Self::Ssh(url) => url.user(),
            Self::Https(_) => "git",
        }
    }

    /// The port of ssh.
    pub fn ssh_port(&self) -> u16 {
        match self {
            Self::Ssh(url) => url.port(),
            Self::Https(_) => 22,
        }
    }

    /// The host of https URLs, with the port where one is needed.
    pub fn https_host(&self) -> String {
        match self {
            Self::Ssh(url) => bracketed(url.host()),
            Self::Https(url) => url.authority().to_owned(),
        }
    }

    /// The repository's path.
    pub fn path(&self) -> &str {
        match self {
            Self::Ssh(url) => url.path(),
            Self::Https(url) => url.path(),
        }
    }

    /// The form in which two spellings of one upstream are the same.
    pub(super) fn bare(&self) -> String {
        let canonical = match self {
            Self::Ssh(url) => url.canonical(),
            Self::Https(url) => format!("ssh://git@{}{}", url.authority(), url.path()),
        };
        let canonical = canonical.to_lowercase();
        let canonical = canonical.trim_end_matches('/');
        let bare = canonical.strip_suffix(".git");
        bare.unwrap_or(canonical).to_owned()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ssh(url) => url.as_str(),
            Self::Https(url) => url.as_str(),
        })
    }
}
