//! Dumps that people bring: what is whole becomes a save like any other, and nothing else does.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use support::{Answer, App, Database, Digest, Owned, TargetSpec, WorkerSpec, database::tool, stack, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A custom-format dump of a database, as a person makes it.
pub(super) fn dumped(app: &App, database: &str, name: &str, args: &[&str]) -> PathBuf {
    let file = app.dir.path().join(name);
    let args = [&["--file", file.to_str().unwrap()], args].concat();
    pg_dump(database, &args);
    file
}

/// What `pg_dump` says of a database of the target server.
pub(super) fn pg_dump(database: &str, args: &[&str]) -> String {
    let setting = |name: &str| stack::setting(&format!("TARGET_{name}"));
    let (host, port, user, password) =
        (setting("HOST"), setting("PORT"), setting("SUPER_USER"), setting("SUPER_PASSWORD"));
    let envs = [
        ("PGHOST", host.as_str()),
        ("PGPORT", &port),
        ("PGUSER", &user),
        ("PGPASSWORD", &password),
        ("PGDATABASE", database),
    ];
    stack::run(&tool("pg_dump"), args, &envs)
}

pub(super) fn packed(file: &Path, program: &str) -> Vec<u8> {
    let out = file.with_extension(program);
    let line = format!("{program} -q -c '{}' > '{}'", file.display(), out.display());
    stack::run(Path::new("/bin/sh"), &["-c", &line], &[]);
    std::fs::read(out).unwrap()
}

pub(super) async fn import(app: &App, target: &str, query: &str, encoding: Option<&str>, bytes: Vec<u8>) -> Answer {
    let mut request = app.client.request(Method::POST, &format!("/v1/targets/{target}/import{query}")).body(bytes);
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    app.client.send(request).await
}

/// Restores an import into a new database of `PostgreSQL`.
async fn restored(app: &App, save: &str) -> Database {
    let copy = Database { name: stack::fresh("new") };
    let body = json!({ "into": { "database": copy.name }, "owner": "none", "privileges": "none", "trust": true });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    app.client.job_is(&job, "succeeded").await;
    copy
}

/// An import that failed has left a failed job, a failed save, and no bytes.
async fn left_nothing(app: &App, code: &str) {
    let states: Vec<Value> = app
        .values(
            "SELECT jsonb_build_object('job', j.state, 'code', j.error->>'code', 'save', s.state) FROM jobs j
             JOIN saves s ON s.id = j.save_id WHERE j.kind = 'import' ORDER BY j.id DESC LIMIT 1",
        )
        .await;
    assert_eq!(states, [json!({ "job": "failed", "code": code, "save": "failed" })]);
    let left: i64 = app.value("SELECT count(*) FROM save_objects WHERE state IN ('uploading', 'stored') AND save_id IN (SELECT id FROM saves WHERE origin = 'import' AND state = 'failed')").await;
    assert_eq!(left, 0, "objects of a failed import are left");
}

#[tokio::test]
async fn a_dump_that_is_brought_is_a_save_like_any_other() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let before = Digest::of(&source.name).await;
    let file = dumped(&app, &source.name, "plain.dump", &["--format=custom", "--compress=0"]);
    let plain = std::fs::read(&file).unwrap();
    let zipped = std::fs::read(dumped(&app, &source.name, "zipped.dump", &["--format=custom"])).unwrap();
    for (what, encoding, bytes, counted) in [
        ("as it is", None, plain.clone(), true),
        ("compressed inside", None, zipped, false),
        ("in gzip", None, packed(&file, "gzip"), true),
        ("in zstd", None, packed(&file, "zstd"), true),
        ("in gzip, said", Some("gzip"), packed(&file, "gzip"), true),
    ] {
        let answer = import(&app, &target, "?note=brought", encoding, bytes).await;
        let location = answer.header("location").map(str::to_owned);
        let body = answer.expect(201);
        let save = body["save"]["id"].as_str().unwrap().to_owned();
        assert_eq!(location, Some(format!("/v1/saves/{save}")));
        assert_eq!((&body["job"]["kind"], &body["job"]["state"]), (&json!("import"), &json!("succeeded")), "{what}");
        let save_row = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
        for (field, value) in [
            ("state", json!("available")),
            ("origin", json!("import")),
            ("trusted", json!(false)),
            ("note", json!("brought")),
        ] {
            assert_eq!(save_row[field], value, "{what}");
        }
        let manifest = &save_row["manifest"];
        assert!(
            manifest["tool"] == "pg_dump" && manifest["tool_version"].as_str().unwrap().starts_with("15."),
            "{manifest:#}"
        );
        assert_eq!(manifest["inventory"]["rows"], if counted { json!(6000) } else { Value::Null }, "{what}");
        let warned = save_row["warnings"].to_string().contains("compressed inside");
        assert_eq!(warned, !counted, "{what}: {}", save_row["warnings"]);
        let copy = restored(&app, &save).await;
        assert_eq!(Digest::of(&copy.name).await.rows, before.rows, "{what}");
        copy.remove().await;
    }
    // Who does not vouch for it does not restore it.
    let save: String = app.value("SELECT id::text FROM saves ORDER BY id LIMIT 1").await;
    let body = json!({ "into": { "database": stack::fresh("new") } });
    app.client.post(&format!("/v1/saves/{save}/restore"), body).await.expect(422);
    let ends: Vec<Value> =
        app.values("SELECT detail FROM audit WHERE action = 'save.imported' AND outcome = 'allowed' ORDER BY id").await;
    assert_eq!(ends.len(), 5);
    assert_eq!((&ends[0]["bytes"], &ends[0]["result"]), (&json!(plain.len()), &json!("available")), "{ends:?}");
    app.holds().await;
}

#[tokio::test]
async fn what_is_no_dump_or_another_engines_is_refused_before_anything_is_begun() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let file = dumped(&app, &source.name, "plain.sql", &["--format=plain"]);
    let tar = dumped(&app, &source.name, "dump.tar", &["--format=tar"]);
    let archive = stack::root().join("worker/src/engine/mongodb/archive/fixtures/auction.archive");
    for (encoding, bytes, words) in [
        (None, std::fs::read(&file).unwrap(), "plain SQL"),
        (None, packed(&file, "gzip"), "plain SQL"),
        (None, std::fs::read(&tar).unwrap(), "tar format"),
        (None, Vec::new(), "empty"),
        (None, b"\x7fELF and so on".to_vec(), "ELF"),
        (None, std::fs::read(&archive).unwrap(), "a dump of mongodb"),
        (Some("gzip"), std::fs::read(&archive).unwrap(), "said to be gzip"),
        (Some("br"), Vec::new(), "Content-Encoding"),
        // Far more than fits the buffers on the way: the answer is heard although bytes are still sent.
        (None, vec![b'x'; 24 << 20], "plain SQL"),
    ] {
        let refused = import(&app, &target, "", encoding, bytes).await.expect(422);
        assert!(refused["detail"].as_str().unwrap().contains(words), "{words}: {refused}");
    }
    let begun: i64 = app.value("SELECT count(*) FROM jobs WHERE kind = 'import'").await;
    let saves: i64 = app.value("SELECT count(*) FROM saves").await;
    assert_eq!((begun, saves), (0, 0));
    let audited: i64 =
        app.value("SELECT count(*) FROM audit WHERE action = 'save.import' AND outcome = 'failed'").await;
    assert_eq!(audited, 9);
    app.holds().await;
}

#[tokio::test]
async fn an_archive_that_is_not_whole_leaves_a_failed_job_and_nothing_else() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let file = dumped(&app, &source.name, "plain.dump", &["--format=custom", "--compress=0"]);
    let good = std::fs::read(&file).unwrap();
    let zipped = packed(&file, "gzip");
    let length = good.len();
    let mut newer = good.clone();
    newer[6] = 99;
    for (bytes, code, words) in [
        (good[..length - 1].to_vec(), "archive_damaged", format!("at byte {}", length - 1)),
        (good[..length / 2].to_vec(), "archive_damaged", format!("at byte {}", length / 2)),
        ([good.clone(), b"x".to_vec()].concat(), "archive_damaged", format!("at byte {}", length + 1)),
        (newer, "archive_damaged", "format 1.99".to_owned()),
        (zipped[..zipped.len() - 5].to_vec(), "upload_unreadable", "cut off".to_owned()),
        ([zipped.clone(), b"more".to_vec()].concat(), "upload_unreadable", "damaged".to_owned()),
    ] {
        let refused = import(&app, &target, "", None, bytes).await.expect(422);
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(&words) && detail.contains("(job "), "{words}: {refused}");
        left_nothing(&app, code).await;
    }
    let job: String = app.value("SELECT id::text FROM jobs WHERE kind = 'import' LIMIT 1").await;
    let again = app.client.post(&format!("/v1/jobs/{job}/retry"), json!({})).await.expect(409);
    assert!(again["detail"].as_str().unwrap().contains("send them again"), "{again}");
    app.holds().await;
}

/// Sends the head of an import and the first bytes of its body, and keeps the connection.
pub(super) async fn half_sent(app: &App, target: &str, query: &str, bytes: &[u8]) -> tokio::net::TcpStream {
    let address = app.client.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let token = app.client.token.as_deref().unwrap();
    let head = format!(
        "POST /v1/targets/{target}/import{query} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        bytes.len() * 2
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

pub(super) async fn running(app: &App) -> String {
    until("the import runs", || async {
        app.values::<String>("SELECT id::text FROM jobs WHERE kind = 'import' AND state = 'running'").await.pop()
    })
    .await
}

#[tokio::test]
async fn an_upload_that_breaks_is_no_save() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let mut worker = app.worker("a").await;
    let target = app.target(&source).await;
    let good = std::fs::read(dumped(&app, &source.name, "plain.dump", &["--format=custom", "--compress=0"])).unwrap();

    // The sender goes away.
    let stream = half_sent(&app, &target, "", &good[..good.len() / 2]).await;
    let job = running(&app).await;
    drop(stream);
    app.client.job_is(&job, "failed").await;
    left_nothing(&app, "upload_broken").await;

    // Somebody cancels; nothing else works on the target meanwhile.
    let mut stream = half_sent(&app, &target, "", &good[..good.len() / 2]).await;
    let job = running(&app).await;
    let busy = import(&app, &target, "", None, good.clone()).await.expect(409);
    assert!(busy["detail"].as_str().unwrap().contains("another job"), "{busy}");
    let backup = app.backup(&target).await;
    app.client.post(&format!("/v1/jobs/{job}/cancel"), json!(null)).await.expect(202);
    app.client.job_is(&job, "cancelled").await;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.ok();
    app.client.job_is(&backup, "succeeded").await;

    // The worker dies: nobody else has the bytes.
    let _stream = half_sent(&app, &target, "", &good[..good.len() / 2]).await;
    let job = running(&app).await;
    worker.kill9().await;
    let _other = app.worker("b").await;
    app.client.job_is(&job, "failed").await;
    let available: i64 = app.value("SELECT count(*) FROM saves WHERE origin = 'import' AND state = 'available'").await;
    assert_eq!(available, 0);
}

#[tokio::test]
async fn a_target_that_is_worked_on_takes_nothing_and_a_limit_holds() {
    let source = Database::small().await;
    let mut app = App::spawn_with("\n[transfer]\nimport_limit_bytes = 60000\n").await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let good = std::fs::read(dumped(&app, &source.name, "plain.dump", &["--format=custom", "--compress=0"])).unwrap();
    assert!(good.len() > 60_000);
    import(&app, &target, "", None, good.clone()).await.expect(413);
    // The same where nothing says beforehand how much comes: nothing of it is left.
    let pieces = good.chunks(5000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let request = app.client.request(Method::POST, &format!("/v1/targets/{target}/import")).body(body);
    app.client.send(request).await.expect(413);
    let left: i64 = app.value("SELECT count(*) FROM saves WHERE origin = 'import' AND state = 'available'").await;
    assert_eq!(left, 0, "what was too large has become a save");
    let tiny = Database::create("CREATE TABLE t AS SELECT 1 AS n").await;
    let good = std::fs::read(dumped(&app, &tiny.name, "tiny.dump", &["--format=custom", "--compress=0"])).unwrap();
    let hold = source.hold("lots").await;
    let backup = app.backup(&target).await;
    source.dump_waits().await;
    let busy = import(&app, &target, "", None, good.clone()).await.expect(409);
    assert!(busy["detail"].as_str().unwrap().contains("another job"), "{busy}");
    hold.release().await;
    app.client.job_is(&backup, "succeeded").await;
    import(&app, &target, "", None, good).await.expect(201);
    app.holds().await;
}

#[tokio::test]
async fn an_import_takes_the_place_of_the_database_and_can_be_undone() {
    let owned = Owned::create("CREATE TABLE old AS SELECT n FROM generate_series(1, 20) n").await;
    let source = &owned.database;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(source).await;
    let brought = Database::create("CREATE TABLE t AS SELECT n FROM generate_series(1, 10) n").await;
    let good = std::fs::read(dumped(&app, &brought.name, "plain.dump", &["--format=custom", "--compress=0"])).unwrap();
    let save = import(&app, &target, "", None, good).await.expect(201)["save"]["id"].as_str().unwrap().to_owned();
    let (before, of_brought) = (Digest::of(&source.name).await, Digest::of(&brought.name).await);
    let path = format!("/v1/saves/{save}/restore");
    let in_place = json!({ "into": {}, "confirm": source.name, "owner": "none", "privileges": "none" });
    app.client.post(&path, in_place.clone()).await.expect(422);
    let mut trusted = in_place;
    trusted["trust"] = json!(true);
    let job = app.client.post(&path, trusted).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(Digest::of(&source.name).await.rows, of_brought.rows);
    let body = json!({ "confirm": source.name });
    let undo = app.client.post(&format!("/v1/jobs/{job}/undo"), body).await.id();
    app.client.job_is(&undo, "succeeded").await;
    assert_eq!(Digest::of(&source.name).await.rows, before.rows);
    app.holds().await;
}

#[tokio::test]
async fn nothing_that_a_dump_holds_is_run_when_it_is_brought() {
    let mut app = App::spawn().await;
    let proof = app.dir.path().join("run");
    let proof = proof.join("proof");
    let shell = format!("\\! touch {}", proof.display());
    let evil = Database::create(&format!(
        "CREATE TABLE \"x\n{shell}\n\" AS SELECT E'\\\\.\n{shell}\n' AS \"\n{shell}\n\";
         COMMENT ON TABLE \"x\n{shell}\n\" IS E'\n{shell}\n\\\\unrestrict';
         CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN COPY (SELECT 1) TO PROGRAM 'touch {}'; END $$",
        proof.display()
    ))
    .await;
    let _worker = app.worker("a").await;
    let target = app.target(&evil).await;
    for (name, args) in [("a.dump", &["--format=custom"][..]), ("b.dump", &["--format=custom", "--compress=0"])] {
        let bytes = std::fs::read(dumped(&app, &evil.name, name, args)).unwrap();
        import(&app, &target, "", None, bytes).await.expect(201);
    }
    assert!(!proof.exists());
    app.holds().await;
}

#[tokio::test]
async fn a_mongodump_archive_is_brought_and_restored() {
    let mut app = App::spawn().await;
    let _worker = app.worker_with(&WorkerSpec::named("a")).await;
    let url = reqwest::Url::parse(&stack::setting("MONGO_URL")).unwrap();
    let spec = TargetSpec {
        host: "127.0.0.1".to_owned(),
        port: url.port().unwrap(),
        tls_mode: "disable".to_owned(),
        tls_ca: None,
        server: json!({ "engine": "mongodb", "auth": "none" }),
        ..TargetSpec::of(&stack::fresh("shop"))
    };
    let target = app.target_with(&spec).await;
    let fixtures = stack::root().join("worker/src/engine/mongodb/archive/fixtures");
    let plain = std::fs::read(fixtures.join("auction.archive")).unwrap();
    let zipped = std::fs::read(fixtures.join("auction.archive.gz")).unwrap();
    for (bytes, encoding) in [(plain.clone(), None), (zipped, None)] {
        let body = import(&app, &target, "", encoding, bytes).await.expect(201);
        let save = body["save"]["id"].as_str().unwrap().to_owned();
        let manifest = app.client.get(&format!("/v1/saves/{save}")).await.expect(200)["manifest"].clone();
        assert_eq!(
            (&manifest["tool"], &manifest["inventory"]["rows"]),
            (&json!("mongodump"), &json!(2009)),
            "{manifest:#}"
        );
        let copy = stack::fresh("copy");
        let body = json!({ "into": { "database": copy }, "trust": true });
        let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
        app.client.job_is(&job, "succeeded").await;
        let client = mongodb::Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
        let database = client.database(&copy);
        for entry in manifest["inventory"]["entries"].as_array().unwrap() {
            let name = entry["name"].as_str().unwrap();
            let found = database
                .collection::<mongodb::bson::RawDocumentBuf>(name)
                .count_documents(mongodb::bson::doc! {})
                .await
                .unwrap();
            assert_eq!(json!(found), entry["rows"], "{name}");
        }
        database.drop().await.unwrap();
    }
    let mut flipped = plain.clone();
    flipped[700_000] ^= 1;
    for bytes in [plain[..plain.len() - 10].to_vec(), [plain, b"more".to_vec()].concat(), flipped] {
        let refused = import(&app, &target, "", None, bytes).await.expect(422);
        assert!(refused["detail"].as_str().unwrap().contains("at byte"), "{refused}");
        left_nothing(&app, "archive_damaged").await;
    }
    app.holds().await;
}
