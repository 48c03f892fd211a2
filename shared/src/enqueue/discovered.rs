//! What becomes of the databases that a look at a server found: new ones become targets, and all that the schedule names
//! are backed up in the group of the slot.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Asked, Batch, EnqueueError, slot};
use crate::{
    db::{
        audit,
        discovery::{self, KnownTarget, NewTarget},
        jobs::JobRow,
        outbox,
        schedules::ScheduleRow,
    },
    event::NewEvent,
    id::{GroupId, ServerId, TargetId},
    name::{DatabaseName, Slug},
    schedule::Discovery,
};

/// Writes what a discovery found, in the last transaction of its job, and enqueues the backups. Answers what the job's result
/// is to say.
pub async fn discovered(
    tx: &mut PgConnection,
    job: &JobRow,
    schedule: &ScheduleRow,
    databases: &[DatabaseName],
    asked: &Asked,
) -> Result<Value, EnqueueError> {
    let (Some(server), Some(settings)) = (schedule.server_id, &schedule.settings.discovery) else {
        return Ok(json!({ "databases": databases.len() }));
    };
    let known = discovery::known(tx, server).await?;
    let (mut wanted, mut new, mut elsewhere, mut unnamed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let group = discovery::worker_group(tx, server).await?;
    for database in databases.iter().filter(|database| settings.names(database.as_str())) {
        match known.iter().find(|target| target.database == *database) {
            // Those of the service are all wanted, below.
            Some(target) if target.service_id == schedule.service_id => {}
            Some(_) => elsewhere.push(database),
            None => match add(tx, job, schedule, (server, &group), settings, database).await? {
                Some((id, name)) => {
                    wanted.push(id);
                    new.push(json!({ "target_id": id, "target": name, "database": database }));
                }
                None => unnamed.push(database),
            },
        }
    }
    let own =
        |target: &&KnownTarget| target.service_id == schedule.service_id && settings.names(target.database.as_str());
    let mut vanished = Vec::new();
    for target in known.iter().filter(own) {
        wanted.push(target.id);
        if !databases.contains(&target.database) {
            outbox::insert(tx, &vanished_event(job, schedule, target)).await?;
            vanished.push(json!({ "target_id": target.id, "target": target.name, "database": target.database }));
        }
    }
    // A job that was fired by no slot has no group; what it finds is saved all the same.
    let group_id = job.group_id.unwrap_or_else(GroupId::generate);
    let mut batch = Batch::default();
    let fired = slot::backups(tx, schedule, &wanted, group_id, asked, &mut batch).await?;
    batch.write(tx).await?;
    let (jobs, left_out) = match fired {
        Ok(fired) => (fired.jobs, fired.left_out),
        Err(why) => (Vec::new(), Some(why)),
    };
    let result = json!({
        "databases": databases.len(), "new": new, "vanished": vanished, "of_other_services": elsewhere,
        "without_name": unnamed, "jobs": jobs.len(), "left_out": left_out,
    });
    discovery::set_result(tx, job.id, &result).await?;
    Ok(result)
}

/// Makes a target of a database. None: no name could be made of its name.
async fn add(
    tx: &mut PgConnection,
    job: &JobRow,
    schedule: &ScheduleRow,
    (server, worker_group): (ServerId, &str),
    settings: &Discovery,
    database: &DatabaseName,
) -> Result<Option<(TargetId, Slug)>, EnqueueError> {
    let id = TargetId::generate();
    for name in names(database) {
        let new = NewTarget {
            id,
            service: schedule.service_id,
            server,
            name: &name,
            database,
            worker_group,
            discovery: settings,
        };
        if !discovery::insert(tx, &new).await? {
            continue;
        }
        let data = json!({
            "target_id": id, "target": name, "database": database, "server_id": server, "schedule_id": schedule.id,
            "schedule": schedule.name, "job_id": job.id,
        });
        let entry = audit::Entry {
            action: "target.create",
            resource_type: Some("target"),
            resource_id: Some(id.to_string()),
            service_id: Some(schedule.service_id),
            detail: data.clone(),
            ..audit::Entry::default()
        };
        audit::insert(tx, &entry).await?;
        let event = NewEvent {
            kind: "target.discovered".to_owned(),
            subject: format!("targets/{id}"),
            aggregate: format!("target:{id}"),
            service: Some(schedule.service_id),
            trace_id: job.trace_id.clone(),
            data,
        };
        outbox::insert(tx, &event).await?;
        return Ok(Some((id, name)));
    }
    Ok(None)
}

fn vanished_event(job: &JobRow, schedule: &ScheduleRow, target: &KnownTarget) -> NewEvent {
    NewEvent {
        kind: "target.vanished".to_owned(),
        subject: format!("targets/{}", target.id),
        aggregate: format!("target:{}", target.id),
        service: Some(schedule.service_id),
        trace_id: job.trace_id.clone(),
        data: json!({
            "target_id": target.id, "target": target.name, "database": target.database, "server_id": schedule.server_id,
            "schedule_id": schedule.id, "schedule": schedule.name, "job_id": job.id,
        }),
    }
}

/// How many names are tried before a database is given up.
const TRIED: usize = 100;

/// Names for the target of a database, the first of which that is free it gets: its own, as far as that can be one of ours,
/// then with a number.
fn names(database: &DatabaseName) -> impl Iterator<Item = Slug> {
    let text: String = database
        .as_str()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(58)
        .collect();
    let text = match text.trim_matches('-') {
        "" => "database".to_owned(),
        text => text.to_owned(),
    };
    (1..=TRIED).filter_map(move |n| Slug::parse(if n == 1 { text.clone() } else { format!("{text}-{n}") }).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_database_has_a_name() {
        let first = |database: &str, n: usize| {
            let names: Vec<_> = names(&DatabaseName::parse(database).unwrap()).take(n).map(String::from).collect();
            names
        };
        assert_eq!(first("items", 3), ["items", "items-2", "items-3"]);
        assert_eq!(first("Shop_Main", 1), ["shop-main"]);
        assert_eq!(first("_x_", 1), ["x"]);
        assert_eq!(first("ключи", 2), ["database", "database-2"]);
        assert_eq!(
            names(&DatabaseName::parse("a".repeat(63)).unwrap()).count(),
            TRIED,
            "with its number it is no longer than a name may be"
        );
    }
}
