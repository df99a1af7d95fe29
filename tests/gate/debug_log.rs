//! `GIT_GATE_LOG`: what the programs did, and no word of what was pushed.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Kind, Rig, token, wait_until};

/// Waits until the log has a line with these values; gate-init writes some when the client has gone.
#[track_caller]
fn wait_for_line(file: &Path, wanted: &[(&str, &str)]) {
    wait_until(&format!("a line of the debug log has {wanted:?}"), || {
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.any(|line: Value| wanted.iter().all(|(key, value)| line[*key] == *value))
    });
}

#[test]
fn it_tells_phases_commands_and_decisions_and_nothing_that_a_client_said() {
    for kind in [Kind::Init, Kind::DropIn] {
        let rig = Rig::new();
        let app = rig.upstream("app");
        let file = rig.path().join("debug");
        let gate = rig.gate_of(kind, &[("GIT_GATE_LOG=", file.to_str().unwrap())]);
        let work = rig.client("agent").clone_of(&gate.url("app"), "work");
        work.commit("file", "text\n", "change");
        work.git(&["push", "origin", "HEAD:refs/heads/unheard-of"])
            .success();
        let secret = token(31);
        let path = format!("place-{secret}");
        let message = format!("message {secret}");
        work.commit(&path, format!("key = {secret}\n"), &message);
        let refused = format!("HEAD:refs/heads/{secret}");
        let said = work.git(&["push", "origin", &refused]).failure();
        assert!(!said.contains("\"program\""), "{said}");
        let app_s = ("repository", "app");
        let mut lines = vec![
            vec![("event", "begin"), ("name", "fetch"), app_s],
            vec![("event", "decision"), ("name", "fetch"), app_s],
            vec![("event", "phase"), ("name", "scan"), app_s],
            vec![("event", "phase"), ("name", "forward"), app_s],
            vec![("event", "decision"), ("name", "refusal"), app_s],
            vec![("subcommand", "push"), ("end", "exit status: 0")],
        ];
        if kind == Kind::Init {
            lines.extend([
                vec![
                    ("program", "gate-init"),
                    ("event", "decision"),
                    ("name", "push"),
                ],
                vec![("name", "gitleaks"), ("subcommand", "stdin")],
                vec![("name", "git-daemon"), ("event", "command")],
                vec![("name", "ssh"), ("event", "command")],
            ]);
        }
        for line in lines {
            wait_for_line(&file, &line);
        }
        let text = fs::read_to_string(&file).unwrap();
        for pushed in [&secret[..], "unheard-of", "message ", "place-", &app.url] {
            assert!(!text.contains(pushed), "{kind:?} tells {pushed}:\n{text}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told_at_the_start_and_stops_nothing() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate_with(&[("GIT_GATE_LOG=", "/dev/stderr")]);
    rig.client("agent").clone_of(&gate.url("app"), "work");
    let log = gate.log();
    assert!(
        log.contains("GIT_GATE_LOG: /dev/stderr is not written"),
        "{log}"
    );
}
