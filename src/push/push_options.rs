//! Which push options (git-push(1), `--push-option`) may go on to the upstream. A forge reads them as
//! orders: to merge, to skip its own checks, to make a repository public.

use wildmatch::WildMatch;

use super::PolicyError;

/// Push options for the gate itself begin so, and stay here.
pub const OWN: &[u8] = b"git-gate.";

/// Options of well-known forges, which may be named before they were scanned: the text is ours.
const KNOWN: &[&str] = &[
    "ci.input",
    "ci.skip",
    "ci.variable",
    "description",
    "force-push",
    "integrations.skip_ci",
    "merge_request.assign",
    "merge_request.create",
    "merge_request.description",
    "merge_request.draft",
    "merge_request.label",
    "merge_request.merge_when_pipeline_succeeds",
    "merge_request.remove_source_branch",
    "merge_request.target",
    "merge_request.title",
    "repo.private",
    "repo.template",
    "secret_push_protection.skip_all",
    "title",
    "topic",
];

/// The options that go on to the upstream.
pub fn forwarded(options: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    options
        .iter()
        .map(Vec::as_slice)
        .filter(|option| !option.starts_with(OWN))
}

/// Checks that each option which would go on is one of `allowed`.
pub(crate) fn check(options: &[Vec<u8>], allowed: &[String]) -> Result<(), PolicyError> {
    let globs: Vec<_> = allowed.iter().map(|glob| WildMatch::new(glob)).collect();
    let is_allowed = |option: &[u8]| {
        std::str::from_utf8(option)
            .is_ok_and(|option| globs.iter().any(|glob| glob.matches(option)))
    };
    for (option, number) in options.iter().zip(1..) {
        if !option.starts_with(OWN) && !is_allowed(option) {
            return Err(PolicyError::PushOption {
                option: shown(option, number),
                allowed: match allowed {
                    [] => "none".to_owned(),
                    globs => globs.join(", "),
                },
            });
        }
    }
    Ok(())
}

fn shown(option: &[u8], number: usize) -> String {
    let key = option.split(|&byte| byte == b'=').next().unwrap_or(option);
    match KNOWN.iter().find(|known| known.as_bytes() == key) {
        Some(known) => format!("push option {number} ({known})"),
        None => format!("push option {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_goes_on_and_unknown_text_is_not_shown() {
        let options = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.as_bytes().to_vec())
                .collect::<Vec<_>>()
        };
        let refusal = |sent: &[&str], allowed: &[&str]| {
            let allowed: Vec<_> = allowed.iter().map(|&glob| glob.to_owned()).collect();
            check(&options(sent), &allowed)
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(refusal(&["git-gate.format=json"], &[]), None);
        assert_eq!(refusal(&["ci.skip", "topic=x"], &["ci.*", "topic=*"]), None);
        let said = refusal(&["git-gate.format=json", "repo.private=false"], &[]).unwrap();
        assert!(
            said.starts_with("push option 2 (repo.private) is refused"),
            "{said}"
        );
        let said = refusal(&["hunter2=hunter2"], &["ci.skip"]).unwrap();
        assert!(
            !said.contains("hunter2") && said.contains("ci.skip"),
            "{said}"
        );
        let sent = options(&["git-gate.format=json", "ci.skip"]);
        assert_eq!(forwarded(&sent).collect::<Vec<_>>(), [b"ci.skip"]);
    }
}
