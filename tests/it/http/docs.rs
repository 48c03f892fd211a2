//! What the documents say: the tours with curl, of docs/api.md and of README, run as they stand; the measures that
//! docs/security.md names are there; the page at `/docs` works.

use support::{ADMIN_PASSWORD, App, Database, WorkerSpec, database, stack};

/// The first block of shell in a document, under a heading where one is given.
pub(crate) fn shell_block(document: &str, heading: Option<&str>) -> String {
    let text = std::fs::read_to_string(stack::root().join(document)).unwrap();
    let from = heading.map_or(0, |heading| text.find(heading).unwrap_or_else(|| panic!("{document} has no {heading}")));
    let (_, block) = text[from..].split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// All blocks of shell in a document, as one: later ones use what earlier ones have set.
fn shell_blocks(document: &str) -> String {
    let text = std::fs::read_to_string(stack::root().join(document)).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0);
    blocks.collect::<Vec<_>>().join("\n")
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
    let out = run(&app, &shell_blocks("docs/api.md"), &variables).await;
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

/// What stands in back quotes.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_measure_is_where_the_page_says() {
    let root = stack::root();
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let is_file =
        |word: &&str| word.contains('/') && !word.starts_with('/') || ["clippy.toml", "deny.toml"].contains(word);
    let is_test =
        |word: &&str| word.contains('_') && word.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b));
    let mut tests = 0;
    for line in page.lines() {
        for file in quoted(line).into_iter().filter(is_file) {
            assert!(root.join(file).exists(), "docs/security.md names {file}, which is not there");
        }
        let cells: Vec<&str> = line.split('|').collect();
        let [_, _, _, proof, _] = cells[..] else { continue };
        if proof.contains("---") || proof.trim() == "proven by" {
            continue;
        }
        let files: Vec<String> = quoted(proof)
            .into_iter()
            .filter(is_file)
            .map(|file| std::fs::read_to_string(root.join(file)).unwrap())
            .collect();
        let named: Vec<&str> = quoted(proof).into_iter().filter(is_test).collect();
        assert!(!named.is_empty(), "no test proves: {line}");
        for test in named {
            let there = files.iter().any(|text| text.contains(&format!("fn {test}(")));
            assert!(there, "docs/security.md names {test}, which is not where it says");
            tests += 1;
        }
    }
    assert!(tests > 30, "only {tests} tests were looked for");
}

/// A browser, where there is one.
#[expect(clippy::disallowed_methods, reason = "a browser is started as a person would")]
async fn browsed(app: &App, address: &str) -> Option<String> {
    let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(|name| {
        let paths = std::env::var_os("PATH")?;
        std::env::split_paths(&paths).map(|path| path.join(name)).find(|file| file.exists())
    })?;
    let profile = format!("--user-data-dir={}", app.dir.path().join("browser").display());
    let mut browser = tokio::process::Command::new(chromium);
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--enable-logging=stderr"]);
    let done = browser.args([&profile, "--virtual-time-budget=20000", "--dump-dom", address]).output().await.unwrap();
    let (page, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(!said.contains("Refused to") && !said.contains("Content Security Policy"), "{said}");
    Some(page.into_owned())
}

#[tokio::test]
async fn the_page_works_under_a_policy_that_allows_nothing_else() {
    let app = App::spawn().await;
    let client = app.client.anonymous();
    let page = client.get("/docs").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe-eval"),
        "{policy}"
    );
    assert!(!policy.contains("http") && policy.contains("frame-ancestors 'none'"), "{policy}");
    // Nothing but what comes from here, and no script in the page.
    let scripts: Vec<&str> = page.text.split("<script").skip(1).collect();
    assert!(scripts.len() == 3 && scripts.iter().all(|script| script.starts_with(" src=\"/docs/")), "{}", page.text);
    let parts: Vec<&str> = page.text.split(['"']).filter(|part| part.contains('/') && part.contains('.')).collect();
    assert_eq!(parts.len(), 7, "{parts:?}");
    for part in parts {
        let file = client.get(part).await;
        let kind = match part.rsplit_once('.').unwrap().1 {
            "css" => "text/css",
            "js" => "text/javascript",
            _ => "image/png",
        };
        assert_eq!((file.status.as_u16(), file.header("content-type")), (200, Some(kind)), "{part}");
        assert_eq!(file.header("content-security-policy"), Some(policy.as_str()), "{part}");
    }
    for missing in ["swagger-ui.css.map", "oauth2-redirect.html", "index.html", "..%2Fopenapi.json", ""] {
        client.get(&format!("/docs/{missing}")).await.expect(404);
    }
    // Everything else keeps the policy that allows nothing.
    let other = client.get("/healthz").await;
    assert_eq!(other.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
    match browsed(&app, &format!("{}/docs", app.client.base)).await {
        // It has fetched the document, and drawn it.
        Some(drawn) => {
            for operation in ["operations-services-services_create", "operations-saves-saves_restore"] {
                assert!(drawn.contains(operation), "{operation} is not on the page: {drawn}");
            }
        }
        None => skipped("no chromium is on PATH: the page was not looked at with a browser"),
    }
}

#[expect(clippy::print_stderr, reason = "whoever reads the test's output shall know")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
