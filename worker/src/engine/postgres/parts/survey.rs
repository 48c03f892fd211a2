//! What a destination has, and what of it depends on tables that are about to be replaced.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row as _};

use super::{
    super::{
        super::EngineError,
        archive::toc::Entry,
        connect::{ident, query},
    },
    Name,
    ident::qualified,
};

/// What exists by name.
#[derive(Debug, Default)]
pub(super) struct Existing {
    /// Tables, views, sequences and indexes with their kind, as `pg_class` writes it.
    pub(super) relations: HashMap<Name, char>,
    others: HashSet<(String, String, String)>,
}

impl Existing {
    /// Whether the destination has an object of this entry's name and kind. Of kinds that are not looked for: no; then
    /// creating it says whether that is true.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        let kind = match entry.desc.as_str() {
            "DOMAIN" | "SHELL TYPE" => "TYPE",
            "PROCEDURE" | "AGGREGATE" => "FUNCTION",
            kind => kind,
        };
        if matches!(
            kind,
            "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE" | "INDEX" | "TABLE DATA"
        ) {
            return self.relations.contains_key(&(entry.namespace.clone(), entry.tag.clone()));
        }
        self.others.contains(&(kind.to_owned(), entry.namespace.clone(), entry.tag.clone()))
    }
}

pub(super) async fn existing(session: &mut PgConnection) -> Result<Existing, EngineError> {
    let what = "listing what the database has";
    let relations = sqlx::query(
        "SELECT n.nspname::text, c.relname::text, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    )
    .fetch_all(&mut *session)
    .await
    .map_err(query(what))?;
    // Names as pg_dump writes its tags: of functions with the types of their arguments.
    let others = sqlx::query(
        "WITH own AS (SELECT oid, nspname::text AS name FROM pg_namespace
                       WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
         SELECT 'SCHEMA' AS kind, '' AS schema, name FROM own
         UNION ALL SELECT 'EXTENSION', '', extname::text FROM pg_extension
         UNION ALL SELECT 'PROCEDURAL LANGUAGE', '', lanname::text FROM pg_language
         UNION ALL SELECT 'FOREIGN DATA WRAPPER', '', fdwname::text FROM pg_foreign_data_wrapper
         UNION ALL SELECT 'SERVER', '', srvname::text FROM pg_foreign_server
         UNION ALL SELECT 'PUBLICATION', '', pubname::text FROM pg_publication
         UNION ALL SELECT 'ACCESS METHOD', '', amname::text FROM pg_am
         UNION ALL SELECT 'TYPE', own.name, t.typname::text FROM pg_type t JOIN own ON own.oid = t.typnamespace
         UNION ALL SELECT 'COLLATION', own.name, t.collname::text FROM pg_collation t JOIN own ON own.oid = t.collnamespace
         UNION ALL SELECT 'CONVERSION', own.name, t.conname::text FROM pg_conversion t JOIN own ON own.oid = t.connamespace
         UNION ALL SELECT 'TEXT SEARCH CONFIGURATION', own.name, t.cfgname::text
                     FROM pg_ts_config t JOIN own ON own.oid = t.cfgnamespace
         UNION ALL SELECT 'TEXT SEARCH DICTIONARY', own.name, t.dictname::text
                     FROM pg_ts_dict t JOIN own ON own.oid = t.dictnamespace
         UNION ALL SELECT 'OPERATOR', own.name, t.oprname::text FROM pg_operator t JOIN own ON own.oid = t.oprnamespace
         UNION ALL SELECT 'OPERATOR CLASS', own.name, t.opcname::text FROM pg_opclass t JOIN own ON own.oid = t.opcnamespace
         UNION ALL SELECT 'OPERATOR FAMILY', own.name, t.opfname::text
                     FROM pg_opfamily t JOIN own ON own.oid = t.opfnamespace
         UNION ALL SELECT 'FUNCTION', own.name, p.proname || CASE WHEN p.prokind = 'a' AND p.pronargs = 0 THEN '(*)' ELSE
                     '(' || coalesce((SELECT string_agg(format_type(a.type, NULL), ', ' ORDER BY a.n)
                                        FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, n)), '') || ')' END
                     FROM pg_proc p JOIN own ON own.oid = p.pronamespace",
    )
    .fetch_all(session)
    .await
    .map_err(query(what))?;
    Ok(Existing {
        relations: relations
            .iter()
            .map(|row| ((row.get(0), row.get(1)), row.get::<&str, _>(2).chars().next().unwrap_or(' ')))
            .collect(),
        others: others.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect(),
    })
}

/// What would not survive that tables are dropped.
#[derive(Debug, Default)]
pub(super) struct Dependents {
    /// Of other tables.
    pub(super) foreign_keys: Vec<ForeignKey>,
    pub(super) views: Vec<View>,
    /// Of the tables.
    pub(super) partitions: Vec<Name>,
    /// Publication, table.
    pub(super) publications: Vec<(String, Name)>,
    /// Everything else, as the server describes it.
    pub(super) others: Vec<String>,
}

/// A foreign key of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignKey {
    pub(super) table: Name,
    pub(super) name: String,
    /// `FOREIGN KEY (…) REFERENCES …`
    pub(super) definition: String,
    pub(super) references: Name,
}

/// A view of the destination.
#[derive(Debug)]
pub(super) struct View {
    pub(super) name: Name,
    /// Its query.
    pub(super) definition: String,
}

/// Tables by name, and what the server drops with them of its own accord: $1 schemas, $2 names.
const DOOMED: &str = "WITH RECURSIVE doomed AS (
       SELECT 'pg_class'::regclass::oid AS classid, c.oid AS objid
         FROM unnest($1::text[], $2::text[]) AS w (schema, name)
         JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
       UNION
       SELECT d.classid, d.objid FROM doomed r JOIN pg_depend d ON d.refclassid = r.classid AND d.refobjid = r.objid
        WHERE d.deptype IN ('a', 'i', 'P', 'S')),
     tables AS (SELECT c.* FROM doomed JOIN pg_class c ON c.oid = objid
                 WHERE classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'f'))";

pub(super) async fn dependents(session: &mut PgConnection, names: &[Name]) -> Result<Dependents, EngineError> {
    let what = "asking what depends on the tables";
    let (schemas, tables) = columns(names);
    let mut rows = async |sql: &str| {
        sqlx::query(sqlx::AssertSqlSafe(format!("{DOOMED} {sql}")))
            .bind(&schemas)
            .bind(&tables)
            .fetch_all(&mut *session)
            .await
            .map_err(query(what))
    };
    // What a constraint of a partition stands for is its parent's.
    let foreign_keys = rows(
        "SELECT n.nspname::text, c.relname::text, k.conname::text, pg_get_constraintdef(k.oid), m.nspname::text, r.relname::text
           FROM pg_constraint k JOIN tables r ON r.oid = k.confrelid JOIN pg_class c ON c.oid = k.conrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_namespace m ON m.oid = r.relnamespace
          WHERE k.contype = 'f' AND k.conrelid NOT IN (SELECT oid FROM tables)
            AND NOT EXISTS (SELECT FROM pg_constraint p JOIN tables t ON t.oid = p.confrelid WHERE p.oid = k.conparentid)
          ORDER BY 1, 2, 3",
    )
    .await?;
    let views = rows(
        "SELECT DISTINCT n.nspname::text, v.relname::text, pg_get_viewdef(v.oid)
           FROM doomed r JOIN pg_depend d ON d.refclassid = r.classid AND d.refobjid = r.objid
           JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
           JOIN pg_class v ON v.oid = w.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
          WHERE v.relkind IN ('v', 'm')
            AND NOT EXISTS (SELECT FROM doomed x WHERE x.classid = 'pg_class'::regclass AND x.objid = v.oid)
          ORDER BY 1, 2",
    )
    .await?;
    let partitions = rows(
        "SELECT n.nspname::text, t.relname::text FROM tables t JOIN pg_namespace n ON n.oid = t.relnamespace
          WHERE t.relispartition ORDER BY 1, 2",
    )
    .await?;
    let publications = rows(
        "SELECT p.pubname::text, n.nspname::text, t.relname::text
           FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
           JOIN tables t ON t.oid = r.prrelid JOIN pg_namespace n ON n.oid = t.relnamespace ORDER BY 1, 2, 3",
    )
    .await?;
    let others = rows(
        "SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
           FROM doomed r JOIN pg_depend d ON d.refclassid = r.classid AND d.refobjid = r.objid
           LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
           LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
           LEFT JOIN pg_class v ON v.oid = w.ev_class
          WHERE d.deptype = 'n' AND k.contype IS DISTINCT FROM 'f'
            AND (v.oid IS NULL OR v.relkind NOT IN ('v', 'm'))
            AND NOT EXISTS (SELECT FROM doomed x WHERE x.classid = d.classid AND x.objid = d.objid)
          ORDER BY 1",
    )
    .await?;
    Ok(Dependents {
        foreign_keys: foreign_keys.iter().map(foreign_key).collect(),
        views: views.iter().map(|row| View { name: (row.get(0), row.get(1)), definition: row.get(2) }).collect(),
        partitions: partitions.iter().map(|row| (row.get(0), row.get(1))).collect(),
        publications: publications.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect(),
        others: others.iter().map(|row| row.get(0)).collect(),
    })
}

/// The foreign keys between these tables.
pub(super) async fn foreign_keys_among(
    session: &mut PgConnection,
    names: &[Name],
) -> Result<Vec<ForeignKey>, EngineError> {
    let (schemas, tables) = columns(names);
    let rows = sqlx::query(
        "WITH tables AS (SELECT c.oid, n.nspname, c.relname FROM unnest($1::text[], $2::text[]) AS w (schema, name)
                           JOIN pg_namespace n ON n.nspname = w.schema
                           JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name)
         SELECT a.nspname::text, a.relname::text, k.conname::text, pg_get_constraintdef(k.oid), b.nspname::text, b.relname::text
           FROM pg_constraint k JOIN tables a ON a.oid = k.conrelid JOIN tables b ON b.oid = k.confrelid
          WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 1, 2, 3",
    )
    .bind(schemas)
    .bind(tables)
    .fetch_all(session)
    .await
    .map_err(query("asking for the foreign keys of the tables"))?;
    Ok(rows.iter().map(foreign_key).collect())
}

/// The sequences that belong to columns of these tables.
pub(super) async fn owned_sequences(session: &mut PgConnection, names: &[Name]) -> Result<Vec<Name>, EngineError> {
    let (schemas, tables) = columns(names);
    let rows = sqlx::query(
        "SELECT DISTINCT m.nspname::text, s.relname::text FROM unnest($1::text[], $2::text[]) AS w (schema, name)
           JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
           JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.deptype IN ('a', 'i')
           JOIN pg_class s ON d.classid = 'pg_class'::regclass AND s.oid = d.objid AND s.relkind = 'S'
           JOIN pg_namespace m ON m.oid = s.relnamespace",
    )
    .bind(schemas)
    .bind(tables)
    .fetch_all(session)
    .await
    .map_err(query("asking for the sequences of the tables"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Those of these tables that hold a row.
pub(super) async fn with_rows(session: &mut PgConnection, names: &[Name]) -> Result<Vec<Name>, EngineError> {
    let what = "looking whether the tables are empty";
    // A policy must not hide rows: then it is an error.
    sqlx::query("SET row_security = off").execute(&mut *session).await.map_err(query(what))?;
    let mut found = Vec::new();
    for name in names {
        let sql = format!("SELECT EXISTS (SELECT FROM ONLY {})", qualified(name));
        let holds: bool =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *session).await.map_err(query(what))?;
        if holds {
            found.push(name.clone());
        }
    }
    Ok(found)
}

fn foreign_key(row: &sqlx::postgres::PgRow) -> ForeignKey {
    ForeignKey {
        table: (row.get(0), row.get(1)),
        name: row.get(2),
        definition: row.get(3),
        references: (row.get(4), row.get(5)),
    }
}

impl ForeignKey {
    /// Whether an archive's statement makes it.
    pub(super) fn is_made_by(&self, statement: &str) -> bool {
        statement.trim_end().ends_with(&format!("{};", self.definition))
    }

    /// The statement that drops it.
    pub(super) fn drop(&self) -> String {
        format!("ALTER TABLE IF EXISTS {} DROP CONSTRAINT IF EXISTS {};\n", qualified(&self.table), ident(&self.name))
    }
}

impl View {
    /// Whether an archive's statement makes it.
    pub(super) fn is_made_by(&self, statement: &str) -> bool {
        statement.contains(self.definition.trim().trim_end_matches(';'))
    }
}

fn columns(names: &[Name]) -> (Vec<String>, Vec<String>) {
    names.iter().cloned().unzip()
}
