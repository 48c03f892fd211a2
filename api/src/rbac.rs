//! Who may do what: every permission with the least role that has it, and the one function that decides.

pub mod table;

use shared::{admin::Role, id::ServiceId};

use crate::{auth::Identity, error::ApiError};

macro_rules! permissions {
    ($($variant:ident $name:literal of $resource:ident: $role:ident),+ $(,)?) => {
        /// Something that may be allowed. The name is what audit entries and refusals say.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Permission { $($variant),+ }

        impl Permission {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it is a permission on.
            #[must_use]
            pub const fn resource(self) -> &'static str {
                match self { $(Self::$variant => stringify!($resource)),+ }
            }

            /// The least role that has it.
            #[must_use]
            pub const fn least(self) -> Role {
                match self { $(Self::$variant => Role::$role),+ }
            }
        }
    };
}

permissions! {
    ServiceRead "service.read" of service: Viewer,
    ServiceCreate "service.create" of service: Admin,
    ServiceUpdate "service.update" of service: Admin,
    ServiceDelete "service.delete" of service: Admin,
    // It ties the service to a host and a credential, which belong to all.
    BrokerUpdate "broker.update" of service: Admin,
    ServerRead "server.read" of server: Viewer,
    ServerCreate "server.create" of server: Admin,
    ServerUpdate "server.update" of server: Admin,
    ServerDelete "server.delete" of server: Admin,
    CredentialRead "credential.read" of credential: Admin,
    CredentialCreate "credential.create" of credential: Admin,
    CredentialUpdate "credential.update" of credential: Admin,
    CredentialDelete "credential.delete" of credential: Admin,
    // What ties a service to servers and credentials, which belong to all: whoever could do it for one service alone
    // could reach another's database through it. So these ask for the role globally.
    TargetCreate "target.create" of target: Admin,
    TargetPlace "target.place" of target: Admin,
    TargetRead "target.read" of target: Viewer,
    TargetUpdate "target.update" of target: Admin,
    TargetDelete "target.delete" of target: Admin,
    // Foreign bytes become what a restore may take.
    SaveImport "save.import" of target: Admin,
    // Foreign SQL is run, with all that the restore credential may do on the server.
    TargetImportSql "target.import_sql" of target: Super,
    // Everything in it goes.
    TargetWipe "target.wipe" of target: Admin,
    TargetProbe "target.probe" of target: Operator,
    BackupCreate "backup.create" of target: Operator,
    SaveRead "save.read" of save: Viewer,
    SaveUpdate "save.update" of save: Operator,
    // A save that looked wrong counts again: retention goes on from it.
    SaveAccept "save.accept" of save: Admin,
    SaveRestore "save.restore" of save: Operator,
    SaveVerify "save.verify" of save: Operator,
    SaveCopy "save.copy" of save: Operator,
    SaveDelete "save.delete" of save: Admin,
    // All that the service has leaves the house with it.
    SaveDownload "save.download" of save: Admin,
    ScheduleRead "schedule.read" of schedule: Viewer,
    ScheduleCreate "schedule.create" of schedule: Admin,
    ScheduleUpdate "schedule.update" of schedule: Admin,
    ScheduleDelete "schedule.delete" of schedule: Admin,
    ScheduleRun "schedule.run" of schedule: Operator,
    // What it finds on a server becomes targets, with a credential: as making one by hand, it asks for the role globally.
    ScheduleDiscover "schedule.discover" of schedule: Admin,
    // A data set crosses services, so all of these ask for the role globally.
    DataSetRead "data_set.read" of data_set: Viewer,
    DataSetCreate "data_set.create" of data_set: Operator,
    DataSetDelete "data_set.delete" of data_set: Admin,
    // Every database of it is replaced.
    DataSetRestore "data_set.restore" of data_set: Admin,
    // It goes through the stores, which belong to all services: global.
    GcRun "gc.run" of job: Admin,
    // What is there is replaced: more than an operator's work (guarantees D2).
    SaveReplace "save.replace" of save: Admin,
    // What was found to be of no use, or called so.
    SaveRestoreInvalid "save.restore_invalid" of save: Admin,
    // What nobody known here has signed may be anybody's.
    SaveTrust "save.trust" of save: Super,
    JobRead "job.read" of job: Viewer,
    JobCancel "job.cancel" of job: Operator,
    JobRetry "job.retry" of job: Operator,
    JobUndo "job.undo" of job: Admin,
    GroupRead "group.read" of group: Viewer,
    EventRead "event.read" of event: Viewer,
    // An admin of a service sees who has a role there, and of those the roles there alone.
    AdminRead "admin.read" of admin: Admin,
    AdminCreate "admin.create" of admin: Super,
    AdminUpdate "admin.update" of admin: Super,
    AdminDelete "admin.delete" of admin: Super,
    // Another's: one's own is changed by whoever knows it.
    AdminPassword "admin.password" of admin: Super,
    // For a service, to an admin whom one sees, never to oneself. A role of a service is at most `admin`, so nobody gives
    // more than they have.
    RoleGrant "role.grant" of role: Admin,
    RoleRevoke "role.revoke" of role: Admin,
    // A global role, be it granted or revoked.
    RoleGlobal "role.global" of role: Super,
    PlatformUserCreate "platform_user.create" of platform_user: Admin,
    // What everybody did, from where: more than a viewer's to know.
    AuditRead "audit.read" of audit: Admin,
    AuditExport "audit.export" of audit: Admin,
    ConfigRead "config.read" of config: Admin,
    // Those of others: everybody sees and ends their own.
    SessionManage "session.manage" of session: Super,
    TokenManage "token.manage" of token: Super,
}

/// Allows or refuses. With a service: a role of the admin for it, or a global one, counts; an admin without any role
/// there learns nothing about it (404). Without a service: global roles count alone.
pub fn authorize(identity: &Identity, permission: Permission, service: Option<ServiceId>) -> Result<(), ApiError> {
    let counts = |of: Option<ServiceId>| of.is_none() || (service.is_some() && of == service);
    match identity.roles.iter().filter(|(_, of)| counts(*of)).map(|(role, _)| *role).max() {
        Some(role) if role >= permission.least() => Ok(()),
        // Word for word what is said of a thing that does not exist.
        None if service.is_some() => Err(ApiError::NotFound(permission.resource())),
        _ => Err(ApiError::Forbidden(permission.name())),
    }
}

/// The services whose things the admin may see in lists; none: all of them.
#[must_use]
pub fn visible(identity: &Identity) -> Option<Vec<ServiceId>> {
    if identity.roles.iter().any(|(_, of)| of.is_none()) {
        return None;
    }
    let mut services: Vec<ServiceId> = identity.roles.iter().filter_map(|(_, of)| *of).collect();
    // An admin may have several roles for one service.
    services.sort_unstable();
    services.dedup();
    Some(services)
}

/// How a list is limited to what the caller may see: to one service, whose index it can walk, or to several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub one: Option<ServiceId>,
    /// None: it is one, or all are visible.
    pub other: Option<Vec<ServiceId>>,
}

impl Seen {
    /// Of the service that was asked for, which the caller has been allowed, or of all that are visible.
    #[must_use]
    pub fn of(identity: &Identity, asked: Option<ServiceId>) -> Self {
        if asked.is_some() {
            return Self { one: asked, other: None };
        }
        match visible(identity) {
            Some(services) if services.len() == 1 => Self { one: services.first().copied(), other: None },
            other => Self { one: None, other },
        }
    }
}

/// The services for which the admin has this permission; none: all of them, by a global role.
#[must_use]
pub fn permitted(identity: &Identity, permission: Permission) -> Option<Vec<ServiceId>> {
    let enough = || identity.roles.iter().filter(|(role, _)| *role >= permission.least());
    if enough().any(|(_, of)| of.is_none()) {
        return None;
    }
    Some(enough().filter_map(|(_, of)| *of).collect())
}

/// The services whose admins the caller may see; none: all of them. Empty: of no service.
#[must_use]
pub fn administered(identity: &Identity) -> Option<Vec<ServiceId>> {
    permitted(identity, Permission::AdminRead)
}

#[cfg(test)]
mod tests {
    use shared::id::{AdminId, SessionId};

    use super::*;
    use crate::auth::Means;

    fn who(roles: &[(Role, Option<ServiceId>)]) -> Identity {
        Identity {
            admin_id: AdminId::generate(),
            name: "a".into(),
            means: Means::Session(SessionId::generate()),
            roles: roles.to_vec(),
            jobs_per_day: None,
        }
    }

    #[test]
    fn the_whole_matrix() {
        let (mine, other) = (ServiceId::generate(), ServiceId::generate());
        for &permission in Permission::ALL {
            assert!(authorize(&who(&[(Role::Super, None)]), permission, None).is_ok());
            assert!(matches!(authorize(&who(&[]), permission, None), Err(ApiError::Forbidden(_))));
            assert!(matches!(authorize(&who(&[]), permission, Some(mine)), Err(ApiError::NotFound(_))));
            for role in [Role::Viewer, Role::Operator, Role::Admin, Role::Super] {
                let enough = role >= permission.least();
                let local = who(&[(role, Some(mine))]);
                assert_eq!(authorize(&local, permission, Some(mine)).is_ok(), enough, "{role:?} {permission:?}");
                assert!(matches!(authorize(&local, permission, Some(other)), Err(ApiError::NotFound(_))));
                assert!(matches!(authorize(&local, permission, None), Err(ApiError::Forbidden(_))));
                let global = who(&[(role, None)]);
                assert_eq!(authorize(&global, permission, Some(other)).is_ok(), enough);
                assert_eq!(authorize(&global, permission, None).is_ok(), enough);
            }
        }
        assert_eq!(visible(&who(&[(Role::Viewer, Some(mine))])), Some(vec![mine]));
        assert_eq!(visible(&who(&[(Role::Viewer, None)])), None);
        let mixed = [(Role::Admin, Some(mine)), (Role::Operator, Some(other)), (Role::Viewer, None)];
        assert_eq!(administered(&who(&mixed)), Some(vec![mine]));
        assert_eq!(administered(&who(&[(Role::Admin, None)])), None);
        assert_eq!(administered(&who(&[(Role::Operator, None)])), Some(vec![]));
        let twice = who(&[(Role::Viewer, Some(mine)), (Role::Admin, Some(mine)), (Role::Viewer, Some(other))]);
        assert_eq!(visible(&twice).map(|services| services.len()), Some(2));
        assert_eq!(permitted(&twice, Permission::SaveDelete), Some(vec![mine]));
        assert_eq!(permitted(&who(&[(Role::Admin, None)]), Permission::SaveDelete), None);
        assert_eq!(permitted(&who(&[(Role::Viewer, None)]), Permission::SaveDelete), Some(vec![]));
        let seen = Seen::of(&who(&[(Role::Viewer, Some(mine))]), None);
        assert_eq!((seen.one, seen.other), (Some(mine), None));
    }
}
