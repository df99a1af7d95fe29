//! The audit log: one JSON line an event, never a secret. `docs/audit.md` is its reference.
//!
//! gate-init owns the log. A hook sends its line as one datagram to the socket `audit` in the run
//! directory and waits a moment at most for room. Where no gate-init is, a hook adds its line to the
//! file in `GIT_GATE_AUDIT_LOG`. A line that cannot be written stops nothing, and is counted.

mod event;
mod log;
mod recorder;
mod table;

pub use event::{
    Event, Finding, Kind, LIST_LIMIT, LOST, RefChange, SOCKET, SUSPECT_LIMIT, record, record_for,
};
pub use log::Log;
pub use recorder::Recorder;
pub use table::report;
