//! Everything that a push carries, object by object, as text.

mod cat_file;
pub mod changed_regions;
mod fresh;
pub mod history;
pub mod parse;
pub mod path_classes;
pub mod reader;
mod recent;
pub(crate) mod unread;
pub(crate) mod views;
