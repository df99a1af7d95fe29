//! What an agent sees on a refused push, word for word.

use git_gate::scan::{Verdict, explain};

use crate::rig::{Mirror, token};

/// The lines of the refusal, with what differs from run to run replaced.
fn said(mirror: &Mirror, verdict: &Verdict, options: &[Vec<u8>]) -> String {
    let mut text = explain(verdict, options).join("\n");
    assert!(!text.contains(&token(7)[8..]), "{text}");
    let log = mirror
        .work
        .git(&["log", "--all", "--topo-order", "--format=%H"])
        .success();
    for (number, id) in (1..).zip(log.lines().rev()) {
        text = text.replace(id, &format!("<commit {number}>"));
        text = text.replace(&id[..10], &format!("<commit {number}>"));
    }
    let fingerprint = mirror
        .work
        .git_with_input(&["hash-object", "--stdin"], token(7).as_bytes());
    text.replace(&fingerprint, "<fingerprint>")
}

#[track_caller]
fn refusal(mirror: &Mirror, refs: &[&str]) -> String {
    said(mirror, &mirror.push(refs).unwrap(), &[])
}

#[test]
fn a_secret_in_the_last_commit_is_amended() {
    let mirror = Mirror::new();
    let content = format!("# settings\n\nTOKEN={}\n", token(7));
    mirror.work.commit("conf/app.env", content, "Add settings");
    insta::assert_snapshot!(refusal(&mirror, &["main:refs/heads/main"]));
}

#[test]
fn a_secret_in_an_older_commit_is_rebased_away() {
    let mirror = Mirror::new();
    mirror.work.commit(
        "a.env",
        format!("TOKEN={}\n", token(7)),
        &format!("Use {}", token(7)),
    );
    mirror.work.commit("b.env", "B=1\n", "Add more");
    mirror.work.git(&["rm", "-q", "a.env"]).success();
    mirror.work.commit("b.env", "B=2\n", "Remove it");
    insta::assert_snapshot!(refusal(&mirror, &["main:refs/heads/main"]));
}

#[test]
fn secrets_outside_of_files_are_named_by_their_place() {
    let mirror = Mirror::new();
    let secret = token(7);
    mirror
        .work
        .git(&["tag", "-a", "-m", &secret, "v1"])
        .success();
    mirror
        .work
        .git(&[
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
            &format!("--author={secret} <a@b.c>"),
        ])
        .success();
    mirror.work.commit(&format!("dir/{secret}"), "x", "Name");
    let blob = mirror.work.blob(&secret);
    mirror.work.git(&["tag", "blob", &blob]).success();
    let branch = format!("main:refs/heads/{secret}");
    let verdict = mirror.push_with(
        &[&branch, "v1:refs/tags/v1", "blob:refs/tags/blob"],
        &[secret.as_bytes()],
    );
    let said = said(&mirror, &verdict.unwrap(), &[]).replace(&blob[..10], "<blob>");
    insta::assert_snapshot!(said);
}

#[test]
fn many_findings_are_counted() {
    let mirror = Mirror::new();
    let content: String = (100..150)
        .map(|seed| format!("TOKEN={}\n", token(seed)))
        .collect();
    mirror.work.commit("many.env", content, "Many");
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    assert_eq!(verdict.findings.len(), 50);
    let lines = explain(&verdict, &[]);
    assert!(lines.contains(&"… and 30 more".to_owned()));
    assert!(lines.iter().map(String::len).sum::<usize>() < 32 << 10);
}

#[test]
fn json_says_the_same_on_one_line() {
    let mirror = Mirror::new();
    mirror
        .work
        .commit("a.env", format!("TOKEN={}\n", token(7)), "Add a token");
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    let line = said(&mirror, &verdict, &[b"git-gate.format=json".to_vec()]);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn a_subject_of_many_kilobytes_does_not_flood_the_client() {
    let mirror = Mirror::new();
    for seed in 0..30 {
        let path = format!("{}{seed}.env", "directory/".repeat(300));
        let subject = "\u{1f511} word ".repeat(2000);
        mirror
            .work
            .write(&path, format!("TOKEN={}\n", token(200 + seed)));
        mirror.work.git(&["add", "-A"]).success();
        mirror
            .work
            .git_with_input(&["commit", "-q", "-F", "-"], subject.as_bytes());
    }
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    for options in [vec![], vec![b"git-gate.format=json".to_vec()]] {
        let size: usize = explain(&verdict, &options).iter().map(String::len).sum();
        assert!(size < 32 << 10, "{size}");
    }
}
