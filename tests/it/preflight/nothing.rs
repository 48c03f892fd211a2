//! What would be done is told, and nothing is.

use serde_json::{Value, json};
use support::{App, Database, Owned, TargetSpec, database, stack};

use super::{look, message, told};

/// Every database whose name begins as this one's, with what belongs to it.
async fn databases(name: &str) -> String {
    let sql = "SELECT string_agg(format('%s %s %s %s %s %s %s', d.oid, datname, datdba, datacl, datconnlimit, s.setconfig,
          shobj_description(d.oid, 'pg_database')), E'\\n' ORDER BY datname)
        FROM pg_database d LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid WHERE starts_with(datname::text, $1)";
    sqlx::query_scalar(sql).bind(name).fetch_one(&mut database::connect("postgres").await).await.unwrap()
}

#[tokio::test]
async fn a_look_tells_what_would_be_done_and_does_nothing() {
    let auction = Owned::auction().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let name = auction.database.name.clone();
    let target = app.target_with(&TargetSpec::of(&name)).await;
    let save = app.saved(&target).await;
    auction.damage().await;
    let before = (auction.digest().await, crate::delete::on_disk(&app));
    let rows = "SELECT md5(string_agg(t, ' ' ORDER BY t)) FROM (SELECT to_jsonb(s)::text AS t FROM saves s
        UNION ALL SELECT to_jsonb(c)::text FROM save_copies c UNION ALL SELECT to_jsonb(o)::text FROM save_objects o) x";
    let (rows_before, server_before): (String, String) = (app.value(rows).await, databases(&name).await);

    let swap = look(&app, &save, json!({ "into": {} })).await;
    assert_eq!(told(&swap), Vec::<String>::new(), "{swap:#}");
    let would = &swap["would"];
    assert_eq!((&would["method"], &would["keep_old_s"], &would["drop"]), (&json!("swap"), &json!(86400), &json!([])));
    assert_eq!(would["rename"][0], json!([name, format!("{name}__hf_old_<job>")]), "{swap:#}");
    assert_eq!(would["rename"][1][1], json!(name), "{swap:#}");
    assert!(would["keep_old_until"].is_string(), "{swap:#}");
    assert!(swap["save"]["raw_bytes"].as_u64().unwrap() > 10_000, "{swap:#}");
    assert!(swap["target"]["bytes"].as_u64().unwrap() > 1_000_000 && swap["target"]["tables"] == 4, "{swap:#}");
    assert!(swap["expected_duration_s"].as_f64().unwrap() > 0.0, "{swap:#}");
    assert!(swap["expected_duration_based_on"]["of"].as_str().unwrap().contains("backup"), "{swap:#}");

    let direct = look(&app, &save, json!({ "into": {}, "method": "direct", "keep_old_hours": 1 })).await;
    let would = &direct["would"];
    assert_eq!(
        (&would["method"], &would["drop"], &would["keep_old_s"]),
        (&json!("direct"), &json!(["archive.events", "archive.events_2025", "public.lots"]), &Value::Null)
    );
    assert!(would["create"].as_array().unwrap().contains(&json!("public.bids")), "{direct:#}");

    let copy = Database { name: stack::fresh("new") };
    let new = look(&app, &save, json!({ "into": { "database": copy.name } })).await;
    assert_eq!(told(&new), Vec::<String>::new(), "{new:#}");
    assert_eq!((&new["would"]["method"], &new["target"]["exists"]), (&json!("new"), &json!(false)), "{new:#}");

    assert_eq!((auction.digest().await, crate::delete::on_disk(&app)), before);
    assert_eq!((app.value::<String>(rows).await, databases(&name).await), (rows_before, server_before));
    assert!(!database::exists(&copy.name).await);
    let kinds: Vec<String> = app.values("SELECT DISTINCT kind FROM jobs ORDER BY 1").await;
    assert_eq!(kinds, ["backup", "preflight"]);

    // With a restore behind it, the next look stands on that.
    let job = app.restore(&save, &copy.name).await;
    app.client.job_is(&job, "succeeded").await;
    let again = look(&app, &save, json!({ "into": { "database": copy.name } })).await;
    assert_eq!(told(&again), ["error database_exists"], "{again:#}");
    assert!(message(&again, "database_exists").contains(&copy.name));
    assert!(
        again["expected_duration_based_on"]["of"].as_str().unwrap().contains("restores on this server"),
        "{again:#}"
    );
    app.holds().await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_told() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    super::on_server(&format!("DROP DATABASE {}", source.name)).await;
    let none = json!({ "into": {}, "owner": "none", "privileges": "none" });
    let swap = look(&app, &save, none.clone()).await;
    assert_eq!(told(&swap), ["warning database_missing"], "{swap:#}");
    assert_eq!(swap["would"]["keep_old_s"], Value::Null, "nothing is kept: {swap:#}");
    let mut direct = none;
    direct["method"] = json!("direct");
    assert_eq!(told(&look(&app, &save, direct).await), ["error database_missing"]);
    app.holds().await;
}

#[tokio::test]
async fn a_server_without_room_is_told_where_its_capacity_is_known() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let into = json!({ "into": { "database": stack::fresh("new") } });
    assert_eq!(told(&look(&app, &save, into.clone()).await), Vec::<String>::new());
    let server =
        app.client.get(&format!("/v1/targets/{target}")).await.expect(200)["server_id"].as_str().unwrap().to_owned();
    let server = format!("/v1/servers/{server}");
    app.client.patch(&server, json!({ "capacity_bytes": 0 })).await.expect(422);
    app.client.patch(&server, json!({ "capacity_bytes": 1_000_000 })).await.expect(200);
    let report = look(&app, &save, into.clone()).await;
    assert_eq!(told(&report), ["error capacity_exceeded"], "{report:#}");
    assert!(message(&report, "capacity_exceeded").contains("1000000"), "{report:#}");
    for enough in [json!(1_000_000_000_000_i64), Value::Null] {
        let row = app.client.patch(&server, json!({ "capacity_bytes": enough })).await.expect(200);
        assert_eq!(row["capacity_bytes"], enough);
        assert_eq!(told(&look(&app, &save, into.clone()).await), Vec::<String>::new());
    }
}
