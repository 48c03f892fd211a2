//! A server with users, TLS and capped collections: another one than the other tests', by other people, in another language.

use mongodb::{
    bson::{Bson, Document, doc},
    options::{ClientOptions, Credential, ServerAddress, Tls, TlsOptions},
};
use serde_json::json;
use support::{App, TargetSpec, WorkerSpec, stack};

use super::scene::{Server, Shop};

/// By a user whose password a URI has to escape, over TLS that is verified. None: it is not installed, which is said.
fn known() -> Option<Server> {
    let Some(host) = stack::optional("FERRET_HOST") else {
        skipped();
        return None;
    };
    let port: u16 = stack::setting("FERRET_TLS_PORT").parse().unwrap();
    let user = (stack::setting("FERRET_USER"), stack::setting("FERRET_PASSWORD"));
    let mut tls = TlsOptions::default();
    tls.ca_file_path = Some(stack::setting("TARGET_CA").into());
    let mut credential = Credential::default();
    credential.username = Some(user.0.clone());
    credential.password = Some(user.1.clone());
    let mut options = ClientOptions::default();
    options.hosts = vec![ServerAddress::Tcp { host: host.clone(), port: Some(port) }];
    options.direct_connection = Some(true);
    options.tls = Some(Tls::Enabled(tls));
    options.credential = Some(credential);
    let spec = TargetSpec {
        host,
        port,
        tls_mode: "verify_full".to_owned(),
        tls_ca: Some(stack::setting("TARGET_CA")),
        backup: user.clone(),
        restore: user,
        server: json!({ "engine": "mongodb" }),
        ..TargetSpec::of("")
    };
    Some(Server { options, spec })
}

#[expect(clippy::print_stderr, reason = "a person reads it")]
fn skipped() {
    eprintln!("no FerretDB on this machine (it needs Go to be built): skipped");
}

/// What this server takes of a shop (no indexes that expire, no values that are no number), and what the other one does not: a
/// capped collection.
async fn fill(shop: &Shop) {
    let lots = shop.database.collection::<Document>("lots");
    let many = (0..1200).map(|n| {
        doc! { "_id": n, "title": format!("Los № {n}"), "price": f64::from(n) / 3.0, "tags": ["a", { "deep": { "n": n } }],
        "when": mongodb::bson::DateTime::from_millis(i64::from(n) * 1000), "none": null, "large": 1_i64 << 40 }
    });
    lots.insert_many(many).await.unwrap();
    let by = |name: &str, key: Document, unique| doc! { "v": 2, "key": key, "name": name, "unique": unique };
    let indexes = [by("by_title", doc! { "title": 1, "price": -1 }, false), by("only", doc! { "title": 1 }, true)];
    shop.database.run_command(doc! { "createIndexes": "lots", "indexes": indexes.to_vec() }).await.unwrap();
    shop.database.collection::<Document>("Ключ").insert_one(doc! { "_id": "ä", "x": "\u{1f600}" }).await.unwrap();
    shop.database
        .collection::<Document>("large")
        .insert_one(doc! { "_id": 1, "text": "x".repeat(3 << 20) })
        .await
        .unwrap();
    shop.database.create_collection("empty").await.unwrap();
    shop.database.create_collection("last").capped(true).size(64 * 1024).max(50).await.unwrap();
    let last = shop.database.collection::<Document>("last");
    last.insert_many((0..20).map(|n| doc! { "_id": n, "what": "seen" })).await.unwrap();
}

/// A collection, as the server lists it.
async fn listed(shop: &Shop, name: &str) -> Document {
    let listed = shop.database.run_command(doc! { "listCollections": 1, "filter": { "name": name } }).await.unwrap();
    let first = listed.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    first[0].as_document().unwrap().clone()
}

async fn options(shop: &Shop, name: &str) -> Document {
    listed(shop, name).await.get_document("options").unwrap().clone()
}

/// Which collection of its name it is.
async fn uuid(shop: &Shop, name: &str) -> Bson {
    listed(shop, name).await.get_document("info").unwrap().get("uuid").unwrap().clone()
}

#[tokio::test]
async fn what_needs_a_login_and_tls_is_saved_restored_and_undone() {
    let Some(server) = known() else { return };
    let mut app = App::spawn().await;
    let shop = Shop::at(server.clone(), &stack::fresh("shop"));
    fill(&shop).await;
    let before = shop.contents().await;
    let target = app.target_with(&shop.spec()).await;
    let _worker = app.worker("one").await;
    let save = app.saved(&target).await;
    let capped = options(&shop, "last").await;
    assert!(capped.get_bool("capped").unwrap(), "{capped}");

    let copy = Shop::at(server, &stack::fresh("copy"));
    let body = json!({ "into": { "database": copy.name } });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(copy.contents().await, before);
    assert_eq!(options(&copy, "last").await, capped);

    shop.damage().await;
    let damaged = shop.contents().await;
    let body = json!({ "into": {}, "confirm": shop.name });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(shop.contents().await, before);
    assert_eq!(options(&shop, "last").await, capped);
    let undo = app.client.post(&format!("/v1/jobs/{job}/undo"), json!({ "confirm": shop.name })).await.id();
    app.client.job_is(&undo, "succeeded").await;
    assert_eq!(shop.contents().await, damaged);

    let password = stack::setting("FERRET_PASSWORD");
    assert!(!app.logs().contains(&password), "a password is in a log");
    app.holds().await;
}

#[tokio::test]
async fn a_wipe_makes_a_capped_collection_anew_as_it_was() {
    let Some(server) = known() else { return };
    let mut app = App::spawn().await;
    let shop = Shop::at(server, &stack::fresh("shop"));
    fill(&shop).await;
    let (before, capped) = (shop.contents().await, options(&shop, "last").await);
    let (last, lots) = (uuid(&shop, "last").await, uuid(&shop, "lots").await);
    let target = app.target_with(&shop.spec()).await;
    let _worker = app.worker("one").await;
    let job = app.client.post(&format!("/v1/targets/{target}/wipe"), json!({ "confirm": shop.name })).await.id();
    let job = app.client.job_is(&job, "succeeded").await;
    let now = shop.contents().await;
    for (name, content) in &before {
        assert_eq!((now[name].documents.len(), &now[name].indexes), (0, &content.indexes), "{name}");
    }
    assert_eq!(options(&shop, "last").await, capped);
    assert_ne!(uuid(&shop, "last").await, last, "of a capped collection nothing can be deleted");
    assert_eq!(uuid(&shop, "lots").await, lots);

    let save = job["result"]["safety_save_id"].as_str().or(job["save_id"].as_str()).unwrap();
    let body = json!({ "into": {}, "confirm": shop.name });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(shop.contents().await, before);
    app.holds().await;
}

#[tokio::test]
async fn a_member_of_a_replica_set_is_found_by_the_sets_name() {
    let Some(server) = known() else { return };
    let mut app = App::spawn().await;
    let shop = Shop::at(server, &stack::fresh("shop"));
    fill(&shop).await;
    let before = shop.contents().await;
    let _worker = app.worker("one").await;
    let place = format!("mongodb://{}:{}/", stack::setting("FERRET_HOST"), stack::setting("FERRET_PORT"));
    let of = |set: &str, more: &str| TargetSpec {
        tls_mode: "disable".to_owned(),
        tls_ca: None,
        server: json!({ "engine": "mongodb", "host": null, "port": null, "uri": format!("{place}?replicaSet={set}{more}") }),
        ..shop.spec()
    };
    let target = app.target_with(&of("holdfast", "&authSource=admin&authMechanism=SCRAM-SHA-256")).await;
    let save = app.saved(&target).await;
    let copy = stack::fresh("copy");
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), json!({ "into": { "database": copy } })).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(Shop::at(known().unwrap(), &copy).contents().await, before);

    let target = app.target_with(&of("another", "")).await;
    let job = app.backup(&target).await;
    let job = app.client.job_until(&job, "failed once", |job| job["error"].is_object()).await;
    assert_eq!(job["error"]["code"], "server_unreachable", "{job:#}");
}

#[tokio::test]
async fn who_is_not_known_or_does_not_trust_gets_nothing() {
    let Some(server) = known() else { return };
    let mut app = App::spawn().await;
    let shop = Shop::at(server, &stack::fresh("shop"));
    shop.database.create_collection("empty").await.unwrap();
    let _worker = app.worker("one").await;
    let (user, password) = (stack::setting("FERRET_USER"), stack::setting("FERRET_PASSWORD"));
    let wrong = (user.clone(), "not the password".to_owned());
    let stranger = ("stranger".to_owned(), password);
    let elsewhere = json!({ "engine": "mongodb", "maintenance_database": "elsewhere" });
    let nobody = json!({ "engine": "mongodb", "auth": "none" });
    for (what, spec, codes) in [
        (
            "another password",
            TargetSpec { backup: wrong.clone(), restore: wrong, ..shop.spec() },
            ["authentication_failed"; 2],
        ),
        (
            "another user",
            TargetSpec { backup: stranger.clone(), restore: stranger, ..shop.spec() },
            ["authentication_failed"; 2],
        ),
        ("another database of users", TargetSpec { server: elsewhere, ..shop.spec() }, ["authentication_failed"; 2]),
        ("no login", TargetSpec { server: nobody, ..shop.spec() }, ["authentication_failed", "permission_denied"]),
        (
            "another CA",
            TargetSpec { tls_ca: Some(stack::setting("TARGET_WRONG_CA")), ..shop.spec() },
            ["tls_failed", "server_unreachable"],
        ),
        (
            "no TLS",
            TargetSpec { tls_mode: "disable".to_owned(), tls_ca: None, ..shop.spec() },
            ["tls_failed", "server_unreachable"],
        ),
    ] {
        let target = app.target_with(&spec).await;
        let job = app.backup(&target).await;
        let job = app.client.job_until(&job, "failed once", |job| job["error"].is_object()).await;
        let code = job["error"]["code"].as_str().unwrap();
        assert!(codes.contains(&code), "{what}: {job:#}");
        assert!(!job["error"].to_string().contains("not the password"), "{what}: {job:#}");
    }
}

#[tokio::test]
async fn chunks_are_kept_where_a_login_is_needed() {
    if known().is_none() {
        return;
    }
    let mut app = App::spawn().await;
    let source =
        support::Database::create("CREATE TABLE t AS SELECT g, repeat('x', 100) AS x FROM generate_series(1, 50000) g")
            .await;
    let mut uri = reqwest::Url::parse("mongodb://h/").unwrap();
    uri.set_host(Some(&stack::setting("FERRET_HOST"))).unwrap();
    uri.set_port(Some(stack::setting("FERRET_TLS_PORT").parse().unwrap())).unwrap();
    uri.set_username(&stack::setting("FERRET_USER")).unwrap();
    // What is escaped already stays as it is: the sign for it is escaped first.
    uri.set_password(Some(&stack::setting("FERRET_PASSWORD").replace('%', "%25"))).unwrap();
    let ca = stack::setting("TARGET_CA");
    uri.set_query(Some(&format!("tls=true&tlsCAFile={ca}&authSource=admin&directConnection=true")));
    let _worker = app.worker_with(&WorkerSpec { mongo_uri: Some(uri.into()), ..WorkerSpec::named("one") }).await;
    let spec = TargetSpec { target: json!({ "stores": ["grid"] }), ..TargetSpec::of(&source.name) };
    let target = app.target_with(&spec).await;
    let save = app.saved(&target).await;
    let copy = stack::fresh("copy");
    let body = json!({ "into": { "database": copy }, "owner": "none", "privileges": "none" });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    app.client.job_is(&job, "succeeded").await;
    let job = app.client.delete(&format!("/v1/saves/{save}")).await.id();
    app.client.job_is(&job, "succeeded").await;
    support::database::remove(&copy).await;
    app.holds().await;
}
