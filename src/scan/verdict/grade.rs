//! Which findings refuse, and which are told only.
//!
//! The gate's own rules have their grade beside them. Of gitleaks' rules, these find much that is public
//! by design, or only looks random beside a word; they then make a suspect:
//!
//! | rule              | is a suspect where                                                            |
//! |-------------------|-------------------------------------------------------------------------------|
//! | `generic-api-key` | the value is a UUID, an address, sealed, or made of words; its name says public; in a table |
//! | `gcp-api-key`     | the file is one of Firebase's for a client                                    |
//! | `algolia-api-key` | nothing says admin: a key to search with is public                            |

use crate::scan::Hit;
use crate::scan::gitleaks::entropy_rules;
use crate::scan::objects::reader::ObjectReader;
use crate::settings::Suspects;

use super::place;

/// What a finding does to the push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// It is refused.
    Secret,
    /// It passes, and the finding is told.
    Suspect,
}

/// What a name says, in lower case, whose value is meant to be seen.
const PUBLIC: &[&str] = &[
    "verification",
    "analytics",
    "measurement",
    "tracking",
    "publishable",
    "public",
    "sitekey",
    "site_key",
    "site-key",
    "search",
    "keybinding",
    "write_key",
    "writekey",
    "cache-key",
    "cache_key",
    "checksum",
    "hash",
    "fingerprint",
    "thumbprint",
    "digest",
];

/// Ends of the names of files that hold Firebase's settings for a client.
const FIREBASE: &[&str] = &[
    "google-services.json",
    "googleservice-info.plist",
    "firebase_options.dart",
    "firebase-config.js",
    "firebaseconfig.js",
    "firebaseconfig.ts",
    "firebase.js",
    "firebase.ts",
    "firebase-messaging-sw.js",
];

/// Ends of the names of files in which rows of ids stand, and keys of a keyboard.
const TABLES: &[&str] = &[
    ".csv",
    ".tsv",
    ".ipynb",
    "keybindings.json",
    "keymap.json",
    ".keymap",
];

/// How long what is sealed is at least, as far as one finding reaches.
const SEALED: usize = 60;

/// The grade of `hit` under the policy of its repository.
pub fn of(texts: &ObjectReader<'_>, hit: &Hit) -> Grade {
    let tells = texts.request.settings.policy.suspects == Suspects::Tell;
    let paths = place::paths_of(texts, hit);
    let is_suspect = texts.rules.grades.is_suspect(&hit.raw.rule, &paths) || is_weak(hit, &paths);
    match tells && is_suspect && !hit.forbids_path {
        true => Grade::Suspect,
        false => Grade::Secret,
    }
}

/// Whether one of gitleaks' rules says little here.
fn is_weak(hit: &Hit, paths: &[String]) -> bool {
    let raw = &hit.raw;
    let is_one = |ends: &[&str]| {
        let is_it = |path: &String| {
            let path = path.to_ascii_lowercase();
            ends.iter().any(|end| path.ends_with(end))
        };
        !paths.is_empty() && paths.iter().all(is_it)
    };
    match raw.rule.as_str() {
        entropy_rules::GENERIC => {
            is_one(TABLES) || is_public(&raw.matched, &raw.secret) || is_plain(&raw.secret)
        }
        "gcp-api-key" => is_one(FIREBASE),
        "algolia-api-key" => !raw.matched.to_ascii_lowercase().contains("admin"),
        _ => false,
    }
}

/// Whether the name in front of `secret` in `matched` says that everybody may see it.
fn is_public(matched: &str, secret: &str) -> bool {
    let before = matched.find(secret).map_or(matched, |at| &matched[..at]);
    let before = before.to_ascii_lowercase();
    PUBLIC.iter().any(|word| before.contains(word))
}

/// Whether `secret` is an id, an address, or consists of words and short numbers.
fn is_plain(secret: &str) -> bool {
    is_uuid(secret)
        || is_sealed(secret)
        || is_address(secret)
        || secret
            .split(|c: char| !c.is_ascii_alphanumeric())
            .all(is_word)
}

/// Whether `text` is part of a SealedSecret: it is encrypted, and new with each sealing.
fn is_sealed(text: &str) -> bool {
    text.starts_with("Ag") && text.len() >= SEALED
}

fn is_uuid(text: &str) -> bool {
    let parts = text.split('-').map(|part| {
        let is_hex = part.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then_some(part.len())
    });
    parts.eq([8, 4, 4, 4, 12].map(Some))
}

/// Whether `text` is a number of a chain of blocks, or of any other size: `0x` and digits.
fn is_address(text: &str) -> bool {
    let digits = text.strip_prefix("0x");
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether `part` is a word, or words with capitals, with a short number behind it.
fn is_word(part: &str) -> bool {
    let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_vowel = |c: char| matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let vowels = letters.chars().filter(|&c| is_vowel(c)).count();
    let capitals = letters.chars().filter(char::is_ascii_uppercase).count();
    let (count, digits) = (letters.len(), part.len() - letters.len());
    let is_readable = count < 4 || (vowels * 6 >= count && vowels * 4 <= count * 3);
    // In words, a capital begins one; or all are.
    let is_cased = capitals * 3 <= count || capitals == count;
    let is_all_letters = letters.chars().all(|c| c.is_ascii_alphabetic());
    is_all_letters && is_readable && is_cased && digits <= 4 && count <= 24
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_addresses_and_words_are_plain() {
        for plain in [
            "123e4567-e89b-12d3-a456-426614174000",
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "my-jenkins-credential-2",
            "oauth2_token_value",
            "workbench.action.terminal.new2",
            "AwsCredentialsProvider2",
            "SOME_SECRET_NAME_1",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for random in [
            "a1b2c3d4e5f6a7b8c9d0",
            "xK9mQ2vR7tY4wZ1n",
            "951bc382db9abad29c68634761dd6e19",
            "hGfRtKjPlMnBvCxZqWsD12",
            "qwrtpsdfghjklzxcvbnm1",
        ] {
            assert!(!is_plain(random), "{random}");
        }
    }
}
