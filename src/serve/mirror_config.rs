//! The git config of a mirror: what git and the hooks read there.

use std::path::Path;

use crate::config::Upstream;
use crate::settings::{
    Atomic, Deletes, ForcePush, Limits, Mode, PathGlob, Policy, Settings, Suspects, USER,
};
use crate::url::https_url::is_https;

/// What git-fsck(1) dislikes and old public histories have; a plain ssh server and the forges take it.
/// None of it changes what a checkout writes or what the gate reads.
const HARMLESS: [&str; 14] = [
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badName",
    "badTimezone",
    "largePathname",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "multipleAuthors",
    "nulInCommit",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
];

/// What a push may be larger than `maxPushSize` before receive-pack itself stops reading it. Below
/// that the hook refuses it, which can explain itself.
const PUSH_SIZE_MARGIN: u64 = 64 << 20;

/// Writes all keys of the mirror of `upstream` into the git config `file`.
pub fn write(file: &Path, upstream: &Upstream, settings: &Settings) -> Result<(), git2::Error> {
    let mut config = git2::Config::open(file)?;
    clear(&mut config, "^git-gate[.]")?;
    clear(&mut config, "^receive[.]fsck[.]")?;
    for key in [
        "^core.hookspath$",
        "^remote.origin.fetch$",
        "^remote.origin.mirror$",
    ] {
        clear(&mut config, key)?;
    }
    // libgit2 reads no header out of a pack of SHA-256 objects.
    let is_sha256 = config
        .get_string("extensions.objectformat")
        .is_ok_and(|format| format == "sha256");
    let unpack_limit = if is_sha256 { "2147483647" } else { "1" };
    let sign_of_life = (settings.limits.idle_client / 3).clamp(1, 5).to_string();
    let most = settings
        .limits
        .max_push_size
        .saturating_add(PUSH_SIZE_MARGIN)
        .to_string();
    let fixed = [
        ("remote.origin.url", upstream.url.as_str()),
        ("remote.origin.fetch", "+refs/*:refs/*"),
        ("receive.denyCurrentBranch", "ignore"),
        ("receive.advertisePushOptions", "true"),
        // What an agent sends is checked; what the upstream holds is not the gate's to judge.
        ("receive.fsckObjects", "true"),
        // A sign of life during a long scan, without which the client would count as stalled.
        ("receive.keepAlive", &sign_of_life),
        ("receive.maxInputSize", &most),
        ("receive.autogc", "false"),
        // A push stays in the pack that it came in: git would unpack a small one and deflate
        // each object anew, once here and once more for the upstream.
        ("receive.unpackLimit", unpack_limit),
        // And a fetch: its pack is there whole or not at all, while loose objects come one by one.
        ("fetch.unpackLimit", unpack_limit),
        // What is larger is streamed and not held in memory, nor searched for deltas.
        ("core.bigFileThreshold", "8m"),
        // What a push is connected to is looked for below all refs of the mirror. git would list them once
        // more, since to a push's quarantine the mirror's objects are an alternate's.
        ("core.alternateRefsCommand", "true"),
        ("uploadpack.allowFilter", "true"),
        // A partial clone fetches what it lacks by its id. Protocol version 2 serves any object by
        // its id anyway; older clients (git 2.25) ask with version 0.
        ("uploadpack.allowAnySHA1InWant", "true"),
        ("uploadpack.keepAlive", &sign_of_life),
        ("http.receivepack", "true"),
        ("core.logAllRefUpdates", "false"),
        // gate-init repacks by itself (`upkeep`), when no client waits for it.
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
    ];
    for (key, value) in fixed {
        config.set_str(key, value)?;
    }
    let of_operator = upstream
        .fsck
        .iter()
        .map(|(id, level)| (id.as_str(), level.word()));
    for (id, level) in HARMLESS
        .map(|id| (id, "ignore"))
        .into_iter()
        .chain(of_operator)
    {
        config.set_str(&format!("receive.fsck.{id}"), level)?;
    }
    write_own_keys(settings, &mut config)
}

/// The keys of the section `git-gate`, each where it differs from its default.
fn write_own_keys(settings: &Settings, config: &mut git2::Config) -> Result<(), git2::Error> {
    let login = &settings.login;
    let is_ssh = !is_https(&settings.url);
    let paths = [
        (
            "git-gate.identityFile",
            is_ssh.then_some(&settings.identity_file),
        ),
        (
            "git-gate.knownHosts",
            is_ssh.then_some(&settings.known_hosts),
        ),
        ("git-gate.tokenFile", login.token_file.as_ref()),
        ("git-gate.caFile", login.ca_file.as_ref()),
        ("git-gate.gitleaksConfig", settings.gitleaks_config.as_ref()),
        ("git-gate.exceptions", settings.exceptions.as_ref()),
    ];
    for (key, path) in paths {
        if let Some(path) = path {
            config.set_str(key, &path.to_string_lossy())?;
        }
    }
    if login.user != USER {
        config.set_str("git-gate.user", &login.user)?;
    }
    for argument in &login.command {
        config.set_multivar("git-gate.credentialCommand", "^$.", argument)?;
    }
    for pattern in &settings.fetch_ref {
        // Adds: the expression matches no value that stands there.
        config.set_multivar("git-gate.fetchRef", "^$.", pattern.as_str())?;
    }
    if settings.read_only {
        config.set_bool("git-gate.readOnly", true)?;
    }
    write_policy(&settings.policy, config)?;
    let default = Limits::default().entries();
    for ((name, value), (_, usual)) in settings.limits.entries().into_iter().zip(default) {
        if value != usual {
            config.set_str(&format!("git-gate.{name}"), &value.to_string())?;
        }
    }
    Ok(())
}

fn write_policy(policy: &Policy, config: &mut git2::Config) -> Result<(), git2::Error> {
    for glob in &policy.allow_ref {
        config.set_multivar("git-gate.allowRef", "^$.", glob)?;
    }
    if policy.force_push == ForcePush::Lease {
        config.set_str("git-gate.forcePush", "lease")?;
    }
    if policy.deletes == Deletes::Refuse {
        config.set_str("git-gate.deletes", "refuse")?;
    }
    for glob in &policy.allow_push_option {
        config.set_multivar("git-gate.allowPushOption", "^$.", glob)?;
    }
    if policy.max_deletes != Policy::default().max_deletes {
        config.set_str("git-gate.maxDeletes", &policy.max_deletes.to_string())?;
    }
    if policy.atomic == Atomic::Prefer {
        config.set_str("git-gate.atomic", "prefer")?;
    }
    write_content_rules(policy, config)?;
    if policy.suspects == Suspects::Refuse {
        config.set_str("git-gate.suspects", "refuse")?;
    }
    Ok(())
}

/// The keys of the rules on content, and of what becomes of a push that is against them.
fn write_content_rules(policy: &Policy, config: &mut git2::Config) -> Result<(), git2::Error> {
    let globs = |globs: &[PathGlob]| globs.iter().map(|one| one.as_str().to_owned()).collect();
    let lists: [(_, Vec<String>); 5] = [
        ("denyPath", globs(&policy.deny_path)),
        ("allowPath", globs(&policy.allow_path)),
        (
            "protect",
            policy
                .protect
                .iter()
                .map(|set| set.word().to_owned())
                .collect(),
        ),
        ("allowAuthor", policy.allow_author.clone()),
        ("notify", policy.notify.clone()),
    ];
    for (name, values) in lists {
        for value in values {
            config.set_multivar(&format!("git-gate.{name}"), "^$.", &value)?;
        }
    }
    let number = |limit: Option<u64>| limit.map(|limit| limit.to_string());
    let signers = policy.require_signature.as_ref();
    let singles = [
        (
            "requireSignature",
            signers.map(|file| file.to_string_lossy().into_owned()),
        ),
        ("maxFileSize", number(policy.max_file_size)),
        ("maxCommits", number(policy.max_commits)),
        ("maxFiles", number(policy.max_files)),
        ("hold", number(Some(policy.hold).filter(|&hold| hold > 0))),
        (
            "mode",
            (policy.mode == Mode::Observe).then(|| "observe".to_owned()),
        ),
    ];
    for (name, value) in singles {
        if let Some(value) = value {
            config.set_str(&format!("git-gate.{name}"), &value)?;
        }
    }
    Ok(())
}

/// Removes every value of the keys that match `expression`.
fn clear(config: &mut git2::Config, expression: &str) -> Result<(), git2::Error> {
    let mut names = Vec::new();
    config.entries(Some(expression))?.for_each(|entry| {
        names.extend(entry.name().ok().map(str::to_owned));
    })?;
    names.sort_unstable();
    names.dedup();
    names
        .iter()
        .try_for_each(|name| config.remove_multivar(name, ".*"))
}
