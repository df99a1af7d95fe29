//! Rules on what a push brings: paths that nobody may change, who may have made a commit, how large
//! it may be. They are decided before the scan, since they cost less.
//!
//! | part        | what it knows                                                    |
//! |-------------|------------------------------------------------------------------|
//! | `check`     | the rules, one after the other                                   |
//! | `spelling`  | which file a checkout writes for a name                          |
//! | `paths`     | the globs of a repository, and what may still come below a directory |
//! | `protected` | ready-made sets of globs                                         |
//! | `changes`   | what the new commits change, each against its parents            |
//! | `people`    | addresses and signatures                                         |
//! | `told`      | what is against a rule, as a finding                             |

mod changes;
mod check;
mod error;
mod paths;
mod people;
mod protected;
mod spelling;
mod told;

use check::Broken;
pub use check::check;
pub use error::RuleError;
