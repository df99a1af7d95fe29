//! Where a rule that only measures randomness says nothing: files that are full of random-looking
//! text by their nature.
//!
//! gitleaks leaves such paths out altogether, and with them any real token that stands there. Here
//! only [`RULES`] are quiet; a rule for one provider's tokens counts everywhere.

/// Rules that rest on a word nearby and on entropy, and know no shape of their own:
///
/// - `generic-api-key`: any text of ten and more characters behind `key`, `token`, `auth`…
/// - `sourcegraph-access-token`: besides its own shape, any 40 hexadecimal digits, which is what
///   a git commit or a SHA-1 sum looks like;
/// - the identifiers of clients and the plain hexadecimal keys of a provider whose *name* is all
///   that tells them from a checksum, as it does in `node_modules/facebook…` of a lock file.
const RULES: &[&str] = &[
    "adobe-client-id",
    "algolia-api-key",
    "bitbucket-client-id",
    "cloudflare-global-api-key",
    "codecov-access-token",
    "confluent-access-token",
    "datadog-access-token",
    "discord-api-token",
    "discord-client-id",
    "facebook-secret",
    "fastly-api-token",
    "flickr-access-token",
    GENERIC,
    "linear-client-secret",
    "linkedin-client-id",
    "sendbird-access-token",
    "sentry-access-token",
    "sourcegraph-access-token",
];

/// The rule that knows a name in front and nothing else.
pub const GENERIC: &str = "generic-api-key";

/// Names of files that package managers and build tools write: checksums, resolved versions.
const NAMES: &[&str] = &[
    "bun.lock",
    "cargo.lock",
    "composer.lock",
    "deno.lock",
    "flake.lock",
    "gemfile.lock",
    "go.mod",
    "go.sum",
    "go.work.sum",
    "gradle.lockfile",
    "gradlew",
    "gradlew.bat",
    "mix.lock",
    "mvnw",
    "mvnw.cmd",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "package.resolved",
    "packages.lock.json",
    "pdm.lock",
    "pipfile.lock",
    "pnpm-lock.yaml",
    "podfile.lock",
    "poetry.lock",
    "pubspec.lock",
    "sha256sums",
    "sha512sums",
    "uv.lock",
    "verification-metadata.xml",
    "yarn.lock",
];

/// Ends of names: what a program wrote for a program.
const SUFFIXES: &[&str] = &[
    ".bmp", ".css.map", ".eot", ".gif", ".ico", ".jpeg", ".jpg", ".js.map", ".map", ".md5",
    ".min.css", ".min.js", ".min.mjs", ".otf", ".pdf", ".png", ".sha1", ".sha256", ".sha512",
    ".svg", ".tif", ".tiff", ".ttf", ".webp", ".woff", ".woff2",
];

/// Directories of other people's code as a package manager lays it out.
const DIRECTORIES: &[&str] = &[
    "bower_components",
    "node_modules",
    "site-packages",
    "vendor",
];

/// Whether `rule` knows no shape of its own.
pub fn rests_on_randomness(rule: &str) -> bool {
    RULES.contains(&rule)
}

/// Whether `rule` says nothing in the file at `path`.
pub fn is_quiet(rule: &str, path: &[u8]) -> bool {
    rests_on_randomness(rule) && is_generated(path)
}

/// Whether the file at `path` is full of random-looking text by its nature.
pub fn is_generated(path: &[u8]) -> bool {
    let path = path.to_ascii_lowercase();
    let start = path.iter().rposition(|&b| b == b'/');
    let (directory, name) = path.split_at(start.map_or(0, |slash| slash + 1));
    NAMES.iter().any(|known| name == known.as_bytes())
        || SUFFIXES
            .iter()
            .any(|suffix| name.ends_with(suffix.as_bytes()))
        || is_foreign(directory)
}

/// Whether `directory` is, or is in, one of other people's code.
pub fn is_foreign(directory: &[u8]) -> bool {
    let is_known = |part: &[u8]| {
        let is_it = |known: &&str| part.eq_ignore_ascii_case(known.as_bytes());
        DIRECTORIES.iter().any(is_it)
    };
    directory.split(|&b| b == b'/').any(is_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_without_a_shape_are_quiet_and_only_on_generated_files() {
        for path in [
            "go.sum",
            "web/package-lock.json",
            "a/Cargo.lock",
            "x/app.MIN.js",
            "i.svg",
        ] {
            assert!(is_quiet("generic-api-key", path.as_bytes()), "{path}");
            assert!(!is_quiet("github-pat", path.as_bytes()), "{path}");
        }
        assert!(is_quiet("generic-api-key", b"web/node_modules/a/index.js"));
        for path in [
            "src/main.rs",
            "lock",
            "vendor",
            "go.sum/x",
            "node_modules.env",
            ".env",
        ] {
            assert!(!is_quiet("generic-api-key", path.as_bytes()), "{path}");
        }
    }
}
