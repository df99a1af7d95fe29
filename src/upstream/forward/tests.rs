//! What real forges answer, as `git push --porcelain` prints it (fixtures/forge-refusals), and what the
//! agent is told of it.

use std::fs;
use std::path::Path;

use git2::Oid;

use super::super::context::Context;
use super::*;

fn context() -> Context {
    Context {
        upstream: "forge.example:22/team/app.git".to_owned(),
        key: "key".into(),
        known_hosts: "known_hosts".into(),
        connect: 10,
        silence: 30,
        format: "sha1",
    }
}

/// The lines that an agent reads where the upstream answers `printed`.
fn told(printed: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    let mut hear = |line: String| told.push(format!("upstream: {line}"));
    Messages::new(&mut hear).take(printed);
    let results = Results::read(printed);
    let error = match results.rejected.first_key_value() {
        Some((name, reason)) => {
            let one = Oid::from_bytes(&[1; 20]).unwrap();
            let mut update = RefUpdate::new(1, one, one, name.clone());
            update.allow_showing();
            let reason = reason_for(&update, reason).unwrap();
            let reasons = format!("{} {reason}", update.shown());
            UpstreamError::Rejected { reasons }
        }
        None => context().git_error(printed),
    };
    told.push(error.to_string());
    told
}

#[test]
fn what_forges_answer_is_told_in_their_words() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/forge-refusals");
    let files = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut count = 0;
    for file in files.filter(|file| file.extension().is_some_and(|end| end == "txt")) {
        let wanted = fs::read_to_string(file.with_extension("told")).unwrap();
        let told = told(&fs::read(&file).unwrap());
        assert_eq!(told.join("\n"), wanted.trim_end(), "{}", file.display());
        count += 1;
    }
    assert!(count >= 9, "only {count} fixtures");
}
