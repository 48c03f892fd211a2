//! Roles that are missing, or that the restore role does not belong to.

use serde_json::json;
use support::{App, Database, database, stack};

use super::{look, message, on_server, told};

#[tokio::test]
async fn missing_owners_grantees_and_memberships_are_told_where_they_are_kept() {
    let roles = [stack::fresh("owner"), stack::fresh("reader"), stack::fresh("setting")];
    let [owner, reader, setting] = &roles;
    on_server(&format!("CREATE ROLE {owner}; CREATE ROLE {reader}; CREATE ROLE {setting}")).await;
    let source = Database::small().await;
    let sql = format!(
        "ALTER TABLE bids OWNER TO {owner}; GRANT SELECT ON lots TO {reader}; ALTER ROLE {setting} IN DATABASE {} SET work_mem = '9MB'",
        source.name
    );
    for sql in sql.split("; ") {
        database::run(&mut source.session().await, sql).await;
    }
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let copy = stack::fresh("new");
    let kept = json!({ "into": { "database": copy }, "owner": "keep", "privileges": "keep" });
    let left = json!({ "into": { "database": copy }, "owner": "none", "privileges": "none" });

    // They are there; the restore role is a member of neither the table's owner nor the database's.
    let report = look(&app, &save, kept.clone()).await;
    assert_eq!(told(&report), ["error role_not_member"], "{report:#}");
    assert!(message(&report, "role_not_member").contains(owner), "{report:#}");
    assert_eq!(told(&look(&app, &save, left.clone()).await), Vec::<String>::new());

    for role in &roles {
        on_server(&format!("ALTER ROLE {role} RENAME TO {role}_gone")).await;
    }
    let report = look(&app, &save, kept).await;
    let expected =
        ["error role_missing", "error role_not_member", "error role_missing", "warning settings_of_missing_roles"];
    assert_eq!(told(&report), expected, "{report:#}");
    assert!(message(&report, "role_missing").contains(owner), "{report:#}");
    assert!(report["problems"][2]["message"].as_str().unwrap().contains(reader), "{report:#}");
    assert!(message(&report, "settings_of_missing_roles").contains(setting), "{report:#}");
    assert_eq!(told(&look(&app, &save, left).await), ["warning settings_of_missing_roles"]);
    drop(source);
    for role in &roles {
        on_server(&format!("DROP ROLE {role}_gone")).await;
    }
    app.holds().await;
}
