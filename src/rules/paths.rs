//! Which paths no push may change, and how far down a directory such a path may still come.

use super::protected;
use super::spelling::{self, NameGlob};
use crate::path_glob::PathGlob;
use crate::settings::Policy;

/// All rules on paths of a repository.
#[derive(Debug, Default)]
pub struct PathRules {
    denied: Vec<Denied>,
    allowed: Vec<Vec<Part>>,
}

/// A glob that refuses.
#[derive(Debug)]
struct Denied {
    /// The setting, without `git-gate.` in front.
    setting: &'static str,
    /// What of the setting it is, as it is told: `ci, /.circleci/`.
    told: String,
    parts: Vec<Part>,
}

/// One part of a glob.
#[derive(Debug)]
enum Part {
    /// `**`: any directories, or none.
    Directories,
    /// One name.
    Name(NameGlob),
}

/// What may still come below a directory: the places in the globs that its path has led to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// A glob, and its next part.
    open: Vec<(usize, usize)>,
    /// The first glob that is matched whole: it holds for all that is below.
    denied: Option<usize>,
}

impl State {
    /// Whether nothing below can be refused.
    pub fn is_free(&self) -> bool {
        self.open.is_empty() && self.denied.is_none()
    }

    /// The glob that refuses what is here.
    pub fn denied(&self) -> Option<usize> {
        self.denied
    }
}

impl PathRules {
    /// Those of `policy`.
    pub fn new(policy: &Policy) -> Self {
        let own = policy
            .deny_path
            .iter()
            .map(|glob| ("denyPath", glob.as_str().to_owned(), glob.clone()));
        let sets = policy.protect.iter().flat_map(|set| {
            let globs = protected::globs(*set).iter();
            let read = globs.filter_map(|glob| PathGlob::try_from((*glob).to_owned()).ok());
            read.map(|glob| {
                (
                    "protect",
                    format!("{}, {}", set.word(), glob.as_str()),
                    glob,
                )
            })
        });
        let denied = own.chain(sets).map(|(setting, told, glob)| Denied {
            setting,
            told,
            parts: parts(&glob),
        });
        Self {
            denied: denied.collect(),
            allowed: policy.allow_path.iter().map(parts).collect(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.denied.is_empty()
    }

    /// The setting of a glob that refuses, and which of its values it is.
    pub fn rule(&self, glob: usize) -> (&'static str, &str) {
        (self.denied[glob].setting, &self.denied[glob].told)
    }

    /// At the top of a tree.
    pub fn top(&self) -> State {
        let mut state = State::default();
        for glob in 0..self.denied.len() {
            self.reach(&mut state, glob, 0);
        }
        state
    }

    /// From a directory in `state` to its entry `name`, as a checkout may write it.
    pub fn enter(&self, state: &State, name: &[u8]) -> State {
        let mut state = state.clone();
        for name in spelling::names(name) {
            if state.denied.is_some() {
                break;
            }
            if spelling::leads_up(&name) && !self.is_empty() {
                state.denied = Some(0);
                break;
            }
            if !spelling::fold(&name).is_empty() {
                state = self.step(&state, &name);
            }
        }
        state
    }

    fn step(&self, state: &State, name: &str) -> State {
        let mut next = State::default();
        for &(glob, at) in &state.open {
            match &self.denied[glob].parts[at] {
                Part::Directories => self.reach(&mut next, glob, at),
                Part::Name(one) if one.matches(name) => self.reach(&mut next, glob, at + 1),
                Part::Name(_) => {}
            }
        }
        next
    }

    /// Notes that the path is in front of part `at` of `glob`.
    fn reach(&self, state: &mut State, glob: usize, at: usize) {
        match self.denied[glob].parts.get(at) {
            None => state.denied = Some(state.denied.map_or(glob, |first| first.min(glob))),
            Some(_) if state.open.contains(&(glob, at)) => {}
            Some(part) => {
                state.open.push((glob, at));
                if let Part::Directories = part {
                    self.reach(state, glob, at + 1);
                }
            }
        }
    }

    /// The glob that refuses what lies behind the link or submodule in `state`, whose directory the globs
    /// name: a checkout may find there what the forge does not see.
    pub fn behind_link(&self, state: &State) -> Option<usize> {
        let named = |&&(glob, at): &&(usize, usize)| {
            at > 0 && matches!(self.denied[glob].parts[0], Part::Name(_))
        };
        state.open.iter().find(named).map(|&(glob, _)| glob)
    }

    /// Whether `git-gate.allowPath` lets `path` through: by its very letters.
    pub fn allow(&self, path: &[u8]) -> bool {
        let Ok(path) = std::str::from_utf8(path) else {
            return false;
        };
        let names: Vec<_> = path.split('/').collect();
        spelling::is_plain(path) && self.allowed.iter().any(|parts| is_below(parts, &names))
    }
}

/// Whether the path of these names is matched by these parts, or below what is.
fn is_below(parts: &[Part], names: &[&str]) -> bool {
    match (parts, names) {
        ([], _) => true,
        (_, []) => false,
        ([Part::Directories, rest @ ..], [_, deeper @ ..]) => {
            is_below(rest, names) || is_below(parts, deeper)
        }
        ([Part::Name(glob), rest @ ..], [name, deeper @ ..]) => {
            glob.matches_exactly(name) && is_below(rest, deeper)
        }
    }
}

fn parts(glob: &PathGlob) -> Vec<Part> {
    let anywhere = (!glob.is_anchored()).then_some(Part::Directories);
    let named = glob.parts().into_iter().filter_map(|part| match part {
        "**" => Some(Part::Directories),
        name => NameGlob::new(name).map(Part::Name),
    });
    anywhere.into_iter().chain(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(deny: &[&str], allow: &[&str]) -> PathRules {
        let read = |globs: &[&str]| {
            let globs = globs
                .iter()
                .map(|&glob| PathGlob::try_from(glob.to_owned()).unwrap());
            globs.collect()
        };
        PathRules::new(&Policy {
            deny_path: read(deny),
            allow_path: read(allow),
            protect: Vec::new(),
            ..Policy::default()
        })
    }

    fn denies(rules: &PathRules, path: &str) -> bool {
        let names = path.split('/');
        let end = names.fold(rules.top(), |state, name| {
            rules.enter(&state, name.as_bytes())
        });
        end.denied().is_some() && !rules.allow(path.as_bytes())
    }

    #[test]
    fn globs_hold_as_in_gitignore() {
        for (glob, path, denied) in [
            ("Makefile", "a/b/Makefile", true),
            ("/Makefile", "a/Makefile", false),
            ("docs/*.md", "docs/a.md", true),
            ("docs/*.md", "x/docs/a.md", false),
            ("docs/*.md", "docs/a/b.md", false),
            ("docs/**/x", "docs/x", true),
            ("docs/**/x", "docs/a/b/x/deeper", true),
            ("**/secret", "a/secret/b", true),
            ("vendor/**", "vendor/a/b", true),
            ("vendor/", "a/vendor/b", true),
            ("*.pem", "a/KEY.PEM", true),
            ("[a-c]?.txt", "bx.txt", true),
            ("**", "anything", true),
            ("a", "b/c", false),
        ] {
            assert_eq!(denies(&rules(&[glob], &[]), path), denied, "{glob} {path}");
        }
    }

    #[test]
    fn what_is_allowed_is_so_by_its_very_letters() {
        let rules = rules(&["*"], &["/src/**", "README.md"]);
        for path in ["src/a/b.rs", "README.md", "x/README.md"] {
            assert!(!denies(&rules, path), "{path}");
        }
        for path in [
            "Src/a.rs",
            "readme.md",
            "src/../x",
            "src\\x",
            "src/a:b",
            "src/x.",
        ] {
            assert!(denies(&rules, path), "{path}");
        }
    }

    #[test]
    fn a_link_in_a_directory_s_place_is_seen() {
        let rules = rules(&["/.github/workflows/", "Jenkinsfile"], &[]);
        let state = rules.enter(&rules.top(), b".github");
        assert_eq!(rules.behind_link(&state), Some(0));
        assert_eq!(rules.behind_link(&rules.enter(&rules.top(), b"src")), None);
    }
}
