//! Typed identifiers. Every id is a `UUIDv7` (RFC 9562 §5.7), so ids sort by the time they were made
//! and cannot be mistaken for one another at compile time.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "db", derive(sqlx::Type), sqlx(transparent))]
        #[cfg_attr(
            feature = "openapi",
            derive(utoipa::ToSchema),
            schema(examples("019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50"))
        )]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// A new id of this instant. The random part comes from the operating system.
            #[must_use]
            pub fn generate() -> Self {
                Self(uuid::Uuid::now_v7())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<uuid::Uuid> for $name {
            fn from(id: uuid::Uuid) -> Self {
                Self(id)
            }
        }
    )+};
}

ids! {
    /// A user of the control API.
    AdminId,
    /// One login of an admin; every access token of it carries this id.
    SessionId,
    /// What a program calls the API with.
    ApiTokenId,
    /// A system that owns databases.
    ServiceId,
    /// A database server.
    ServerId,
    /// A sealed user name and password.
    CredentialId,
    /// One database of a service.
    TargetId,
    /// One dump of a target.
    SaveId,
    /// One blob of a save in one store.
    ObjectId,
    /// A unit of queued work.
    JobId,
    /// A database that a restore put aside.
    KeptId,
    /// A published fact.
    EventId,
    /// Jobs that are followed together.
    GroupId,
    /// What is saved without anybody asking, and when.
    ScheduleId,
    /// One planned firing of a schedule.
    SlotId,
    /// Saves over services that are restored as one.
    DatasetId,
    /// Bytes that somebody fetches or brings.
    TransferId,
    /// This installation of Holdfast; stands in every object key and in each store's marker.
    InstallationId,
}
