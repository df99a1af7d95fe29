//! Scanners that serve many pushes: gate-init keeps a few gitleaks, lends each to one hook after the
//! other, and renews them. `scan::gitleaks::pool_client` says how they talk.
//!
//! Hooks that wait stand in one queue. The next is the one whose client has the fewest scanners, and of
//! these the one that came first: whoever pushes a lot waits for itself. Who has a scanner while others
//! wait is asked for it once its turn is over, and queues again for the rest of its push.

mod pool;
mod stock;

pub use pool::Pool;
pub use stock::Kept;
