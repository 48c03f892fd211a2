//! What stands under a database's name, what this role may do with it, and what forbids that it is replaced.

use shared::name::DatabaseName;
use sqlx::Row as _;

use super::{
    super::{Connection, EngineError},
    Postgres,
    connect::{connect, query},
};

/// A database that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    pub oid: u32,
    pub owner: String,
    pub comment: Option<String>,
}

/// What was found, before a database is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// None: nothing has this name.
    pub existing: Option<Existing>,
    /// Why this role cannot create databases here and rename this one. None: it can.
    pub cannot_swap: Option<String>,
    /// What ties something outside to this very database and would be torn off by a swap.
    pub ties: Vec<String>,
}

impl Postgres {
    /// Looks at a name on the server.
    pub async fn standing(&self, at: &Connection, database: &DatabaseName) -> Result<Standing, EngineError> {
        let mut session = connect(at, &at.maintenance_database).await?;
        let role = sqlx::query("SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user")
            .fetch_one(&mut session)
            .await
            .map_err(query("asking what the role may do"))?;
        let (is_super, creates): (bool, bool) = (role.get(0), role.get(1));
        let row = sqlx::query(
            "SELECT oid, pg_get_userbyid(datdba)::text, shobj_description(oid, 'pg_database'), pg_has_role(datdba, 'USAGE')
               FROM pg_database WHERE datname = $1",
        )
        .bind(database.as_str())
        .fetch_optional(&mut session)
        .await
        .map_err(query("looking for the database"))?;
        let owns = row.as_ref().is_none_or(|row| row.get(3));
        let existing = row.map(|row| Existing {
            oid: row.get::<sqlx::postgres::types::Oid, _>(0).0,
            owner: row.get(1),
            comment: row.get(2),
        });
        let cannot_swap = match (&existing, is_super || creates, is_super || owns) {
            (_, true, true) => None,
            (_, false, _) => Some(format!("role {:?} may not create databases (CREATEDB)", at.user.as_str())),
            (existing, true, false) => Some(format!(
                "role {:?} is neither the owner of {:?} nor a member of it ({:?})",
                at.user.as_str(),
                database.as_str(),
                existing.as_ref().map_or("", |existing| existing.owner.as_str()),
            )),
        };
        let ties = sqlx::query_scalar(
            "SELECT 'replication slot ' || slot_name FROM pg_replication_slots WHERE database = $1
             UNION ALL SELECT 'subscription ' || s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
                        WHERE d.datname = $1
             UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts WHERE database = $1",
        )
        .bind(database.as_str())
        .fetch_all(&mut session)
        .await
        .map_err(query("looking for what is tied to the database"))?;
        Ok(Standing { existing, cannot_swap, ties })
    }
}
