//! Owners and privileges at a restore by a role that is no superuser.

use serde_json::json;
use support::{App, Database, database, stack};

use super::{fails, one_attempt, restore_as};

#[tokio::test]
async fn a_privilege_of_a_role_that_is_gone_is_a_warning_on_the_job() {
    let mut app = App::spawn().await;
    let role = stack::fresh("gone");
    let mut server = database::connect("postgres").await;
    database::run(&mut server, &format!("CREATE ROLE {role}")).await;
    let source = Database::small().await;
    let sql = format!(
        "GRANT CONNECT, CREATE ON DATABASE {0} TO {role}; REVOKE ALL ON DATABASE {0} FROM PUBLIC; GRANT TEMPORARY ON DATABASE {0} TO backup_role",
        source.name
    );
    database::run(&mut server, &sql).await;
    let _worker = app.worker("one").await;
    let target = app.target(&source).await;
    // backup_role itself must get in again.
    database::run(&mut server, &format!("GRANT CONNECT ON DATABASE {} TO backup_role", source.name)).await;
    let save = app.saved(&target).await;
    database::run(&mut server, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;

    let restored = Database { name: stack::fresh("new") };
    let job = restore_as(&app, &save, &restored.name, "none", "keep").await;
    let job = app.client.job_is(&job, "succeeded").await;
    let warnings = job["result"]["warnings"].to_string();
    assert!(warnings.contains(&role), "{job:#}");
    // What could be restored was.
    let sql = "SELECT array_to_string(datacl, ' ') FROM pg_database WHERE datname = current_database()";
    let acl = restored.text(sql).await;
    assert!(acl.contains("backup_role=Tc/"), "{acl}");
    assert!(!acl.contains(" =") && !acl.starts_with('='), "PUBLIC got something back: {acl}");
    app.holds().await;
}

#[tokio::test]
async fn default_privileges_of_others_stand_in_nobodys_way_when_none_are_wanted() {
    let mut app = App::spawn().await;
    let source = Database::create(
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1); GRANT SELECT ON t TO backup_role;
         ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO backup_role;
         ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    )
    .await;
    let _worker = app.worker("one").await;
    one_attempt(&app).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    assert!(super::options::listing(&app, &save).await.contains("DEFAULT ACL"), "the dump holds none");

    let restored = Database { name: stack::fresh("new") };
    let job = restore_as(&app, &save, &restored.name, "none", "none").await;
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(restored.text("SELECT count(*)::text FROM t").await, "1");
    assert_eq!(restored.text("SELECT count(*)::text FROM pg_default_acl").await, "0");

    // Asked to keep what it may not set, the restore says so and leaves nothing.
    let wanted = stack::fresh("new");
    let job = restore_as(&app, &save, &wanted, "none", "keep").await;
    let error = fails(&app, &job, "permission_denied", false).await;
    assert!(error["hint"].as_str().unwrap().contains("privileges none"), "{error:#}");
    assert!(!database::exists(&wanted).await);
    app.holds().await;
}

#[tokio::test]
async fn owners_are_kept_where_they_can_be() {
    let mut app = App::spawn().await;
    let owner = stack::fresh("owner");
    let mut server = database::connect("postgres").await;
    database::run(&mut server, &format!("CREATE ROLE {owner}; GRANT {owner} TO restore_role")).await;
    let source = Database::create(&format!(
        "CREATE TABLE t (id int); ALTER TABLE t OWNER TO {owner}; CREATE TABLE u (id int); ALTER TABLE u OWNER TO {owner}"
    ))
    .await;
    let sql = format!("ALTER DATABASE {0} OWNER TO {owner}; COMMENT ON DATABASE {0} IS 'the shop''s'", source.name);
    database::run(&mut server, &sql).await;
    database::run(&mut server, &format!("ALTER DATABASE {} SET work_mem = '8MB'", source.name)).await;
    let _worker = app.worker("one").await;
    one_attempt(&app).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let restored = Database { name: stack::fresh("new") };
    let job = restore_as(&app, &save, &restored.name, "keep", "keep").await;
    let job = app.client.job_is(&job, "succeeded").await;
    assert_eq!(job["result"]["warnings"], json!([]), "{job:#}");
    let owner_of = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = current_database()";
    assert_eq!(restored.text(owner_of).await, owner);
    assert_eq!(restored.text("SELECT tableowner::text FROM pg_tables WHERE tablename = 't'").await, owner);
    assert_eq!(restored.text("SELECT current_setting('work_mem')").await, "8MB");
    let comment = restored
        .text("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()")
        .await;
    assert!(comment.starts_with("the shop's\n\nholdfast: restored, installation "), "{comment}");

    // A save of what was restored holds the operator's comment, not ours.
    let again = app.target(&restored).await;
    let save = app.saved(&again).await;
    let save = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    assert_eq!(save["manifest"]["database_properties"]["comment"], "the shop's", "{save:#}");

    drop((source, restored));
    database::run(&mut server, &format!("DROP ROLE {owner}")).await;
    let wanted = stack::fresh("new");
    let job = restore_as(&app, save["id"].as_str().unwrap(), &wanted, "keep", "none").await;
    let error = fails(&app, &job, "role_missing", false).await;
    assert!(error["message"].as_str().unwrap().contains(&owner), "{error:#}");
    app.holds().await;
}
