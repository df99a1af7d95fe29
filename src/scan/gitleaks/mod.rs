//! gitleaks, behind one small interface: fragments go in, raw findings come out.
//!
//! [`Engine::open`] reads the operator's rules, [`Engine::start`] gives a [`Scanner`]: one process,
//! fed with fragments that no match spans, so that cuts are ours and every run gives the same
//! answer. A scan is clean only when both of its canaries were printed and nothing besides, and what was
//! found counts only when both are in its report (see `launch`); anything else is an [`EngineError`], and
//! the push is refused.
//!
//! | part              | what it does                                               |
//! |-------------------|------------------------------------------------------------|
//! | `scanner`         | the interface                                              |
//! | `engine`          | what is needed to scan one push                            |
//! | `rules`           | the rules: gitleaks' own, the operator's, path-bound ones  |
//! | `defaults`        | reads gitleaks' own rules out of its program               |
//! | `ends`            | widens where their tokens end, and what lets them through  |
//! | `own`             | the gate's own rules, and what is a suspect only           |
//! | `path_rules`      | what a path decides (with `file_names`)                    |
//! | `pattern`         | a regular expression that can be written down              |
//! | `known_rules`     | what a push needs of rules that an earlier one has read    |
//! | `launch`          | starts gitleaks                                            |
//! | `sandbox`         | confines it                                                |
//! | `scanner_process` | a gitleaks that runs: this process's own, or one `lent`    |
//! | `supply`          | gets a push's scanners                                     |
//! | `pool_client`     | borrows one that gate-init has started already             |
//! | `session`         | one scan: its input and output, its time limit             |
//! | `canary`          | proves that all of it was read                             |
//! | `parallel`        | a big push: several of them side by side                   |
//! | `report`          | reads the JSON report                                      |

mod canary;
mod defaults;
mod ends;
mod engine;
pub mod entropy_rules;
mod error;
mod file_names;
mod known_rules;
pub(crate) mod launch;
pub(crate) mod lent;
mod own;
mod parallel;
mod path_rules;
mod pattern;
pub(crate) mod pool_client;
mod report;
mod rule_table;
mod rules;
pub mod sandbox;
mod scanner;
pub(crate) mod scanner_process;
mod session;
mod supply;

pub use engine::Engine;
#[cfg(fuzzing)]
pub use engine::parse_report;
pub use error::{EngineError, PROGRAM_VARIABLE};
pub use own::Form;
pub use path_rules::PathRules;
pub use scanner::{FRAGMENT_LIMIT, RawFinding, Scanner};
