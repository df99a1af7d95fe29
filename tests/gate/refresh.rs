//! The refresh before a fetch: never stale, HEAD included.

use crate::rig::{Kind, Rig};

#[test]
fn a_fetch_sees_what_the_upstream_has_now() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let tip = upstream.commit("main", "file", "text\n", "second");
    println!("{}", gate.log());
    let t = std::time::Instant::now();
    work.git(&["fetch", "-q"]).success();
    println!("{:?}", t.elapsed());
    assert_eq!(work.id("origin/main"), tip);
    for _ in 0..20 {
        let t = std::time::Instant::now();
        work.git(&["fetch", "-q"]).success();
        println!("{:?}", t.elapsed());
    }
    let mine = work.commit("x", "y", "mine");
    let t = std::time::Instant::now();
    println!(
        "{}",
        work.git(&[
            "push",
            "origin",
            "HEAD:refs/heads/new",
            "HEAD:refs/heads/new2"
        ])
        .success()
    );
    println!("{:?}", t.elapsed());
    assert_eq!(upstream.tip("refs/heads/new").unwrap(), mine);
    println!(
        "{}",
        work.git(&["push", "origin", ":refs/heads/new", "HEAD:refs/heads/new3"])
            .success()
    );
    println!(
        "{:?} sessions {} logins {}",
        t.elapsed(),
        rig.sshd.sessions(),
        rig.sshd.logins()
    );
}
