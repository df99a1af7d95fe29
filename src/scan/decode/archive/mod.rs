//! Archives and compressed files: found by content (`search`), opened, and walked again as content.

mod closed;
mod compression;
pub(crate) mod encrypted;
mod packfile;
mod search;
mod tar;
mod zip;

use search::{MAGIC, WINDOW, add_name, is_in, named};
pub(crate) use search::{may_hold, unscannable};
