//! What the client sent: the ref updates, the quarantine's objects, and whether the policy lets
//! them through. Nothing here knows of ssh or of findings.

mod deletes;
pub mod options;
mod policy;
mod received;
pub mod shallow;
mod updates;

pub use policy::{PolicyError, Push, check};
pub use received::{Received, ReceivedError, ReceivedObject};
pub use updates::{RefUpdate, UpdatesError, push_options, read_updates, show_known};
