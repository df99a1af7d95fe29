//! The integration tests: one binary, one module a subject, one rig.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod accounts; // one line in the audit log for each request, whatever breaks
mod agents; // agents and their tokens, over HTTP
mod audit; // the audit log: its events, its readers
mod clock; // the time of day jumps
mod compose; // the example of a compose project, and what an agent in it can reach
mod concurrency; // many clients and somebody else at once
mod corpus; // how a table of pushes is made and judged
mod coverage; // every object is scanned, and cost follows the change
mod debug_log; // GIT_GATE_LOG: what was done, and no word of what was pushed
mod drop_in; // the scenario list, against the shell gate and against ours
mod evasion; // pushes that hide a secret
mod exceptions; // the findings that the operator accepts
mod execs; // which programs run: no shell
mod faults; // what breaks, what the agent is told, what is left
mod fleet; // several gates behind one address
mod forms; // what stands around a token
mod forward; // what goes to the upstream, whole or not at all
mod fsck; // what git itself refuses of a push
mod gitleaks; // the scanner: gitleaks, its failures, its cage, its pool
mod growth; // small pushes that must not cost a lot
mod hidden; // keys taken apart, places where nobody looks
mod honest; // pushes that must pass: nothing new in them is a secret
mod http; // git over HTTP
mod https; // an upstream over HTTPS
mod image; // the image, run as a container
mod init; // gate-init: what it prepares and refuses, check, health
mod limits; // clients that stall, only connect, or are too many
mod local_scan; // a local repository, before it is pushed
mod messages; // what an agent sees on a refused push
mod mistakes; // docs/troubleshooting.md: what each program says of what went wrong
mod networks; // the networks of `compose` where there is no Docker
mod own_history; // this repository through its own gate
mod own_rules; // the gate's own rules find their examples
mod packages; // what the image's binaries are built from
mod places; // where passwords stand: all of them refused, none of them told
mod policy; // which refs may change how
mod push_sessions; // sessions with an upstream that are opened as a push comes
mod recall; // each of gitleaks' rules, in four disguises
mod recovery; // starts on a volume that something happened to
mod refresh; // the mirror before a fetch
mod refusals; // what the operator answers by id
mod rules; // protected paths, people, sizes
mod run; // `make run`, word for word
mod scanner_pool; // scanners started ahead
mod sessions; // what gate-init asks an upstream ahead of a fetch
mod signals; // gate-init as a process: signals, orphans, a server that dies
mod soak; // an hour's work in minutes, and what must not grow with it
mod ssh; // keys, pins, the shared connection
mod watch; // `gate-init watch` in a terminal
