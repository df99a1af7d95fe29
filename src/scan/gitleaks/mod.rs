//! gitleaks, behind one small interface: fragments go in, raw findings come out.
//!
//! [`Engine::open`] reads the operator's rules, [`Engine::start`] gives a [`Scanner`]: one process,
//! fed with fragments that no match spans, so that cuts are ours and every run gives the same
//! answer. A scan is clean only when both of its canaries were printed and nothing besides, and what was
//! found counts only when both are in its report (see `launch`); anything else is an [`EngineError`], and
//! the push is refused.
//!
//! | part          | what it knows                                             |
//! |---------------|-----------------------------------------------------------|
//! | `rules`       | the rules: gitleaks' own, the operator's, path-bound ones |
//! | `defaults`    | gitleaks' own rules, out of its program                   |
//! | `ends`        | where their tokens end, and what lets them through        |
//! | `own`         | the gate's own rules, and what is a suspect only          |
//! | `path_rules`  | what a path decides (with `file_names`)                   |
//! | `launch`      | how gitleaks is started                                   |
//! | `sandbox`     | what it may not do                                        |
//! | `supply`      | where a push's scanners come from                         |
//! | `pool_client` | how gate-init lends one that is started already           |
//! | `session`     | one scan: its input and output, its time limit            |
//! | `parallel`    | a big push: several of them side by side                  |
//! | `report`      | the JSON report                                           |

mod defaults;
mod ends;
mod engine;
pub mod entropy_rules;
mod file_names;
pub(crate) mod launch;
mod own;
mod parallel;
mod path_rules;
pub(crate) mod pool_client;
mod report;
mod rules;
pub mod sandbox;
mod session;
mod supply;

#[cfg(fuzzing)]
pub use engine::parse_report;
pub use engine::{Engine, EngineError, FRAGMENT_LIMIT, PROGRAM_VARIABLE, RawFinding, Scanner};
pub use own::Form;
pub use path_rules::PathRules;
