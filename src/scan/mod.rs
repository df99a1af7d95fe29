//! Objects become text, gitleaks reads it, a verdict comes out. Nothing here knows of ssh.
//!
//! A scan goes through these parts in this order:
//!
//! | part                      | what it knows                                                                                |
//! |---------------------------|----------------------------------------------------------------------------------------------|
//! | [`objects::history`]      | which commit first brought which blob to which path (with [`objects::parse`])                |
//! | [`objects::reader`]       | all texts of the push; of a file's later versions what is new ([`objects::changed_regions`]) |
//! | [`decode`]                | the text in bytes: encodings, archives                                                       |
//! | [`fragments`]             | many texts in few fragments, and the way back                                                |
//! | [`gitleaks`]              | gitleaks over fragments                                                                      |
//! | [`objects::path_classes`] | what a path decides: [`gitleaks::entropy_rules`], rules that are bound to paths              |
//! | [`verdict::triage`]       | what a finding means: [`gitleaks::entropy_rules`], [`verdict::exceptions`], `baseline`       |
//! | `verdict::masked_text`    | texts without the values that are let through, to be scanned again                           |
//! | `verdict::needles`        | many values found in one pass                                                                |
//! | `verdict::formed`         | credentials in files that exist to hold them                                                 |
//! | `verdict::grade`          | which findings refuse, and which are told only                                               |
//! | [`verdict::refusal`]      | what the agent is told                                                                       |
//! | `verdict::unscannable`    | what cannot be opened, and is told beside what was found                                     |
//! | `ref_names`               | which ref names may be shown                                                                 |
//!
//! Memory does not follow the push's bytes: at any time there are at most 16 MiB of one blob and its
//! earlier version, 32 MiB of versions to compare with, and what [`decode`] states; besides, some
//! 200 bytes for each object and text, and the paths.

pub mod decode;
pub mod fragments;
pub mod gitleaks;
pub mod objects;
mod pipeline;
pub mod progress;
mod ref_names;
pub mod verdict;

pub(crate) use pipeline::scan_alone;
pub use pipeline::{Hit, Request, ScanError, Tally, Verdict, scan, scan_with};
pub use ref_names::{are_clean, show_all_but, show_clean_names};
pub use verdict::refusal::{explain, mention};
pub use verdict::triage::{Finding, Place, Remedy};
