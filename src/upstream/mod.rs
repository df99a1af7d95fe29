//! The upstream: ssh or HTTPS, the refresh before a fetch, the forward after a clean scan. Nothing
//! here knows of findings.
//!
//! A fetch and a push of one mirror meet in one lock ([`crate::mirror::lock`], `git-gate/lock` in the
//! mirror): a refresh holds it while it changes refs, a push from its forward until receive-pack
//! has changed them. The connection to the upstream is shared by all of them and stays open.

mod askpass;
mod budget;
mod context;
mod control_master;
mod error;
mod forward;
pub mod helper_role;
mod https;
pub mod key_file;
mod listing;
mod lock_holder;
mod ls_refs;
mod ls_remote;
pub mod mux_client;
mod object_format;
pub mod push_session;
mod refresh;
mod remote;
pub mod ssh;
pub mod waiting_session;

pub use crate::upstream::object_format::{Seen, look, object_format};
pub use askpass::problem as token_problem;
use budget::Budget;
pub(crate) use budget::lock;
pub use context::DISK_FULL;
pub use error::{OTHER_FORMAT, UpstreamError};
pub use forward::{forward, has_room};
pub use refresh::refresh;
