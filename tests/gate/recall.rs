//! Rule by rule: what gitleaks finds in a plain file, the gate finds in disguise as well.
//!
//! The rules are read out of the gitleaks program itself, which holds them as text, and a token is
//! made from each rule's own pattern. No token stands in this repository.

use std::collections::{BTreeMap, BTreeSet};

use git_gate::scan::Place;
use git_gate::scan::gitleaks::Engine;
use git_gate::settings::Settings;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use toml::Table;

use crate::corpus::utf16;
use crate::evasion::zip;
use crate::rig::{Mirror, gitleaks};

/// Tokens that are tried for a rule. Some have too little entropy, or hold a word that gitleaks
/// takes for a placeholder.
const TRIES: usize = 30;

/// What stands in front of gitleaks' own rules in the program.
const RULES_BEGIN: &[u8] = b"# This file has been auto-generated. Do not edit manually.\n# If you";

struct Rule {
    id: String,
    pattern: String,
    /// A path at which the rule counts.
    path: String,
}

/// gitleaks' rules that have a pattern.
fn rules() -> Vec<Rule> {
    let program = std::fs::read(gitleaks()).unwrap();
    let start = memchr::memmem::find(&program, RULES_BEGIN).expect("gitleaks holds its rules");
    let text = String::from_utf8_lossy(&program[start..start + (1 << 20)]).into_owned();
    let mut blocks = text.split("[[rules]]\n").skip(1);
    let rule = |block: &str| {
        let table: Table = block.split("[[rules.").next()?.parse().ok()?;
        let word = |key: &str| {
            table
                .get(key)
                .and_then(|value| value.as_str())
                .map(str::to_owned)
        };
        let bound = word("path").unwrap_or_default();
        let extensions = [
            ("php", "a.php"),
            ("tf", "a.tf"),
            ("ya?ml", "a.yaml"),
            ("nuget", "nuget.config"),
        ];
        let named = extensions.iter().find(|(part, _)| bound.contains(part));
        Some(Rule {
            id: word("id")?,
            pattern: word("regex")?,
            path: named.map_or("a.txt", |(_, name)| name).to_owned(),
        })
    };
    std::iter::from_fn(|| blocks.next())
        .filter_map(rule)
        .collect()
}

/// Texts that match `pattern`, without what a generator cannot make: places between characters.
fn texts(pattern: &str, random: &mut StdRng) -> Vec<String> {
    let mut pattern = pattern.replace("\\b", "").replace("(?:^|", "(?:");
    for end in ["|$)", "|\\z)"] {
        pattern = pattern.replace(end, ")");
    }
    let hir = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .parse(&pattern);
    let Some(generator) = hir
        .ok()
        .and_then(|hir| rand_regex::Regex::with_hir(hir, 60).ok())
    else {
        return Vec::new();
    };
    let text = |_| String::from_utf8(random.sample::<Vec<u8>, _>(&generator)).ok();
    let is_plain = |text: &String| text.chars().all(|c| matches!(c, ' '..='~' | '\n' | '\t'));
    (0..TRIES).filter_map(text).filter(is_plain).collect()
}

/// For each rule a text in which gitleaks finds it.
fn tokens(engine: &Engine) -> Vec<(Rule, String)> {
    let mut random = StdRng::seed_from_u64(1);
    let mut scanner = engine.start().unwrap();
    let mut tried = Vec::new();
    let mut fed = 0;
    for (index, rule) in rules().into_iter().enumerate() {
        for text in texts(&rule.pattern, &mut random) {
            let line = fed + 1;
            fed = scanner.feed(format!("\n{text}\n").as_bytes()).unwrap();
            tried.push((line..=fed, index, text));
        }
    }
    let found = scanner.finish().unwrap();
    let rules = rules();
    let mut tokens = BTreeMap::new();
    for (lines, index, text) in tried {
        let is_here = |line: &u64| lines.contains(line);
        if found
            .iter()
            .any(|f| f.rule == rules[index].id && is_here(&f.start_line))
        {
            tokens.entry(index).or_insert(text);
        }
    }
    let with_token = |(index, rule)| tokens.remove(&index).map(|text| (rule, text));
    rules
        .into_iter()
        .enumerate()
        .filter_map(with_token)
        .collect()
}

/// The rules whose token in `tokens` is found where a push brings each as `kind`.
fn found_as(kind: &str, tokens: &[(Rule, String)]) -> BTreeSet<String> {
    let mirror = Mirror::new();
    let mut refs = vec!["main:refs/heads/main".to_owned()];
    for (Rule { id, path, .. }, text) in tokens {
        let text = format!("{text}\n");
        let (file, content) = match kind {
            "plain" => (path.as_str(), text.into_bytes()),
            "utf16" => (path.as_str(), utf16(&text)),
            "zip" => ("a.zip", zip(&[(path, text.as_bytes())])),
            _ => {
                let make = ["tag", "-a", "--cleanup=verbatim", "-F", "-", id];
                mirror.work.git_with_input(&make, text.as_bytes());
                refs.push(format!("refs/tags/{id}:refs/tags/{id}"));
                continue;
            }
        };
        mirror.work.write(&format!("files/{id}/{file}"), content);
    }
    mirror.work.commit("x", "x", "tokens");
    let refs: Vec<_> = refs.iter().map(String::as_str).collect();
    let verdict = mirror.push(&refs).unwrap();
    let findings = verdict.findings.into_iter().chain(verdict.suspects);
    let here = findings.filter(|finding| {
        let place = match &finding.place {
            Place::TagMessage { tag } => tag,
            Place::File { path } => path,
            _ => return false,
        };
        place.split('/').any(|part| part == finding.rule)
    });
    here.map(|finding| finding.rule).collect()
}

#[test]
fn what_each_rule_finds_is_found_in_utf16_in_a_tag_message_and_in_a_zip() {
    let mirror = Mirror::new();
    let settings =
        Settings::read(&git2::Repository::open_bare(mirror.bare.path()).unwrap()).unwrap();
    let tokens = tokens(&Engine::with_program(gitleaks(), &settings).unwrap());
    println!("{} rules with a token", tokens.len());
    assert!(tokens.len() > 190, "{} rules with a token", tokens.len());

    let expected: BTreeSet<_> = tokens.iter().map(|(rule, _)| rule.id.clone()).collect();
    for kind in ["plain", "utf16", "tag", "zip"] {
        // In parts: of more than 1,000 hits in a push, the gate tells only the number.
        let found = tokens
            .chunks(80)
            .flat_map(|part| found_as(kind, part))
            .collect();
        let missed: Vec<_> = expected.difference(&found).collect();
        assert!(missed.is_empty(), "not found in {kind}: {missed:?}");
    }
}
