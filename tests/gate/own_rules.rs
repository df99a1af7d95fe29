//! The gate's own rules (`rules/*.toml`): each finds its examples through the real gitleaks, in the forms
//! in which files hold a token, and lets its honest ones pass.

use std::collections::{BTreeMap, BTreeSet};

use git_gate::scan::{Finding, Place, Verdict};
use toml::{Table, Value};

use crate::rig::{Mirror, Rig, wait_until};

/// The files of tokens that are one word: what stands around one changes nothing.
const TOKENS: &[&str] = &[
    "ai",
    "chat",
    "ci",
    "cloud",
    "payments",
    "products",
    "registries",
];

/// One rule, and the file of rules that it stands in.
struct Rule {
    kind: String,
    table: Table,
}

impl Rule {
    fn id(&self) -> &str {
        self.table["id"].as_str().unwrap()
    }

    fn list(&self, key: &str) -> Vec<String> {
        let list = self.table.get(key).and_then(Value::as_array);
        let list = list.into_iter().flatten().filter_map(Value::as_str);
        list.map(str::to_owned).collect()
    }

    /// The name of a file that the rule is for, below `folder`.
    fn file(&self, folder: &str) -> String {
        let name = self.list("files").first().cloned();
        let name = name.unwrap_or_else(|| "file.txt".to_owned());
        format!("{folder}/{}", name.replace('*', "x"))
    }
}

fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in std::fs::read_dir("rules").unwrap() {
        let path = entry.unwrap().path();
        let kind = path.file_stem().unwrap().to_str().unwrap();
        let config: Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let tables = config.get("rules").and_then(Value::as_array);
        for table in tables.into_iter().flatten() {
            let (kind, table) = (kind.to_owned(), table.as_table().unwrap().clone());
            rules.push(Rule { kind, table });
        }
    }
    rules
}

/// Letters of each of the classes that examples name, and a source of numbers.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    /// `example` with `{h32}` and its like replaced: 32 hexadecimal digits; of `{w20-24}` the least; `{U}`
    /// is a UUID.
    fn fill(&mut self, example: &str) -> String {
        let mut parts = example.split('{');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let inner = part.split_once('}').and_then(|(class, rest)| {
                let letters = self.letters(class)?;
                Some(letters + rest)
            });
            filled += &inner.unwrap_or_else(|| format!("{{{part}"));
        }
        filled
    }

    fn letters(&mut self, class: &str) -> Option<String> {
        if class == "U" {
            let parts = [8, 4, 4, 4, 12].map(|length| self.of("0123456789abcdef", length));
            return Some(parts.join("-"));
        }
        let lower = "abcdefghijklmnopqrstuvwxyz";
        let (figures, upper) = ("0123456789", lower.to_uppercase());
        let mixed = [lower, &upper, figures].concat();
        let alphabet = match class.chars().next()? {
            'h' => "0123456789abcdef".to_owned(),
            'H' => "0123456789ABCDEF".to_owned(),
            'x' => "0123456789abcdefABCDEF".to_owned(),
            'a' => [lower, figures].concat(),
            'A' => [&upper, figures].concat(),
            't' => [lower, "234567"].concat(),
            'd' => figures.to_owned(),
            'w' => mixed,
            'u' => mixed + "_-",
            'v' => mixed + "_",
            'b' => mixed + "+/",
            _ => return None,
        };
        let length = class[1..].split('-').next()?.parse().ok()?;
        Some(self.of(&alphabet, length))
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length)
            .map(|_| letters[self.next(letters.len())])
            .collect()
    }
}

/// What the findings say about each file.
fn by_file(findings: &[Finding]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut files: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for finding in findings {
        if let Place::File { path } | Place::FileName { path } = &finding.place {
            files
                .entry(path.as_str())
                .or_default()
                .insert(finding.rule.as_str());
        }
    }
    files
}

/// One push of all `files`, told in full.
fn push(files: &BTreeMap<String, String>) -> Verdict {
    let mirror = Mirror::new();
    for (path, content) in files {
        mirror.work.write(path, content);
    }
    mirror.work.commit("x", "x", "examples");
    mirror.push(&["main:refs/heads/main"]).unwrap()
}

/// The forms of `token` in files.
fn contexts(token: &str) -> Vec<String> {
    let forms = [
        "{}",
        "Client(\"{}\")",
        "Bearer {}",
        "{\"value\": \"{}\"}",
        "<k>{}</k>",
        "a,{},b",
        "k=\\\"{}\\\"",
    ];
    forms.map(|form| form.replace("{}", token)).to_vec()
}

/// Every tenth rule of gitleaks' number of findings that are told fits into one push.
const AT_ONCE: usize = 600;

#[test]
fn each_rule_finds_its_examples_and_lets_honest_ones_pass() {
    let mut random = Random(7);
    let mut found: Vec<(String, &Rule, String)> = Vec::new();
    let mut passing: Vec<(String, &Rule, String)> = Vec::new();
    let rules = rules();
    for rule in &rules {
        assert!(
            !rule.list("finds").is_empty() || rule.table.contains_key("path"),
            "{}",
            rule.id()
        );
        for (number, example) in rule.list("finds").iter().enumerate() {
            let token = random.fill(example);
            let contexts = match TOKENS.contains(&rule.kind.as_str()) {
                true => contexts(&token),
                false => vec![token],
            };
            for (form, text) in contexts.into_iter().enumerate() {
                let file = rule.file(&format!("{}-{number}-{form}", rule.id()));
                found.push((file, rule, text + "\n"));
            }
        }
        for (number, example) in rule.list("passes").iter().enumerate() {
            let file = rule.file(&format!("{}-{number}-passes", rule.id()));
            passing.push((file, rule, random.fill(example) + "\n"));
        }
    }
    let mut wrong = Vec::new();
    for (part, is_found) in found
        .chunks(AT_ONCE)
        .map(|part| (part, true))
        .chain([(&passing[..], false)])
    {
        let files = part
            .iter()
            .map(|(file, _, text)| (file.clone(), text.clone()));
        let verdict = push(&files.collect());
        let (secrets, suspects) = (by_file(&verdict.findings), by_file(&verdict.suspects));
        for (file, rule, text) in part {
            let (rule, is_suspect) = (
                &rule.id().to_owned(),
                rule.list("tags").contains(&"suspect".to_owned()),
            );
            let says = |files: &BTreeMap<&str, BTreeSet<&str>>| -> Vec<String> {
                let rules = files.get(file.as_str()).into_iter().flatten();
                rules.map(|&rule| rule.to_owned()).collect()
            };
            let (refusing, told) = (says(&secrets), says(&suspects));
            // Another rule may say the same of it.
            let is_right = match (is_found, is_suspect) {
                (true, false) => !refusing.is_empty(),
                (true, true) => !told.is_empty() || !refusing.is_empty(),
                (false, _) => !refusing.contains(rule) && !told.contains(rule),
            };
            if !is_right {
                wrong.push(format!("{rule}: {text}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// What is public or encrypted by design, or only looks random beside a word.
fn honest(random: &mut Random) -> Vec<(&'static str, String)> {
    let jwt = [
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ",
        "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    ];
    let web_key = ["AI", "za"].concat() + &random.fill("{u35}");
    let all = [
        ("uuid.py", "API_KEY_ID = \"{U}\"\nsecret_id: {U}\n".to_owned()),
        ("eth.ts", "const tokenAddress = \"0x{x40}\";\nexport const KEY_CONTRACT = '0x{h40}'\n".to_owned()),
        ("ids.csv", "id,api_key_id,token\n1,{w20},{h24}\n2,key={w22},x\n".to_owned()),
        ("keybindings.json", "[{\"key\": \"ctrl+shift+alt+f12\", \"command\": \"workbench.action.tokens2\"}]\n".to_owned()),
        ("Jenkinsfile", "withCredentials([string(credentialsId: 'deploy-api-key-2', variable: 'KEY')]) {}\n".to_owned()),
        ("vault.hcl", "path \"secret/data/app-token-v2\" { capabilities = [\"read\"] }\ntoken_policies=\"app-read-v2\"\n".to_owned()),
        ("index.html", "<meta name=\"google-site-verification\" content=\"{u43}\" />\n".to_owned()),
        ("analytics.js", "window.analytics_key = \"{w32}\";\npublicKey: '{w32}',\n".to_owned()),
        ("docusaurus.config.js", "algolia: { appId: 'X1Y2Z3A4B5', apiKey: '{h32}', indexName: 'x' }\n".to_owned()),
        ("app/google-services.json", format!("{{\"api_key\": [{{\"current_key\": \"{web_key}\"}}]}}\n")),
        ("sealed.yaml", "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: x\nspec:\n  encryptedData:\n    password: AgB{b400}\n    api-key: AgC{b120}=\n  template:\n    type: Opaque\n".to_owned()),
        ("jwt.md", format!("Try {} at jwt.io\n", jwt.join("."))),
        ("curl.md", "curl -H \"Authorization: Bearer YOUR_API_KEY\" -H 'X-Api-Key: YOUR_API_KEY' https://x\n".to_owned()),
        ("aws.md", format!("aws_access_key_id = {}\naws_secret_access_key = {}\n", ["AKIAIOSFODNN7", "EXAMPLE"].concat(), ["wJalrXUtnFEMI/K7MDENG/bPxRfiCY", "EXAMPLEKEY"].concat())),
        (".env.example", "DB_PASSWORD=changeme\nAPI_KEY=your-api-key\nSECRET_KEY=<your-key>\nTOKEN=${TOKEN}\nJWT_SECRET=xxxxxxxxxxxxxxxx\n".to_owned()),
        ("config.js", "export default { apiKey: process.env.API_KEY, password: process.env.DB_PASSWORD }\n".to_owned()),
        ("compose.yaml", "services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: postgres\n      DATABASE_URL: postgres://postgres:postgres@db:5432/app\n".to_owned()),
    ];
    all.into_iter()
        .map(|(file, text)| (file, random.fill(&text)))
        .collect()
}

#[test]
fn what_is_public_by_design_or_only_looks_random_refuses_nothing() {
    let files = honest(&mut Random(3)).into_iter();
    let verdict = push(&files.map(|(file, text)| (file.to_owned(), text)).collect());
    let refused = by_file(&verdict.findings);
    assert_eq!(refused, BTreeMap::new());
}

#[test]
fn a_suspect_passes_unless_the_operator_says_otherwise() {
    let text = Random(5).fill("password = \"{w10}4\"\n");
    let mirror = Mirror::new();
    mirror.work.commit("app.py", &text, "change");
    let told = mirror.push(&["main:refs/heads/main"]).unwrap();
    assert_eq!(by_file(&told.findings), BTreeMap::new());
    let suspects = by_file(&told.suspects);
    assert_eq!(suspects["app.py"], BTreeSet::from(["generic-password"]));
    let mirror = Mirror::new();
    mirror.set("git-gate.suspects", "refuse");
    mirror.work.commit("app.py", &text, "change");
    let refused = mirror.push(&["main:refs/heads/main"]).unwrap();
    assert_eq!(by_file(&refused.findings), suspects);
    assert_eq!(refused.suspects, []);
}

#[test]
fn a_suspect_that_the_upstream_has_in_the_same_file_is_not_told_again() {
    let text = Random(5).fill("password = \"{w10}4\"\n");
    let mirror = Mirror::new();
    mirror.work.commit("app.py", &text, "change");
    mirror.hold("main");
    mirror
        .work
        .commit("app.py", format!("import os\n{text}"), "change");
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    assert_eq!(
        (verdict.findings, verdict.suspects),
        (Vec::new(), Vec::new())
    );
}

#[test]
fn behind_a_suspect_a_secret_is_found() {
    let mut random = Random(6);
    let secret = random.fill("{w24}");
    let line = format!("token = {}, api_key = \"{secret}\"\n", "my_word_token_2");
    let mirror = Mirror::new();
    mirror.work.commit("app.txt", line, "change");
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    assert!(!verdict.findings.is_empty(), "{:?}", verdict.suspects);
}

#[test]
fn the_client_and_the_operator_are_told_of_a_suspect() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let (gate, log) = rig.gate_with_audit(&app.url);
    gate.wait_for_mirror("app");
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let value = Random(8).fill("{w10}4");
    work.commit("app.py", format!("password = \"{value}\"\n"), "change");
    let pushed = work.git(&["push", "origin", "HEAD:refs/heads/agent/new"]);
    let said = pushed.success();
    assert!(said.contains("app.py:1: password in the source"), "{said}");
    wait_until("the push is in the log", || {
        std::fs::read_to_string(&log)
            .unwrap_or_default()
            .contains("\"event\":\"push\"")
    });
    let log = std::fs::read_to_string(&log).unwrap();
    let suspect = "\"suspects\":[{\"rule\":\"generic-password\",\"path\":\"app.py\",\"line\":1}],\"suspect_count\":1";
    assert!(log.contains(suspect), "{log}");
    assert!(!log.contains(&value) && !said.contains(&value));
}
