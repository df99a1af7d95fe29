//! `make run`: the first command that a stranger tries.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::rig::{PATIENCE, Rig, binary, free_port, gitleaks, signal, wait_until};

/// `make run` without make, which would build first.
fn make_run(port: u16) -> Command {
    let http_port = free_port().to_string();
    let mut command = Command::new(binary("examples/run"));
    command
        .args(["--port", &port.to_string(), "--http-port", &http_port])
        .env("GIT_GATE_GITLEAKS", gitleaks())
        .stdin(Stdio::null());
    command
}

/// Ended like Ctrl-C does it, so that its gate and its sshd end too.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        signal(self.0.id(), Signal::INT);
        let _ = self.0.wait();
    }
}

#[test]
fn the_lines_that_it_prints_work_as_they_stand() {
    let rig = Rig::new();
    let printed = rig.path().join("printed");
    let lines = || fs::read_to_string(&printed).unwrap();
    let output = File::create(&printed).unwrap();
    let port = free_port();
    let mut running = make_run(port)
        .env("TMPDIR", rig.path())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .map(Running)
        .unwrap();
    wait_until("it is ready", || lines().contains("Ctrl-C stops"));

    let all = lines();
    let clone = all.find("git clone").expect("a line to try");
    let end = all.find("Ctrl-C stops").unwrap();
    let mut script = all[clone..end].replace("/tmp/try", "try");
    script.insert_str(0, "set -x\n");
    // What a reader's shell does with the lines: this is about them, not about our own commands.
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(rig.path())
        .env("GIT_AUTHOR_NAME", "a")
        .env("GIT_AUTHOR_EMAIL", "a@example.org")
        .env("GIT_COMMITTER_NAME", "a")
        .env("GIT_COMMITTER_EMAIL", "a@example.org")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("* [new branch]      HEAD -> hello"), "{said}");
    assert!(
        said.contains("! [remote rejected] HEAD -> leak (pre-receive hook declined)"),
        "{said}"
    );
    assert!(!output.status.success());

    let left = || {
        let folders = fs::read_dir(rig.path()).unwrap().flatten();
        folders
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name.starts_with("git-gate-"))
            .collect::<Vec<_>>()
    };
    assert_eq!(left().len(), 1, "the folder that it works in");
    signal(running.0.id(), Signal::INT);
    assert!(running.0.wait().unwrap().success());
    assert_eq!(left(), [""; 0], "{}", lines());
}

#[test]
fn a_port_that_somebody_has_is_named_with_the_way_out() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = assert_cmd::Command::from_std(make_run(port))
        .timeout(PATIENCE)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(
        String::from_utf8_lossy(&output.stdout).replace(&port.to_string(), "PORT"),
        @"make run: port PORT of 127.0.0.1 cannot be had; name another one: make run PORT=9419: Address already in use (os error 98)"
    );
}
