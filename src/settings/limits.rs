//! The limits, each with its default and its range.

use git2::Config;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SettingsError;
use super::git_config::unsigned;
use crate::deadline::LONGEST;

/// Declares [`Limits`]: field, name in `gate.json` and behind `git-gate.` in git config, default, and
/// the range of what it takes.
macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident, $name:literal = $default:literal, $least:literal to $most:expr;)*) => {
        /// Every limit of the gate. Times are whole seconds, sizes are bytes (git's suffixes `k`,
        /// `m`, `g` are understood in git config). The same names stand in `gate.json` and, behind
        /// `git-gate.`, in git config.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits {
            $($(#[$doc])* #[serde(rename = $name)] #[schemars(range(min = $least, max = $most))] pub $field: u64,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Limits {
            /// Each limit's name and value.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field),)*]
            }

            /// The first limit whose value is out of its range, and the range in words.
            pub fn out_of_range(&self) -> Option<(&'static str, String)> {
                let limits: [(_, u64, u64, u64); _] = [$(($name, self.$field, $least, $most),)*];
                limits
                    .into_iter()
                    .find(|(_, value, least, most)| value < least || value > most)
                    .map(|(name, _, least, most)| (name, format!("must be from {least} to {most}")))
            }

            /// The names of all limits.
            pub(super) const NAMES: &[&str] = &[$($name,)*];

            pub(super) fn read(config: &Config) -> Result<Self, SettingsError> {
                let mut limits = Self::default();
                $(if let Some(value) = unsigned(config, $name)? { limits.$field = value; })*
                match limits.out_of_range() {
                    None => Ok(limits),
                    Some((name, problem)) => Err(SettingsError::Invalid {
                        key: format!("git-gate.{name}"),
                        problem,
                    }),
                }
            }
        }
    };
}

limits! {
    /// Seconds until the ssh connection stands (ssh's `ConnectTimeout`).
    connect, "connectTimeout" = 10, 1 to LONGEST;
    /// Seconds for which the upstream may say nothing before it counts as gone.
    silence, "silenceTimeout" = 20, 1 to LONGEST;
    /// Seconds for a whole refresh, the first clone of a mirror included.
    refresh, "refreshTimeout" = 300, 1 to LONGEST;
    /// Seconds for a whole scan.
    scan, "scanTimeout" = 300, 1 to LONGEST;
    /// Seconds for a whole forward.
    forward, "forwardTimeout" = 300, 1 to LONGEST;
    /// Seconds to wait for another fetch or push of the same repository.
    lock, "lockTimeout" = 120, 1 to LONGEST;
    /// Seconds that an unused ssh connection to the upstream stays open.
    ssh_persist, "sshPersist" = 600, 0 to LONGEST;
    /// Seconds that a session with the upstream, opened ahead, waits for the next fetch or push; 0: none
    /// is opened. gate-init only.
    session_idle, "sessionIdle" = 0, 0 to LONGEST;
    /// Bytes of objects that one push may bring, as they arrive.
    max_push_size, "maxPushSize" = 4_294_967_296, 1 to 1_152_921_504_606_846_976_u64;
    /// Bytes that one object of a push may have, unpacked.
    max_object_size, "maxObjectSize" = 2_147_483_648, 1 to 1_152_921_504_606_846_976_u64;
    /// Bytes that the objects of one push may have together, unpacked.
    max_unpacked_size, "maxUnpackedSize" = 137_438_953_472, 1 to 1_152_921_504_606_846_976_u64;
    /// Refs that one push may update.
    max_refs, "maxRefs" = 1000, 1 to 1_000_000;
    /// How deep archives inside archives are opened.
    archive_depth, "archiveDepth" = 4, 0 to 32;
    /// Entries that the archives of one push may hold together.
    archive_entries, "archiveEntries" = 100_000, 0 to 1_000_000_000;
    /// Bytes that the archives of one push may unpack to together.
    archive_size, "archiveSize" = 1_073_741_824, 0 to 1_152_921_504_606_846_976_u64;
    /// How many times its packed size a member of an archive may unpack to, past its first MiB.
    archive_ratio, "archiveRatio" = 1000, 1 to 1_000_000_000;
    /// Seconds for which a client may stay silent while it is its turn. gate-init only.
    idle_client, "idleClient" = 15, 1 to LONGEST;
    /// Seconds for which a push may wait for its client: for its pre-push hook, for its packing.
    /// gate-init only.
    idle_push, "idlePush" = 900, 1 to LONGEST;
    /// Clients served at once. gate-init only.
    connections, "maxConnections" = 128, 1 to 1_000_000;
    /// Clients served at once from one address. gate-init only.
    connections_per_peer, "maxConnectionsPerPeer" = 64, 1 to 1_000_000;
    /// Seconds that pushes in flight get to end after SIGTERM. gate-init only.
    drain, "drainTimeout" = 60, 0 to LONGEST;
    /// Scanners kept started ahead, some 65 MB of memory each. gate-init only.
    warm_scanners, "warmScanners" = 1, 0 to 64;
    /// Seconds after a push until no scanner is kept any more. gate-init only.
    scanner_idle, "scannerIdle" = 600, 1 to LONGEST;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_stands_in_the_documented_table_with_its_default() {
        let table = include_str!("../../docs/settings.md");
        for (name, default) in Limits::default().entries() {
            let row = table
                .lines()
                .find(|line| line.starts_with(&format!("| `git-gate.{name}` |")));
            let row = row.unwrap_or_else(|| panic!("{name} is missing"));
            assert!(row.contains(&format!("| {default} |")), "{row}");
        }
    }
}
