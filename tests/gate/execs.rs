//! Which programs run: no shell, anywhere, and nothing that an agent named.

use crate::rig::{Kind, Rig, token};

#[test]
fn no_shell_runs_during_a_clone_and_a_push() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate(Kind::Traced);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/clean"])
        .success();
    work.commit("config", format!("token = {}\n", token(5)), "leak");
    work.git(&["push", "origin", "HEAD:refs/heads/leak"])
        .failure();

    let executions = gate.executions();
    let programs: Vec<&str> = executions
        .iter()
        .filter(|line| line.contains("execve") && line.ends_with("= 0"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    let ran = |name: &str| {
        programs
            .iter()
            .any(|program| program.rsplit('/').next() == Some(name))
    };
    for needed in ["pre-receive", "gate-access-hook", "ssh", "gitleaks", "git"] {
        assert!(
            ran(needed),
            "the trace does not show {needed}: {programs:?}"
        );
    }
    // One says its version as the gate starts, one is the shared connection, of which all else asks for
    // sessions itself.
    let is_ssh = |program: &&&str| program.rsplit('/').next() == Some("ssh");
    assert_eq!(programs.iter().filter(is_ssh).count(), 2, "{programs:?}");
    for shell in ["sh", "bash", "dash", "busybox", "env", "perl", "python3"] {
        assert!(!ran(shell), "{shell} ran: {programs:?}");
    }
}
