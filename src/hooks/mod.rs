//! The two hooks: here, and only here, push, scan and upstream meet.

mod pre_receive;

pub use pre_receive::{access, pre_receive, refuse};
