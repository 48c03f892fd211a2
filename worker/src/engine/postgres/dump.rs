//! `pg_dump --format=custom --compress=0` to a pipe: compression is the stream's.

use std::ffi::OsString;

use shared::name::DatabaseName;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        Connection, Dump, DumpMode, DumpOptions, EngineError, ErrorCode, ProbeReport, Running, TableName, dump::Format,
    },
    Postgres, classify,
    connect::ident,
    not_started,
};

const CUSTOM: Format = Format { magic: b"PGDMP", trailer: b"", archive: true };
/// Seconds to wait for the locks on the tables.
const LOCK_WAIT: u32 = 60;

impl Postgres {
    pub(super) async fn start_dump(
        &self,
        at: &Connection,
        database: &DatabaseName,
        options: &DumpOptions,
        probe: &ProbeReport,
        cancel: &CancellationToken,
    ) -> Result<Dump<Running>, EngineError> {
        let (client, warning) = self.clients.for_server(probe.server_major())?;
        let mut tool = self.tool(at, Some(database), client, "pg_dump")?;
        tool.args = arguments(options, &probe.properties.encoding)?;
        // As pg_dump does with every other setting that shapes the text of a value: the same rows give the same bytes
        // whoever dumps them, and wherever. It changes no value: a time says its zone, and bytes their form.
        for (_, options) in tool.env.iter_mut().filter(|(name, _)| *name == "PGOPTIONS") {
            options.push(" -c TimeZone=UTC -c bytea_output=hex");
        }
        let started = self.launcher.start(tool, cancel).await.map_err(not_started("pg_dump"))?;
        let about = ("pg_dump", client.version());
        Ok(Dump::of_process(started, about, warning.into_iter().collect(), CUSTOM, classify::stderr))
    }
}

fn arguments(options: &DumpOptions, encoding: &str) -> Result<Vec<OsString>, EngineError> {
    let wait = options.lock_wait_seconds.unwrap_or(LOCK_WAIT);
    let mut args: Vec<OsString> =
        ["--format=custom", "--compress=0", "--no-password"].into_iter().map(Into::into).collect();
    args.push(format!("--lock-wait-timeout={wait}s").into());
    match options.mode {
        DumpMode::All => {}
        DumpMode::Schema => args.push("--schema-only".into()),
        DumpMode::Data => args.push("--data-only".into()),
    }
    let tables = || options.tables.iter().chain(&options.exclude_tables);
    for TableName { schema, table } in tables() {
        if table.is_empty() || schema.as_ref().is_some_and(String::is_empty) || has_nul(schema.as_deref(), table) {
            return Err(EngineError::new(
                ErrorCode::InvalidRequest,
                "a table's name is empty or holds a NUL character",
            ));
        }
    }
    if !options.tables.is_empty() {
        // Each table that was asked for must be there, not just one of them.
        args.push("--strict-names".into());
    }
    let ascii = |name: &TableName| name.table.is_ascii() && name.schema.as_deref().is_none_or(str::is_ascii);
    if encoding != "UTF8" && encoding != "SQL_ASCII" && !tables().all(ascii) {
        // Our names are UTF-8: the session has to speak it for them to be found.
        args.push("--encoding=UTF8".into());
    }
    args.extend(options.tables.iter().map(|name| format!("--table={}", pattern(name)).into()));
    args.extend(options.exclude_tables.iter().map(|name| format!("--exclude-table={}", pattern(name)).into()));
    Ok(args)
}

fn has_nul(schema: Option<&str>, table: &str) -> bool {
    table.contains('\0') || schema.is_some_and(|schema| schema.contains('\0'))
}

/// Within quotes `pg_dump` takes every character of a pattern for itself, dots and asterisks too.
fn pattern(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", ident(schema), ident(&name.table)),
        None => ident(&name.table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: Option<&str>, table: &str) -> TableName {
        TableName { schema: schema.map(str::to_owned), table: table.to_owned() }
    }

    #[test]
    fn patterns_are_literal() {
        assert_eq!(pattern(&table(Some("Public"), r#"a.*?"b"#)), r#""Public"."a.*?""b""#);
        assert_eq!(pattern(&table(None, "-x")), r#""-x""#);
    }

    #[test]
    fn arguments_say_what_was_asked_for() {
        let options = DumpOptions {
            mode: DumpMode::Data,
            tables: vec![table(None, "ä")],
            exclude_tables: vec![table(Some("s"), "t")],
            collections: Vec::new(),
            exclude_collections: Vec::new(),
            lock_wait_seconds: Some(3),
        };
        let args = arguments(&options, "LATIN1").unwrap();
        for expected in [
            "--data-only",
            "--lock-wait-timeout=3s",
            "--strict-names",
            "--encoding=UTF8",
            "--exclude-table=\"s\".\"t\"",
        ] {
            assert!(args.contains(&expected.into()), "{expected} is missing in {args:?}");
        }
        let bad = DumpOptions { tables: vec![table(None, "a\0b")], ..DumpOptions::default() };
        assert_eq!(arguments(&bad, "UTF8").unwrap_err().code(), ErrorCode::InvalidRequest);
    }
}
