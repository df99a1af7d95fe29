//! The integration tests: one binary, one module a subject, one rig.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod drop_in; // the scenario list, against the shell gate and against ours
mod engine; // the scanner: gitleaks, its failures, its cage, its pool
mod execs; // which programs run: no shell
mod init; // gate-init: what it prepares and refuses, check, health
mod limits; // clients that stall, only connect, or are too many
mod policy; // which refs may change how
mod recovery; // starts on a volume that something happened to
mod refresh;
mod signals; // gate-init as a process: signals, orphans, a server that dies
mod warm; // scanners started ahead
