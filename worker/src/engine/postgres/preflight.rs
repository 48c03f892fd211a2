//! What a restore would do to a server, and what would keep it from doing so: a look in sessions that may only read.
//!
//! One file per kind of question. Each asks, and adds what it finds; none stops the others, so that an operator learns of
//! everything at once. A dry run shows the whole report; a restore in place gives up at the first error.

mod contents;
mod locks;
mod part;
mod report;
mod roles;
mod server;
mod sessions;
mod space;
mod standing;
mod tools;

use shared::{
    job::{ExtensionPolicy, Method, OwnerPolicy, PrivilegePolicy, RestoreJob},
    manifest::Manifest,
    name::DatabaseName,
    save::Mode,
};
use sqlx::{Executor as _, PgConnection};
use tokio_util::sync::CancellationToken;

pub use self::{
    contents::{Contents, Reading},
    report::{Finding, Preflight, Severity, Target, Would},
};
use self::{report::Findings, server::Server};
use super::{
    super::{Connection, DatabaseProperties, EngineError},
    Postgres,
    connect::{cancellable, connect, query},
};

/// What is thought of.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub manifest: &'a Manifest,
    pub properties: &'a DatabaseProperties,
    pub restore: &'a RestoreJob,
    /// Bytes that all databases of the server may have together; none: nobody said.
    pub capacity: Option<i64>,
    /// What the dump holds; none where it could not be read: then less can be told.
    pub contents: Option<&'a Contents>,
}

/// How it would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A database that does not exist yet.
    New,
    Swap,
    Direct,
    /// Inside a database that exists, some of the save.
    Part,
}

impl Plan<'_> {
    fn keeps_owners(&self) -> bool {
        self.restore.owner == OwnerPolicy::Keep
    }

    fn keeps_privileges(&self) -> bool {
        self.restore.privileges == PrivilegePolicy::Keep
    }

    /// Relations that would be made: those that are asked for, else all that the dump is known to hold.
    fn relations(&self) -> Vec<(String, String)> {
        let part = &self.restore.part;
        match self.contents {
            _ if part.mode == Mode::Data => Vec::new(),
            _ if !part.tables.is_empty() => {
                part.tables.iter().map(|table| (table.schema.to_string(), table.table.to_string())).collect()
            }
            Some(contents) => contents.relations.iter().cloned().collect(),
            None => Vec::new(),
        }
    }

    /// Whether the save's extensions are created where they are missing.
    fn needs_extensions(&self) -> bool {
        self.restore.part.extensions == ExtensionPolicy::Require && self.restore.part.tables.is_empty()
    }

    fn database(&self) -> &DatabaseName {
        &self.restore.database
    }
}

impl Postgres {
    /// Looks at the server as this plan would meet it. Only what makes looking itself impossible is an error.
    pub async fn preflight(
        &self,
        at: &Connection,
        plan: Plan<'_>,
        cancel: &CancellationToken,
    ) -> Result<Preflight, EngineError> {
        cancellable(cancel, self.look_ahead(at, plan)).await
    }

    async fn look_ahead(&self, at: &Connection, plan: Plan<'_>) -> Result<Preflight, EngineError> {
        let mut found = Findings::default();
        let mut session = reading(at, &at.maintenance_database).await?;
        let server = Server::ask(&mut session).await?;
        tools::check(&self.clients, &server, plan.manifest, &mut found);
        let standing = self.standing(at, plan.database()).await?;
        let (way, why) = choose(&plan, standing.cannot_swap.as_deref());
        standing::check(&mut session, at, &plan, way, &server, &standing, &mut found).await?;
        server::check(&mut session, &plan, way, &server, &mut found).await?;
        space::check(&mut session, &plan, way, &mut found).await?;
        roles::check(&mut session, &plan, way, &server, &mut found).await?;
        sessions::check(&mut session, &plan, way, standing.existing.is_some(), &mut found).await?;
        locks::check(&plan, &server, &mut found);
        let target = match &standing.existing {
            Some(_) => standing::measure(&mut session, at, plan.database()).await?,
            None => Target::absent(),
        };
        let mut replaced = Vec::new();
        if let (Some(_), Some(contents), Way::Direct | Way::Part) = (&standing.existing, plan.contents, way) {
            let mut inside = reading(at, plan.database()).await?;
            replaced = standing::present(&mut inside, &plan.relations()).await?;
            if way == Way::Direct {
                standing::dependants(&mut inside, contents, &mut found).await?;
            }
        }
        part::check(self, at, &plan, way, standing.existing.is_some(), &mut found).await?;
        let would = Would::of(&plan, way, why, standing.existing.is_some(), replaced);
        Ok(Preflight { server_version: server.version, would, target, problems: found.sorted() })
    }
}

/// As the restore itself chooses.
fn choose(plan: &Plan<'_>, cannot_swap: Option<&str>) -> (Way, Option<String>) {
    match (plan.restore.in_place, plan.restore.method, cannot_swap) {
        (false, ..) => (Way::New, None),
        _ if !plan.restore.part.is_whole() => (Way::Part, None),
        (true, Method::Direct, _) => (Way::Direct, Some("as asked for".to_owned())),
        (true, Method::Auto, Some(why)) => (Way::Direct, Some(why.to_owned())),
        (true, Method::Auto | Method::Swap, _) => (Way::Swap, None),
    }
}

/// A session in which nothing can be written.
async fn reading(at: &Connection, database: &DatabaseName) -> Result<PgConnection, EngineError> {
    let mut session = connect(at, database).await?;
    let sql = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
    session.execute(sql).await.map_err(query("making the session read-only"))?;
    Ok(session)
}
