//! The address of a repository's deploy keys, or of its access tokens.

use git_gate::text;

use super::api::encode;
use super::{ForgeError, Provider};

/// The address of the deploy keys, or of the access tokens, of one repository on one forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    pub(super) provider: Provider,
    pub(super) url: String,
}

impl Collection {
    /// The deploy keys of the repository at `path` (of an upstream's URL, with or without `.git`).
    pub fn new(
        provider: Provider,
        api_url: Option<&str>,
        host: &str,
        path: &str,
    ) -> Result<Self, ForgeError> {
        let keys_path = |segments: &[&str]| provider.forge().keys_path(segments);
        Self::at(provider, api_url, host, path, keys_path)
    }

    /// What stands at `of_repository` of the segments of a repository's `path`.
    pub(super) fn at(
        provider: Provider,
        api_url: Option<&str>,
        host: &str,
        path: &str,
        of_repository: impl Fn(&[&str]) -> Option<String>,
    ) -> Result<Self, ForgeError> {
        let default = || provider.forge().default_api_url(host);
        let base = api_url.map_or_else(default, str::to_owned);
        check_api_url(&base)?;
        let trimmed = path.trim_matches('/');
        let trimmed = trimmed.strip_suffix(".git").unwrap_or(trimmed);
        let segments: Vec<&str> = trimmed.split('/').collect();
        let path = of_repository(&segments)
            .filter(|_| {
                segments
                    .iter()
                    .all(|part| !matches!(*part, "" | "." | ".."))
            })
            .ok_or_else(|| ForgeError::Repository(text::line(path.as_bytes())))?;
        Ok(Self {
            provider,
            url: format!("{}/{path}", base.trim_end_matches('/')),
        })
    }

    /// The collection's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the key or token `id`.
    pub fn key_url(&self, id: &str) -> String {
        format!("{}/{}", self.url, encode(id))
    }
}

/// Refuses a base URL that would send the token in clear over a network or hide another secret.
pub(super) fn check_api_url(url: &str) -> Result<(), ForgeError> {
    let refuse = |url: &str, problem| {
        Err(ForgeError::ApiUrl {
            url: text::line(url.as_bytes()),
            problem,
        })
    };
    let Ok(uri) = url.parse::<ureq::http::Uri>() else {
        return refuse(url, "is not a URL");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refuse(url, "must begin with https:// and a host");
    };
    if authority.as_str().contains('@') {
        return refuse("(not shown)", "must hold no user and no password");
    }
    if uri.query().is_some() || url.contains('#') {
        return refuse(url, "must end with its path");
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback(authority.host()) => Ok(()),
        "http" => refuse(
            url,
            "would send the token in clear: use https (http is for loopback only, such as the end \
             of a tunnel)",
        ),
        _ => refuse(url, "must begin with https://"),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(provider: Provider, api_url: Option<&str>, host: &str, path: &str) -> Option<String> {
        Collection::new(provider, api_url, host, path)
            .ok()
            .map(|keys| keys.url)
    }

    #[test]
    fn each_forge_has_its_own_address_of_the_keys() {
        use Provider::{Forgejo, GitHub, GitLab, Gitea};
        let cases = [
            (
                Gitea,
                None,
                "h",
                "/o/r.git",
                "https://h/api/v1/repos/o/r/keys",
            ),
            (
                Forgejo,
                Some("https://x/f/"),
                "h",
                "o/r",
                "https://x/f/api/v1/repos/o/r/keys",
            ),
            (
                GitHub,
                None,
                "github.com",
                "o/r.git",
                "https://api.github.com/repos/o/r/keys",
            ),
            (
                GitHub,
                None,
                "ssh.github.com",
                "o/r",
                "https://api.github.com/repos/o/r/keys",
            ),
            (
                GitHub,
                None,
                "ghe.example",
                "o/r",
                "https://ghe.example/api/v3/repos/o/r/keys",
            ),
            (
                GitLab,
                None,
                "h",
                "/g/s/r.git",
                "https://h/api/v4/projects/g%2Fs%2Fr/deploy_keys",
            ),
            (
                Gitea,
                None,
                "h",
                "a b/r?x",
                "https://h/api/v1/repos/a%20b/r%3Fx/keys",
            ),
        ];
        for (provider, api_url, host, path, expected) in cases {
            assert_eq!(
                url(provider, api_url, host, path).as_deref(),
                Some(expected)
            );
        }
        for path in ["r.git", "/a/b/c.git", "a/..", "", "o//r"] {
            assert_eq!(url(Gitea, None, "h", path), None, "{path:?} was taken");
        }
        assert_eq!(url(GitLab, None, "h", "r"), None);
    }

    #[test]
    fn a_token_never_goes_in_clear_and_never_stands_in_a_url() {
        let check = |text: &str| check_api_url(text).is_ok();
        assert!(check("https://forge.example:8443/sub"));
        assert!(
            check("http://127.0.0.1:3000") && check("http://[::1]/") && check("http://localhost")
        );
        assert!(!check("http://forge.example") && !check("http://127.0.0.1.evil.example"));
        assert!(!check("ftp://forge.example") && !check("forge.example") && !check("https://h/?a"));
        let error = check_api_url("https://me:hunter2@h")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
