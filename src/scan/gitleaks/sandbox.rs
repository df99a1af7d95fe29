//! The scanner's cage. gitleaks parses hostile bytes beside a credential: whoever takes it over with
//! them must get nothing for it.
//!
//! - Files: it may run its program, and read that, the system's libraries and its own configuration.
//!   No key, no repository, nothing to write (landlock(7)).
//! - Network: no TCP (landlock(7)), no sockets at all (seccomp(2)).
//! - Other processes: no signals, no look at their memory.
//! - Bounds on memory, processor time, files (getrlimit(2)).
//!
//! Landlock and seccomp hold for one thread and what it starts, and no code of ours has to run
//! between fork and exec: a thread confines itself, starts the program and ends. A kernel without
//! them gives no error; [`support`] tells.
//!
//! The program must be gitleaks itself: a script that starts it would need its interpreter.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::process;

/// The newest Landlock that is asked for; an older kernel enforces what it has.
const LANDLOCK: ABI = ABI::V6;

/// Where a gitleaks that is not static finds its libraries; nothing secret lies there.
const LIBRARIES: [&str; 6] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
];

/// Memory that one gitleaks may use, in bytes; 130 MB were seen. Past it, it ends and the push is
/// refused.
const MEMORY: u64 = 1 << 30;

/// From here on, Go collects its garbage more often (its `runtime` package, GOMEMLIMIT).
pub(crate) const GO_MEMORY: &str = "768MiB";

/// Seconds of processor time: an end for one that nobody waits for any more. A scan's own limit is
/// `git-gate.scanTimeout`.
const PROCESSOR_TIME: u64 = 4 * 3600;

/// Files that may be open at once.
const FILES: u64 = 64;

/// What this system can enforce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Support {
    /// Which files may be read and run.
    pub files: bool,
    /// No TCP.
    pub tcp: bool,
    /// No signals to other processes.
    pub signals: bool,
    /// No sockets, no look into other processes.
    pub system_calls: bool,
}

/// What this system can enforce, as tried on a thread.
pub fn support() -> Support {
    let tried = thread::spawn(|| confine(Path::new("/"), Path::new("/"))).join();
    tried.ok().and_then(Result::ok).unwrap_or_default()
}

/// Starts `command`, which runs `program`, so that it can read nothing else but `directory`.
pub(crate) fn spawn(command: &mut Command, program: &Path, directory: &Path) -> io::Result<Child> {
    let mut child = thread::scope(|scope| {
        let start = || confine(program, directory).and_then(|_| command.spawn());
        let confined = thread::Builder::new().spawn_scoped(scope, start)?;
        let panicked = |_| Err(io::Error::other("the thread that starts it panicked"));
        confined.join().unwrap_or_else(panicked)
    })?;
    if let Err(error) = limit(&child) {
        process::end_group(&mut child);
        return Err(error);
    }
    Ok(child)
}

/// Confines this thread for good.
fn confine(program: &Path, directory: &Path) -> io::Result<Support> {
    let landlock = restrict(program, directory).map_err(io::Error::other)?;
    let (enforced, abi) = match landlock {
        (RulesetStatus::NotEnforced, _) => (false, ABI::Unsupported),
        (_, LandlockStatus::Available { effective_abi, .. }) => (true, effective_abi),
        (_, _) => (true, ABI::V1),
    };
    Ok(Support {
        files: enforced,
        tcp: !AccessNet::from_all(abi).is_empty(),
        signals: Scope::from_all(abi).contains(Scope::Signal),
        system_calls: filter().is_some_and(|filter| apply_filter(&filter).is_ok()),
    })
}

fn restrict(
    program: &Path,
    directory: &Path,
) -> Result<(RulesetStatus, LandlockStatus), RulesetError> {
    let run: BitFlags<AccessFs> = AccessFs::Execute | AccessFs::ReadFile;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules([program], run))?
        .add_rules(path_beneath_rules(LIBRARIES, run))?
        .add_rules(path_beneath_rules([directory], AccessFs::ReadFile))?
        .restrict_self()?;
    Ok((status.ruleset, status.landlock))
}

/// Refuses the system calls that lead out of the process; `None` on a processor that seccompiler
/// does not know. The list is short since Landlock holds the files, and gitleaks, Go and the C
/// libraries may need any other call tomorrow.
fn filter() -> Option<BpfProgram> {
    let refused = [
        libc::SYS_socket,
        libc::SYS_socketpair,
        // It opens sockets too.
        libc::SYS_io_uring_setup,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        // The kernel's own key store.
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
    ];
    let rules: BTreeMap<_, _> = refused.into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).ok()?;
    filter.try_into().ok()
}

/// Bounds what `child` may use.
fn limit(child: &Child) -> io::Result<()> {
    let limits = [
        (Resource::Data, MEMORY),
        (Resource::Cpu, PROCESSOR_TIME),
        (Resource::Nofile, FILES),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        match prlimit(Some(Pid::from_child(child)), resource, limit) {
            // One that has ended already says why when it is read.
            Ok(_) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{TcpListener, UdpSocket};
    use std::process::{Output, Stdio};

    use super::*;

    /// Runs `script` by a shell in the cage, whose directory is `directory`.
    fn shell(directory: &Path, script: &str) -> Output {
        let program = which::which("bash").unwrap().canonicalize().unwrap();
        let mut command = Command::new(&program);
        command.args(["-c", script]).env_clear();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = spawn(&mut command, &program, directory).unwrap();
        child.wait_with_output().unwrap()
    }

    fn said(output: &Output) -> String {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[test]
    fn no_file_is_read_but_those_of_its_directory() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for directory in [&inside, &outside] {
            fs::write(directory.path().join("key"), "a key\n").unwrap();
        }
        let read = |directory: &Path| {
            let path = directory.join("key");
            shell(
                inside.path(),
                &format!("read line < {} && echo $line", path.display()),
            )
        };
        assert_eq!(read(inside.path()).stdout, b"a key\n");
        let refused = read(outside.path());
        assert_eq!(refused.status.success(), !support().files);
        assert_eq!(
            said(&refused).contains("Permission denied"),
            support().files
        );

        let written = shell(
            inside.path(),
            &format!("> {}", inside.path().join("new").display()),
        );
        assert_eq!(written.status.success(), !support().files);
        let ran = shell(inside.path(), "exec /usr/bin/env true");
        assert_eq!(ran.status.success(), !support().files);
    }

    #[test]
    fn nobody_is_reached() {
        let directory = tempfile::tempdir().unwrap();
        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let udp = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let ports = [
            ("tcp", tcp.local_addr().unwrap().port()),
            ("udp", udp.local_addr().unwrap().port()),
        ];
        for (protocol, port) in ports {
            let tried = shell(
                directory.path(),
                &format!("echo x > /dev/{protocol}/127.0.0.1/{port}"),
            );
            assert_eq!(
                tried.status.success(),
                !support().system_calls,
                "{}",
                said(&tried)
            );
        }
        let killed = shell(directory.path(), &format!("kill -0 {}", std::process::id()));
        assert_eq!(killed.status.success(), !support().signals);
    }

    #[test]
    fn what_it_uses_has_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let program = which::which("cat").unwrap().canonicalize().unwrap();
        let mut command = Command::new(&program);
        command.stdin(Stdio::piped());
        let mut child = spawn(&mut command, &program, directory.path()).unwrap();
        let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        for (name, most) in [
            ("Max data size", MEMORY),
            ("Max cpu time", PROCESSOR_TIME),
            ("Max open files", FILES),
            ("Max file size", 0),
            ("Max core file size", 0),
        ] {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            let mut values = line[name.len()..].split_whitespace();
            let most = most.to_string();
            assert_eq!(
                (values.next(), values.next()),
                (Some(&*most), Some(&*most)),
                "{name}"
            );
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn this_thread_stays_free() {
        support();
        let directory = tempfile::tempdir().unwrap();
        shell(directory.path(), ":");
        fs::write(directory.path().join("file"), "x").unwrap();
        assert!(TcpListener::bind(("127.0.0.1", 0)).is_ok());
    }
}
