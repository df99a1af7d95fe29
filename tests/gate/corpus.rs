//! Pushes as a table: how each is made, and one gate that they all go through.

use crate::evasion::{base64, gzip};
use crate::rig::{Client, Kind, Ran, Rig, Upstream, token};

/// One push: `make` leaves in the clone what is pushed, and names it.
pub struct Case {
    pub name: &'static str,
    pub make: fn(&Clone) -> Push,
}

/// What is pushed.
pub struct Push {
    pub refspecs: Vec<String>,
    pub options: Vec<String>,
}

impl Push {
    /// These refspecs.
    pub fn of(refspecs: &[&str]) -> Self {
        Self {
            refspecs: refspecs.iter().map(|&spec| spec.to_owned()).collect(),
            options: Vec::new(),
        }
    }

    /// `HEAD`, to a branch.
    pub fn head() -> Self {
        Self::of(&["HEAD:refs/heads/case"])
    }

    fn run(&self, clone: &Clone) -> Ran {
        let options = self
            .options
            .iter()
            .map(|option| format!("--push-option={option}"));
        let mut push = clone.work.command();
        push.args(["push", "--force"]).args(options);
        Ran::of(push.arg("origin").args(&self.refspecs))
    }

    /// A tag called `tag`.
    pub fn tag() -> Self {
        Self::of(&["refs/tags/tag:refs/tags/tag"])
    }
}

/// The agent's clone for one case, and a secret that nobody has seen.
pub struct Clone {
    pub work: Client,
    pub secret: String,
}

impl Clone {
    /// Commits one file.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> Push {
        self.work.commit(path, content, "change");
        Push::head()
    }

    /// A secret that the upstream holds: in `conf/old.env`, `conf/old.txt` (UTF-16) and the message
    /// of its second commit.
    pub fn old_secret() -> String {
        token(1)
    }

    /// A secret that the upstream held once: the third commit brought `gone.env`, the fourth
    /// removed it.
    pub fn gone_secret() -> String {
        token(2)
    }

    /// Secrets that the upstream holds in one form alone: in base64 in `conf/old.b64`, in UTF-16 in
    /// `conf/wide.txt`, compressed in `conf/old.gz`.
    pub fn encoded_secrets() -> [String; 3] {
        [3, 4, 5].map(token)
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.work.git(arguments).success().trim_end().to_owned()
    }

    /// Writes an object of `kind` whose bytes git would not write itself; its id.
    pub fn object(&self, kind: &str, content: impl AsRef<[u8]>) -> String {
        let arguments = ["hash-object", "-w", "-t", kind, "--literally", "--stdin"];
        self.work.git_with_input(&arguments, content.as_ref())
    }

    /// The raw bytes of a commit on top of `HEAD`, with `headers` behind the committer.
    pub fn raw_commit(&self, headers: &str, message: &str) -> String {
        let (tree, parent) = (self.work.id("HEAD^{tree}"), self.work.id("HEAD"));
        let person = "Agent <agent@example.com> 1700000000 +0000";
        format!(
            "tree {tree}\nparent {parent}\nauthor {person}\ncommitter {person}\n{headers}\n{message}\n"
        )
    }
}

/// Pushes a commit of these raw bytes.
pub fn raw(c: &Clone, bytes: impl AsRef<[u8]>) -> Push {
    let commit = c.object("commit", bytes);
    c.git(&["update-ref", "refs/heads/raw", &commit]);
    Push::of(&["refs/heads/raw:refs/heads/case"])
}

/// What nobody takes for a secret, and the upstream holds: in `notes.txt`.
pub const OLD_VALUE: &str = "applicationname2";

/// Code with the first and the last line of a key as literals, and `between` them; the upstream
/// holds one in `conf/pem.rs`.
pub fn key_literals(between: &str) -> String {
    let literal = |word: &str| format!("const {word}: &str = \"-----{word} PRIVATE KEY-----\";\n");
    let code = "pub fn is_armored(text: &str) -> bool {\n    text.contains(END)\n}\n";
    [&literal("BEGIN"), code, between, &literal("END")].concat()
}

/// What the upstream holds before any case.
pub fn prepare(work: &Client) {
    let old = Clone::old_secret();
    work.write("conf/old.txt", utf16(&format!("TOKEN={old}\n")));
    let [digits, wide, packed] = Clone::encoded_secrets();
    let digits = base64(format!("TOKEN={digits}").as_bytes());
    work.write("conf/old.b64", format!("old: {digits}\n"));
    work.write("conf/wide.txt", utf16(&format!("TOKEN={wide}\n")));
    let text = "an old line\n".repeat(20);
    work.write(
        "conf/old.gz",
        gzip(format!("TOKEN={packed}\n{text}").as_bytes()),
    );
    work.write("conf/old.p12", [0x30, 0x82, 0x0a, 0x11, 2, 1, 3, 1]);
    work.write("conf/pem.rs", key_literals("fn old() {}\n"));
    let env = format!("# settings\nTOKEN={old}\nNAME=x\n");
    work.commit("conf/old.env", env, &format!("add {old}"));
    work.commit(
        "gone.env",
        format!("KEY={}\nA=1\n", Clone::gone_secret()),
        "add gone.env",
    );
    work.git(&["rm", "-q", "gone.env"]).success();
    work.commit(
        "notes.txt",
        format!("one\na: {OLD_VALUE}\nb: {OLD_VALUE}\n"),
        "remove gone.env",
    );
}

/// `text` in UTF-16, little end first, with a byte order mark.
pub fn utf16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

/// How many cases go through the gate at once, each to an upstream of its own.
const LANES: usize = 4;

/// Puts every case through one gate of this `kind` and prints the table. `refused` is how each must end, judged at
/// the upstream's object store; the names of those that ended otherwise are returned. `CASE=word`
/// in the environment picks the cases that have the word in their name.
pub fn run(kind: Kind, cases: &[Case], refused: bool) -> Vec<&'static str> {
    let rig = Rig::new();
    let upstreams: Vec<_> = (0..LANES)
        .map(|lane| rig.upstream(&format!("app{lane}")))
        .collect();
    for upstream in &upstreams {
        let direct = rig.direct(&upstream.name).clone_of(&upstream.url, "work");
        prepare(&direct);
        direct.git(&["push", "-q", "origin", "main"]).success();
    }
    let gate = rig.gate(kind);
    for upstream in &upstreams {
        gate.wait_for_mirror(&upstream.name);
    }
    let only = std::env::var("CASE").unwrap_or_default();
    let chosen: Vec<_> = (100..)
        .zip(cases)
        .filter(|(_, case)| case.name.contains(&only))
        .collect();
    std::thread::scope(|scope| {
        let lane = |(lane, upstream): (usize, Upstream)| {
            let cases = chosen.iter().skip(lane).step_by(LANES);
            let cases: Vec<_> = cases
                .map(|&(seed, case)| (seed, case, rig.client(&format!("case-{seed}"))))
                .collect();
            let url = gate.url(&upstream.name);
            scope.spawn(move || {
                let judge =
                    |(seed, case, client)| judge(case, seed, client, &url, &upstream, refused);
                cases.into_iter().filter_map(judge).collect::<Vec<_>>()
            })
        };
        let lanes: Vec<_> = upstreams.into_iter().enumerate().map(lane).collect();
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap())
            .collect()
    })
}

/// Makes and pushes one case; its name when it did not end as it must.
fn judge(
    case: &Case,
    seed: u32,
    client: Client,
    url: &str,
    upstream: &Upstream,
    refused: bool,
) -> Option<&'static str> {
    let clone = Clone {
        work: client.clone_of(url, "work"),
        secret: token(seed),
    };
    let push = (case.make)(&clone);
    let before = (upstream.refs(), upstream.objects());
    let ran = push.run(&clone);
    let unchanged = (upstream.refs(), upstream.objects()) == before;
    let mut ours = ran.text.lines().filter(|line| line.contains("git-gate: "));
    let leaks = ours.any(|line| line.contains(&clone.secret));
    let is_right = ran.ok != refused && unchanged == refused && !leaks;
    let mark = if is_right { "ok   " } else { "WRONG" };
    let end = if unchanged { "refused" } else { "upstream" };
    println!("{mark} {end:<8} {}", case.name);
    if !is_right {
        println!("{}", ran.text);
    }
    if !unchanged {
        // The next case begins with the refs that this one began with.
        upstream.git(&["update-ref", "-d", "refs/heads/case"]);
        upstream.git(&["update-ref", "-d", "refs/tags/tag"]);
    }
    (!is_right).then_some(case.name)
}
