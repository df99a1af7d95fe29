//! The two hooks: here, and only here, push, scan and upstream meet.

mod access;
mod pre_receive;
mod told;

pub use access::access;
pub use pre_receive::pre_receive;
pub use told::refuse;
