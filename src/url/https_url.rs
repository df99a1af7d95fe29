//! The URL of an https upstream: `https://host:port/path`. It holds no login: that is in the
//! credentials directory.

use std::str::FromStr;

use super::ssh_url::{UrlError, check_host, check_path, parse_port};

/// The scheme, with what stands behind it.
const SCHEME: &str = "https://";

/// Whether `url` is for https, well-formed or not.
pub fn is_https(url: &str) -> bool {
    url.starts_with(SCHEME)
}

/// An https URL that is safe to hand to git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsUrl {
    written: String,
    /// Where the path begins.
    authority_end: usize,
    host: String,
    port: Option<u16>,
}

impl HttpsUrl {
    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The host, with the port where one is written.
    pub fn authority(&self) -> &str {
        &self.written[SCHEME.len()..self.authority_end]
    }

    /// The path, which begins with a slash.
    pub fn path(&self) -> &str {
        &self.written[self.authority_end..]
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(443)
    }
}

impl FromStr for HttpsUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix(SCHEME).ok_or(UrlError::NotSsh)?;
        let slash = rest.find('/').ok_or(UrlError::NoPath)?;
        let (authority, path) = rest.split_at(slash);
        if authority.contains('@') {
            return Err(UrlError::Login);
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(parse_port(port)?)),
            _ => (authority, None),
        };
        let host = check_host(host)?;
        check_path(path)?;
        if path.contains(['?', '#', '\\']) || path.split('/').any(|part| part == "..") {
            return Err(UrlError::Query);
        }
        Ok(Self {
            written: text.to_owned(),
            authority_end: SCHEME.len() + slash,
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_what_is_odd_is_named() {
        let url: HttpsUrl = "https://forge.example:8443/o/app.git".parse().unwrap();
        let parts = (url.authority(), url.host(), url.port());
        assert_eq!(parts, ("forge.example:8443", "forge.example", 8443));
        let url: HttpsUrl = "https://[::1]/app".parse().unwrap();
        assert_eq!(
            (url.authority(), url.host(), url.port()),
            ("[::1]", "::1", 443)
        );
        for (text, error) in [
            ("http://host/app", UrlError::NotSsh),
            ("https://host", UrlError::NoPath),
            ("https://host/", UrlError::NoPath),
            ("https://me:word@host/app", UrlError::Login),
            ("https://me@host/app", UrlError::Login),
            ("https://-host/app", UrlError::Host),
            ("https:///app", UrlError::Host),
            ("https://ho st/app", UrlError::Host),
            ("https://host:0/app", UrlError::Port),
            ("https://host/a\nb", UrlError::Path),
            ("https://host/a?b", UrlError::Query),
            ("https://host/../b", UrlError::Query),
        ] {
            assert_eq!(text.parse::<HttpsUrl>(), Err(error), "{text:?}");
        }
    }
}
