//! The operator's exceptions: accepted findings, by secret or by blob.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use git_gate::scan::Finding;

use crate::rig::{Mirror, token};

/// A push with one secret, and exceptions of these lines.
fn with_exceptions(lines: &str) -> Mirror {
    let mirror = Mirror::new();
    mirror
        .work
        .commit("a.env", format!("TOKEN={}\n", token(7)), "add");
    let file = mirror.path().join("exceptions");
    fs::write(&file, lines).unwrap();
    mirror.set("git-gate.exceptions", file.to_str().unwrap());
    mirror
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn fingerprint() -> String {
    let mirror = Mirror::new();
    mirror
        .work
        .git_with_input(&["hash-object", "--stdin"], token(7).as_bytes())
}

#[test]
fn the_line_that_a_refusal_names_lets_the_push_through() {
    let mirror = with_exceptions("# none yet\n");
    let findings = mirror.push(&["main:refs/heads/main"]).unwrap().findings;
    assert_eq!(
        findings[0].exception,
        format!("secret:{} github-pat", fingerprint())
    );

    let line = format!("{} test data\n", findings[0].exception);
    let mirror = with_exceptions(&line);
    assert_eq!(mirror.push(&["main:refs/heads/main"]).unwrap().findings, []);
}

#[test]
fn a_blob_may_be_accepted_and_no_other_secret_with_it() {
    let mirror = with_exceptions("");
    let blob = mirror.work.id("HEAD:a.env");
    let mirror = with_exceptions(&format!(
        "blob:{blob} github-pat until=2999-12-31 test data\n"
    ));
    assert_eq!(mirror.push(&["main:refs/heads/main"]).unwrap().findings, []);
    mirror
        .work
        .commit("b.env", format!("TOKEN={}\n", token(8)), "another");
    let findings = mirror.push(&["main:refs/heads/main"]).unwrap().findings;
    assert_eq!(findings.len(), 1);
}

#[test]
fn an_archive_that_cannot_be_opened_may_be_accepted() {
    let push = |lines: &str| {
        let mirror = with_exceptions(lines);
        mirror
            .work
            .git(&["reset", "-q", "--hard", "HEAD~1"])
            .success();
        mirror
            .work
            .commit("a.7z", b"7z\xbc\xaf\x27\x1c\0\x04", "an archive");
        mirror.push(&["main:refs/heads/new"])
    };
    let refused = push("").unwrap();
    assert_eq!(refused.summary(), "1 secret and 1 unscannable object");
    let said = git_gate::scan::explain(&refused, &[]).join("\n");
    assert!(
        said.contains("a.7z: it cannot be scanned: it is a 7z archive"),
        "{said}"
    );
    assert!(
        said.contains("in commit") && said.contains("\"an archive\""),
        "{said}"
    );
    let is_unread = |finding: &&Finding| finding.rule == "unscannable";
    let unread = refused.findings.iter().find(is_unread).unwrap();
    assert!(
        said.contains(&format!("{} <reason>", unread.exception)),
        "{said}"
    );
    // The commit with the secret is among the objects all the same.
    let findings = push(&format!("{} a test", unread.exception))
        .unwrap()
        .findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
}

/// The head of a zip whose one member, named so, has a password.
pub fn encrypted_zip(member: &str) -> Vec<u8> {
    let mut zip = b"PK\x03\x04\x14\0\x01\0\0\0".to_vec();
    zip.extend([0; 16]);
    zip.extend([u8::try_from(member.len()).unwrap(), 0, 0, 0]);
    zip.extend(member.as_bytes());
    zip
}

#[test]
fn a_bound_that_is_met_is_told_with_its_way_out_and_hides_nothing() {
    let push = |lines: &str| {
        let mirror = with_exceptions(lines);
        let zeros = gzip(&vec![0; 8 << 20]);
        // The path of what cannot be opened is itself a secret, and so is the name of a member.
        mirror
            .work
            .commit(&format!("{}.gz", token(8)), zeros, "zeros");
        let locked = encrypted_zip(&format!("{}.txt", token(9)));
        mirror.work.commit("locked.zip", locked, "locked");
        mirror.set("git-gate.archiveRatio", "100");
        mirror.push(&["main:refs/heads/main"]).unwrap()
    };
    let refused = push("");
    assert_eq!(refused.summary(), "3 secrets and 2 unscannable objects");
    for said in [
        git_gate::scan::explain(&refused, &[]).join("\n"),
        git_gate::scan::explain(&refused, &[b"git-gate.format=json".to_vec()]).join("\n"),
    ] {
        assert!(
            said.contains("git-gate.archiveRatio") && said.contains("is encrypted"),
            "{said}"
        );
        assert!((7..10).all(|seed| !said.contains(&token(seed))), "{said}");
    }
    let unread = refused
        .findings
        .iter()
        .filter(|finding| finding.rule == "unscannable");
    let lines: String = unread
        .map(|finding| format!("{} a test\n", finding.exception))
        .collect();
    assert_eq!(push(&lines).summary(), "3 secrets");
}

#[test]
fn an_exception_that_is_over_says_so() {
    let line = format!(
        "\nsecret:{} github-pat until=2020-01-31 test data\n",
        fingerprint()
    );
    let verdict = with_exceptions(&line)
        .push(&["main:refs/heads/main"])
        .unwrap();
    let said = git_gate::scan::explain(&verdict, &[]).join("\n");
    assert!(
        said.contains("line 2 of the file expired after 2020-01-31"),
        "{said}"
    );
}

#[test]
fn a_bad_line_refuses_even_a_clean_push() {
    let mirror = with_exceptions("# one\nsecret:123 github-pat short\n");
    let error = mirror
        .push(&["main~1:refs/heads/clean"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("exceptions, line 2 is not an exception: the id has 40 or 64"),
        "{error}"
    );
}

#[test]
fn exceptions_that_cannot_be_read_refuse() {
    let mirror = Mirror::new();
    mirror.set("git-gate.exceptions", "/nowhere/exceptions");
    let error = mirror.push(&["main:refs/heads/x"]).unwrap_err().to_string();
    assert!(error.contains("/nowhere/exceptions"), "{error}");
}
