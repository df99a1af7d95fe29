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
mod policy; // which refs may change how
mod refresh;
