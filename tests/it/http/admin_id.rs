//! The second factor: without a current id nothing under `/v1` is looked at, and the set changes while the API runs.

use std::{path::PathBuf, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, Answer, App, Client, Process, wait::within};
use uuid::Uuid;

/// What is promised of a change.
const PROMISE: Duration = Duration::from_secs(5);

/// An API with the factor on, beside the one of the app, which has it off.
struct Guarded {
    client: Client,
    file: PathBuf,
    process: Process,
}

impl Guarded {
    async fn start(app: &App, text: &str) -> Self {
        let file = app.dir.path().join("admin-ids");
        std::fs::write(&file, text).unwrap();
        let config = app.dir.path().join("api.toml");
        let args = ["--config", config.to_str().unwrap(), "serve"];
        let envs = [("HOLDFAST__AUTH__ADMIN_IDS_FILE", file.to_str().unwrap())];
        let mut process = Process::start("holdfast-api", &args, app.dir.path(), "api-guarded", &envs);
        let listening = process.says("listening").await;
        let client = Client::new(format!("http://{}", listening["address"].as_str().unwrap()));
        Self { client: client.with_token(app.client.token.as_ref().unwrap()), file, process }
    }

    /// What a call is answered with these ids.
    async fn call(&self, ids: &[&str]) -> Answer {
        self.send(Method::GET, "/v1/auth/me", None, ids).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>, ids: &[&str]) -> Answer {
        let mut request = self.client.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.client.send(ids.iter().fold(request, |request, id| request.header("admin-id", *id))).await
    }

    /// Puts another text in the file's place, at once.
    fn replace(&self, text: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// Waits until a call with this id is answered so.
    async fn becomes(&self, id: &str, status: u16) {
        let look = || async { (self.call(&[id]).await.status.as_u16() == status).then_some(()) };
        within(PROMISE, &format!("a call is answered {status}"), look).await;
    }
}

/// What is the same in all refusals.
fn refusal(answer: &Answer) -> (u16, Value, Vec<(String, String)>) {
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap_or_else(|| panic!("{}", answer.text)).remove("request_id");
    let varying = ["x-request-id", "date"];
    let headers = answer.headers.iter().filter(|(name, _)| !varying.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (answer.status.as_u16(), body, headers)
}

#[tokio::test]
async fn without_a_current_id_every_call_is_answered_as_one_without_a_token() {
    let app = App::spawn().await;
    let (first, second) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let api = Guarded::start(&app, &format!("# of this year\n{first}\n{second} # and the next\n")).await;
    let expected = refusal(&app.client.anonymous().get("/v1/auth/me").await);
    assert_eq!(expected.0, 401);
    for id in [&first, &second, &first.to_uppercase()] {
        api.call(&[id.as_str()]).await.expect(200);
    }
    let nobody = Uuid::new_v4().to_string();
    let wrong: [&[&str]; 7] = [
        &[],
        &[""],
        &["*"],
        &[nobody.as_str()],
        &[first.as_str(), first.as_str()],
        &[first.as_str(), second.as_str()],
        &[&first[..35]],
    ];
    for ids in wrong {
        assert_eq!(refusal(&api.call(ids).await), expected, "{ids:?}");
    }
    // Nothing else is looked at: not the password, not the token, not whether there is such a page.
    let right = json!({ "name": "root", "password": ADMIN_PASSWORD });
    let before = app.value::<i64>("SELECT count(*) FROM sessions").await;
    let login = app.client.anonymous().post("/v1/auth/login", right.clone()).await.expect(200);
    let token = json!({ "refresh_token": login["refresh_token"] });
    for (method, path, body) in [
        (Method::POST, "/v1/auth/login", Some(&right)),
        (Method::POST, "/v1/auth/refresh", Some(&token)),
        (Method::POST, "/v1/services", Some(&token)),
        (Method::GET, "/v1/nowhere", None),
        (Method::GET, "/v1", None),
    ] {
        assert_eq!(refusal(&api.send(method.clone(), path, body, &[&nobody]).await), expected, "{method} {path}");
    }
    assert_eq!(app.value::<i64>("SELECT count(*) FROM sessions").await, before + 1);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM login_failures").await, 0);
    // With an id all is as ever.
    api.send(Method::POST, "/v1/auth/login", Some(&right), &[&first]).await.expect(200);
    api.send(Method::POST, "/v1/auth/refresh", Some(&token), &[&second]).await.expect(200);
    api.send(Method::GET, "/v1/nowhere", None, &[&first]).await.expect(404);
    // Whoever looks after the process needs none.
    api.send(Method::GET, "/healthz", None, &[]).await.expect(200);
    let ready = api.send(Method::GET, "/readyz", None, &[]).await.expect(200);
    assert_eq!(ready["dependencies"]["admin_ids"], "ok", "{ready}");
    let said = api.process.log();
    assert!(!said.contains(&first) && !said.contains(&second), "an id stands in the log");
}

#[tokio::test]
async fn the_set_is_rotated_without_a_restart() {
    let app = App::spawn().await;
    let (old, new) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let api = Guarded::start(&app, &old).await;
    api.call(&[&old]).await.expect(200);
    api.call(&[&new]).await.expect(401);
    api.replace(&format!("{old}\n{new}\n"));
    api.becomes(&new, 200).await;
    api.call(&[&old]).await.expect(200);
    api.replace(&new);
    api.becomes(&old, 401).await;
    api.call(&[&new]).await.expect(200);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_admits_nobody_and_says_so() {
    let app = App::spawn().await;
    let id = Uuid::new_v4().to_string();
    let mut api = Guarded::start(&app, &id).await;
    let damages: [(&str, &dyn Fn(&Guarded)); 5] = [
        ("No such file", &|api| std::fs::remove_file(&api.file).unwrap()),
        ("no UUID", &|api| api.replace("")),
        ("no UUID", &|api| api.replace("# all are gone\n")),
        ("line 2", &|api| api.replace(&format!("{id}\nplanted\n"))),
        ("longer than", &|api| api.replace(&format!("{id}\n").repeat(3000))),
    ];
    for (problem, damage) in damages {
        api.call(&[&id]).await.expect(200);
        damage(&api);
        api.becomes(&id, 401).await;
        let ready = api.send(Method::GET, "/readyz", None, &[]).await.expect(503);
        let said = ready["dependencies"]["admin_ids"].as_str().unwrap();
        assert!(said.starts_with("unusable"), "{ready}");
        let logged = api.process.says("admin ids cannot be used: nobody is admitted").await;
        assert!(logged["problem"].as_str().unwrap().contains(problem), "{logged}");
        api.replace(&id);
        api.becomes(&id, 200).await;
        api.send(Method::GET, "/readyz", None, &[]).await.expect(200);
    }
    assert!(!api.process.log().contains("planted"));
}
