//! What the upstream has: its refs and where its HEAD points.

use std::collections::BTreeMap;

use git2::{ObjectFormat, Oid, Reference, Repository};

use super::ssh::Ssh;
use super::{Budget, UpstreamError};
use crate::git::Refs;
use crate::process::OUTPUT_LIMIT;

/// Where a HEAD points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// To a ref, which need not exist.
    Ref(String),
    /// To an object.
    Detached(Oid),
    /// Nothing is known of it.
    Unknown,
}

/// The refs of a repository.
#[derive(Debug)]
pub(crate) struct Listing {
    pub refs: BTreeMap<String, Oid>,
    pub head: Head,
    /// Whether all that the upstream sent was read and understood.
    complete: bool,
}

impl Listing {
    /// Asks the upstream.
    pub fn fetch(
        ssh: &Ssh,
        repository: &Repository,
        budget: &Budget,
    ) -> Result<Self, UpstreamError> {
        let url = ssh.url.as_str();
        let mut command = ssh.git(repository.path());
        let output = budget.run(command.args(["ls-remote", "--symref", "--", url]))?;
        if !output.status.success() {
            return Err(ssh.explain(&output));
        }
        let mut listing = Self::parse(&output.stdout, repository.object_format());
        listing.complete &= output.stdout.len() < OUTPUT_LIMIT;
        if listing.head == Head::Unknown {
            listing.head = unborn_head(ssh, repository, budget)?;
        }
        Ok(listing)
    }

    /// Reads `git ls-remote --symref` (git-ls-remote(1)).
    fn parse(output: &[u8], format: ObjectFormat) -> Self {
        let mut listing = Self {
            refs: BTreeMap::new(),
            head: Head::Unknown,
            complete: true,
        };
        for line in output
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
        {
            let line = std::str::from_utf8(line).ok();
            let understood = line.and_then(|line| listing.add(line, format)).is_some();
            listing.complete &= understood;
        }
        listing
    }

    /// One line: `ref: TARGET\tNAME` or `OID\tNAME`.
    fn add(&mut self, line: &str, format: ObjectFormat) -> Option<()> {
        let (value, name) = line.split_once('\t')?;
        if let Some(target) = value.strip_prefix("ref: ") {
            if name == "HEAD" && Reference::is_valid_name(target) {
                self.head = Head::Ref(target.to_owned());
            }
            return Some(());
        }
        let id = Oid::from_str_ext(value, format).ok()?;
        if name == "HEAD" {
            if self.head == Head::Unknown {
                self.head = Head::Detached(id);
            }
        } else if Reference::is_valid_name(name) {
            // What is left out here are `^{}` lines and names that git would not fetch either.
            self.refs.insert(name.to_owned(), id);
        }
        Some(())
    }

    /// Whether `refs` are these and no others.
    pub fn matches(&self, refs: &Refs) -> bool {
        let is_there = |(name, id): (&String, &Oid)| refs.get(name) == Some(*id);
        self.complete && refs.count() == self.refs.len() && self.refs.iter().all(is_there)
    }
}

/// The branch that the HEAD of a repository without commits points to. `git ls-remote` asks for it
/// (gitprotocol-v2(5), `unborn`) and does not print it, so it is read from the trace of the
/// protocol (git(1), `GIT_TRACE_PACKET`).
fn unborn_head(ssh: &Ssh, repository: &Repository, budget: &Budget) -> Result<Head, UpstreamError> {
    let mut command = ssh.git(repository.path());
    command
        .env("GIT_TRACE_PACKET", "2")
        .args(["ls-remote", "--", ssh.url.as_str(), "HEAD"]);
    let output = budget.run(&mut command)?;
    let trace = String::from_utf8_lossy(&output.stderr);
    let target = trace
        .lines()
        .filter_map(|line| line.split_once("unborn HEAD symref-target:"))
        .map(|(_, target)| target.trim())
        .find(|target| Reference::is_valid_name(target));
    Ok(target.map_or(Head::Unknown, |target| Head::Ref(target.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ls_remote_is_read_and_what_git_cannot_fetch_is_not() {
        let id = "1".repeat(40);
        let text = format!(
            "ref: refs/heads/main\tHEAD\n{id}\tHEAD\n{id}\trefs/heads/main\n{id}\trefs/tags/v1\n{id}\trefs/tags/v1^{{}}\n"
        );
        let listing = Listing::parse(text.as_bytes(), ObjectFormat::Sha1);
        assert_eq!(listing.head, Head::Ref("refs/heads/main".to_owned()));
        assert_eq!(listing.refs.len(), 2);
        assert!(listing.complete);

        let detached = Listing::parse(format!("{id}\tHEAD\n").as_bytes(), ObjectFormat::Sha1);
        assert!(matches!(detached.head, Head::Detached(_)));
        let garbage = Listing::parse(b"\xff\n", ObjectFormat::Sha1);
        assert!(!garbage.complete);
    }
}
