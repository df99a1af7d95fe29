//! The image's root file system, made of this build.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Ran, binary, gitleaks, repository};

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Ran {
    Ran::of(Command::new(program).args(arguments))
}

/// The root file system, with this build's binaries.
pub fn root(folder: &Path) -> PathBuf {
    let binaries = folder.join("binaries");
    fs::create_dir(&binaries).unwrap();
    for name in ["gate-init", "gate-pre-receive", "gate-access-hook"] {
        let [to, program] = [binaries.join(name), binary(name)];
        run(
            "strip",
            &["-o", to.to_str().unwrap(), program.to_str().unwrap()],
        )
        .success();
    }
    let root = folder.join("root");
    fs::create_dir(&root).unwrap();
    let script = repository().join("image/rootfs");
    let paths = [&binaries, &gitleaks(), &root].map(|path| path.to_str().unwrap().to_owned());
    run(
        script.to_str().unwrap(),
        &paths.each_ref().map(String::as_str),
    )
    .success();
    let user = rustix::process::getuid();
    if !user.is_root() {
        // Who is not root cannot give the credentials to the image's user, so the gate runs as their
        // owner, who is root in a namespace. ssh wants its user to have a name.
        let names =
            [user.as_raw(), 0].map(|id| format!("owner{id}:x:{id}:{id}::/tmp:/nonexistent\n"));
        let passwd = fs::File::options()
            .append(true)
            .open(root.join("etc/passwd"));
        passwd
            .unwrap()
            .write_all(names.concat().as_bytes())
            .unwrap();
    }
    root
}
