//! A forge on loopback: the deploy key API as Gitea, GitHub and GitLab document it, over real HTTP,
//! and the ways in which it can fail.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier, Mutex};

use serde_json::{Value, json};

/// The token that the forge takes.
pub const TOKEN: &str = "forge-token-0123456789";

/// What one provider does in its own way.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    pub provider: &'static str,
    /// The collection of keys of the repository `{}`.
    pub keys: &'static str,
    pub authorization: (&'static str, &'static str),
    /// The member of a registration that grants write access.
    pub write: (&'static str, bool),
}

pub const GITEA: Dialect = Dialect {
    provider: "gitea",
    keys: "/api/v1/repos/{}/keys",
    authorization: ("authorization", "token "),
    write: ("read_only", false),
};
pub const GITHUB: Dialect = Dialect {
    provider: "github",
    keys: "/repos/{}/keys",
    authorization: ("authorization", "Bearer "),
    write: ("read_only", false),
};
pub const GITLAB: Dialect = Dialect {
    provider: "gitlab",
    keys: "/api/v4/projects/{}/deploy_keys",
    authorization: ("private-token", ""),
    write: ("can_push", true),
};

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An answer with this status, header line and body, and nothing is done.
    Answer(u16, &'static str, String),
    /// No answer ever.
    Hang,
    /// An answer that breaks off.
    Truncated,
    /// An answer without end.
    Huge,
    /// The request is carried out and answered once the test waits here too.
    Held(Arc<Barrier>),
    /// The request is carried out, then this happens.
    Done(Box<Fault>),
}

impl Fault {
    /// An answer with a message.
    pub fn status(status: u16, message: &str) -> Self {
        Self::Answer(status, "", json!({ "message": message }).to_string())
    }
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A registered key.
#[derive(Debug, Clone)]
pub struct Key {
    pub id: u64,
    pub repository: String,
    pub title: String,
    pub key: String,
}

struct State {
    dialect: Dialect,
    repositories: Vec<String>,
    keys: Vec<Key>,
    next_id: u64,
    seen: Vec<Seen>,
    /// What happens to requests of a method, in order of arrival.
    faults: VecDeque<(&'static str, Fault)>,
    authorized_keys: Option<PathBuf>,
}

/// The running server. Its threads end with the test.
pub struct Forge {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Forge {
    /// A forge with these repositories and no keys.
    pub fn start(dialect: Dialect, repositories: &[&str]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            dialect,
            repositories: repositories.iter().map(|&one| one.to_owned()).collect(),
            keys: Vec::new(),
            next_id: 41,
            seen: Vec::new(),
            faults: VecDeque::new(),
            authorized_keys: None,
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { url, state }
    }

    /// Lets the registered keys, and no others, log in to an sshd with this authorized_keys file.
    pub fn authorize(&self, authorized_keys: &Path) {
        let mut state = self.state.lock().unwrap();
        state.authorized_keys = Some(authorized_keys.to_owned());
        state.write_authorized_keys();
    }

    /// Lets the next requests of `method` go wrong, one after the other.
    pub fn fail(&self, method: &'static str, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.state.lock().unwrap();
        state
            .faults
            .extend(faults.into_iter().map(|fault| (method, fault)));
    }

    /// The keys that are registered now.
    pub fn keys(&self) -> Vec<Key> {
        self.state.lock().unwrap().keys.clone()
    }

    /// Somebody else's key.
    pub fn add(&self, repository: &str, title: &str, key: &str) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.register(repository, title, key)
    }

    /// Deletes all keys behind everybody's back.
    pub fn forget(&self) {
        self.state.lock().unwrap().keys.clear();
    }

    /// Lets the token see only these repositories from now on; the keys of the others stay.
    pub fn show(&self, repositories: &[&str]) {
        let names = repositories.iter().map(|&one| one.to_owned());
        self.state.lock().unwrap().repositories = names.collect();
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// `METHOD /path` of all requests so far, queries left out.
    pub fn calls(&self) -> Vec<String> {
        let path = |seen: &Seen| seen.path.split('?').next().unwrap().to_owned();
        let call = |seen: &Seen| format!("{} {}", seen.method, path(seen));
        self.seen().iter().map(call).collect()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let Some(seen) = read_request(&stream) else {
        return;
    };
    let mut state = state.lock().unwrap();
    state.seen.push(seen.clone());
    let index = state
        .faults
        .iter()
        .position(|(method, _)| *method == seen.method);
    let fault = index.and_then(|index| state.faults.remove(index));
    let Some((_, fault)) = fault else {
        let (status, body) = state.answer(&seen);
        drop(state);
        return write_answer(&stream, status, "", &body);
    };
    let fault = match fault {
        Fault::Done(fault) => {
            state.answer(&seen);
            *fault
        }
        fault => fault,
    };
    if let Fault::Held(barrier) = &fault {
        let (status, body) = state.answer(&seen);
        drop(state);
        barrier.wait();
        return write_answer(&stream, status, "", &body);
    }
    drop(state);
    go_wrong(stream, &fault);
}

fn go_wrong(mut stream: TcpStream, fault: &Fault) {
    match fault {
        Fault::Answer(status, header, body) => write_answer(&stream, *status, header, body),
        Fault::Hang => {
            // Until the client gives up and closes.
            let _ = stream.read(&mut [0]);
        }
        Fault::Truncated => {
            let _ = stream.write_all(
                b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\nConnection: close\r\n\r\n{\"id\": 4",
            );
        }
        Fault::Huge => {
            let _ =
                stream.write_all(b"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{\"id\": 4");
            while stream.write_all(&[b'2'; 65536]).is_ok() {}
        }
        Fault::Done(_) | Fault::Held(_) => unreachable!("one level"),
    }
}

impl State {
    fn answer(&mut self, seen: &Seen) -> (u16, String) {
        let refuse = |status, message: &str| (status, json!({ "message": message }).to_string());
        let (header, scheme) = self.dialect.authorization;
        if seen.header(header) != Some(&format!("{scheme}{TOKEN}")) {
            return refuse(401, "invalid username, password or token");
        }
        let path = seen.path.split('?').next().unwrap();
        let found = self.repositories.iter().find_map(|repository| {
            let rest = path.strip_prefix(&self.dialect.keys.replace("{}", repository))?;
            Some((repository.clone(), rest.trim_start_matches('/').to_owned()))
        });
        let Some((repository, id)) = found else {
            return refuse(404, "The target couldn't be found.");
        };
        match (seen.method.as_str(), id.as_str()) {
            ("POST", "") => self.create(&repository, &seen.body),
            ("GET", "") => (200, self.list(&repository, &seen.path)),
            ("DELETE", id) => self.delete(&repository, id),
            _ => refuse(405, "Method Not Allowed"),
        }
    }

    fn create(&mut self, repository: &str, body: &str) -> (u16, String) {
        let refuse = |message: &str| (422, json!({ "message": message }).to_string());
        let body: Value = serde_json::from_str(body).unwrap();
        let (title, key) = (
            body["title"].as_str().unwrap(),
            body["key"].as_str().unwrap(),
        );
        assert_eq!(
            body[self.dialect.write.0], self.dialect.write.1,
            "write access"
        );
        let same = |line: &str| line.split(' ').take(2).eq(key.split(' ').take(2));
        if self.keys.iter().any(|other| same(&other.key)) {
            return refuse("This key has already been added to this repository.");
        }
        let mine = |other: &&Key| other.repository == repository;
        if self
            .keys
            .iter()
            .filter(mine)
            .any(|other| other.title == title)
        {
            return refuse("A key with the same name already exists.");
        }
        let id = self.register(repository, title, key);
        (
            201,
            json!({ "id": id, "key": key, "title": title }).to_string(),
        )
    }

    fn register(&mut self, repository: &str, title: &str, key: &str) -> u64 {
        self.next_id += 1;
        self.keys.push(Key {
            id: self.next_id,
            repository: repository.to_owned(),
            title: title.to_owned(),
            key: key.to_owned(),
        });
        self.write_authorized_keys();
        self.next_id
    }

    /// Two keys a page, so that small tests see several pages.
    fn list(&self, repository: &str, path: &str) -> String {
        let page: usize = path.rsplit_once("page=").unwrap().1.parse().unwrap();
        let all = self.keys.iter().filter(|key| key.repository == repository);
        let keys: Vec<Value> = all
            .skip((page - 1) * 2)
            .take(2)
            .map(|key| json!({ "id": key.id, "key": key.key, "title": key.title }))
            .collect();
        Value::from(keys).to_string()
    }

    fn delete(&mut self, repository: &str, id: &str) -> (u16, String) {
        let is_it = |key: &Key| key.repository == repository && key.id.to_string() == id;
        let before = self.keys.len();
        self.keys.retain(|key| !is_it(key));
        self.write_authorized_keys();
        if self.keys.len() == before {
            (404, json!({ "message": "not found" }).to_string())
        } else {
            (204, String::new())
        }
    }

    fn write_authorized_keys(&self) {
        if let Some(path) = &self.authorized_keys {
            let lines: String = self
                .keys
                .iter()
                .map(|key| format!("{}\n", key.key))
                .collect();
            fs::write(path, lines).unwrap();
        }
    }
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

fn write_answer(mut stream: &TcpStream, status: u16, header: &str, body: &str) {
    let header = if header.is_empty() {
        String::new()
    } else {
        format!("{header}\r\n")
    };
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Status\r\n{header}Content-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}
