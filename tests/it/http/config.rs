//! `holdfast-api config check`, as its users run it: right configurations are shown, wrong ones explained, secrets never
//! printed.

use std::{path::Path, process::Output};

use serde_json::Value;
use support::stack;
use tempfile::TempDir;

const PUBLIC: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const KEY: &str = "cGxhbnRlZC1hdXRoLWtleS10aGF0LWlzLWxvbmctZW5vdWdoLWZvci1IUzI1Ng";
const URL: &str = "postgres://app:planted-password@127.0.0.1/holdfast";

/// What makes an API's configuration complete.
const GOOD: [(&str, &str); 4] = [
    ("HOLDFAST__DATABASE__URL", URL),
    ("HOLDFAST__AUTH__KEYS__K1", KEY),
    ("HOLDFAST__AUTH__ACTIVE_KEY", "k1"),
    ("HOLDFAST__SECRETS__PUBLIC_KEY", PUBLIC),
];

#[expect(clippy::disallowed_methods, reason = "the program is run as a person would")]
fn check(dir: &Path, args: &[&str], envs: &[(&str, &str)]) -> Output {
    let mut command = std::process::Command::new(stack::program("holdfast-api"));
    command.args(args).args(["config", "check"]).env_clear().envs(envs.iter().copied()).current_dir(dir);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write(dir: &TempDir, name: &str, text: &str) -> String {
    std::fs::write(dir.path().join(name), text).unwrap();
    dir.path().join(name).to_str().unwrap().to_owned()
}

#[track_caller]
fn shown(output: &Output) -> Value {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{err}", output.status);
    assert!(!format!("{out}{err}").contains("planted") && !out.contains(KEY), "a secret was printed:\n{out}{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn what_holds_is_shown_with_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let settings = shown(&check(dir.path(), &[], &GOOD));
    assert_eq!(settings["database.url"]["value"], "(set)");
    assert_eq!(settings["database.url"]["origin"], "environment variable HOLDFAST__DATABASE__URL");
    assert_eq!(settings["http.listen"]["value"], "127.0.0.1:8080");
    assert_eq!(settings["http.listen"]["origin"], "default");

    let (url, key) = (write(&dir, "url", URL), write(&dir, "key", &format!("{KEY}\n")));
    let file = format!(
        "[database]\nurl_file = {url:?}\n[auth]\nactive_key = \"k1\"\nkeys.k1_file = {key:?}\n[secrets]\npublic_key = \"{PUBLIC}\"\n[http]\nlisten = \"127.0.0.1:1\"\n"
    );
    let file = write(&dir, "holdfast.toml", &file);
    for settings in [
        shown(&check(dir.path(), &["--config", &file], &[])),
        shown(&check(dir.path(), &[], &[("HOLDFAST_CONFIG", &file)])),
    ] {
        assert_eq!(settings["http.listen"]["origin"], format!("{file}:9"), "{settings:#}");
    }
    write(&dir, ".env", "HOLDFAST__HTTP__LISTEN=127.0.0.1:2\n");
    let settings = shown(&check(dir.path(), &["--config", &file], &[]));
    assert_eq!(settings["http.listen"]["value"], "127.0.0.1:2");
    assert_eq!(settings["http.listen"]["origin"], ".env:1 HOLDFAST__HTTP__LISTEN");
    let settings = shown(&check(dir.path(), &["--config", &file], &[("HOLDFAST__HTTP__LISTEN", "[::1]:3")]));
    assert_eq!(settings["http.listen"]["value"], "[::1]:3");
}

/// What is changed, and what is said of it.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_wrong_is_named_with_its_origin_and_its_cure() {
    // Laid over a good configuration, or, with an empty value, taken away from it.
    let cases: &[Case] = &[
        (&[("DATABASE__URL", "")], &["database.url (not set): is missing; give the URL of the application role"]),
        (
            &[("DATABASE__URL", "mysql://planted@h/d")],
            &["database.url (environment variable HOLDFAST__DATABASE__URL):"],
        ),
        (
            &[("DATABASE__URL_FILE", "/nowhere/url"), ("DATABASE__URL", "")],
            &["database.url_file", "/nowhere/url", "give the path of a readable file"],
        ),
        (&[("DATABASE__URL_FILE", "/nowhere/url")], &["database.url", "given twice", "remove one of them"]),
        (
            &[("AUTH__KEYS__K1", "")],
            &["auth.active_key", "names a key that auth.keys does not hold; add the key under auth.keys"],
        ),
        (
            &[("AUTH__KEYS__K1", ""), ("AUTH__ACTIVE_KEY", "")],
            &[
                "auth.keys (not set): holds no key, so nobody could log in; add one",
                "auth.active_key (not set): is missing",
            ],
        ),
        (
            &[("AUTH__KEYS__K1", "planted!")],
            &["auth.keys.k1 (environment variable HOLDFAST__AUTH__KEYS__K1): is not base64url; make one by `openssl"],
        ),
        (&[("AUTH__KEYS__K1", "cGxhbnRlZA")], &["auth.keys.k1", "is 7 bytes long; give at least 32 random bytes"]),
        (&[("AUTH__ACTIVE_KEY", "")], &["auth.active_key (not set): is missing; name the key"]),
        (
            &[("AUTH__ACTIVE_KEY", "k2")],
            &[
                "auth.active_key (environment variable HOLDFAST__AUTH__ACTIVE_KEY): names a key that auth.keys does not hold; add the key",
            ],
        ),
        (
            &[("AUTH__ACCESS_MINUTES", "0")],
            &["auth.access_minutes", "0 is out of bounds; give a whole number from 1 to 1440"],
        ),
        (
            &[("SECRETS__PUBLIC_KEY", "")],
            &["secrets.public_key (not set): is missing; make a pair by `holdfast-worker keys`"],
        ),
        (
            &[("SECRETS__PUBLIC_KEY", "abc")],
            &["secrets.public_key (environment variable", "give the public key that `holdfast-worker keys` printed"],
        ),
        (
            &[
                ("SECRETS__KEY_RING", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
                ("SECRETS__PUBLIC_KEY", ""),
            ],
            &["secrets.key_ring", "the API must not be able to open credentials; give private keys to workers alone"],
        ),
        (
            &[("HTTP__LISTEN", "8080")],
            &[
                "http.listen (environment variable HOLDFAST__HTTP__LISTEN)",
                "give address:port, for example 127.0.0.1:8080",
            ],
        ),
        (&[("HTTP__MODE", "production")], &["http.mode", "give \"prod\" or \"dev\""]),
        (
            &[("HTTP__LISTNE", "x")],
            &["http.listne (environment variable HOLDFAST__HTTP__LISTNE): is not a setting; did you mean http.listen?"],
        ),
        (
            &[("HTTP__TRUSTED_PROXIES", "10.0.0.0/33")],
            &["http.trusted_proxies", "no address or network; give 10.0.0.0/8 or ::1"],
        ),
        (
            &[("HTTP__CORS__ORIGINS", "[\"https://a.example/\", \"*\"]")],
            &[
                "http.cors.origins (environment variable",
                "has a path: an origin ends with its host or port; give https://a.example",
                "\"*\" is a pattern: origins are compared as a whole; list each origin",
            ],
        ),
        (
            &[("HTTP__CORS__ORIGINS", "[\"any\"]")],
            &[
                "lets every page that an operator opens talk to this API",
                "list the origins that may; \"any\" is for dev",
            ],
        ),
        (
            &[("HTTP__LIMITS__ADMIN_PER_S", "10"), ("HTTP__LIMITS__ADMIN_BURST", "5")],
            &["http.limits.admin_burst", "is below the rate", "raise it to 10 or more"],
        ),
        (&[("JOBS__PER_DAY", "-1")], &["jobs.per_day", "give a whole number from 0 to 1000000"]),
        (&[("STORES__MAIN__KIND", "file")], &["stores.main.root (not set): is missing; give an absolute directory"]),
        (
            &[("STORES__MAIN__KIND", "tape")],
            &["stores.main.kind (environment variable", "give \"file\", \"gridfs\" or \"s3\""],
        ),
        (
            &[("STORES__MAIN__KIND", "file"), ("STORES__MAIN__ROOT", "saves")],
            &["stores.main.root", "is a relative path; give an absolute directory"],
        ),
        (&[("WORKER__LEASE_S", "6")], &["worker.lease_s", "is shorter than three beats (worker.beat_s); raise it"]),
        (
            &[("HTTP__LISTEN", "x"), ("HTTP__MODE", "x"), ("WORKER__SLOTS", "0")],
            &["3 error(s) in the configuration", "http.listen", "http.mode", "worker.slots"],
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (change, expected) in cases {
        let names: Vec<String> = change.iter().map(|(name, _)| format!("HOLDFAST__{name}")).collect();
        let over = names.iter().map(String::as_str).zip(change.iter().map(|(_, value)| *value));
        let kept = GOOD.iter().copied().filter(|(name, _)| !names.iter().any(|changed| changed == name));
        let envs: Vec<(&str, &str)> = kept.chain(over.filter(|(_, value)| !value.is_empty())).collect();
        let output = check(dir.path(), &[], &envs);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{change:?}: {said}");
        for part in *expected {
            assert!(said.contains(part), "{change:?}: {part:?} is missing in:\n{said}");
        }
        assert!(!said.contains("planted") && !said.contains(KEY), "{change:?}: a secret was printed:\n{said}");
    }
}

#[test]
fn a_wrong_file_is_named_by_its_line_and_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let broken = write(&dir, "broken.toml", "[database]\nurl = \"postgres://planted\n");
    let wrong = write(&dir, "wrong.toml", "[http]\n\nlisten = 8080\n[nonsense]\na = \"planted\"\n");
    for (args, env, expected) in [
        (vec!["--config", broken.as_str()], "", "broken.toml:2"),
        (vec!["--config", wrong.as_str()], "", "wrong.toml:3"),
        (vec!["--config", wrong.as_str()], "", "nonsense ("),
        (vec!["--config", "/nowhere.toml"], "", "/nowhere.toml"),
        (vec![], "planted password with spaces\n", ".env): a line is not KEY=value; quote values"),
    ] {
        write(&dir, ".env", env);
        let output = check(dir.path(), &args, &GOOD);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{expected}: {said}");
        assert!(said.contains(expected) && !said.contains("planted"), "{expected:?} in:\n{said}");
    }
}

#[test]
fn the_example_lacks_nothing_but_the_keys_that_everybody_makes_for_himself() {
    let dir = tempfile::tempdir().unwrap();
    let example = std::fs::read_to_string(stack::root().join(".env.example")).unwrap();
    write(&dir, ".env", &example);
    let said = text(&check(dir.path(), &[], &[]).stderr);
    let keys = ["auth.active_key", "auth.keys", "secrets.public_key"];
    let mut problems = said.lines().skip(1).filter_map(|line| line.trim().split(' ').next());
    assert!(problems.all(|key| keys.contains(&key)) && said.lines().count() > 1, "{said}");
    // With them it is complete, and so is every line that is commented out.
    let keys = format!("HOLDFAST__AUTH__KEYS__K1={KEY}\nHOLDFAST__SECRETS__PUBLIC_KEY={PUBLIC}\n");
    write(&dir, ".env", &format!("{example}\n{keys}"));
    let settings = shown(&check(dir.path(), &[], &[]));
    assert_eq!(settings["stores.main.kind"]["value"], "file");
    assert_eq!(settings["events.mode"]["value"], "off");
}
