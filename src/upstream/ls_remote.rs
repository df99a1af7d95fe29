//! Asks the upstream for its refs and its HEAD. Over ssh that is git's upload-pack in a session that was
//! opened ahead, or in one of its own; where that is not understood, and over HTTPS, `git ls-remote`.

use git2::{ObjectFormat, Reference, Repository};

use super::helper_role::OF_SSH;
use super::listing::{Head, LISTING_LIMIT, Lines, Listing};
use super::ls_refs::{self, Answer, End};
use super::remote::Remote;
use super::waiting_session::Loan;
use super::{Budget, UpstreamError};
use crate::process::Reading;
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
    let mut listing = match answer.flatten() {
        Some(listing) => listing,
        None => match read_advertised(remote, repository, patterns, budget)? {
            Some(listing) => listing,
            None => ask_by_git(remote, repository, patterns, budget)?,
        },
    };
    if let Some(loan) = loan {
        loan.renew();
    }
    if listing.head == Head::Unknown {
        listing.head = unborn_head(remote, repository, budget)?;
    }
    Ok(listing)
}

/// Reads what git's own upload-pack on the upstream lists unasked, over ssh. That takes two round trips,
/// one for the channel and one for the command, where `git ls-remote` takes five. `None` where it is not
/// whole or not understood: git then finds out why.
fn read_advertised(
    remote: &Remote,
    repository: &Repository,
    patterns: &[RefPattern],
    budget: &Budget,
) -> Result<Option<Listing>, UpstreamError> {
    let Some(ssh) = remote.ssh() else {
        return Ok(None);
    };
    let read = |said: &[u8]| {
        let answer = ls_refs::read(said, repository.object_format(), patterns);
        answer.map(|Answer { listing, .. }| listing)
    };
    // Its end would take another round trip.
    let mut end = End::default();
    let said = ssh.read_advertised(budget, |said| end.is_in(said));
    if let Some(listing) = said.as_deref().and_then(read) {
        return Ok(Some(listing));
    }
    // An ssh says why there is none.
    let Some(mut command) = ssh.advertise() else {
        return Ok(None);
    };
    let mut end = End::default();
    let reading = Reading::up_to(LISTING_LIMIT).until(|said| end.is_in(said));
    let output = budget.run_read(&mut command, reading)?;
    match read(&output.stdout) {
        None if output.status.code() == Some(OF_SSH) => Err(remote.explain(&output)),
        listing => Ok(listing),
    }
}

/// Asks the upstream by `git ls-remote`.
fn ask_by_git(
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
/// protocol (git(1), `GIT_TRACE_PACKET`). Older versions of the protocol do not tell it.
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
