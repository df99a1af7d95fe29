//! How this project runs git and opens repositories: one place each.
//!
//! Oldest git: 2.31, the first whose `GIT_CONFIG_COUNT` environment lets settings be given without
//! a command line that others can read, and whose `ls-refs` tells the HEAD of an empty repository.

mod command;
mod output;
pub mod pkt_line;
mod refs;

pub use command::{STATE_DIR, bare_command, command, hook_git_dir, init, open};
pub use output::GitOutput;
pub use refs::{Listing, Refs, RefsError, merge_bases, reach, unreached};
