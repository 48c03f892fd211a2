//! What belongs to the database itself and no dump of it holds: settings, privileges, connection limit.

use sqlx::{PgConnection, Row as _};

use super::{
    super::{
        super::{Connection, Created, DatabaseProperties, EngineError, Keep, RestoreOptions},
        connect::{connect, ident, literal, query},
    },
    run,
};

pub(in super::super) async fn settle(
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
        let (statements, missing) = grants(&mut session, &name, acl, owner).await?;
        warnings.extend(missing);
        for sql in statements {
            if let Err(error) = run(&mut session, sql, "granting").await {
                warnings.push(format!("a privilege on the database was not restored: {error}"));
            }
        }
    }
    if properties.connection_limit != -1 {
        let sql = format!("ALTER DATABASE {name} CONNECTION LIMIT {}", properties.connection_limit);
        run(&mut session, sql, "setting the connection limit").await?;
    }
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

/// The statements that turn the default ACL into the save's, and a warning for each item that cannot be one. The server
/// takes the items apart: their syntax is its own.
async fn grants(
    session: &mut PgConnection,
    database: &str,
    acl: &[String],
    owner: &str,
) -> Result<(Vec<String>, Vec<String>), EngineError> {
    let mut warnings = Vec::new();
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
        let rows = match rows {
            Ok(rows) => rows,
            // Whatever is wrong with the item itself; a lost connection is no such thing.
            Err(error @ sqlx::Error::Database(_)) => {
                let error = query("reading it")(error);
                warnings.push(format!("the privilege {item:?} on the database was not restored: {error}"));
                continue;
            }
            Err(error) => return Err(query("reading the privileges of the save")(error)),
        };
        for row in rows {
            let grantee = row.get::<Option<String>, _>(0).map_or_else(|| "PUBLIC".to_owned(), |role| ident(&role));
            let option = if row.get(2) { " WITH GRANT OPTION" } else { "" };
            let privilege: &str = row.get(1);
            statements.push(format!("GRANT {privilege} ON DATABASE {database} TO {grantee}{option}"));
        }
    }
    Ok((statements, warnings))
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
}
