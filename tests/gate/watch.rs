//! `gate-init watch`, in a real terminal: what happens is seen, and a refusal is answered.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Child;
use std::sync::{Arc, Mutex};

use git_gate::refusals::Record;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::rig::{Gate, Ran, Rig, token, wait_until};

/// A watch in a terminal of its own.
struct Watch {
    child: Child,
    terminal: File,
    inner: File,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Watch {
    fn start(gate: &Gate) -> Self {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&outer).unwrap();
        unlockpt(&outer).unwrap();
        let name = ptsname(&outer, Vec::new()).unwrap();
        let inner = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize {
            ws_row: 30,
            ws_col: 160,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&inner, size).unwrap();
        let (inner, terminal) = (File::from(inner), File::from(outer));
        let mut watch = gate.command(&["watch"]);
        watch.env("TERM", "xterm");
        watch.stdin(inner.try_clone().unwrap());
        watch.stdout(inner.try_clone().unwrap());
        watch.stderr(inner.try_clone().unwrap());
        let child = watch.spawn().unwrap();
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let (mut reader, all) = (terminal.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut part) {
                all.lock().unwrap().extend_from_slice(&part[..length]);
            }
        });
        Self {
            child,
            terminal,
            inner,
            seen,
        }
    }

    /// Waits for one word: between words the cursor is moved.
    fn sees(&self, text: &str) {
        wait_until(text, || {
            let seen = self.seen.lock().unwrap();
            String::from_utf8_lossy(&seen).contains(text)
        });
    }

    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Ends it with `q`; the terminal is as it was.
    fn end(mut self) {
        self.press("q");
        assert!(self.child.wait().unwrap().success());
        let modes = tcgetattr(self.inner.as_fd()).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON));
    }
}

#[test]
fn what_happens_is_seen_and_a_refusal_is_answered() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let secret = token(7);
    work.commit("test.env", format!("TOKEN={secret}\n"), "fixture");
    let push = || work.git(&["push", "origin", "HEAD:refs/heads/try"]);
    push().failure();
    let refusals = || -> Vec<Record> {
        let json = Ran::of(&mut gate.command(&["refusals", "--json"])).success();
        serde_json::from_str(&json).unwrap()
    };
    let id = refusals()[0].id.clone();

    let mut watch = Watch::start(&gate);
    watch.sees(&id);
    watch.press("amade up\r");
    wait_until("it is answered", || refusals()[0].answer.is_some());
    let answer = refusals()[0].answer.clone().unwrap();
    assert!(answer.accepted && !answer.once);
    assert_eq!((&*answer.by, &*answer.reason), ("olga", "made up"));
    watch.end();
    push().success();
    assert!(app.tip("refs/heads/try").is_some());

    // What has happened already is told to who comes later, and nothing of the secret.
    let watch = Watch::start(&gate);
    watch.sees("olga:");
    watch.sees("refs/heads/try;");
    assert_eq!(gate.stop(), Some(0));
    watch.sees("answers;");
    let seen = watch.seen.lock().unwrap().clone();
    assert!(!String::from_utf8_lossy(&seen).contains(&secret[8..]));
    watch.end();

    let said = Ran::of(&mut gate.command(&["watch"])).failure();
    assert!(said.contains("watch needs a terminal"), "{said}");
}
