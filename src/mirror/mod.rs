//! A mirror on disk: its locks, what killed processes left in it, who is at work in it.

pub mod lock;
pub(crate) mod processes;
pub(crate) mod stale_files;
