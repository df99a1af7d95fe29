//! The integration tests: one binary, one module a subject, one rig.

#[path = "../rig/mod.rs"]
mod rig;

mod drop_in; // the scenario list, against the shell gate and against ours
