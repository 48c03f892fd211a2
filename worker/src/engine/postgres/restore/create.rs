//! The database a restore goes into: created under a name of its own and marked as ours.

use shared::{failpoint, name::DatabaseName};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        super::{Connection, Created, Creation, DatabaseProperties, EngineError, ErrorCode, Keep, RestoreOptions},
        connect::{cancellable, connect, ident, literal, query},
    },
    drop::{discard, drop_leftovers},
    find::{Found, find, taken},
    mark::{Mark, Stage, staging_name},
    run,
};

pub(in super::super) async fn create(
    at: &Connection,
    wanted: &DatabaseName,
    properties: &DatabaseProperties,
    options: &RestoreOptions,
    cancel: &CancellationToken,
) -> Result<Creation, EngineError> {
    let database = staging_name(wanted, at.session)?;
    let prepared = prepare(at, wanted, &database, properties, options);
    let Some((mut session, statement)) = cancellable(cancel, prepared).await? else { return Ok(Creation::Finished) };
    let created = Created { database, wanted: wanted.clone(), session: at.session };
    // Not cancelled: the server would go on creating what nobody then takes away.
    match make(at, &mut session, statement, &created.database).await {
        Ok(()) => Ok(Creation::New(created)),
        Err(error) => {
            if let Err(error) = discard(at, &created).await {
                tracing::warn!(database = %created.database, error = &error as &dyn std::error::Error, "a database that was not wholly created may be left");
            }
            Err(error)
        }
    }
}

/// Checks and clears the way. None: an older attempt had finished.
async fn prepare(
    at: &Connection,
    wanted: &DatabaseName,
    staging: &DatabaseName,
    properties: &DatabaseProperties,
    options: &RestoreOptions,
) -> Result<Option<(PgConnection, String)>, EngineError> {
    let mut session = connect(at, &at.maintenance_database).await?;
    let found = find(&mut session, at, wanted).await?;
    if matches!(found, Found::Foreign) && !options.replaces {
        return Err(taken(wanted));
    }
    drop_leftovers(at, &mut session, wanted).await?;
    if matches!(found, Found::Ours(_)) && !options.replaces {
        return Ok(None);
    }
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut session)
        .await
        .map_err(query("asking for the server's version"))?;
    if options.owner == Keep::Keep && !role_exists(&mut session, &properties.owner).await? {
        let message = format!("the owner of the database, role {:?}, does not exist on this server", properties.owner);
        return Err(EngineError::new(ErrorCode::RoleMissing, message));
    }
    Ok(Some((session, create_statement(staging, properties, options, version)?)))
}

async fn make(
    at: &Connection,
    session: &mut PgConnection,
    statement: String,
    staging: &DatabaseName,
) -> Result<(), EngineError> {
    failpoint!("restore.create.before");
    run(session, statement, "creating the database").await?;
    failpoint!("restore.create.after");
    let (name, mark) = (ident(staging.as_str()), literal(&Mark::of(at, Stage::Restoring).to_string()));
    run(session, format!("COMMENT ON DATABASE {name} IS {mark}"), "marking the database").await?;
    failpoint!("restore.mark.after");
    Ok(())
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

async fn role_exists(session: &mut PgConnection, role: &str) -> Result<bool, EngineError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(role)
        .fetch_one(session)
        .await
        .map_err(query("looking for the owner"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
