//! Names that mean something to a shell, to libpq, to SQL or to a terminal: they arrive literally, or are refused with 422.

mod many;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use support::{
    App, Database, TargetSpec, WorkerSpec,
    database::{self, quoted},
    stack,
};

use super::one_attempt;

/// Listens where nothing may ever connect to.
struct Canary {
    port: u16,
    heard: Arc<AtomicUsize>,
}

impl Canary {
    async fn sit() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&heard);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, heard }
    }

    fn was_never_heard(&self) {
        assert_eq!(self.heard.load(Ordering::SeqCst), 0, "a name made a tool connect elsewhere");
    }
}

/// Each part is unique to the test, so that tests do not meet on the server.
fn nasty(port: u16) -> Vec<String> {
    let tag = &stack::fresh("n")[12..];
    [
        format!("host=127.0.0.1 port={port} dbname={tag}"),
        format!("postgresql://127.0.0.1:{port}/{tag}"),
        format!("dbname={tag}"),
        format!("-{tag}"),
        format!("--file=/tmp/{tag}"),
        format!("{tag}'; DROP TABLE me; --"),
        format!("\"{tag}\"\""),
        format!("{tag}\\'\\"),
        format!("{tag}\nnew\r\nline\t"),
        format!("$(touch {tag})`id`;|&"),
        format!("ünï ☃ データ {tag}"),
        format!(" {tag} "),
        format!("%s%n%00../{tag}"),
        format!("{tag}*.?[a-z]"),
    ]
    .into()
}

#[tokio::test]
async fn databases_with_nasty_names_are_backed_up_and_restored_literally() {
    let mut app = App::spawn().await;
    let canary = Canary::sit().await;
    let _worker = app.worker_with(&WorkerSpec { slots: 4, ..WorkerSpec::named("one") }).await;
    one_attempt(&app).await;
    let (sources, wanted) = (nasty(canary.port), nasty(canary.port));
    let mut running = Vec::new();
    for name in &sources {
        let source = Database::named(name, "CREATE TABLE me (name text)").await;
        sqlx::query("INSERT INTO me VALUES ($1)").bind(name).execute(&mut source.session().await).await.unwrap();
        let target = app.target_with(&TargetSpec { server: json!({ "max_jobs": 4 }), ..TargetSpec::of(name) }).await;
        running.push((app.backup(&target).await, source));
    }
    let mut restores = Vec::new();
    for ((job, source), into) in running.iter().zip(wanted) {
        let job = app.client.job_is(job, "succeeded").await;
        let restore = app.restore(job["save_id"].as_str().unwrap(), &into).await;
        restores.push((restore, &source.name, Database { name: into }));
    }
    for (job, name, restored) in &restores {
        app.client.job_is(job, "succeeded").await;
        assert_eq!(restored.text("SELECT name FROM me").await, **name);
        assert_eq!(restored.text("SELECT current_database()::text").await, restored.name);
    }
    canary.was_never_heard();
    app.holds().await;
}

#[tokio::test]
async fn tables_and_users_with_nasty_names_are_meant_literally() {
    let mut app = App::spawn().await;
    let canary = Canary::sit().await;
    let _worker = app.worker("one").await;
    let names = nasty(canary.port);
    let tables: Vec<String> = names.iter().map(|name| format!("CREATE TABLE {} (id int)", quoted(name))).collect();
    let source = Database::create(&tables.join(";")).await;
    // Of a user's name a password file of lines cannot hold a line break.
    let user = format!("host=127.0.0.1:{} \\ 'ü\" {}", canary.port, &stack::fresh("u")[12..]);
    let password = "p:a\\s=s'w\"o rd%ü".to_owned();
    let mut server = database::connect("postgres").await;
    let role = quoted(&user);
    let quoted_password = password.replace('\'', "''");
    database::run(
        &mut server,
        &format!(
            "CREATE ROLE {role} LOGIN PASSWORD E'{}' IN ROLE pg_read_all_data",
            quoted_password.replace('\\', "\\\\")
        ),
    )
    .await;
    let spec = TargetSpec { backup: (user, password), ..TargetSpec::of(&source.name) };
    let target = app.target_with(&spec).await;
    for (n, name) in names.iter().enumerate() {
        let table = json!({ "schema": "public", "table": name });
        let job = app.client.post(&format!("/v1/targets/{target}/backups"), json!({ "tables": [table] })).await.id();
        let job = app.client.job_is(&job, "succeeded").await;
        let listed = super::options::listing(&app, job["save_id"].as_str().unwrap()).await;
        let tables = listed.lines().filter(|line| line.contains(" TABLE DATA ")).count();
        assert_eq!(tables, 1, "table {n} {name:?}: {listed}");
    }
    database::run(&mut server, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    canary.was_never_heard();
    app.holds().await;
}

#[tokio::test]
async fn names_that_cannot_be_meant_are_422_and_nothing_is_created() {
    let mut app = App::spawn().await;
    let canary = Canary::sit().await;
    let port = canary.port;
    for database in ["", "a\0b", &"x".repeat(64), &"ü".repeat(32)] {
        app.try_target(&TargetSpec::of(database)).await.expect(422);
    }
    let hosts = [
        "",
        "a\0b",
        "-h",
        "/tmp",
        "localhost,evil",
        "host=evil",
        "evil port=1",
        "a'b",
        "a\"b",
        "lo\ncalhost",
        "höst",
        "postgresql://evil",
        "[::1]",
        ".",
    ];
    for host in hosts {
        app.try_target(&TargetSpec { host: host.to_owned(), ..TargetSpec::of("x") }).await.expect(422);
    }
    app.try_target(&TargetSpec { host: format!("127.0.0.1:{port},localhost"), ..TargetSpec::of("x") })
        .await
        .expect(422);
    for user in ["", "a\0b", "a\nb", "a\rb", &"x".repeat(64)] {
        let spec = TargetSpec { backup: (user.to_owned(), "secret".to_owned()), ..TargetSpec::of("x") };
        app.try_target(&spec).await.expect(422);
    }
    for maintenance in ["", "a\0b"] {
        let server = json!({ "maintenance_database": maintenance });
        app.try_target(&TargetSpec { server, ..TargetSpec::of("x") }).await.expect(422);
    }
    for group in ["", "-a", "a=b", "a b", "ü", "a\nb", "../a", "A"] {
        let target = json!({ "worker_group": group });
        app.try_target(&TargetSpec { target, ..TargetSpec::of("x") }).await.expect(422);
        app.try_target(&TargetSpec { target: json!({ "stores": [group] }), ..TargetSpec::of("x") }).await.expect(422);
        app.client.post("/v1/services", json!({ "name": group })).await.expect(422);
    }
    assert_eq!(app.value::<i64>("SELECT count(*) FROM targets").await, 0);

    let target = app.target_with(&TargetSpec::of("x")).await;
    for table in ["", "a\0b", &"x".repeat(64)] {
        for (schema, table) in [("public", table), (table, "t")] {
            let body = json!({ "tables": [{ "schema": schema, "table": table }] });
            app.client.post(&format!("/v1/targets/{target}/backups"), body).await.expect(422);
        }
    }
    let refused = |into: Value| json!({ "into": { "database": into } });
    let nobody = uuid::Uuid::now_v7();
    for database in ["", "a\0b", &"x".repeat(64)] {
        app.client.post(&format!("/v1/saves/{nobody}/restore"), refused(database.into())).await.expect(422);
    }
    assert_eq!(app.value::<i64>("SELECT count(*) FROM jobs").await, 0);
    canary.was_never_heard();
    app.holds().await;
}
