//! Objects become text, gitleaks reads it, a verdict comes out. Nothing here knows of ssh.
//!
//! A scan goes through these parts in this order:
//!
//! | part                       | what it does                                                               |
//! |----------------------------|----------------------------------------------------------------------------|
//! | `pipeline`                 | the whole scan, from its start to its verdict                              |
//! | [`objects::history`]       | finds which commit first brought which blob to which path                  |
//! | [`objects::reader`]        | reads all texts of the push; of a file's later versions only what is new   |
//! | `objects::unread`          | notes what cannot be opened, which refuses as a secret does                |
//! | [`decode`]                 | finds the text in bytes: encodings, archives                               |
//! | [`fragments`]              | packs many texts into few fragments, and knows the way back                |
//! | [`gitleaks`]               | runs gitleaks over the fragments                                           |
//! | [`objects::path_classes`]  | tells which paths the rules tell apart                                     |
//! | `verdict::forbidden_paths` | finds paths that may not be pushed whatever stands there                   |
//! | `verdict::formed`          | finds credentials in files that exist to hold them                         |
//! | `verdict::triage`          | decides which hits count, by rule, path, [`exceptions`] and `baseline`     |
//! | `verdict::baseline`        | looks for a secret in what the upstream holds already                      |
//! | `verdict::grade`           | tells which hits refuse, and which are told only                           |
//! | `verdict::masked_text`     | hides values that are let through, so that a rescan finds what they hid    |
//! | `rescan`                   | scans some texts once more, each by itself                                 |
//! | `verdict::grouping`        | makes findings of hits, with the `place` of each, its commit and its remedy |
//! | [`verdict::refusal`]       | tells the agent                                                            |
//! | `ref_names`                | tells which ref names may be shown                                         |
//!
//! Memory does not follow the push's bytes: at any time there are at most 16 MiB of one blob and its
//! earlier version, 32 MiB of versions to compare with, and what [`decode`] states; besides, some
//! 200 bytes for each object and text, and the paths.

pub mod decode;
mod error;
pub mod exceptions;
pub mod fragments;
pub mod gitleaks;
mod hit;
pub mod objects;
mod pipeline;
pub mod progress;
mod ref_names;
mod request;
mod rescan;
pub mod source;
pub mod verdict;

pub use error::ScanError;
pub use hit::Hit;
pub use pipeline::{scan, scan_with};
pub use ref_names::{are_clean, show_all_but, show_clean_names};
pub use request::Request;
pub use verdict::finding::{Finding, Place, Remedy};
pub use verdict::refusal::{explain, mention};
pub use verdict::{Tally, Verdict};
