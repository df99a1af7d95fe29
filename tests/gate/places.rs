//! Well-known places of a password: one that is made up there is refused, and what stands there instead of
//! one passes. No audit line, log or message holds one.

use std::collections::BTreeSet;

use git_gate::scan::{Finding, Place};

use crate::evasion::base64;
use crate::forms::random;
use crate::rig::{Mirror, Rig, wait_until};

/// A file, and its text; `@@` is the password, `@b` is `user:` and the password in base64.
const PLACES: &[(&str, &str)] = &[
    (
        ".env",
        "DATABASE_URL=postgresql://app:@@@db.acme.io:5432/app\n",
    ),
    (
        "settings.py",
        "BROKER = 'amqps://app:@@@queue.acme.io/app'\n",
    ),
    (
        "app.rb",
        "Redis.new(url: \"redis://:@@@cache.acme.io:6379/0\")\n",
    ),
    (
        "db.js",
        "connect('mongodb+srv://app:@@@cluster0.acme.mongodb.net/app')\n",
    ),
    ("main.go", "dsn := \"app:@@@tcp(db.acme.io:3306)/app\"\n"),
    ("mail.yml", "dsn: smtps://app:@@@mail.acme.io:465\n"),
    (
        "Web.config",
        "<add connectionString=\"Server=db;Database=app;User Id=app;Password=@@;\" />\n",
    ),
    (
        "App.java",
        "String url = \"jdbc:mysql://db.acme.io/app?user=app&password=@@\";\n",
    ),
    (
        ".gitmodules",
        "[submodule \"x\"]\n\tpath = x\n\turl = https://me:@@@git.acme.io/x.git\n",
    ),
    (
        "requirements.txt",
        "--extra-index-url https://me:@@@pypi.acme.io/simple\n",
    ),
    (
        "deploy.sh",
        "export http_proxy=http://me:@@@proxy.acme.io:3128\n",
    ),
    ("upload.sh", "curl -T a.tgz ftp://me:@@@files.acme.io/\n"),
    (".netrc", "machine git.acme.io login me password @@\n"),
    (".pgpass", "db.acme.io:5432:app:app:@@\n"),
    (".my.cnf", "[client]\nuser=app\npassword=@@\n"),
    (
        "settings.xml",
        "<settings><servers><server><id>x</id><username>me</username><password>@@</password></server></servers></settings>\n",
    ),
    (
        "inventory.ini",
        "web1 ansible_user=me ansible_ssh_pass=@@\n",
    ),
    ("run.sh", "sshpass -p '@@' ssh me@host\n"),
    ("dump.sh", "mysqldump -u app -p@@ app > app.sql\n"),
    ("load.sh", "PGPASSWORD=@@ psql -h db app\n"),
    ("get.sh", "curl -u me:@@ https://api.acme.io/v1/things\n"),
    ("header.txt", "Authorization: Basic @b\n"),
    ("ldap.conf", "binddn cn=app,dc=acme,dc=io\nbindpw @@\n"),
    (
        "find.sh",
        "ldapsearch -x -D cn=app,dc=acme,dc=io -w @@ -b dc=acme,dc=io\n",
    ),
    ("Dockerfile", "FROM alpine\nENV DB_PASSWORD=@@\n"),
    (
        "compose.yaml",
        "services:\n  db:\n    environment:\n      MYSQL_ROOT_PASSWORD: @@\n",
    ),
    ("push.sh", "docker login -u me -p @@ registry.acme.io\n"),
    (
        ".docker/config.json",
        "{\"auths\": {\"registry.acme.io\": {\"auth\": \"@b\"}}}\n",
    ),
    (".npmrc", "//npm.acme.io/:_password=@@\n"),
    (".pypirc", "[pypi]\nusername = me\npassword = @@\n"),
    ("gradle.properties", "ossrhUsername=me\nossrhPassword=@@\n"),
    (
        "nuget.config",
        "<configuration><add key=\"ClearTextPassword\" value=\"@@\" /></configuration>\n",
    ),
    ("wp-config.php", "<?php\ndefine('DB_PASSWORD', '@@');\n"),
    (
        "application.properties",
        "spring.datasource.username=app\nspring.datasource.password=@@\n",
    ),
    (
        "database.yml",
        "production:\n  adapter: postgresql\n  password: @@\n",
    ),
    (
        "tomcat-users.xml",
        "<tomcat-users><user username=\"me\" password=\"@@\" roles=\"manager-gui\"/></tomcat-users>\n",
    ),
    (
        "secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  password: @@\n",
    ),
    ("prod.tfvars", "db_password = \"@@\"\n"),
    (
        "fstab",
        "//nas/share /mnt cifs username=me,password=@@,vers=3.0 0 0\n",
    ),
    ("wpa.conf", "network={\n\tssid=\"acme\"\n\tpsk=\"@@\"\n}\n"),
    (
        "setup.ps1",
        "$p = ConvertTo-SecureString '@@' -AsPlainText -Force\n",
    ),
    ("redis.conf", "port 6379\nrequirepass @@\n"),
    ("users.sql", "CREATE USER 'app'@'%' IDENTIFIED BY '@@';\n"),
    ("user.sh", "echo 'root:@@' | chpasswd\n"),
    (
        "key.sh",
        "openssl rsa -in key.pem -passin pass:@@ -out plain.pem\n",
    ),
    ("rabbit.sh", "rabbitmqctl add_user app @@\n"),
    ("mirror.sh", "lftp -u me,@@ sftp://files.acme.io\n"),
    (
        "autounattend.xml",
        "<AdministratorPassword><Value>@@</Value></AdministratorPassword>\n",
    ),
];

/// What stands there in a file for everybody.
const HONEST: &[&str] = &["changeme", "${PASSWORD}", "<password>"];

/// The text of a place that holds `password`.
fn filled(text: &str, password: &str) -> String {
    let basic = match HONEST.contains(&password) {
        true => password.to_owned(),
        false => base64(format!("user:{password}").as_bytes()),
    };
    text.replace("@@", password).replace("@b", &basic)
}

fn passwords() -> Vec<String> {
    const LETTERS: &[u8] = b"abcdefghkmnpqrstuvwxyzABCDEFGHKMNPQRSTUVWXYZ23456789";
    let password = |seed| random(seed, LETTERS, 13) + "7";
    (100..100 + PLACES.len() as u64).map(password).collect()
}

/// The places in folders `0`, `1` and so on that `findings` are in.
fn told(findings: &[Finding]) -> BTreeSet<usize> {
    let number = |finding: &Finding| match &finding.place {
        Place::File { path } => path.split('/').next()?.parse().ok(),
        _ => None,
    };
    findings.iter().filter_map(number).collect()
}

#[test]
fn a_password_at_a_well_known_place_is_refused() {
    let mirror = Mirror::new();
    for (at, ((file, text), password)) in PLACES.iter().zip(passwords()).enumerate() {
        mirror
            .work
            .write(&format!("{at}/{file}"), filled(text, &password));
    }
    mirror.work.git(&["add", "--all", "--force"]).success();
    mirror.work.commit("x", "x", "places");
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    let refused = told(&verdict.findings);
    let missed = (0..PLACES.len()).filter(|at| !refused.contains(at));
    let missed: Vec<_> = missed.map(|at| PLACES[at].1).collect();
    assert_eq!(missed, [""; 0]);
}

#[test]
fn what_stands_there_instead_of_a_password_passes() {
    let mirror = Mirror::new();
    for (at, (file, text)) in PLACES.iter().enumerate() {
        for (number, honest) in HONEST.iter().enumerate() {
            mirror
                .work
                .write(&format!("{at}/{number}/{file}"), filled(text, honest));
        }
    }
    mirror.work.git(&["add", "--all", "--force"]).success();
    mirror.work.commit("x", "x", "places");
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    let line = |one: &Finding| format!("{} {}", one.rule, one.shown_place());
    let wrong: Vec<_> = verdict.findings.iter().map(line).collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn no_log_message_or_audit_line_holds_one() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let (gate, audit) = rig.gate_with_audit(&app.url);
    gate.wait_for_mirror("app");
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let passwords = passwords();
    for (at, ((file, text), password)) in PLACES.iter().zip(&passwords).enumerate() {
        work.write(&format!("{at}/{file}"), filled(text, password));
    }
    work.git(&["add", "--all", "--force"]).success();
    work.commit("x", "x", "places");
    let said = work
        .git(&["push", "origin", "HEAD:refs/heads/agent/new"])
        .failure();
    let read = || std::fs::read_to_string(&audit).unwrap_or_default();
    wait_until("the refusal is in the log", || {
        read().contains("\"event\":\"refusal\"")
    });
    let all = [said, read(), gate.log()].concat();
    assert!(all.contains("0/.env"), "{all}");
    for password in passwords {
        let basic = base64(format!("user:{password}").as_bytes());
        assert!(!all.contains(&password) && !all.contains(&basic), "{all}");
    }
}
