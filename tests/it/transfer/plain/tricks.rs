//! Text that wants more than a database: programs, files and other servers, and a transaction of its own.

use std::path::{Path, PathBuf};

use support::{App, Database, Digest, database, database::tool, stack};

use super::{BARE, dumped, import, last_job, nothing_is_left, plain};

/// A text that leaves a file behind where nobody holds psql back. `MARK` is that file.
const TRICKS: &[(&str, &str)] = &[
    ("a shell", "\\! touch MARK\n"),
    ("a shell after a statement", "SELECT 1; \\! touch MARK\n"),
    ("a shell after a comment that ends with the line's other end", "--\r\\! touch MARK\n"),
    ("a shell after a name with a line break", "CREATE TABLE public.\"a\nb\" (i int); \\! touch MARK\n"),
    ("a name that the dump's comment carries on in the next line", "-- Name: x\n\\! touch MARK\n-- y; Type: TABLE\n"),
    ("backquotes", "\\echo `touch MARK`\n"),
    ("backquotes that set a variable", "\\set x `touch MARK`\n"),
    ("a pipe for results", "\\o |touch MARK\nSELECT 1;\n\\o\n"),
    ("a file for results", "\\o MARK\nSELECT 1;\n\\o\n"),
    ("a pipe for one result", "SELECT 1 \\g |touch MARK\n"),
    ("a file for one result", "SELECT 1 \\g MARK\n"),
    ("a file for the statement", "SELECT 1 \\w MARK\n"),
    ("a copy to a program", "\\copy (SELECT 1) TO PROGRAM 'touch MARK'\n"),
    ("a copy from a program", "CREATE TABLE public.a (i text);\n\\copy public.a FROM PROGRAM 'touch MARK'\n"),
    ("a copy to a file", "\\copy (SELECT 1) TO 'MARK'\n"),
    ("statements made of results", "SELECT 'COPY (SELECT 1) TO PROGRAM ''touch MARK''' \\gexec\n"),
    ("a log", "\\getenv x PATH\n\\setenv PSQL_EDITOR 'touch MARK;'\n\\! touch MARK\n"),
    ("another file", "\\i /dev/null\n\\! touch MARK\n"),
    ("another database", "\\connect postgres\n\\! touch MARK\n"),
    ("a condition", "\\if true\n\\! touch MARK\n\\endif\n"),
    ("a program of the server", "COPY (SELECT 1) TO PROGRAM 'touch MARK';\n"),
    (
        "a program of the server, by a function",
        "DO $$BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch MARK'''; END$$;\n",
    ),
    ("a file of the server", "COPY (SELECT 1) TO 'MARK';\n"),
    ("a file of the server, by a large object", "SELECT lo_from_bytea(4712, 'x');\nSELECT lo_export(4712, 'MARK');\n"),
];

/// What is refused as well, and leaves no file behind in any psql that is not held back.
const OTHERS: &[(&str, &str)] = &[
    ("the end of the holding back, by a program", "\\unrestrict `touch MARK`\n"),
    ("the end of the holding back, by guesses", "\\unrestrict holdfast\n\\! touch MARK\n"),
    ("the end of the holding back, without a key", "\\unrestrict\n\\! touch MARK\n"),
    ("another holding back", "\\restrict abc\n\\unrestrict abc\n\\! touch MARK\n"),
    ("an untrusted language", "CREATE EXTENSION plperlu;\n"),
    ("another server", "CREATE EXTENSION dblink;\nSELECT dblink_connect('host=127.0.0.1 port=1');\n"),
    ("files of the server", "CREATE TABLE public.a (i text);\nCOPY public.a FROM '/etc/passwd';\n"),
    ("a file of the server, read", "SELECT pg_read_file('/etc/passwd');\n"),
    ("a library", "LOAD '/tmp/x.so';\n"),
    ("another database", "CREATE DATABASE holdfast_trick;\n"),
];

/// A good dump with something in its middle.
fn with(good: &[u8], trick: &str) -> Vec<u8> {
    let good = std::str::from_utf8(good).unwrap();
    let at = good.find("--\n-- Data for Name: ").unwrap();
    [&good[..at], trick, &good[at..]].concat().into_bytes()
}

/// What a bare psql of a superuser does with it.
fn bare(file: &Path, database: &str) {
    let setting = |name: &str| stack::setting(&format!("TARGET_{name}"));
    let (host, port, user, password) =
        (setting("HOST"), setting("PORT"), setting("SUPER_USER"), setting("SUPER_PASSWORD"));
    let envs = [
        ("PGHOST", host.as_str()),
        ("PGPORT", &port),
        ("PGUSER", &user),
        ("PGPASSWORD", &password),
        ("PGDATABASE", database),
        ("PATH", "/usr/bin:/bin"),
    ];
    drop(stack::try_run(&tool("psql"), &["-X", "-q", "-f", file.to_str().unwrap()], &envs));
}

#[tokio::test]
async fn no_trick_of_a_dump_reaches_beyond_its_database() {
    let source = Database::create("CREATE TABLE t AS SELECT 1 AS n").await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let before = Digest::of(&source.name).await;
    let good = plain(&app, "CREATE TABLE t AS SELECT n FROM generate_series(1, 5) n").await;
    let victim = Database::create("SELECT").await;
    let wanted = stack::fresh("new");
    // Where every user may make it.
    let mark = |n: usize| PathBuf::from(format!("/tmp/{}_{n}", stack::fresh("mark")));
    for (n, (name, trick)) in TRICKS.iter().chain(OTHERS).enumerate() {
        let mark = mark(n);
        let text = trick.replace("MARK", mark.to_str().unwrap());
        if n < TRICKS.len() {
            let file = app.dir.path().join("trick.sql");
            std::fs::write(&file, &text).unwrap();
            bare(&file, &victim.name);
            assert!(mark.exists(), "{name}: would do nothing anyway");
            std::fs::remove_file(&mark).unwrap();
        }
        let refused = import(&app, &target, &format!("?into={wanted}"), None, with(&good, &text)).await.expect(422);
        let job = last_job(&app).await;
        let expected = if text.contains('\\') { "sql_meta_command" } else { "" };
        let code = job["error"]["code"].as_str().unwrap();
        assert!(expected.is_empty() || code == expected, "{name}: {refused}");
        assert!(!mark.exists(), "{name}: {} was made", mark.display());
        nothing_is_left(&app, &wanted).await;
    }
    assert!(!database::exists("holdfast_trick").await);
    assert_eq!(Digest::of(&source.name).await, before);
    app.holds().await;
}

#[tokio::test]
async fn a_dump_that_ends_its_transaction_is_told_so_and_none_of_it_stays() {
    let source = Database::create("CREATE TABLE t AS SELECT 1 AS n").await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let good = plain(&app, "CREATE TABLE t AS SELECT n FROM generate_series(1, 5) n").await;
    let wanted = stack::fresh("new");
    for text in [
        "COMMIT;\n",
        "COMMIT;\nBEGIN;\n",
        "END;\n",
        "COMMIT AND CHAIN;\n",
        "ROLLBACK;\nCREATE TABLE public.t (n int);\n",
        "ROLLBACK;\nBEGIN;\nCREATE TABLE public.t (n int);\n",
        "ROLLBACK AND CHAIN;\nCREATE TABLE public.t (n int);\n",
        "ABORT;\nCREATE TABLE public.t (n int);\n",
        "PREPARE TRANSACTION 'x';\n",
        "SET CONSTRAINTS ALL IMMEDIATE;\n",
        // It knows how it is watched.
        "DELETE FROM pg_temp.holdfast_guard;\nCOMMIT;\nBEGIN;\nCREATE TEMPORARY TABLE holdfast_guard (id int);\n",
        "DELETE FROM pg_temp.holdfast_guard;\nCOMMIT;\n",
    ] {
        let refused = import(&app, &target, &format!("?into={wanted}"), None, with(&good, text)).await.expect(422);
        assert!(refused["detail"].as_str().unwrap().contains("ends the transaction"), "{text}: {refused}");
        assert_eq!(last_job(&app).await["error"]["code"], "sql_commits", "{text}");
        nothing_is_left(&app, &wanted).await;
    }
    // So does pg_dump itself, around large objects.
    let large = Database::create("SELECT lo_from_bytea(4711, 'large')").await;
    let dumped =
        |name: &str, more: &[&str]| std::fs::read(dumped(&app, &large.name, name, &[&BARE, more].concat())).unwrap();
    let (whole, without) = (dumped("large.sql", &[]), dumped("without.sql", &["--no-blobs"]));
    let refused = import(&app, &target, &format!("?into={wanted}"), None, whole).await.expect(422);
    assert!(refused["detail"].as_str().unwrap().contains("large objects"), "{refused}");
    nothing_is_left(&app, &wanted).await;
    import(&app, &target, &format!("?into={wanted}"), None, without).await.expect(201);
    database::remove(&wanted).await;
    // What only looks so.
    let harmless = "BEGIN;\nSAVEPOINT a;\nROLLBACK TO a;\nRELEASE a;\n";
    import(&app, &target, &format!("?into={wanted}"), None, with(&good, harmless)).await.expect(201);
    Database { name: wanted }.remove().await;
    app.holds().await;
}
