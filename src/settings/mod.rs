//! The per-repository git config keys and the limits, typed, each with its default beside it.
//!
//! Only the repository's own config file counts: no system or global config, nothing from the
//! environment. [`crate::serve`] writes these keys from `gate.json`; an operator may also write
//! them by hand into any bare repository, which is what makes the hooks drop-in.

mod error;
pub(crate) mod git_config;
mod limits;
mod login;
mod policy;
mod protect;
mod repository;

pub use crate::path_glob::PathGlob;
pub use crate::ref_pattern::RefPattern;
pub use error::SettingsError;
pub use limits::Limits;
pub use login::{Login, USER, USER_PROBLEM};
pub use policy::{Atomic, Deletes, ForcePush, Mode, Policy, Suspects};
pub use protect::Protect;
pub use repository::Settings;
