use crate::rig::{Kind, Rig};

#[test]
fn the_rig_runs_the_shell_gate() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    let gate = rig.gate(Kind::Baseline);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    let said = work
        .git(&["push", "origin", "HEAD:refs/heads/new"])
        .success();
    println!("{said}");
    assert!(upstream.tip("refs/heads/new").is_some());
}
