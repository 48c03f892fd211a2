//! Data sets: saves over services that are restored as one. They cross services, so what may be done with them asks for the
//! role globally.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod restore;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    db::data_sets::{self, DataSetRow, MemberRow},
    id::{AdminId, DatasetId, SaveId, ServiceId, TargetId},
    name::Slug,
    save::SaveState,
};
use sqlx::PgConnection;

use crate::error::ApiError;

/// The longest note, in characters.
const MAX_NOTE: usize = 500;

/// A data set as lists show it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DataSet {
    pub id: DatasetId,
    /// Unique among data sets.
    #[schema(example = "friday-demo")]
    pub name: Slug,
    /// For people.
    pub note: String,
    /// The moment whose latest valid full saves it holds; null: they were named.
    pub as_of: Option<DateTime<Utc>>,
    /// How many saves it holds, one of each target.
    #[schema(example = 12)]
    pub saves: i64,
    pub created_by: Option<AdminId>,
    pub created_at: DateTime<Utc>,
}

impl From<DataSetRow> for DataSet {
    fn from(row: DataSetRow) -> Self {
        let DataSetRow { id, name, note, as_of, created_by, created_at, saves } = row;
        Self { id, name, note, as_of, saves, created_by, created_at }
    }
}

/// A data set with what it holds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WholeDataSet {
    #[serde(flatten)]
    set: DataSet,
    /// In the order in which they are swapped in.
    members: Vec<Member>,
    /// From when the first of the saves is, and the last: what happened in between is in some and not in others.
    span: Option<Span>,
}

/// The save of one target.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DataSetMember)]
struct Member {
    service_id: ServiceId,
    service: Slug,
    target_id: TargetId,
    target: Slug,
    save_id: SaveId,
    #[schema(example = 42)]
    version: i32,
    state: SaveState,
    valid: bool,
    trusted: bool,
    suspicious: bool,
    created_at: DateTime<Utc>,
    raw_bytes: Option<i64>,
}

/// How far apart the saves are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DataSetSpan)]
struct Span {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    #[schema(example = 340)]
    seconds: i64,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        Self {
            service_id: row.service_id,
            service: row.service,
            target_id: row.target_id,
            target: row.target,
            save_id: row.save_id,
            version: row.version,
            state: row.state,
            valid: row.valid,
            trusted: row.trusted,
            suspicious: row.suspicious,
            created_at: row.created_at,
            raw_bytes: row.raw_bytes,
        }
    }
}

/// The data set with all that it holds.
async fn whole(conn: &mut PgConnection, row: DataSetRow) -> Result<WholeDataSet, ApiError> {
    let rows = data_sets::members(conn, row.id).await?;
    let first = rows.iter().map(|row| row.created_at).min();
    let last = rows.iter().map(|row| row.available_at.unwrap_or(row.created_at)).max();
    let span = first.zip(last).map(|(from, until)| Span { from, until, seconds: (until - from).num_seconds() });
    Ok(WholeDataSet { set: row.into(), members: rows.into_iter().map(Member::from).collect(), span })
}
