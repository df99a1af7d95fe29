//! Children with a time limit and bounded output.
//!
//! Every external command of the project runs through [`run`]: arguments as a list, a process
//! group of its own, and no wait without an end.

mod child_end;
mod reading;
#[cfg(target_os = "linux")]
mod this_process;

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;

use crate::debug_log;
use child_end::ChildEnd;
use reading::follow;

pub use reading::Reading;

#[cfg(target_os = "linux")]
pub use this_process::{in_memory, lift_work_limit, own_command, own_program};

/// How much of each output stream is kept; the rest is read and dropped, so that the child never
/// blocks on a full pipe.
pub const OUTPUT_LIMIT: usize = 8 << 20;

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
    /// The first bytes of its standard output, [`OUTPUT_LIMIT`] unless the caller asked for more.
    pub stdout: Vec<u8>,
    /// The first [`OUTPUT_LIMIT`] bytes of its standard error.
    pub stderr: Vec<u8>,
}

/// Runs `command` to its end, or ends it and its process group when `limit` has passed.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output, ProcessError> {
    run_read(command, limit, Reading::default())
}

/// As [`run`], with its output as `reading` says.
pub fn run_read(
    command: &mut Command,
    limit: Duration,
    reading: Reading<'_>,
) -> Result<Output, ProcessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut noted = debug_log::command(command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| ProcessError::Start {
            program: program.clone(),
            source,
        })?;
    match follow(&mut child, limit, reading) {
        Ok(Some(output)) => {
            debug_log::ended(&mut noted, output.status);
            Ok(output)
        }
        Ok(None) => {
            end_group(&mut child);
            Err(ProcessError::TimedOut { program, limit })
        }
        Err(source) => {
            end_group(&mut child);
            Err(ProcessError::Wait { program, source })
        }
    }
}

/// Waits for `child` until `limit` has passed; `None` when it is still running then.
pub fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let child_end = ChildEnd::of(child)?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut watched = Vec::new();
        let left = child_end.watch(&mut watched, left);
        wait_for_any(&watched, left)?;
    }
}

/// Ends `child` and its process group at once and reaps it. SIGKILL, since git daemon's services
/// ignore SIGTERM and their children inherit that.
pub fn end_group(child: &mut Child) {
    // The number of a child that was reaped may be another process's by now.
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    // Both fail only when the processes are gone already, which is what is wanted.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.kill();
    let _ = child.wait();
}

/// How a process ended, in words. The kernel kills what takes more memory than there is.
pub fn how_it_ended(status: ExitStatus) -> String {
    match status.signal() {
        Some(9) => "it was killed (SIGKILL), perhaps because memory ran out".to_owned(),
        _ => format!("it ended with {status}"),
    }
}

/// The exit code that a shell would show for `status`: a death by signal becomes 128 + signal.
pub fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1)
}

/// Waits until one of `watched` can be read or has ended; false when that took until `limit`, or a
/// signal came.
pub fn wait_for_any(watched: &[BorrowedFd<'_>], limit: Duration) -> io::Result<bool> {
    let mut watched: Vec<_> = watched
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    poll(&mut watched, Some(limit))
}

/// Waits until one of `watched` is ready (poll(2)); false when that took until `limit`, or a signal came.
pub fn poll(watched: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<bool> {
    let timeout = limit.map(Timespec::try_from).transpose();
    let timeout = timeout.map_err(|_| io::ErrorKind::InvalidInput)?;
    match event::poll(watched, timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => {
            watched.iter_mut().for_each(PollFd::clear_revents);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a read or write that does not wait may be tried again later.
pub fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::reading::OUTPUT_GRACE;
    use super::*;

    #[test]
    fn output_and_status_of_a_command_are_returned() {
        let output = run(Command::new("printf").arg("hello"), Duration::from_secs(10)).unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"hello");
    }

    #[test]
    fn a_command_that_has_ended_is_not_waited_for() {
        let started = Instant::now();
        for _ in 0..20 {
            run(&mut Command::new("true"), Duration::from_secs(10)).unwrap();
        }
        assert!(started.elapsed() < 10 * OUTPUT_GRACE);
    }

    #[test]
    fn output_beyond_what_a_pipe_holds_is_whole_up_to_the_limit() {
        let mut command = Command::new("head");
        command.args(["-c", &(OUTPUT_LIMIT + 1).to_string(), "/dev/zero"]);
        let output = run(&mut command, Duration::from_secs(60)).unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout.len(), OUTPUT_LIMIT);
    }

    #[test]
    fn a_command_that_has_said_enough_is_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf 'one\\ntwo\\n'; sleep 60"]);
        let reading = Reading::default().until(|said| said.ends_with(b"two\n"));
        let started = Instant::now();
        let output = run_read(&mut command, Duration::from_secs(60), reading).unwrap();
        assert_eq!(output.stdout, b"one\ntwo\n");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_process_left_behind_with_the_pipe_holds_nobody_up() {
        let started = Instant::now();
        // util-linux's setsid(1): its child keeps the pipe for 20 s.
        let mut command = Command::new("setsid");
        command.args(["--fork", "sleep", "20"]);
        let output = run(&mut command, Duration::from_secs(60)).unwrap();
        assert!(output.status.success());
        assert!(started.elapsed() < Duration::from_secs(15));
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
        let lives = || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            processes.into_iter().any(|process| {
                let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                command == b"sleep\x0061.25\0"
            })
        };
        // What is killed is gone once it has a turn on a core.
        while lives() && started.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!lives(), "a child outlived its limit");
    }
}
