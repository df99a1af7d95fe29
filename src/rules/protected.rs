//! Ready-made sets of paths: what makes a forge or its CI run something, or decide who is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `git-gate.protect`: a set of paths that no push may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protect {
    /// What forges and CI servers run with a repository's own secrets, and `CODEOWNERS`.
    Ci,
    /// `.gitmodules`: where submodules come from.
    Gitmodules,
}

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

impl Protect {
    /// All sets.
    pub const ALL: [Self; 2] = [Self::Ci, Self::Gitmodules];

    /// Its name in the settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Gitmodules => "gitmodules",
        }
    }

    /// Its globs, each a [`crate::path_glob::PathGlob`].
    pub fn globs(self) -> &'static [&'static str] {
        match self {
            Self::Ci => CI,
            Self::Gitmodules => &["/.gitmodules"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path_glob::PathGlob;

    #[test]
    fn every_set_holds_globs() {
        for glob in Protect::ALL.iter().flat_map(|set| set.globs()) {
            PathGlob::try_from((*glob).to_owned()).unwrap();
        }
    }
}
