//! The server itself: what it is, and whether it has what the save needs: encoding, locale, settings, extensions.

use sqlx::{PgConnection, Row as _};

use super::{
    super::{super::EngineError, connect::query},
    Plan, Way,
    report::{Findings, listed},
};

/// What is asked once.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) version: String,
    pub(super) version_num: u32,
    pub(super) is_super: bool,
    /// Locks that all transactions together can have for certain.
    pub(super) locks: i64,
}

impl Server {
    pub(super) fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    pub(super) async fn ask(session: &mut PgConnection) -> Result<Self, EngineError> {
        let row = sqlx::query(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int, rolsuper,
               current_setting('max_locks_per_transaction')::int8
                 * (current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8)
             FROM pg_roles WHERE rolname = current_user",
        )
        .fetch_one(session)
        .await
        .map_err(query("asking the server about itself"))?;
        Ok(Self {
            version: row.get(0),
            version_num: u32::try_from(row.get::<i32, _>(1)).unwrap_or_default(),
            is_super: row.get(2),
            locks: row.get(3),
        })
    }
}

pub(super) async fn check(
    session: &mut PgConnection,
    plan: &Plan<'_>,
    way: Way,
    server: &Server,
    found: &mut Findings,
) -> Result<(), EngineError> {
    // Inside a database its own encoding and locale stay.
    if way != Way::Direct {
        locale(session, plan, server, found).await?;
        settings(session, plan, found).await?;
    }
    extensions(session, plan, server, found).await
}

async fn locale(
    session: &mut PgConnection,
    plan: &Plan<'_>,
    server: &Server,
    found: &mut Findings,
) -> Result<(), EngineError> {
    let properties = plan.properties;
    let row = sqlx::query(
        "SELECT $1 = '' OR pg_char_to_encoding($1) >= 0,
           EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i'),
           $2 IN ('', 'C', 'POSIX') OR EXISTS (SELECT FROM pg_collation WHERE collprovider = 'c' AND collcollate = $2)
             OR EXISTS (SELECT FROM pg_database WHERE datcollate = $2)",
    )
    .bind(&properties.encoding)
    .bind(&properties.collate)
    .fetch_one(session)
    .await
    .map_err(query("asking for encodings and locales"))?;
    let (has_encoding, has_icu, has_locale): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if !has_encoding {
        found.error(
            "encoding_unknown",
            format!("the server does not know encoding {:?}", properties.encoding),
            "Restore into a server that has it.",
        );
    }
    let provider = properties.locale_provider.as_str();
    let too_old = match provider {
        "icu" => server.version_num < 150_000,
        "builtin" => server.version_num < 170_000,
        _ => false,
    };
    if too_old || (provider == "icu" && !has_icu) {
        found.error(
            "locale_provider_missing",
            format!("server {} has no locale provider {provider:?}", server.version),
            "Restore into a newer server, or one that is built with ICU.",
        );
    }
    if !has_locale {
        found.warning(
            "locale_not_listed",
            format!("locale {:?} is not among those that the server lists", properties.collate),
            "Install the locale on the server's machine, if it is not there; pg_import_system_collations() lists it.",
        );
    }
    Ok(())
}

async fn settings(session: &mut PgConnection, plan: &Plan<'_>, found: &mut Findings) -> Result<(), EngineError> {
    let names: Vec<&str> = plan.properties.settings.iter().map(|setting| setting.name.as_str()).collect();
    // A name with a point in it is any extension's own.
    let unknown: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT name FROM unnest($1::text[]) AS t (name) WHERE position('.' IN name) = 0
           AND NOT EXISTS (SELECT FROM pg_settings s WHERE lower(s.name) = lower(t.name)) ORDER BY 1",
    )
    .bind(&names)
    .fetch_all(session)
    .await
    .map_err(query("asking for settings"))?;
    if !unknown.is_empty() {
        found.warning(
            "setting_unknown",
            format!("the server does not know these settings of the database: {}", listed(&unknown)),
            "They are left out.",
        );
    }
    Ok(())
}

async fn extensions(
    session: &mut PgConnection,
    plan: &Plan<'_>,
    server: &Server,
    found: &mut Findings,
) -> Result<(), EngineError> {
    let Some(contents) = plan.contents else { return Ok(()) };
    let wanted: Vec<&str> = contents.extensions.iter().map(String::as_str).collect();
    let rows = sqlx::query(
        "SELECT w.name, e.name IS NULL, coalesce(v.superuser AND NOT v.trusted, false) FROM unnest($1::text[]) AS w (name)
         LEFT JOIN pg_available_extensions e ON e.name = w.name
         LEFT JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version ORDER BY 1",
    )
    .bind(&wanted)
    .fetch_all(session)
    .await
    .map_err(query("asking for extensions"))?;
    let missing: Vec<&str> = rows.iter().filter(|row| row.get(1)).map(|row| row.get(0)).collect();
    if !missing.is_empty() {
        found.error(
            "extension_missing",
            format!("the server does not have these extensions of the save: {}", listed(&missing)),
            "Install their packages on the server's machine.",
        );
    }
    let untrusted: Vec<&str> = rows.iter().filter(|row| row.get(2)).map(|row| row.get(0)).collect();
    if !untrusted.is_empty() && !server.is_super {
        found.error(
            "extension_needs_superuser",
            format!("only a superuser may create these extensions of the save: {}", listed(&untrusted)),
            "Restore with a superuser's credential, or into a server where the role may create them.",
        );
    }
    Ok(())
}
