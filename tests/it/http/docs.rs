//! The tours with curl, of docs/api.md and of README, run as they stand.

use support::{ADMIN_PASSWORD, App, Database, WorkerSpec, database, stack};

/// The first block of shell in a document, under a heading where one is given.
pub(crate) fn shell_block(document: &str, heading: Option<&str>) -> String {
    let text = std::fs::read_to_string(stack::root().join(document)).unwrap();
    let from = heading.map_or(0, |heading| text.find(heading).unwrap_or_else(|| panic!("{document} has no {heading}")));
    let (_, block) = text[from..].split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// Runs it with these variables; what it printed.
#[expect(clippy::disallowed_methods, reason = "the tour is run as a person would")]
async fn run(app: &App, block: &str, variables: &[(&str, &str)]) -> String {
    let script = app.dir.path().join("tour.sh");
    std::fs::write(&script, block).unwrap();
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["-euo", "pipefail"]).arg(script).env("H", &app.client.base).env("NO_PROXY", "127.0.0.1");
    let done = bash.envs(variables.iter().copied()).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{out}\n{err}", done.status);
    out.into_owned()
}

/// How many bids a database has.
async fn bids(database: &str) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM bids");
    count.fetch_one(&mut database::connect(database).await).await.unwrap()
}

#[tokio::test]
async fn the_tour_of_the_api_works_as_it_is_written() {
    let source = Database::small().await;
    let app = App::spawn().await;
    let mut spec = WorkerSpec::named("a");
    spec.more = format!("\n[stores.main]\nkind = \"file\"\nroot = {:?}\n", app.dir.path().join("main"));
    std::fs::create_dir(app.dir.path().join("main")).unwrap();
    let _worker = app.worker_with(&spec).await;
    let copy = Database { name: stack::fresh("copy") };
    let variables = [
        ("ADMIN_PASSWORD", ADMIN_PASSWORD),
        ("DB_HOST", &stack::setting("TARGET_HOST")),
        ("DB_PORT", &stack::setting("TARGET_PORT")),
        ("DB_USER", &stack::setting("TARGET_RESTORE_USER")),
        ("DB_PASSWORD", &stack::setting("TARGET_RESTORE_PASSWORD")),
        ("DB_NAME", &source.name),
        ("DB_TLS", "require"),
        ("COPY_NAME", &copy.name),
    ];
    let out = run(&app, &shell_block("docs/api.md", None), &variables).await;
    assert!(out.contains("\"state\": \"available\"") && out.contains("restore 20"), "{out}");
    assert_eq!(out.matches("\"state\": \"succeeded\"").count(), 2, "probe and restore: {out}");
    assert!(out.contains("\n3600\nnull\n"), "{out}");
    assert!(out.contains(" save.completed saves/") && out.contains("1 job.queued"), "{out}");
    assert_eq!(bids(&copy.name).await, 5000);
}

/// A role whose password needs no quotes, as README's reader has one.
struct Reader(String);

impl Reader {
    async fn create() -> Self {
        let name = stack::fresh("reader");
        let mut server = database::connect("postgres").await;
        let sql = format!("CREATE ROLE {name} LOGIN CREATEDB PASSWORD 'plain' IN ROLE pg_read_all_data");
        database::run(&mut server, &sql).await;
        Self(name)
    }

    async fn drop(self) {
        database::run(&mut database::connect("postgres").await, &format!("DROP ROLE {}", self.0)).await;
    }
}

#[tokio::test]
async fn the_tour_of_the_readme_works_as_it_is_written() {
    let source = Database::small().await;
    let app = App::spawn().await;
    let _worker = app.worker("a").await;
    let reader = Reader::create().await;
    let copy = Database { name: "items_copy".to_owned() };
    let variables = [
        ("PASSWORD", ADMIN_PASSWORD),
        ("PG_HOST", &stack::setting("TARGET_HOST")),
        ("PG_PORT", &stack::setting("TARGET_PORT")),
        ("PG_USER", &reader.0),
        ("PG_PASSWORD", "plain"),
        ("PG_DATABASE", &source.name),
    ];
    let out = run(&app, &shell_block("README.md", Some("## A tour")), &variables).await;
    assert!(out.contains("\"state\": \"available\"") && out.contains("\"state\": \"succeeded\""), "{out}");
    assert!(out.contains(" save.completed saves/"), "{out}");
    assert_eq!(bids(&copy.name).await, 5000);
    drop(copy);
    reader.drop().await;
}
