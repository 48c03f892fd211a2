//! A client that holds every answer against the description.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use support::{Answer, Client};

use super::schema;

pub(super) struct Witness {
    pub(super) client: Client,
    document: Value,
    /// Method, path and status of what was looked at.
    seen: BTreeSet<(String, String, u16)>,
    wrong: Vec<String>,
}

impl Witness {
    pub(super) fn new(client: &Client, document: Value) -> Self {
        Self { client: client.clone(), document, seen: BTreeSet::new(), wrong: Vec::new() }
    }

    pub(super) async fn get(&mut self, path: &str, status: u16) -> Value {
        let answer = self.client.get(path).await;
        self.look("get", path, status, answer)
    }

    pub(super) async fn anonymous(&mut self, path: &str, status: u16) -> Value {
        let answer = self.client.anonymous().get(path).await;
        self.look("get", path, status, answer)
    }

    pub(super) async fn post(&mut self, path: &str, body: Value, status: u16) -> Value {
        let request = self.client.request(Method::POST, path);
        let answer = self.client.send(if body.is_null() { request } else { request.json(&body) }).await;
        self.look("post", path, status, answer)
    }

    pub(super) async fn patch(&mut self, path: &str, body: Value, status: u16) -> Value {
        let answer = self.client.patch(path, body).await;
        self.look("patch", path, status, answer)
    }

    pub(super) async fn put(&mut self, path: &str, body: Value, status: u16) -> Value {
        let answer = self.client.put(path, body).await;
        self.look("put", path, status, answer)
    }

    pub(super) async fn delete(&mut self, path: &str, status: u16) -> Value {
        let answer = self.client.delete(path).await;
        self.look("delete", path, status, answer)
    }

    /// The path of the document that this one is an instance of.
    fn template(&self, path: &str) -> String {
        let path = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (ours, theirs): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), template.split('/').collect());
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| *a == b || b.starts_with('{'))
        };
        // One without parameters comes first.
        let mut templates: Vec<&String> =
            self.document["paths"].as_object().unwrap().keys().filter(|template| fits(template)).collect();
        templates.sort_by_key(|template| template.matches('{').count());
        (*templates.first().unwrap_or_else(|| panic!("{path} is not described"))).clone()
    }

    fn look(&mut self, method: &str, path: &str, status: u16, answer: Answer) -> Value {
        let place = format!("{method} {path}");
        assert_eq!(answer.status.as_u16(), status, "{place}: {}", answer.text);
        let template = self.template(path);
        let said = &self.document["paths"][&template][method]["responses"][status.to_string()];
        assert!(said.is_object(), "{place}: {status} is not described");
        let said = schema::resolved(&self.document, said);
        for name in said["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
            let may_be_absent =
                ["x-access-token", "x-total-count-bound", "idempotency-replayed"].contains(&name.as_str());
            if !may_be_absent && answer.header(name).is_none() {
                self.wrong.push(format!("{place}: {status} without the header {name}"));
            }
        }
        let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap().to_owned();
        match said["content"].as_object() {
            None if answer.text.is_empty() => {}
            None => self.wrong.push(format!("{place}: {status} has a body that is not described")),
            Some(contents) => match contents.get(&kind) {
                Some(content) if kind.ends_with("/json") || kind.ends_with("+json") => {
                    schema::check(&self.document, &content["schema"], &answer.body, &place, &mut self.wrong);
                }
                Some(_) => {}
                None => self.wrong.push(format!("{place}: {status} as {kind:?} is not described")),
            },
        }
        self.seen.insert((method.to_owned(), template, status));
        answer.body
    }

    /// Says what was wrong, and which operations were not looked at: of each an answer that is no refusal, but for those
    /// that are only `refused` here and those that are `untold`.
    pub(super) fn conclude(self, refused: &[(&str, &str)], untold: &[(&str, &str)]) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        for &(method, path) in api::routes::ROUTES {
            let seen = |most: u16| self.seen.iter().any(|(m, p, status)| m == method && p == path && *status < most);
            let most = if refused.contains(&(method, path)) { 502 } else { 400 };
            assert!(seen(most) || untold.contains(&(method, path)), "{method} {path} was not looked at");
        }
    }
}
