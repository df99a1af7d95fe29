//! Asks the upstream for its refs and its HEAD: in a session that was opened ahead, or by `git ls-remote`.

use git2::{ObjectFormat, Reference, Repository};

use super::listing::{Head, LISTING_LIMIT, Lines, Listing};
use super::ls_refs::Loan;
use super::remote::Remote;
use super::{Budget, UpstreamError};
use crate::ref_pattern::RefPattern;

/// Asks the upstream for its refs, those that `patterns` take.
pub(super) fn fetch(
    remote: &Remote,
    repository: &Repository,
    patterns: &[RefPattern],
    budget: &Budget,
) -> Result<Listing, UpstreamError> {
    let ssh = remote.ssh();
    let mut loan = ssh.and_then(|ssh| Loan::take(ssh, repository.path()));
    let answer = loan
        .as_mut()
        .map(|loan| loan.ask(repository, patterns, budget));
    let listing = match answer.flatten() {
        Some(listing) => listing,
        None => fetch_anew(remote, repository, patterns, budget)?,
    };
    if let Some(loan) = loan {
        loan.renew();
    }
    Ok(listing)
}

/// Asks the upstream in a session of its own.
fn fetch_anew(
    remote: &Remote,
    repository: &Repository,
    patterns: &[RefPattern],
    budget: &Budget,
) -> Result<Listing, UpstreamError> {
    let command = || {
        let mut command = remote.git(repository.path());
        command.args(["ls-remote", "--symref", "--", remote.url()]);
        command
    };
    let output = remote.ask(command, LISTING_LIMIT, budget)?;
    if !output.status.success() {
        return Err(remote.explain(&output));
    }
    let mut listing = parse(&output.stdout, repository.object_format(), patterns);
    listing.complete &= output.stdout.len() < LISTING_LIMIT;
    if listing.head == Head::Unknown {
        listing.head = unborn_head(remote, repository, budget)?;
    }
    Ok(listing)
}

/// Reads `git ls-remote --symref` (git-ls-remote(1)): lines `ref: TARGET\tNAME` or `OID\tNAME`.
fn parse(output: &[u8], format: ObjectFormat, patterns: &[RefPattern]) -> Listing {
    let mut lines = Lines::new(format, patterns);
    for line in output.split(|&b| b == b'\n') {
        if let Some(tab) = line.iter().position(|&b| b == b'\t') {
            let (value, name) = (&line[..tab], &line[tab + 1..]);
            match value.strip_prefix(b"ref: ") {
                Some(target) => lines.symref(name, target),
                None => lines.add(value, name),
            }
        } else {
            lines.complete &= line.is_empty();
        }
    }
    lines.listing()
}

/// The branch that the HEAD of a repository without commits points to. `git ls-remote` asks for it
/// (gitprotocol-v2(5), `unborn`) and does not print it, so it is read from the trace of the
/// protocol (git(1), `GIT_TRACE_PACKET`).
fn unborn_head(
    remote: &Remote,
    repository: &Repository,
    budget: &Budget,
) -> Result<Head, UpstreamError> {
    let mut command = remote.git(repository.path());
    command
        .env("GIT_TRACE_PACKET", "2")
        .args(["ls-remote", "--", remote.url(), "HEAD"]);
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
    use crate::git::Refs;

    #[test]
    fn ls_remote_is_read_and_what_git_cannot_fetch_is_not() {
        let id = "1".repeat(40);
        let text = format!(
            "ref: refs/heads/main\tHEAD\n{id}\tHEAD\n{id}\trefs/heads/main\n{id}\trefs/tags/v1\n{id}\trefs/tags/v1^{{}}\n"
        );
        let listing = parse(text.as_bytes(), ObjectFormat::Sha1, &[]);
        assert_eq!(listing.head, Head::Ref("refs/heads/main".to_owned()));
        let changes = listing.changes(&Refs::default()).unwrap();
        assert_eq!(changes.moved, ["refs/heads/main", "refs/tags/v1"]);

        let head = format!("{id}\tHEAD\n");
        let detached = parse(head.as_bytes(), ObjectFormat::Sha1, &[]);
        assert!(matches!(detached.head, Head::Detached(_)));
        let odd = format!("{id}\trefs/heads/a..b\n");
        for garbage in [b"\xff\n", &b"1\trefs/heads/main\n"[..], odd.as_bytes()] {
            let garbage = parse(garbage, ObjectFormat::Sha1, &[]);
            assert_eq!(garbage.changes(&Refs::default()), None);
        }
    }
}
