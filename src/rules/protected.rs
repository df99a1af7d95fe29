//! Ready-made sets of paths: what makes a forge or its CI run something, or decide who is asked.

use crate::settings::Protect;

/// The default files of GitHub, GitLab, Gitea, Forgejo, Woodpecker, Drone, Azure, Bitbucket, CircleCI,
/// Jenkins, Buildkite, Travis and AppVeyor, each as its maker documents it.
const CI: &[&str] = &[
    "/.github/workflows/",
    "/.github/actions/",
    "/.gitea/workflows/",
    "/.gitea/actions/",
    "/.forgejo/workflows/",
    "/.forgejo/actions/",
    "/.gitlab-ci.yml",
    "/.gitlab/ci/",
    "/.gitlab/agents/",
    "/.woodpecker/",
    "/.woodpecker.y*ml",
    "/.drone.*",
    "/azure-pipelines*.y*ml",
    "/.azure-pipelines/",
    "/.azuredevops/",
    "/.vsts-ci.yml",
    "/bitbucket-pipelines.yml",
    "/.circleci/",
    "/circle.yml",
    "Jenkinsfile",
    "/Jenkinsfile.*",
    "/.jenkins/",
    "/.buildkite/",
    "/buildkite.y*ml",
    "/buildkite.json",
    "/.travis.yml",
    "/appveyor.yml",
    "/.appveyor.yml",
    "/CODEOWNERS",
    "/docs/CODEOWNERS",
    "/.github/CODEOWNERS",
    "/.gitlab/CODEOWNERS",
    "/.gitea/CODEOWNERS",
    "/.forgejo/CODEOWNERS",
];

/// The globs of `set`, each a [`crate::path_glob::PathGlob`].
pub fn globs(set: Protect) -> &'static [&'static str] {
    match set {
        Protect::Ci => CI,
        Protect::Gitmodules => &["/.gitmodules"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path_glob::PathGlob;

    #[test]
    fn every_set_holds_globs() {
        for glob in Protect::ALL.iter().flat_map(|set| globs(*set)) {
            PathGlob::try_from((*glob).to_owned()).unwrap();
        }
    }
}
