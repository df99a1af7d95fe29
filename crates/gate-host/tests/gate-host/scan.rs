//! Host keys of a real sshd, fetched by a real ssh-keyscan.

use std::fs;
use std::process::Command;

use super::Operator;
use crate::rig::{Rig, free_port, user};

struct Host {
    rig: Rig,
    operator: Operator,
    target: String,
    /// The fingerprint that ssh-keygen shows.
    fingerprint: String,
}

fn host() -> Host {
    let rig = Rig::new();
    let public = rig.path().join("sshd/host_key.pub");
    let shown = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(public)
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    Host {
        target: rig.sshd.address().to_string(),
        rig,
        operator: Operator::new(),
        fingerprint: shown.split(' ').nth(1).unwrap().to_owned(),
    }
}

impl Host {
    fn public(&self) -> String {
        let line = fs::read_to_string(self.rig.path().join("sshd/host_key.pub")).unwrap();
        line.trim().to_owned()
    }
}

#[test]
fn nothing_is_printed_until_somebody_confirms() {
    let host = host();
    let ran = host.operator.run(&["scan-host-key", &host.target]);
    let ran = ran.expect(5, &[&host.fingerprint, "not confirmed"]);
    assert_eq!(ran.out, "");
    let other = "--yes-i-compared=SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let ran = host
        .operator
        .run(&["scan-host-key", other, &host.target])
        .expect(5, &[]);
    assert_eq!(ran.out, "");
}

#[test]
fn what_was_compared_is_printed_as_a_line_to_pin() {
    let host = host();
    let one = format!("--yes-i-compared={}", host.fingerprint);
    let run = |format: &str| {
        let arguments = ["scan-host-key", &one, "--format", format, &host.target];
        host.operator.run(&arguments).expect(0, &[]).out
    };
    assert_eq!(
        run("toml"),
        format!("known_host_key = [\"{}\"]\n", host.public())
    );
    assert_eq!(
        run("json"),
        format!("\"known_host_key\": [\"{}\"]\n", host.public())
    );
    // ssh itself is the judge of this one: it logs in when the line is right.
    let known_hosts = host.operator.write("known_hosts", &run("known-hosts"));
    let ssh = Command::new("ssh")
        .args([
            "-F",
            "/dev/null",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
        ])
        .arg("-i")
        .arg(host.rig.sshd.client_key())
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
        .args(["-p", &host.rig.sshd.address().port().to_string()])
        .arg(format!("{}@127.0.0.1", user()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ssh.stderr).into_owned();
    assert_eq!(host.rig.sshd.logins(), 1, "{said}");
    let all = host
        .operator
        .run(&["scan-host-key", "--yes-i-compared", &host.target])
        .expect(0, &[]);
    assert_eq!(all.out, run("toml"));
}

#[test]
fn a_host_that_gives_no_key_is_an_error() {
    let operator = Operator::new();
    let nobody = format!("127.0.0.1:{}", free_port());
    let ran = operator.run(&["scan-host-key", "--yes-i-compared", &nobody]);
    ran.expect(
        1,
        &[
            "gave no host key",
            "check the name, the port and the network",
        ],
    );
    operator
        .run(&["scan-host-key", "--", "-oProxyCommand=id"])
        .expect(1, &["is not HOST"]);
}
