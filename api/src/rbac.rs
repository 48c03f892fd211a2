//! Who may do what: every permission with the least role that has it, and the one function that decides.

use shared::{admin::Role, id::ServiceId};

use crate::{auth::Identity, error::ApiError};

macro_rules! permissions {
    ($($variant:ident $name:literal $role:ident),+ $(,)?) => {
        /// Something that may be allowed. The name is what audit entries and refusals say.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Permission { $($variant),+ }

        impl Permission {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
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
    ServiceRead "service.read" Viewer,
    ServiceCreate "service.create" Admin,
    ServiceUpdate "service.update" Admin,
    ServiceDelete "service.delete" Admin,
    ServerRead "server.read" Viewer,
    ServerCreate "server.create" Admin,
    ServerUpdate "server.update" Admin,
    ServerDelete "server.delete" Admin,
    CredentialRead "credential.read" Admin,
    CredentialCreate "credential.create" Admin,
    CredentialUpdate "credential.update" Admin,
    CredentialDelete "credential.delete" Admin,
    // What ties a service to servers and credentials, which belong to all: whoever could do it for one service alone
    // could reach another's database through it. So these ask for the role globally.
    TargetPlace "target.place" Admin,
    TargetRead "target.read" Viewer,
    TargetUpdate "target.update" Admin,
    TargetDelete "target.delete" Admin,
    TargetProbe "target.probe" Operator,
    BackupCreate "backup.create" Operator,
    SaveRead "save.read" Viewer,
    SaveRestore "save.restore" Operator,
    JobRead "job.read" Viewer,
    JobCancel "job.cancel" Operator,
    JobRetry "job.retry" Operator,
    EventRead "event.read" Viewer,
}

/// Allows or refuses. With a service: a role of the admin for it, or a global one, counts; an admin without any role
/// there learns nothing about it (404). Without a service: global roles count alone.
pub fn authorize(identity: &Identity, permission: Permission, service: Option<ServiceId>) -> Result<(), ApiError> {
    let counts = |of: Option<ServiceId>| of.is_none() || (service.is_some() && of == service);
    match identity.roles.iter().filter(|(_, of)| counts(*of)).map(|(role, _)| *role).max() {
        Some(role) if role >= permission.least() => Ok(()),
        None if service.is_some() => Err(ApiError::NotFound("resource")),
        _ => Err(ApiError::Forbidden(permission.name())),
    }
}

/// The services whose things the admin may see in lists; none: all of them.
#[must_use]
pub fn visible(identity: &Identity) -> Option<Vec<ServiceId>> {
    if identity.roles.iter().any(|(_, of)| of.is_none()) {
        return None;
    }
    Some(identity.roles.iter().filter_map(|(_, of)| *of).collect())
}

#[cfg(test)]
mod tests {
    use shared::id::{AdminId, SessionId};

    use super::*;

    fn who(roles: &[(Role, Option<ServiceId>)]) -> Identity {
        Identity {
            admin_id: AdminId::generate(),
            name: "a".into(),
            session_id: SessionId::generate(),
            roles: roles.to_vec(),
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
    }
}
