//! Children with a time limit and bounded output.
//!
//! Every external command of the project runs through [`run`]: arguments as a list, a process
//! group of its own, and no wait without an end.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use thiserror::Error;

/// How much of each output stream is kept; the rest is read and dropped, so that the child never
/// blocks on a full pipe.
pub const OUTPUT_LIMIT: usize = 8 << 20;

/// How long after a child's end its output may still arrive. A background process that it left
/// behind (an ssh master) may hold the pipe open for good.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// Why a command gave no result.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program's name.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It was still running at its time limit; its whole process group was ended.
    #[error("{program} was still running after {} s and was ended", limit.as_secs_f32())]
    TimedOut {
        /// The program's name.
        program: String,
        /// The limit that was hit.
        limit: Duration,
    },
    /// Waiting for it failed.
    #[error("cannot wait for {program}")]
    Wait {
        /// The program's name.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// What a finished command left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// The first [`OUTPUT_LIMIT`] bytes of its standard output.
    pub stdout: Vec<u8>,
    /// The first [`OUTPUT_LIMIT`] bytes of its standard error.
    pub stderr: Vec<u8>,
}

/// Runs `command` to its end, or ends it and its process group when `limit` has passed.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output, ProcessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| ProcessError::Start {
            program: program.clone(),
            source,
        })?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = match wait(&mut child, limit) {
        Ok(Some(status)) => status,
        Ok(None) => {
            end_group(&mut child);
            return Err(ProcessError::TimedOut { program, limit });
        }
        Err(source) => {
            end_group(&mut child);
            return Err(ProcessError::Wait { program, source });
        }
    };
    let take = |stream: mpsc::Receiver<Vec<u8>>| {
        let mut bytes = Vec::new();
        let end = Instant::now() + OUTPUT_GRACE;
        while let Ok(part) = stream.recv_timeout(end.saturating_duration_since(Instant::now())) {
            bytes.extend_from_slice(&part);
        }
        bytes
    };
    Ok(Output {
        status,
        stdout: take(stdout),
        stderr: take(stderr),
    })
}

/// A file in memory that holds `bytes`, to be read from its start: a child's input that needs nobody
/// to feed it (memfd_create(2)).
pub fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("git-gate", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Waits for `child` until `limit` has passed; `None` when it is still running then.
pub fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let timeout = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends `child` and its process group at once and reaps it. SIGKILL, since git daemon's services
/// ignore SIGTERM and their children inherit that.
pub fn end_group(child: &mut Child) {
    // Both fail only when the processes are gone already, which is what is wanted.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.kill();
    let _ = child.wait();
}

/// The exit code that a shell would show for `status`: a death by signal becomes 128 + signal.
pub fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1)
}

/// Reads `stream` on a thread of its own, part by part, up to [`OUTPUT_LIMIT`].
fn collect(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut stream) = stream {
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            let mut kept = 0;
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                let part = n.min(OUTPUT_LIMIT - kept);
                kept += part;
                if part > 0 && sender.send(buffer[..part].to_vec()).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_of_a_command_are_returned() {
        let output = run(Command::new("printf").arg("hello"), Duration::from_secs(10)).unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"hello");
    }

    #[test]
    fn a_command_past_its_limit_is_ended_with_its_children() {
        let started = Instant::now();
        // `timeout` forks `sleep`, so the group has two processes.
        let error = run(
            Command::new("timeout").args(["60", "sleep", "61.25"]),
            Duration::from_millis(200),
        );
        assert!(matches!(error, Err(ProcessError::TimedOut { .. })));
        assert!(started.elapsed() < Duration::from_secs(20));
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let outlived = processes.into_iter().any(|process| {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            command == b"sleep\x0061.25\0"
        });
        assert!(!outlived, "a child outlived its limit");
    }
}
