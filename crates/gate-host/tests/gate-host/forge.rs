//! Deploy keys over real HTTP: what is asked, and what happens when the answer is not the wished one.

use std::time::Duration;

use gate_host::forge::{Collection, Deleted, DeployKeys, ForgeError, Patience, Provider, Token};
use gate_host::interrupt::Interrupt;
use gate_host::key_pair::KeyPair;
use serde_json::{Value, json};

use crate::rig::free_port;

use super::server::{Dialect, Fault, Forge, GITEA, GITHUB, GITLAB, TOKEN};

const TITLE: &str = "bot-bottle:dev:app";
const GITEA_KEYS: &str = "/api/v1/repos/team/app/keys";

/// Everything but a hang in no time.
fn patience() -> Patience {
    Patience {
        request: Duration::from_secs(30),
        attempts: 4,
        wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(20),
    }
}

fn collection(dialect: Dialect, url: &str) -> Collection {
    let provider: Provider = serde_json::from_value(json!(dialect.provider)).unwrap();
    Collection::new(provider, Some(url), "unused", "/team/app.git").unwrap()
}

fn forge() -> (Forge, Collection) {
    let forge = Forge::start(GITEA, &["team/app"]);
    let collection = collection(GITEA, &forge.url);
    (forge, collection)
}

fn open(collection: &Collection) -> DeployKeys<'_> {
    collection.open(Token::new("FORGE_TOKEN", TOKEN).unwrap(), &patience())
}

fn public() -> String {
    KeyPair::generate(TITLE).unwrap().public().unwrap()
}

fn create(collection: &Collection, key: &str) -> Result<String, ForgeError> {
    open(collection).create(TITLE, key, &Interrupt::default())
}

/// The error with its causes, which must hold no token.
#[track_caller]
fn failure<T: std::fmt::Debug>(result: Result<T, ForgeError>) -> String {
    let text = format!("{:#}", anyhow::Error::from(result.unwrap_err()));
    assert!(!text.contains(TOKEN), "{text}");
    text
}

#[test]
fn every_forge_gets_the_requests_that_it_documents() {
    for (dialect, repository) in [
        (GITEA, "team/app"),
        (GITHUB, "team/app"),
        (GITLAB, "team%2Fapp"),
    ] {
        let forge = Forge::start(dialect, &[repository]);
        let collection = collection(dialect, &forge.url);
        let keys = open(&collection);
        let never = Interrupt::default();
        let key = public();
        for other in 0..4 {
            forge.add(repository, &format!("other {other}"), &public());
        }
        let id = keys.create(TITLE, &key, &never).unwrap();
        assert_eq!(keys.find(&key, &never).unwrap(), Some(id.clone()));
        assert_eq!(keys.find(&public(), &never).unwrap(), None);
        assert_eq!(keys.delete(&id, &never).unwrap(), Deleted::Now);
        assert_eq!(keys.delete(&id, &never).unwrap(), Deleted::Before);
        assert_eq!(forge.keys().len(), 4);

        let seen = forge.seen();
        let path = dialect.keys.replace("{}", repository);
        assert_eq!((seen[0].method.as_str(), &seen[0].path), ("POST", &path));
        let deleted = seen.iter().rfind(|seen| seen.method == "DELETE");
        assert_eq!(deleted.unwrap().path, format!("{path}/{id}"));
        let body: Value = serde_json::from_str(&seen[0].body).unwrap();
        let (right, value) = dialect.write;
        assert_eq!(body, json!({ "title": TITLE, "key": key, right: value }));
        assert_eq!(seen[0].header("content-type"), Some("application/json"));
        assert!(
            seen[0]
                .header("user-agent")
                .unwrap()
                .starts_with("git-gate/")
        );
    }
}

#[test]
fn a_404_counts_as_deleted_only_where_the_forge_shows_the_other_keys() {
    for (dialect, repository) in [
        (GITEA, "team/app"),
        (GITHUB, "team/app"),
        (GITLAB, "team%2Fapp"),
    ] {
        let forge = Forge::start(dialect, &[repository]);
        let collection = collection(dialect, &forge.url);
        let delete = |id: u64| open(&collection).delete(&id.to_string(), &Interrupt::default());
        let id = create(&collection, &public()).unwrap().parse().unwrap();
        forge.show(&[]);
        let text = failure(delete(id));
        for word in [
            "may still be registered",
            "the token in FORGE_TOKEN may not see",
            &collection.key_url(&id.to_string()),
        ] {
            assert!(text.contains(word), "no {word:?} in {text}");
        }
        forge.show(&[repository]);
        // On the list's second page.
        let pages = [
            forge.add(repository, "2", &public()),
            forge.add(repository, "3", &public()),
        ];
        forge.fail("DELETE", [Fault::status(404, "Not Found")]);
        let text = failure(delete(pages[1]));
        assert!(text.contains("lists the key all the same"), "{text}");
        forge.fail("DELETE", [Fault::status(404, "Not Found")]);
        forge.fail("GET", [Fault::status(403, "no")]);
        assert!(failure(delete(id)).contains("answered 403: no"));
        assert_eq!(delete(id).unwrap(), Deleted::Now);
        assert_eq!(delete(id).unwrap(), Deleted::Before);
    }
}

#[test]
fn a_list_without_end_tells_nothing() {
    let (forge, collection) = forge();
    for other in 0..40 {
        forge.add("team/app", &other.to_string(), &public());
    }
    let text = failure(open(&collection).delete("7", &Interrupt::default()));
    assert!(text.contains("more than 20 pages"), "{text}");
    forge.fail("POST", [Fault::Truncated]);
    let text = failure(create(&collection, &public()));
    assert!(text.contains("may be registered at"), "{text}");
}

#[test]
fn a_duplicate_title_and_a_duplicate_key_are_told_in_the_words_of_the_forge() {
    let (forge, collection) = forge();
    let key = public();
    create(&collection, &key).unwrap();
    let text = failure(create(&collection, &public()));
    assert!(
        text.contains("answered 422: A key with the same name already exists."),
        "{text}"
    );
    let text = failure(create(&collection, &key));
    assert!(text.contains("This key has already been added"), "{text}");
    // A refusal is certain: nobody looks for the key.
    assert_eq!(forge.calls(), vec![format!("POST {GITEA_KEYS}"); 3]);
}

#[test]
fn each_refusal_says_what_to_do() {
    let (forge, gitea) = forge();
    let wrong = Token::new("FORGE_TOKEN", "wrong").unwrap();
    let text = failure(gitea.open(wrong, &patience()).create(
        TITLE,
        &public(),
        &Interrupt::default(),
    ));
    assert!(
        text.contains("the token in FORGE_TOKEN is wrong or has expired"),
        "{text}"
    );
    forge.fail(
        "POST",
        [Fault::status(403, "token does not have the scope")],
    );
    let text = failure(create(&gitea, &public()));
    assert!(
        text.contains(
            "answered 403: token does not have the scope; the token in FORGE_TOKEN may not"
        )
    );
    let nowhere =
        Collection::new(Provider::Gitea, Some(&forge.url), "unused", "team/other").unwrap();
    let text = failure(create(&nowhere, &public()));
    assert!(
        text.contains("answered 404") && text.contains("does not exist"),
        "{text}"
    );
    assert_eq!(forge.calls().len(), 3, "no refusal is repeated");
}

#[test]
fn what_passes_is_tried_again_but_not_for_ever() {
    let (forge, collection) = forge();
    let busy = || Fault::status(500, "database is locked");
    // A wait of an hour is asked for and not granted.
    let limited = Fault::Answer(429, "Retry-After: 3600", String::new());
    forge.fail("POST", [busy(), limited.clone(), busy()]);
    create(&collection, &public()).unwrap();
    assert_eq!(forge.calls().len(), 4);

    forge.fail("POST", [busy(), busy(), busy(), busy()]);
    let text = failure(create(&collection, &public()));
    assert!(text.contains("answered 500: database is locked"), "{text}");
    // Four tries, then one look whether the key is there after all.
    assert_eq!(
        forge.calls()[4..],
        [
            vec![format!("POST {GITEA_KEYS}"); 4],
            vec![format!("GET {GITEA_KEYS}"); 2]
        ]
        .concat()
    );

    forge.fail("DELETE", [busy(), limited]);
    assert_eq!(
        open(&collection)
            .delete("42", &Interrupt::default())
            .unwrap(),
        Deleted::Now
    );
}

#[test]
fn a_key_whose_registration_was_never_confirmed_is_found() {
    let done = |fault: Fault| Fault::Done(Box::new(fault));
    for fault in [
        done(Fault::Truncated),
        done(Fault::Huge),
        done(Fault::status(502, "bad gateway")),
        done(Fault::Answer(201, "", "<html>".to_owned())),
    ] {
        let (forge, collection) = forge();
        forge.fail("POST", [fault.clone()]);
        let id = create(&collection, &public()).unwrap();
        assert_eq!(id, forge.keys()[0].id.to_string(), "{fault:?}");
        assert_eq!(forge.keys().len(), 1);
    }
}

#[test]
fn where_nobody_can_tell_the_person_is_sent_to_look() {
    let (forge, collection) = forge();
    forge.fail("POST", [Fault::Done(Box::new(Fault::Truncated))]);
    forge.fail("GET", [Fault::status(403, "no")]);
    let text = failure(create(&collection, &public()));
    assert!(text.contains(&format!(
        "a deploy key titled {TITLE:?} may be registered at {}",
        collection.url()
    )));
    assert!(
        text.contains("the connection ended in the middle"),
        "{text}"
    );
}

#[test]
fn an_answer_that_never_comes_has_an_end() {
    let (forge, collection) = forge();
    let hurry = Patience {
        request: Duration::from_secs(3),
        ..patience()
    };
    forge.fail("DELETE", [Fault::Hang]);
    let token = Token::new("FORGE_TOKEN", TOKEN).unwrap();
    let text = failure(
        collection
            .open(token, &hurry)
            .delete("42", &Interrupt::default()),
    );
    assert!(text.contains("no whole answer within 3 s"), "{text}");
    assert_eq!(forge.calls().len(), 1, "a hang is not repeated");
}

#[test]
fn a_forge_that_is_not_there_leaves_no_doubt() {
    for url in [
        format!("http://127.0.0.1:{}", free_port()),
        "https://forge.invalid".to_owned(),
    ] {
        let text = failure(create(&collection(GITEA, &url), &public()));
        assert!(
            text.contains("no usable answer") && !text.contains("may be registered"),
            "{text}"
        );
    }
}

#[test]
fn a_redirect_takes_the_token_nowhere() {
    let (forge, gitea) = forge();
    let elsewhere = Forge::start(GITEA, &["team/app"]);
    let location: &str = format!("Location: {}/elsewhere", elsewhere.url).leak();
    for status in [301, 302, 307, 308] {
        forge.fail("POST", [Fault::Answer(status, location, String::new())]);
        let text = failure(create(&gitea, &public()));
        assert!(
            text.contains(&elsewhere.url) && text.contains("name the address"),
            "{text}"
        );
    }
    assert!(elsewhere.seen().is_empty(), "the redirect was followed");
}

#[test]
fn what_a_forge_says_can_neither_paint_the_terminal_nor_repeat_the_token() {
    let (forge, collection) = forge();
    forge.fail(
        "POST",
        [Fault::status(
            422,
            &format!("\x1b[31mred\r\n{TOKEN}\u{202e}"),
        )],
    );
    let text = failure(create(&collection, &public()));
    assert!(
        text.contains("red") && !text.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{text:?}"
    );
}

#[test]
fn an_interrupt_ends_the_waiting() {
    let (forge, collection) = forge();
    forge.fail(
        "DELETE",
        [Fault::Answer(429, "Retry-After: 3600", String::new())],
    );
    let patient = Patience {
        longest_wait: Duration::from_secs(3600),
        ..patience()
    };
    let interrupt = Interrupt::default();
    interrupt.raise();
    let token = Token::new("FORGE_TOKEN", TOKEN).unwrap();
    let text = failure(collection.open(token, &patient).delete("42", &interrupt));
    assert!(text.ends_with("interrupted"), "{text}");
}
