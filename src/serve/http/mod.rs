//! Git's smart HTTP (gitprotocol-http(5)), and the health and the counters for who watches the gate.
//!
//! | module     | what it does                                                     |
//! |------------|------------------------------------------------------------------|
//! | `server`   | the addresses, and what each request on them is answered by      |
//! | `connection` | what is known of a client from one request to the next         |
//! | `route`    | what a URL asks for                                              |
//! | `git`      | one request of git: the mirror refreshed, git started and heard  |
//! | `pump`     | bytes between the client and the git that serves it              |
//! | `body`     | what comes in a request, unpacked; what goes out in an answer    |
//! | `login`    | who asks                                                         |
//! | `intent`   | a push of which only the refs were asked for                     |
//! | `opening`  | the first packets of a request: what it is about                 |
//!
//! hyper speaks HTTP, on one thread with tokio's small runtime; git itself answers
//! (`--stateless-rpc`), in the same limits and with the same hooks as behind git's own protocol.

mod body;
mod connection;
mod git;
mod intent;
mod login;
mod opening;
mod pump;
mod route;
mod server;

pub use connection::CONVERSATION;
use connection::Connection;
pub use server::{Http, addresses, start};
