//! That every wrong setting is named with its origin and cure, all at once, and no secret is shown.

use std::path::PathBuf;

use secrecy::ExposeSecret;

use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Writes a file of its own for each test.
fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("holdfast-config-{}-{name}", uuid::Uuid::now_v7()));
    std::fs::write(&path, text).unwrap();
    path
}

fn only(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::load(&Sources { env: env(pairs), ..Sources::default() })
}

#[test]
fn the_defaults_are_complete_and_right() {
    let config = only(&[]).unwrap();
    assert_eq!(config.http.listen.port(), 8080);
    assert_eq!(config.worker.lease.as_secs(), 30);
    assert_eq!(config.worker.groups.len(), 1);
    assert_eq!(config.jobs.attempts, 5);
    assert_eq!(config.events.unrouted_max_bytes, 64 << 20);
    assert_eq!(config.effective()["http.listen"]["origin"], "default");
}

#[test]
fn later_layers_win_and_name_their_place() {
    let toml = file("a.toml", "[http]\nlisten = \"1.2.3.4:1\"\nmode = \"dev\"\n[worker]\nslots = 3\n");
    let dotenv = file(".env", "# x\nHOLDFAST__WORKER__SLOTS=4\nHOLDFAST__HTTP__MODE=prod\n");
    let config = Config::load(&Sources {
        file: Some(toml.clone()),
        dotenv: Some(dotenv.clone()),
        env: env(&[("HOLDFAST__WORKER__SLOTS", "5"), ("HOLDFAST__WORKER__GROUPS", "a,b-c"), ("PATH", "/bin")]),
    })
    .unwrap();
    assert_eq!((config.worker.slots, config.worker.groups.len(), config.http.mode), (5, 2, Mode::Prod));
    let effective = config.effective();
    assert_eq!(effective["http.listen"]["origin"], format!("{}:2", toml.display()));
    assert_eq!(effective["http.mode"]["origin"], format!("{}:3 HOLDFAST__HTTP__MODE", dotenv.display()));
    assert_eq!(effective["worker.slots"]["origin"], "environment variable HOLDFAST__WORKER__SLOTS");
}

#[test]
fn all_errors_come_at_once_with_key_origin_and_cure() {
    let toml = file("b.toml", "[http]\nlistne = \"x\"\n\n[worker]\nslots = 0\nlease_s = 6\n[nonsense]\na = 1\n");
    let errors = Config::load(&Sources {
        file: Some(toml),
        env: env(&[("HOLDFAST__HTTP__MODE", "staging"), ("HOLDFAST__STORES__MAIN__KIND", "file")]),
        ..Sources::default()
    })
    .unwrap_err();
    let text = errors.to_string();
    for expected in [
        "http.listne (",
        "b.toml:2): is not a setting; did you mean http.listen?",
        "b.toml:5): 0 is out of bounds; give a whole number from 1 to 64",
        "b.toml:6): is shorter than three beats",
        "nonsense (",
        "remove it",
        "http.mode (environment variable HOLDFAST__HTTP__MODE)",
        "stores.main.root (not set): is missing; give an absolute directory",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
    assert_eq!(errors.0.len(), 6, "{text}");
}

#[test]
fn secrets_come_by_file_and_are_never_shown() {
    let secret = "postgres://app:planted-password@db/holdfast";
    let path = file("url", &format!("{secret}\n"));
    let config = only(&[
        ("HOLDFAST__DATABASE__URL_FILE", path.to_str().unwrap()),
        ("HOLDFAST__DATABASE__OWNER_URL", secret),
        ("HOLDFAST__EVENTS__URL", "amqp://u:planted-password@h/%2f"),
        ("HOLDFAST__STORES__GRID__KIND", "gridfs"),
        ("HOLDFAST__STORES__GRID__URI", "mongodb://u:planted-password@h"),
        ("HOLDFAST__STORES__GRID__DATABASE", "holdfast"),
    ])
    .unwrap();
    assert_eq!(config.database.url.as_ref().unwrap().expose_secret(), secret);
    let shown = format!("{config:?} {}", config.effective());
    assert!(!shown.contains("planted"), "{shown}");
    assert_eq!(config.effective()["database.owner_url"]["value"], "(set)");
    let errors =
        only(&[("HOLDFAST__DATABASE__URL", "mysql://planted"), ("HOLDFAST__AUTH__KEYS__A", "planted*")]).unwrap_err();
    assert!(errors.0.len() == 2 && !errors.to_string().contains("planted"), "{errors}");
}

#[test]
fn a_secret_given_twice_in_one_layer_is_an_error_and_the_later_layer_wins() {
    let both = [("HOLDFAST__DATABASE__URL", "postgres://a"), ("HOLDFAST__DATABASE__URL_FILE", "/nowhere")];
    assert!(only(&both).unwrap_err().to_string().contains("given twice"));
    let toml = file("c.toml", "[database]\nurl_file = \"/nowhere\"\n");
    let sources = Sources { file: Some(toml), env: env(&both[..1]), ..Sources::default() };
    assert_eq!(Config::load(&sources).unwrap().database.url.unwrap().expose_secret(), "postgres://a");
}

#[test]
fn a_broken_file_is_named_by_line_without_being_quoted() {
    let toml = file("d.toml", "[database]\nurl = \"postgres://planted\n");
    let errors = Config::load(&Sources { file: Some(toml), ..Sources::default() }).unwrap_err().to_string();
    assert!(errors.contains("d.toml:2") && !errors.contains("planted"), "{errors}");
}

#[test]
fn each_process_is_told_what_it_lacks() {
    let empty = only(&[]).unwrap();
    assert_eq!(empty.for_api().unwrap_err().0.len(), 4);
    assert_eq!(empty.for_worker().unwrap_err().0.len(), 3);
    assert_eq!(empty.for_migrate().unwrap_err().0.len(), 1);
}

#[test]
fn the_api_refuses_private_keys() {
    let (private, public) = crate::secret::generate_keypair();
    let key = "A".repeat(43);
    let public = public.to_string();
    let base = [
        ("HOLDFAST__DATABASE__URL", "postgres://a"),
        ("HOLDFAST__AUTH__KEYS__K1", key.as_str()),
        ("HOLDFAST__AUTH__ACTIVE_KEY", "k1"),
        ("HOLDFAST__SECRETS__PUBLIC_KEY", public.as_str()),
    ];
    only(&base).unwrap().for_api().unwrap();
    let with_ring = [&base[..], &[("HOLDFAST__SECRETS__KEY_RING", private.expose_secret())]].concat();
    let refused = only(&with_ring).unwrap().for_api().unwrap_err();
    assert!(refused.0.len() == 1 && refused.to_string().contains("secrets.key_ring"), "{refused}");
    let (other, _) = crate::secret::generate_keypair();
    let foreign = [&base[..], &[("HOLDFAST__SECRETS__KEY_RING", other.expose_secret())]].concat();
    assert!(only(&foreign).unwrap_err().to_string().contains("does not belong to any private key"));
}

#[test]
fn networks_hold_their_addresses() {
    let ten = Network::parse("10.0.0.0/8").unwrap();
    assert!(ten.contains("10.1.2.3".parse().unwrap()) && !ten.contains("11.0.0.1".parse().unwrap()));
    assert!(ten.contains("::ffff:10.0.0.1".parse().unwrap()));
    assert!(Network::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
    assert!(!Network::parse("::1").unwrap().contains("::2".parse().unwrap()));
    assert!(Network::parse("10.0.0.0/33").is_none());
}

const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

fn store(encryption: &str) -> Result<Config, ConfigErrors> {
    let text = format!(
        "[stores.main]\nkind = \"file\"\nroot = \"/var/lib/holdfast\"\n[stores.main.encryption]\n{encryption}\n"
    );
    Config::load(&Sources { file: Some(file("encryption.toml", &text)), ..Sources::default() })
}

#[test]
fn encryption_that_is_wrong_is_an_error_and_never_plain_bytes() {
    let stranger = age::x25519::Identity::generate();
    let stranger = stranger.to_string();
    let identity = format!("recipients = [{RECIPIENT:?}]\nidentity = {:?}", stranger.expose_secret());
    for (given, expected) in [
        ("", "stores.main.encryption.recipients (not set): is missing, and there is no passphrase"),
        ("recipients = []", "is an empty list"),
        ("recipients = [\"age1nonsense\"]", "\"age1nonsense\" is not a public key of age"),
        (&format!("recipients = [{RECIPIENT:?}]\npassphrase = \"x\""), "is given beside recipients"),
        ("passphrase = \"planted\"\nidentity = \"AGE\"", "holds a line that is no secret key"),
        (&identity, "belongs to none of the recipients"),
        (&format!("recipients = [{RECIPIENT:?}]\nidentity_file = \"/nowhere\""), "cannot read /nowhere"),
        ("recipient = \"age1\"", "did you mean stores.main.encryption.recipients?"),
    ] {
        let errors = store(given).unwrap_err().to_string();
        assert!(errors.contains(expected), "{given}: {expected:?} is missing in:\n{errors}");
        assert!(!errors.contains("planted") && !errors.contains(stranger.expose_secret()), "{errors}");
    }
}

#[test]
fn encryption_is_read_and_the_api_may_not_have_what_opens_it() {
    let config = store(&format!("recipients = [{RECIPIENT:?}, {RECIPIENT:?}]")).unwrap();
    let encryption = config.stores.values().next().unwrap().encryption.clone().unwrap();
    assert!(matches!(&encryption.lock, Lock::Recipients(all) if all.len() == 1) && !encryption.can_read());
    let config = store("passphrase = \"planted\"").unwrap();
    assert!(!format!("{config:?} {}", config.effective()).contains("planted"));
    let refused = config.for_api().unwrap_err().to_string();
    assert!(
        refused.contains("stores.main.encryption.identity") && refused.contains("must not be able to read saves"),
        "{refused}"
    );
}

#[test]
fn how_objects_are_read_back_is_one_of_two_and_the_third_is_refused_with_its_reason() {
    let with = |word: &str| {
        let text = format!("[stores.disk]\nkind = \"file\"\nroot = \"/saves\"\nread_back = {word:?}\n");
        Config::load(&Sources { file: Some(file("read-back.toml", &text)), ..Sources::default() })
    };
    for (word, wanted) in [("full", ReadBack::Full), ("off", ReadBack::Off)] {
        assert_eq!(with(word).unwrap().stores.values().next().unwrap().read_back, wanted);
    }
    let refused = with("provider_checksum").unwrap_err().to_string();
    assert!(refused.contains("stores.disk.read_back") && refused.contains("no digest"), "{refused}");
    let refused = with("sometimes").unwrap_err().to_string();
    assert!(refused.contains("\"sometimes\"") && refused.contains("\"full\" or \"off\""), "{refused}");
}

fn scratch(toml: &str) -> Result<Config, ConfigErrors> {
    Config::load(&Sources { file: Some(file("scratch.toml", toml)), ..Sources::default() })
}

#[test]
fn scratch_servers_are_read_and_the_api_may_not_have_what_opens_them() {
    let pg =
        "[scratch.pg]\nengine = \"postgres\"\ngroups = [\"a\"]\nhost = \"h\"\nuser = \"u\"\npassword = \"planted\"\n";
    let docs =
        "[scratch.docs]\nengine = \"mongodb\"\nuri = \"mongodb://b:1,c/?replicaSet=r\"\ntls_mode = \"disable\"\n";
    let config = scratch(&format!("{pg}{docs}")).unwrap();
    let servers: Vec<&ScratchServer> = config.scratch.values().collect();
    assert_eq!((servers[1].engine().as_str(), servers[1].port, servers[1].groups.len()), ("postgres", 5432, 1));
    assert_eq!(
        (servers[0].engine().as_str(), servers[0].port, servers[0].host.to_string()),
        ("mongodb", 1, "b".into())
    );
    assert!(servers[0].user.is_none() && !servers[0].allow_same_server);
    assert!(!format!("{config:?} {}", config.effective()).contains("planted"));
    let refused = config.for_api().unwrap_err().to_string();
    assert!(refused.contains("scratch.pg.password"), "{refused}");
    for (wrong, expected) in [
        ("[scratch.pg]\nhost = \"h\"", "scratch.pg.engine (not set): is missing"),
        (
            "[scratch.pg]\nengine = \"postgres\"\nuser = \"u\"\npassword = \"p\"",
            "scratch.pg.host (not set): is missing",
        ),
        ("[scratch.pg]\nengine = \"postgres\"\nhost = \"h\"", "scratch.pg.user (not set): is missing"),
        (
            "[scratch.pg]\nengine = \"postgres\"\nhost = \"h\"\nuser = \"u\"",
            "scratch.pg.password (not set): is missing",
        ),
        ("[scratch.d]\nengine = \"mongodb\"\nhost = \"h\"\nuri = \"mongodb://h\"", "stands beside a host"),
        ("[scratch.d]\nengine = \"mongodb\"\nhost = \"h\"\ntls_mode = \"prefer\"", "negotiates no TLS"),
        ("[scratch.d]\nengine = \"mongodb\"\nuri = \"mongodb://u:planted@h\"", "carries a user or a password"),
        (
            "[scratch.pg]\nengine = \"postgres\"\nhost = \"h\"\nuser = \"u\"\npassword_file = \"/nowhere\"",
            "cannot read /nowhere",
        ),
    ] {
        let errors = scratch(wrong).unwrap_err().to_string();
        assert!(errors.contains(expected), "{wrong}: {expected:?} is missing in:\n{errors}");
        assert!(!errors.contains("planted"), "{errors}");
    }
}
