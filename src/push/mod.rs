//! What the client sent: the ref updates, the quarantine's objects, and whether the policy lets
//! them through. Nothing here knows of ssh or of findings.

mod deleted_refs;
mod policy;
pub mod push_options;
mod quarantine;
mod ref_updates;
pub mod shallow;

pub use policy::{PolicyError, Push, check};
pub use quarantine::{Received, ReceivedError, ReceivedObject};
pub use ref_updates::{RefUpdate, UpdatesError, push_options, read_updates, show_known};
