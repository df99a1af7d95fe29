//! The URL of an upstream: `ssh://user@host:port/path` or `user@host:path` (git-clone(1), "GIT
//! URLS"), checked so that no part of it can be read as an option by ssh or by the upstream's git.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An ssh URL that is safe to hand to git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    written: String,
    user: String,
    host: String,
    port: Option<u16>,
    path: String,
}

/// What is wrong with a URL. The URL itself is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Another scheme, a local path, or nothing that looks like a URL.
    #[error(
        "is neither an ssh nor an https URL; write ssh://user@host:port/path, user@host:path or https://host/path"
    )]
    NotSsh,
    /// There is no `user@`.
    #[error("names no user; write the upstream's ssh account before the host, often git@")]
    NoUser,
    /// `user:password@`.
    #[error("holds a password; remove it, the gate logs in with its key alone")]
    Password,
    /// An https URL with a user or a password.
    #[error(
        "holds a login; remove it, the gate logs in with NAME-token of the credentials directory"
    )]
    Login,
    /// An https URL with more than a path.
    #[error("has a query, a fragment or .. in its path; write https://host/path")]
    Query,
    /// The user has a character that no account has, or begins with `-`.
    #[error("has a user that is not made of letters, digits and . _ - (not first)")]
    User,
    /// The host is no host name and no address.
    #[error("has a host that is neither a name nor an address ([…] around IPv6)")]
    Host,
    /// The port is not one.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    /// There is no path behind the host.
    #[error("names no repository behind the host")]
    NoPath,
    /// The path begins with `-`, or holds control characters, plain or as `%0a`.
    #[error("has a path that begins with - or holds control characters")]
    Path,
}

impl UpstreamUrl {
    /// The ssh account.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; ssh's own is 22.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(22)
    }

    /// The repository's path: absolute (`/o/app.git`), or relative to the account's home
    /// (`o/app.git`, as in `user@host:o/app.git`).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The URL as it was written: what git is given. The two forms differ where a path is relative.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The one `ssh://` form of this URL, without a port that is 22. Forges read a relative path
    /// and an absolute one alike; a plain account does not, so this is for showing and comparing.
    pub fn canonical(&self) -> String {
        let port = match self.port() {
            22 => String::new(),
            port => format!(":{port}"),
        };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!(
            "ssh://{}@{}{port}{slash}{}",
            self.user,
            bracketed(&self.host),
            self.path
        )
    }

    /// `host`, or `[host]:port` where the port is not 22: the name under which known_hosts files
    /// list a key (sshd(8)).
    pub fn known_hosts_name(&self) -> String {
        match self.port() {
            22 => self.host.clone(),
            port => format!("[{}]:{port}", self.host),
        }
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for UpstreamUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let parts = match text.strip_prefix("ssh://") {
            Some(rest) => parse_url(rest)?,
            None => parse_scp(text)?,
        };
        let (user, host, port, path) = parts;
        check_user(user)?;
        let host = check_host(host)?;
        check_path(path)?;
        Ok(Self {
            written: text.to_owned(),
            user: user.to_owned(),
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

type Parts<'a> = (&'a str, &'a str, Option<u16>, &'a str);

/// What stands behind `ssh://`.
fn parse_url(rest: &str) -> Result<Parts<'_>, UrlError> {
    let slash = rest.find('/').ok_or(UrlError::NoPath)?;
    let (authority, path) = rest.split_at(slash);
    let (user, address) = authority.rsplit_once('@').ok_or(UrlError::NoUser)?;
    // An IPv6 address has colons of its own, inside its brackets.
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(parse_port(port)?)),
        _ => (address, None),
    };
    Ok((user, host, port, path))
}

/// `user@host:path`. As git does, a slash before the colon makes it a local path.
fn parse_scp(text: &str) -> Result<Parts<'_>, UrlError> {
    let start = match (text.find('['), text.find(']')) {
        (Some(open), Some(close)) if open < close => close,
        _ => 0,
    };
    let colon = start + text[start..].find(':').ok_or(UrlError::NotSsh)?;
    let (address, path) = (&text[..colon], &text[colon + 1..]);
    if address.contains('/') || path.starts_with("//") || path.starts_with(':') {
        return Err(UrlError::NotSsh);
    }
    if address.is_empty() {
        return Err(UrlError::Host);
    }
    let (user, host) = address.rsplit_once('@').ok_or(UrlError::NoUser)?;
    Ok((user, host, None, path))
}

pub(super) fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|&port| digits && port != 0);
    port.ok_or(UrlError::Port)
}

fn check_user(user: &str) -> Result<(), UrlError> {
    if user.is_empty() {
        return Err(UrlError::NoUser);
    }
    if user.contains(':') {
        return Err(UrlError::Password);
    }
    is_word(user, "._-").then_some(()).ok_or(UrlError::User)
}

/// Returns the host without brackets.
pub(super) fn check_host(host: &str) -> Result<&str, UrlError> {
    match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        Some(inner) => {
            let inner = inner.ok_or(UrlError::Host)?;
            inner
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| UrlError::Host)?;
            Ok(inner)
        }
        None => is_word(host, "._-").then_some(host).ok_or(UrlError::Host),
    }
}

pub(super) fn check_path(path: &str) -> Result<(), UrlError> {
    if path.is_empty() || path == "/" {
        return Err(UrlError::NoPath);
    }
    // git decodes `%xx` in ssh:// URLs, and hands the path to a command on the upstream.
    let decoded = percent_decoded(path);
    let hidden_option = decoded.starts_with(b"-") || decoded.starts_with(b"/-");
    if hidden_option || decoded.iter().any(u8::is_ascii_control) {
        return Err(UrlError::Path);
    }
    Ok(())
}

/// Letters, digits and `more`, and not a `-` in front.
pub(crate) fn is_word(text: &str, more: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let pair = text
            .get(index + 1..index + 3)
            .filter(|_| bytes[index] == b'%')
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(pair.unwrap_or(bytes[index]));
        index += if pair.is_some() { 3 } else { 1 };
    }
    decoded
}

/// A host as it stands in a URL: an IPv6 address in brackets.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (String, String, u16, String, String) {
        let url: UpstreamUrl = text.parse().unwrap();
        let canonical = url.canonical();
        (
            url.user,
            url.host,
            url.port.unwrap_or(22),
            url.path,
            canonical,
        )
    }

    #[test]
    fn both_forms_are_understood() {
        let cases = [
            (
                "ssh://git@host:2222/o/app.git",
                "git",
                "host",
                2222,
                "/o/app.git",
                "ssh://git@host:2222/o/app.git",
            ),
            (
                "ssh://git@host:22/o/app.git",
                "git",
                "host",
                22,
                "/o/app.git",
                "ssh://git@host/o/app.git",
            ),
            (
                "ssh://a.b-c@[::1]:22/x",
                "a.b-c",
                "::1",
                22,
                "/x",
                "ssh://a.b-c@[::1]/x",
            ),
            (
                "ssh://git@host/~me/app",
                "git",
                "host",
                22,
                "/~me/app",
                "ssh://git@host/~me/app",
            ),
            (
                "git@host:o/app.git",
                "git",
                "host",
                22,
                "o/app.git",
                "ssh://git@host/o/app.git",
            ),
            (
                "git@host:/abs/app.git",
                "git",
                "host",
                22,
                "/abs/app.git",
                "ssh://git@host/abs/app.git",
            ),
            (
                "git@[::1]:o/a:b",
                "git",
                "::1",
                22,
                "o/a:b",
                "ssh://git@[::1]/o/a:b",
            ),
        ];
        for (text, user, host, port, path, canonical) in cases {
            let expected = (
                user.into(),
                host.into(),
                port,
                path.into(),
                canonical.into(),
            );
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_named() {
        let cases = [
            ("https://host/o/app.git", UrlError::NotSsh),
            ("ext::sh -c id", UrlError::NotSsh),
            ("/srv/app.git", UrlError::NotSsh),
            ("./a:b", UrlError::NotSsh),
            ("", UrlError::NotSsh),
            ("ssh://host/app", UrlError::NoUser),
            ("host:app", UrlError::NoUser),
            ("ssh://@host/app", UrlError::NoUser),
            ("ssh://git:word@host/app", UrlError::Password),
            ("ssh://-oProxyCommand=id@host/app", UrlError::User),
            ("-oProxyCommand=id@host:app", UrlError::User),
            ("git@-oProxyCommand=id:app", UrlError::Host),
            ("ssh://git@-host/app", UrlError::Host),
            ("ssh://git@/app", UrlError::Host),
            ("ssh://git@[::1/app", UrlError::Host),
            ("ssh://git@ho st/app", UrlError::Host),
            ("ssh://git@host:0/app", UrlError::Port),
            ("ssh://git@host:+22/app", UrlError::Port),
            ("ssh://git@host:/app", UrlError::Port),
            ("ssh://git@host:70000/app", UrlError::Port),
            ("ssh://git@host", UrlError::NoPath),
            ("ssh://git@host/", UrlError::NoPath),
            ("git@host:", UrlError::NoPath),
            ("git@host:-x", UrlError::Path),
            ("ssh://git@host/-x", UrlError::Path),
            ("ssh://git@host/%2dx", UrlError::Path),
            ("ssh://git@host/a%0ab", UrlError::Path),
            ("git@host:a\nb", UrlError::Path),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<UpstreamUrl>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_part_of_an_accepted_url_can_be_an_option(text in "(ssh://)?[-@:/a%\\[\\]0-9. ~]{0,24}") {
            if let Ok(url) = text.parse::<UpstreamUrl>() {
                for part in [url.user(), url.host(), url.path()] {
                    prop_assert!(!part.is_empty() && !part.starts_with('-'));
                }
                prop_assert!(url.as_str().starts_with("ssh://") || !url.as_str().starts_with('-'));
            }
        }
    }
}
