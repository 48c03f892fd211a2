//! Into a new database: create it, feed `pg_restore`, settle what belongs to the database itself, or drop it again.
//!
//! Only what this job created is ever dropped. The mark is the database's comment, set right after its creation and
//! replaced when the restore is settled; a database without it is somebody's.

use std::time::Duration;

use shared::name::DatabaseName;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        Connection, Created, DatabaseProperties, EngineError, ErrorCode, Keep, Restore, RestoreOptions, SessionTag,
    },
    Postgres, classify,
    connect::{connect, conninfo, ident, literal, query},
    not_started,
};

const MARK: &str = "being restored by ";

impl Postgres {
    pub(super) async fn start_restore(
        &self,
        at: &Connection,
        created: &Created,
        tool_major: u32,
        options: &RestoreOptions,
        cancel: &CancellationToken,
    ) -> Result<Restore, EngineError> {
        let client = self.clients.for_save(tool_major)?;
        let mut tool = self.tool(at, Some(&created.database), client, "pg_restore")?;
        tool.piped_stdin = true;
        tool.args = ["--single-transaction", "--exit-on-error", "--no-password"].into_iter().map(Into::into).collect();
        tool.args.push(format!("--dbname={}", conninfo(&created.database)).into());
        if options.owner == Keep::None {
            tool.args.push("--no-owner".into());
        }
        if options.privileges == Keep::None {
            tool.args.push("--no-privileges".into());
        }
        let started = self.launcher.start(tool, cancel).await.map_err(not_started("pg_restore"))?;
        Ok(Restore::of_process(started, "pg_restore", classify::stderr))
    }
}

pub(super) async fn create(
    at: &Connection,
    database: &DatabaseName,
    properties: &DatabaseProperties,
    options: &RestoreOptions,
) -> Result<Created, EngineError> {
    let created = Created { database: database.clone(), session: at.session };
    let mut session = connect(at, &at.maintenance_database).await?;
    match marked_by(&mut session, database).await? {
        Found::Nothing => {}
        // An attempt of this job that was killed: nobody else can have meant this database.
        Found::Marked(tag) if tag.job == at.session.job && tag.epoch <= at.session.epoch => {
            drop_database(&mut session, database).await?;
        }
        Found::Marked(_) | Found::Foreign => {
            return Err(EngineError::new(ErrorCode::DatabaseExists, format!("{:?} exists already", database.as_str())));
        }
    }
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut session)
        .await
        .map_err(query("asking for the server's version"))?;
    if options.owner == Keep::Keep && !role_exists(&mut session, &properties.owner).await? {
        let message = format!("the owner of the database, role {:?}, does not exist on this server", properties.owner);
        return Err(EngineError::new(ErrorCode::RoleMissing, message));
    }
    let statement = create_statement(database, properties, options, version)?;
    run(&mut session, statement, "creating the database").await?;
    let mark =
        format!("COMMENT ON DATABASE {} IS {}", ident(database.as_str()), literal(&format!("{MARK}{}", at.session)));
    run(&mut session, mark, "marking the database").await?;
    Ok(created)
}

fn create_statement(
    database: &DatabaseName,
    properties: &DatabaseProperties,
    options: &RestoreOptions,
    server_version_num: i32,
) -> Result<String, EngineError> {
    let mut sql = format!("CREATE DATABASE {} TEMPLATE template0", ident(database.as_str()));
    let mut add = |word: &str, value: &str| {
        if !value.is_empty() {
            sql.extend([" ", word, " ", &literal(value)]);
        }
    };
    add("ENCODING", &properties.encoding);
    add("LC_COLLATE", &properties.collate);
    add("LC_CTYPE", &properties.ctype);
    let locale = properties.locale.as_deref().unwrap_or_default();
    let (needs, word) = match properties.locale_provider.as_str() {
        "icu" => (150_000, "ICU_LOCALE"),
        "builtin" => (170_000, "BUILTIN_LOCALE"),
        _ => (150_000, ""),
    };
    if server_version_num >= needs {
        add("LOCALE_PROVIDER", if word.is_empty() { "libc" } else { &properties.locale_provider });
        if !word.is_empty() {
            add(word, locale);
        }
        if word == "ICU_LOCALE" && server_version_num >= 160_000 {
            add("ICU_RULES", properties.icu_rules.as_deref().unwrap_or_default());
        }
    } else if !word.is_empty() {
        let message = format!("the save's locale provider {:?} needs a newer server", properties.locale_provider);
        return Err(EngineError::new(ErrorCode::RestoreIncompatible, message));
    }
    if options.owner == Keep::Keep && !properties.owner.is_empty() {
        sql.extend([" OWNER ", &ident(&properties.owner)]);
    }
    Ok(sql)
}

pub(super) async fn settle(
    at: &Connection,
    created: &Created,
    properties: &DatabaseProperties,
    options: &RestoreOptions,
) -> Result<Vec<String>, EngineError> {
    let name = ident(created.database.as_str());
    let mut warnings = Vec::new();
    let mut session = connect(at, &at.maintenance_database).await?;
    for setting in &properties.settings {
        let value = setting_value(&setting.name, &setting.value);
        let sql = match &setting.role {
            None => format!("ALTER DATABASE {name} SET {} TO {value}", ident(&setting.name)),
            Some(role) => {
                format!("ALTER ROLE {} IN DATABASE {name} SET {} TO {value}", ident(role), ident(&setting.name))
            }
        };
        // A setting the server does not know, or a role it does not have, does not make the data wrong.
        if let Err(error) = run(&mut session, sql, "setting").await {
            warnings.push(format!("setting {:?} of the database was not restored: {error}", setting.name));
        }
    }
    if options.privileges == Keep::Keep
        && let Some(acl) = &properties.acl
    {
        let owner = if options.owner == Keep::Keep { properties.owner.as_str() } else { at.user.as_str() };
        for sql in grants(&mut session, &name, acl, owner).await? {
            if let Err(error) = run(&mut session, sql, "granting").await {
                warnings.push(format!("a privilege on the database was not restored: {error}"));
            }
        }
    }
    if properties.connection_limit != -1 {
        let sql = format!("ALTER DATABASE {name} CONNECTION LIMIT {}", properties.connection_limit);
        run(&mut session, sql, "setting the connection limit").await?;
    }
    // Last: from here on the database is the operator's, and no attempt of this job drops it.
    let comment = match &properties.comment {
        Some(comment) => literal(comment),
        None => literal(&format!("restored by holdfast, job {}", created.session.job)),
    };
    run(&mut session, format!("COMMENT ON DATABASE {name} IS {comment}"), "commenting on the database").await?;
    Ok(warnings)
}

/// Settings that are lists of names are stored as they have to be written; all others are one value.
fn setting_value(name: &str, value: &str) -> String {
    const LISTS: [&str; 6] = [
        "search_path",
        "temp_tablespaces",
        "session_preload_libraries",
        "local_preload_libraries",
        "shared_preload_libraries",
        "unix_socket_directories",
    ];
    if LISTS.contains(&name) {
        // Each element becomes a string of its own, which is how pg_dump writes them.
        split_list(value).iter().map(|element| literal(element)).collect::<Vec<_>>().join(", ")
    } else {
        literal(value)
    }
}

/// `a, "b,c", "d""e"` into its elements.
fn split_list(text: &str) -> Vec<String> {
    let mut elements = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = elements.len() - 1;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                elements[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => elements.push(String::new()),
            ' ' if !quoted => {}
            other => elements[last].push(other),
        }
    }
    elements
}

/// The statements that turn the default ACL into the save's. The server takes the items apart: their syntax is its own.
async fn grants(
    session: &mut PgConnection,
    database: &str,
    acl: &[String],
    owner: &str,
) -> Result<Vec<String>, EngineError> {
    let mut statements = vec![
        format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
        format!("REVOKE ALL ON DATABASE {database} FROM {}", ident(owner)),
    ];
    for item in acl {
        // One by one: an item that names a role which is missing here must not take the others with it.
        let rows = sqlx::query(
            "SELECT CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee)::text END, privilege_type, is_grantable
               FROM aclexplode(ARRAY[$1::text::aclitem])",
        )
        .bind(item)
        .fetch_all(&mut *session)
        .await;
        let Ok(rows) = rows else {
            tracing::warn!("an ACL item of the save names a role that this server does not have");
            continue;
        };
        for row in rows {
            let grantee = row.get::<Option<String>, _>(0).map_or_else(|| "PUBLIC".to_owned(), |role| ident(&role));
            let option = if row.get(2) { " WITH GRANT OPTION" } else { "" };
            let privilege: &str = row.get(1);
            statements.push(format!("GRANT {privilege} ON DATABASE {database} TO {grantee}{option}"));
        }
    }
    Ok(statements)
}

pub(super) async fn discard(at: &Connection, created: &Created) -> Result<(), EngineError> {
    let mut session = connect(at, &at.maintenance_database).await?;
    match marked_by(&mut session, &created.database).await? {
        Found::Nothing => Ok(()),
        Found::Marked(tag) if tag == created.session => drop_database(&mut session, &created.database).await,
        Found::Marked(_) | Found::Foreign => {
            let message = format!("{:?} does not carry this job's mark and stays", created.database.as_str());
            Err(EngineError::new(ErrorCode::DatabaseExists, message))
        }
    }
}

enum Found {
    Nothing,
    Marked(SessionTag),
    Foreign,
}

async fn marked_by(session: &mut PgConnection, database: &DatabaseName) -> Result<Found, EngineError> {
    let comment: Option<Option<String>> =
        sqlx::query_scalar("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1")
            .bind(database.as_str())
            .fetch_optional(session)
            .await
            .map_err(query("looking for the database"))?;
    let Some(comment) = comment else { return Ok(Found::Nothing) };
    let tag = comment.as_deref().and_then(|text| text.strip_prefix(MARK)).and_then(|tag| tag.parse().ok());
    Ok(tag.map_or(Found::Foreign, Found::Marked))
}

async fn drop_database(session: &mut PgConnection, database: &DatabaseName) -> Result<(), EngineError> {
    let terminate =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()";
    sqlx::query(terminate)
        .bind(database.as_str())
        .execute(&mut *session)
        .await
        .map_err(query("ending the sessions of the database"))?;
    // DROP DATABASE waits up to five seconds for sessions that are ending.
    run(session, format!("DROP DATABASE IF EXISTS {}", ident(database.as_str())), "dropping the database").await
}

async fn role_exists(session: &mut PgConnection, role: &str) -> Result<bool, EngineError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(role)
        .fetch_one(session)
        .await
        .map_err(query("looking for the owner"))
}

/// Runs a statement that takes no parameters; names and texts in it went through `ident` and `literal`.
async fn run(session: &mut PgConnection, sql: String, what: &str) -> Result<(), EngineError> {
    session.execute(AssertSqlSafe(sql)).await.map(drop).map_err(query(what))
}

pub(super) async fn end_older_sessions(at: &Connection, database: &DatabaseName) -> Result<usize, EngineError> {
    let mut session = connect(at, database).await?;
    let prefix = format!("holdfast/{}/", at.session.job);
    let mut ended = std::collections::BTreeSet::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let rows = sqlx::query(
            "SELECT pid, application_name::text FROM pg_stat_activity WHERE left(application_name, length($1)) = $1",
        )
        .bind(&prefix)
        .fetch_all(&mut session)
        .await
        .map_err(query("looking for sessions of older attempts"))?;
        let older = |row: &sqlx::postgres::PgRow| {
            let tag = row.get::<&str, _>(1).parse::<SessionTag>().ok()?;
            (tag.epoch < at.session.epoch).then(|| row.get::<i32, _>(0))
        };
        let older: Vec<i32> = rows.iter().filter_map(older).collect();
        if older.is_empty() {
            return Ok(ended.len());
        }
        if tokio::time::Instant::now() > deadline {
            let message = format!("{} sessions of older attempts did not end within 30 s", older.len());
            return Err(EngineError::new(ErrorCode::DatabaseInUse, message));
        }
        sqlx::query("SELECT pg_terminate_backend(pid) FROM unnest($1) pid")
            .bind(&older)
            .execute(&mut session)
            .await
            .map_err(query("ending sessions of older attempts"))?;
        ended.extend(older);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart_as_the_server_writes_them() {
        assert_eq!(split_list(r#""$user", public, "a,""b""#), ["$user", "public", r#"a,"b"#]);
        assert_eq!(setting_value("search_path", "app, public"), "'app', 'public'");
        assert_eq!(setting_value("DateStyle", "ISO, DMY"), "'ISO, DMY'");
    }

    #[test]
    fn a_database_is_created_as_it_was() {
        let database = DatabaseName::parse("a\"b").unwrap();
        let mut properties = DatabaseProperties {
            owner: "app".into(),
            encoding: "UTF8".into(),
            locale_provider: "icu".into(),
            collate: "C".into(),
            ctype: "C".into(),
            locale: Some("de".into()),
            connection_limit: -1,
            ..DatabaseProperties::default()
        };
        let options = RestoreOptions::default();
        assert_eq!(
            create_statement(&database, &properties, &options, 150_000).unwrap(),
            "CREATE DATABASE \"a\"\"b\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' \
             LOCALE_PROVIDER 'icu' ICU_LOCALE 'de' OWNER \"app\""
        );
        let old = create_statement(&database, &properties, &options, 140_000).unwrap_err();
        assert_eq!(old.code(), ErrorCode::RestoreIncompatible);
        properties.locale_provider = "libc".into();
        let nobody = RestoreOptions { owner: Keep::None, ..options };
        let sql = create_statement(&database, &properties, &nobody, 140_000).unwrap();
        assert!(sql.ends_with("LC_CTYPE 'C'"), "{sql}");
    }
}
