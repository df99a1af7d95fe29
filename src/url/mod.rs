//! The URLs that an upstream may have.

pub mod https_url;
pub mod ssh_url;
