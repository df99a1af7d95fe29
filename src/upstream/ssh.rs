//! ssh, with the pinned host key and the one key file and nothing else.

/// When git starts this program as its ssh, becomes ssh and does not return.
pub fn exec_if_transport() {}

/// Starts opening the connection that a forward will need, and does not wait for it.
pub fn open_early(_settings: &crate::settings::Settings) {}
