//! A mirror on disk: its locks, and what killed processes left in it.

pub mod lock;
pub(crate) mod stale_files;
mod state_dir;

pub(crate) use state_dir::state_dir;
