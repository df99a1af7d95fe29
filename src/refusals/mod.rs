//! Refusals that an operator can answer: each has an id, is kept in the mirror, and ends with one command.
//!
//! They are kept in the gate's own directory in the mirror (`git-gate/refusals`), which is the one place
//! that the hook and the operator's commands both know, without gate-init too. What is accepted is
//! written beside them (`git-gate/accepted`) in the form of the operator's own exceptions: that file may
//! be read-only, and is for people.
//!
//! | part       | what it knows                                                |
//! |------------|--------------------------------------------------------------|
//! | `record`   | what is kept of a refusal, and of its answer                 |
//! | `store`    | the files, under a lock; the exceptions that answers make    |
//! | `question` | the hook's side: tell the operator, and wait for the answer  |
//! | `desk`     | the operator's side: list, show, accept, deny                |

pub mod desk;
mod question;
mod record;
mod store;

pub use question::{Outcome, Question};
pub use record::{About, Answer, Item, Record};
pub use store::{RefusalsError, Store};
