//! Pages, links, counts, filters and orders of lists.

use serde_json::{Value, json};
use support::{Answer, App, Client};

use super::cast::Paper;

/// The links of an answer: relation and address.
fn links(answer: &Answer) -> Vec<(String, String)> {
    let header = answer.header("link").unwrap_or_default();
    let link = |part: &str| {
        let (address, relation) = part.trim().split_once(">; rel=\"")?;
        Some((relation.trim_end_matches('"').to_owned(), address.trim_start_matches('<').to_owned()))
    };
    header.split(", ").filter_map(link).collect()
}

fn ids(answer: &Answer) -> Vec<String> {
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    answer.body.as_array().unwrap_or_else(|| panic!("{}", answer.text)).iter().map(id).collect()
}

/// Walks a list by its `next` links; every page, and the total that each of them named.
async fn walk(client: &Client, first: &str) -> (Vec<Vec<String>>, String) {
    let (mut pages, mut totals, mut next) = (Vec::new(), Vec::new(), Some(first.to_owned()));
    while let Some(path) = next {
        let answer = client.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        totals.push(answer.header("x-total-count").unwrap().to_owned());
        pages.push(ids(&answer));
        next = links(&answer).into_iter().find(|(relation, _)| relation == "next").map(|(_, address)| address);
        assert!(pages.len() < 100, "the links go round in circles");
    }
    totals.dedup();
    assert_eq!(totals.len(), 1, "{totals:?}");
    (pages, totals.remove(0))
}

#[tokio::test]
async fn a_list_is_walked_by_its_links() {
    let app = App::spawn().await;
    let client = &app.client;
    let mut names = Vec::new();
    for number in 0..23 {
        names.push(format!("s-{number:02}"));
        client.post("/v1/services", json!({ "name": names[number] })).await.expect(201);
    }
    let (pages, total) = walk(client, "/v1/services?limit=10").await;
    assert_eq!((pages.iter().map(Vec::len).collect::<Vec<_>>(), total.as_str()), (vec![10, 10, 3], "23"));
    let mut all = pages.concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 23, "each once");

    let first = client.get("/v1/services").await;
    assert_eq!(ids(&first).len(), 20, "the limit that is meant when none is given");
    let relations = |answer: &Answer| links(answer).into_iter().map(|link| link.0).collect::<Vec<_>>().join(" ");
    assert_eq!(relations(&first), "first next last");
    let second = client.get("/v1/services?limit=10&page=2").await;
    assert_eq!(relations(&second), "first prev next last");
    assert!(links(&second).contains(&("prev".into(), "/v1/services?limit=10&page=1".into())), "{:?}", links(&second));
    let last = client.get("/v1/services?page=3&limit=10").await;
    assert_eq!(relations(&last), "first prev last");
    let beyond = client.get("/v1/services?page=9&limit=10").await;
    assert_eq!((beyond.body.clone(), beyond.header("x-total-count")), (json!([]), Some("23")));
    assert!(links(&beyond).contains(&("prev".into(), "/v1/services?limit=10&page=3".into())), "{:?}", links(&beyond));
    assert_eq!(ids(&client.get("/v1/services?limit=100").await).len(), 23);
}

#[tokio::test]
async fn jobs_and_saves_are_filtered_and_ordered() {
    let app = App::spawn().await;
    let client = &app.client;
    let (a, b) = (Paper::create(client).await, Paper::create(client).await);
    let mut jobs = Vec::new();
    for target in [&a, &a, &b, &a] {
        let job = client.post(&format!("/v1/targets/{}/backups", target.target), json!({})).await.expect(202);
        jobs.push(job["id"].as_str().unwrap().to_owned());
    }
    let probe = client.post(&format!("/v1/targets/{}/probe", a.target), Value::Null).await.id();
    client.post(&format!("/v1/jobs/{}/cancel", jobs[1]), Value::Null).await.expect(200);
    let group = "11111111-1111-7111-8111-111111111111";
    app.execute(&format!("UPDATE jobs SET group_id = '{group}' WHERE id = '{}'", jobs[3])).await;

    let newest_first: Vec<String> = jobs.iter().chain([&probe]).rev().cloned().collect();
    let oldest_first: Vec<String> = newest_first.iter().rev().cloned().collect();
    let all = &newest_first;
    let of = |wanted: &[&String]| all.iter().filter(|id| wanted.contains(id)).cloned().collect::<Vec<_>>();
    for (query, expected) in [
        (String::new(), all.clone()),
        ("?sort=-created_at".into(), all.clone()),
        ("?sort=created_at".into(), oldest_first.clone()),
        (format!("?service={}", b.service), of(&[&jobs[2]])),
        (format!("?target={}", a.target), of(&[&jobs[0], &jobs[1], &jobs[3], &probe])),
        ("?kind=probe".into(), of(&[&probe])),
        ("?kind=nothing".into(), vec![]),
        ("?state=cancelled".into(), of(&[&jobs[1]])),
        ("?state=succeeded".into(), vec![]),
        (format!("?group={group}"), of(&[&jobs[3]])),
        (format!("?target={}&state=queued&kind=backup", a.target), of(&[&jobs[0], &jobs[3]])),
        (format!("?service={}&target={}", b.service, a.target), vec![]),
    ] {
        let answer = client.get(&format!("/v1/jobs{query}")).await;
        assert_eq!(ids(&answer), expected, "jobs{query}");
        assert_eq!(answer.header("x-total-count"), Some(expected.len().to_string().as_str()), "jobs{query}");
        assert_eq!(answer.header("x-total-count-bound"), None, "jobs{query}");
    }
    let (pages, _) = walk(client, "/v1/jobs?sort=created_at&limit=2").await;
    assert_eq!(pages.concat(), oldest_first, "the order goes on over the pages");

    let saves = client.get("/v1/saves").await;
    let (states, versions): (Vec<&Value>, Vec<&Value>) =
        saves.body.as_array().unwrap().iter().map(|save| (&save["state"], &save["version"])).unzip();
    assert_eq!(
        (states, versions),
        (
            vec![&json!("pending"), &json!("pending"), &json!("failed"), &json!("pending")],
            vec![&json!(3), &json!(1), &json!(2), &json!(1)]
        )
    );
    let newest: Vec<String> = ids(&saves);
    for (query, expected) in [
        ("?sort=-created_at".to_owned(), newest.clone()),
        ("?sort=created_at".into(), newest.iter().rev().cloned().collect()),
        (format!("?service={}", b.service), vec![newest[1].clone()]),
        (format!("?target={}", a.target), vec![newest[0].clone(), newest[2].clone(), newest[3].clone()]),
        ("?state=failed".into(), vec![newest[2].clone()]),
        ("?state=available".into(), vec![]),
        ("?valid=false".into(), vec![]),
    ] {
        assert_eq!(ids(&client.get(&format!("/v1/saves{query}")).await), expected, "saves{query}");
    }
    let targets = client.get(&format!("/v1/targets?server={}", b.server)).await;
    assert_eq!(ids(&targets), [b.target.as_str()]);
    assert_eq!(ids(&client.get(&format!("/v1/targets?service={}", a.service)).await), [a.target.as_str()]);
}

#[tokio::test]
async fn a_long_list_is_counted_to_its_bound_and_says_so() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let group = "11111111-1111-7111-8111-111111111111";
    app.execute(&format!(
        "INSERT INTO jobs (id, kind, payload, service_id, target_id, max_attempts, state, finished_at, group_id)
         SELECT gen_random_uuid(), 'probe', '{{}}', '{}', '{}', 1, 'succeeded', now(), '{group}' FROM generate_series(1, 10001)",
        paper.service, paper.target
    ))
    .await;
    for query in [String::new(), format!("target={}", paper.target), "state=succeeded&kind=probe".into()] {
        let whole = app.client.get(&format!("/v1/jobs?{query}")).await;
        let (count, bound) = (whole.header("x-total-count"), whole.header("x-total-count-bound"));
        assert_eq!((count, bound), (Some("10001"), None), "a total is kept of {query:?}");
    }
    let answer = app.client.get(&format!("/v1/jobs?group={group}&page=3")).await;
    assert_eq!(ids(&answer).len(), 20);
    let (count, bound) = (answer.header("x-total-count"), answer.header("x-total-count-bound"));
    assert_eq!((count, bound), (Some("10000"), Some("lower")));
    let relations: Vec<String> = links(&answer).into_iter().map(|link| link.0).collect();
    assert_eq!(relations, ["first", "prev", "next"], "nobody knows which is the last");
}
