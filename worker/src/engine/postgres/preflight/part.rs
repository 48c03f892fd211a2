//! Of a part of a save: the restore's own plan is made, which asks the database everything that it has to, and thrown away.

use shared::{job::ExtensionPolicy, save::Mode};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        super::{Connection, EngineError},
        Postgres,
        parts::{Half, Wanted},
    },
    Plan, Way,
    report::Findings,
};

pub(super) async fn check(
    engine: &Postgres,
    at: &Connection,
    plan: &Plan<'_>,
    way: Way,
    exists: bool,
    found: &mut Findings,
) -> Result<(), EngineError> {
    let part = &plan.restore.part;
    let (Some(contents), false) = (plan.contents, part.is_whole()) else { return Ok(()) };
    let wanted = Wanted {
        tables: part.tables.iter().map(|table| (table.schema.to_string(), table.table.to_string())).collect(),
        half: match part.mode {
            Mode::All => Half::Both,
            Mode::Schema => Half::Structure,
            Mode::Data => Half::Rows,
        },
        skip_extensions: part.extensions == ExtensionPolicy::Skip,
    };
    let planned = match way {
        Way::Part if exists => {
            let never = CancellationToken::new();
            engine.part_for_existing(at, plan.database(), &contents.toc, &wanted, false, &never).await
        }
        Way::Part => return Ok(()),
        _ => Postgres::part_for_new(&contents.toc, &wanted),
    };
    match planned {
        Ok(part) => {
            for warning in part.warnings {
                found.warning("part", warning, "Restore more of the save if it is needed.");
            }
            Ok(())
        }
        Err(error) if error.is_permanent() => {
            found.error(error.code().as_str(), error.to_string(), error.hint());
            Ok(())
        }
        Err(error) => Err(error),
    }
}
