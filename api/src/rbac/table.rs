//! Which route needs which permission, and the page that says so: `docs/permissions.md` is printed from here, from the
//! permissions and from the route table by `holdfast-api permissions`. A test holds the three against each other, and the
//! permission matrix (`tests/it/http/permissions.rs`) holds them against what every caller is really answered.

use std::fmt::Write as _;

use shared::admin::Role;

#[cfg_attr(not(test), expect(clippy::enum_glob_use, reason = "a table of nothing else"))]
use super::Permission::{self, *};
use crate::routes::ROUTES;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: no token is looked at.
    Nothing,
    /// A token of whoever it is.
    Login,
    /// A token for what is one's own; the permission for what is another's, which is hidden without it.
    Own(Permission),
    /// The first, always. What the others allow is what some bodies ask for beyond it.
    Of(&'static [Permission]),
}

use Needs::{Login, Nothing, Of, Own};

impl Needs {
    /// The permissions that it may take.
    #[must_use]
    pub fn permissions(&self) -> &[Permission] {
        match self {
            Nothing | Login => &[],
            Own(permission) => std::slice::from_ref(permission),
            Of(permissions) => permissions,
        }
    }
}

/// Every route of the router, with what it needs.
pub const NEEDS: &[(&str, &str, Needs)] = &[
    ("get", "/healthz", Nothing),
    ("get", "/readyz", Nothing),
    ("get", "/openapi.json", Nothing),
    ("get", "/docs", Nothing),
    ("get", "/docs/{file}", Nothing),
    ("post", "/v1/auth/login", Nothing),
    ("post", "/v1/auth/refresh", Nothing),
    ("post", "/v1/auth/logout", Login),
    ("post", "/v1/auth/logout-everywhere", Login),
    ("get", "/v1/auth/sessions", Own(SessionManage)),
    ("delete", "/v1/auth/sessions/{id}", Own(SessionManage)),
    ("get", "/v1/auth/me", Login),
    ("get", "/v1/admins", Of(&[AdminRead])),
    ("post", "/v1/admins", Of(&[AdminCreate])),
    ("get", "/v1/admins/{id}", Of(&[AdminRead])),
    ("patch", "/v1/admins/{id}", Of(&[AdminUpdate])),
    ("delete", "/v1/admins/{id}", Of(&[AdminDelete])),
    ("post", "/v1/admins/{id}/password", Of(&[AdminPassword])),
    ("get", "/v1/admins/{id}/roles", Of(&[AdminRead])),
    ("post", "/v1/admins/{id}/roles", Of(&[RoleGrant, RoleGlobal])),
    ("delete", "/v1/admins/{id}/roles/{role}", Of(&[RoleRevoke, RoleGlobal])),
    ("post", "/v1/platform-users", Of(&[PlatformUserCreate])),
    ("get", "/v1/tokens", Own(TokenManage)),
    ("post", "/v1/tokens", Login),
    ("get", "/v1/tokens/{id}", Own(TokenManage)),
    ("delete", "/v1/tokens/{id}", Own(TokenManage)),
    ("get", "/v1/services", Of(&[ServiceRead])),
    ("post", "/v1/services", Of(&[ServiceCreate])),
    ("get", "/v1/services/{id}", Of(&[ServiceRead])),
    ("patch", "/v1/services/{id}", Of(&[ServiceUpdate])),
    ("delete", "/v1/services/{id}", Of(&[ServiceDelete])),
    ("get", "/v1/services/{id}/broker", Of(&[ServiceRead])),
    ("put", "/v1/services/{id}/broker", Of(&[BrokerUpdate])),
    ("delete", "/v1/services/{id}/broker", Of(&[BrokerUpdate])),
    ("get", "/v1/services/{id}/broker/definitions", Of(&[ServiceRead])),
    ("post", "/v1/services/{id}/wipe", Of(&[TargetWipe])),
    ("post", "/v1/services/{id}/backups", Of(&[BackupCreate])),
    ("get", "/v1/servers", Of(&[ServerRead])),
    ("post", "/v1/servers", Of(&[ServerCreate])),
    ("get", "/v1/servers/{id}", Of(&[ServerRead])),
    ("patch", "/v1/servers/{id}", Of(&[ServerUpdate])),
    ("delete", "/v1/servers/{id}", Of(&[ServerDelete])),
    ("get", "/v1/credentials", Of(&[CredentialRead])),
    ("post", "/v1/credentials", Of(&[CredentialCreate])),
    ("get", "/v1/credentials/{id}", Of(&[CredentialRead])),
    ("patch", "/v1/credentials/{id}", Of(&[CredentialUpdate])),
    ("delete", "/v1/credentials/{id}", Of(&[CredentialDelete])),
    ("get", "/v1/targets", Of(&[TargetRead])),
    ("post", "/v1/targets", Of(&[TargetCreate])),
    ("get", "/v1/targets/{id}", Of(&[TargetRead])),
    ("patch", "/v1/targets/{id}", Of(&[TargetUpdate, TargetPlace])),
    ("delete", "/v1/targets/{id}", Of(&[TargetDelete])),
    ("post", "/v1/targets/{id}/probe", Of(&[TargetProbe])),
    ("post", "/v1/targets/{id}/backups", Of(&[BackupCreate])),
    ("post", "/v1/targets/{id}/import", Of(&[SaveImport, TargetImportSql])),
    ("post", "/v1/targets/{id}/wipe", Of(&[TargetWipe])),
    ("get", "/v1/saves", Of(&[SaveRead])),
    ("get", "/v1/saves/report", Of(&[SaveRead])),
    ("get", "/v1/saves/{id}", Of(&[SaveRead])),
    ("patch", "/v1/saves/{id}", Of(&[SaveUpdate])),
    ("get", "/v1/saves/{id}/content", Of(&[SaveDownload])),
    ("post", "/v1/saves/{id}/accept", Of(&[SaveAccept])),
    ("delete", "/v1/saves/{id}", Of(&[SaveDelete])),
    ("post", "/v1/saves/{id}/restore", Of(&[SaveRestore, SaveReplace, SaveRestoreInvalid, SaveTrust])),
    ("post", "/v1/saves/{id}/verify", Of(&[SaveVerify, SaveTrust])),
    ("post", "/v1/saves/{id}/copies", Of(&[SaveCopy])),
    ("get", "/v1/schedules", Of(&[ScheduleRead])),
    ("post", "/v1/schedules", Of(&[ScheduleCreate, ScheduleDiscover])),
    ("get", "/v1/schedules/upcoming", Of(&[ScheduleRead])),
    ("get", "/v1/schedules/{id}", Of(&[ScheduleRead])),
    ("patch", "/v1/schedules/{id}", Of(&[ScheduleUpdate, ScheduleDiscover])),
    ("delete", "/v1/schedules/{id}", Of(&[ScheduleDelete])),
    ("post", "/v1/schedules/{id}/pause", Of(&[ScheduleUpdate])),
    ("post", "/v1/schedules/{id}/resume", Of(&[ScheduleUpdate])),
    ("post", "/v1/schedules/{id}/run", Of(&[ScheduleRun])),
    ("get", "/v1/schedules/{id}/slots", Of(&[ScheduleRead])),
    ("get", "/v1/schedules/{id}/upcoming", Of(&[ScheduleRead])),
    ("get", "/v1/schedules/{id}/retention", Of(&[ScheduleRead])),
    ("get", "/v1/data-sets", Of(&[DataSetRead])),
    ("post", "/v1/data-sets", Of(&[DataSetCreate])),
    ("get", "/v1/data-sets/{id}", Of(&[DataSetRead])),
    ("delete", "/v1/data-sets/{id}", Of(&[DataSetDelete])),
    ("post", "/v1/data-sets/{id}/restore", Of(&[DataSetRestore])),
    ("get", "/v1/data-set-restores", Of(&[DataSetRead])),
    ("get", "/v1/data-set-restores/{id}", Of(&[DataSetRead])),
    ("post", "/v1/data-set-restores/{id}/resume", Of(&[DataSetRestore])),
    ("post", "/v1/data-set-restores/{id}/undo", Of(&[DataSetRestore])),
    ("post", "/v1/gc", Of(&[GcRun])),
    ("get", "/v1/jobs", Of(&[JobRead])),
    ("get", "/v1/jobs/{id}", Of(&[JobRead])),
    ("get", "/v1/jobs/{id}/history", Of(&[JobRead])),
    ("get", "/v1/jobs/{id}/events", Of(&[JobRead])),
    ("post", "/v1/jobs/{id}/cancel", Of(&[JobCancel])),
    ("post", "/v1/jobs/{id}/retry", Of(&[JobRetry])),
    ("post", "/v1/jobs/{id}/undo", Of(&[JobUndo])),
    ("get", "/v1/groups/{id}", Of(&[GroupRead])),
    ("get", "/v1/events", Of(&[EventRead])),
    ("get", "/v1/audit", Of(&[AuditRead])),
    ("get", "/v1/audit/export", Of(&[AuditExport])),
    ("get", "/v1/stats", Of(&[SaveRead])),
    ("get", "/v1/config", Of(&[ConfigRead])),
];

/// Permissions on what belongs to no service, or to all of them: a role for one service does not count.
const GLOBAL: &[Permission] = &[
    ServiceCreate,
    BrokerUpdate,
    ServerRead,
    ServerCreate,
    ServerUpdate,
    ServerDelete,
    CredentialRead,
    CredentialCreate,
    CredentialUpdate,
    CredentialDelete,
    TargetCreate,
    TargetPlace,
    TargetImportSql,
    GcRun,
    ScheduleDiscover,
    AdminCreate,
    AdminUpdate,
    AdminDelete,
    AdminPassword,
    RoleGlobal,
    PlatformUserCreate,
    DataSetRead,
    DataSetCreate,
    DataSetDelete,
    DataSetRestore,
    SessionManage,
    TokenManage,
    ConfigRead,
];

/// Whether only a global role counts.
#[must_use]
pub fn is_global(permission: Permission) -> bool {
    GLOBAL.contains(&permission)
}

/// What a route needs; none: there is no such route.
#[must_use]
pub fn needs(method: &str, path: &str) -> Option<Needs> {
    NEEDS.iter().find(|(m, p, _)| (*m, *p) == (method, path)).map(|(_, _, needs)| *needs)
}

const HEAD: &str = "\
# Permissions

<!-- Generated. After a change of the routes, of api/src/rbac.rs or of api/src/rbac/table.rs:
     cargo run --bin holdfast-api -- permissions > docs/permissions.md
     `rbac::table::tests` fails until it is done. -->

A role is global or for one service. Each may do what the ones before it may: `viewer`, `operator`, `admin`, `super`; `super` is only ever
global. Roles are read with each request, so a change acts at once.

- *Of a service*: a role for that service counts, or a global one. Whoever has no role there is told 404, in the words for what does not
  exist; whoever has too low a role is told 403, with the permission's name. Lists hold what the caller may see.
- *Global*: it concerns what belongs to no service or to all of them, and only a global role counts.
- An admin sees themselves, with all their roles, without a permission; an admin of a service those who have a role there, and of these the
  roles there; a global admin everybody.
- A role for a service is granted and revoked by an admin of that service, to and from those whom they see: at most `admin`, their own. Nobody
  but a super grants a role to themselves. A global role is a super's to give, and so are new admins.
- One's own password is changed without a permission by whoever gives the present one, as throttled as a login; another's by a super.
- The last super who can log in can be neither deleted, disabled nor demoted, by whomever, nor by two at once.

Every refusal is in the audit log under the permission's name. `tests/it/http/permissions.rs` asks every route as every kind of caller.

";

/// `docs/permissions.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("## Permissions and roles\n\n| permission | of | ");
    for role in Role::ALL {
        page.push_str(role.as_str());
        page.push_str(" | ");
    }
    page.push_str("routes |\n|---|---|:-:|:-:|:-:|:-:|---|\n");
    for &permission in Permission::ALL {
        let of = if is_global(permission) { "global" } else { "a service" };
        let marks: String = Role::ALL.map(|role| if role >= permission.least() { "✓ | " } else { "– | " }).concat();
        let routes: Vec<String> = NEEDS
            .iter()
            .filter(|(_, _, needs)| needs.permissions().contains(&permission))
            .map(|(method, path, _)| format!("`{} {path}`", method.to_uppercase()))
            .collect();
        line(&mut page, format_args!("| `{}` | {of} | {marks}{} |", permission.name(), routes.join(", ")));
    }
    page.push_str("\n## Routes\n\n| route | needs | least role |\n|---|---|---|\n");
    for (method, path) in ROUTES {
        let (named, least) = match needs(method, path) {
            None => ("**not in the table**".to_owned(), String::new()),
            Some(Nothing) => ("nothing".to_owned(), "–".to_owned()),
            Some(Login) => ("a login".to_owned(), "any".to_owned()),
            Some(Own(permission)) => {
                let (named, least) = described(&[permission]);
                (format!("a login; for another's {named}"), format!("any; {least}"))
            }
            Some(Of(permissions)) => described(permissions),
        };
        line(&mut page, format_args!("| `{} {path}` | {named} | {least} |", method.to_uppercase()));
    }
    page
}

fn described(permissions: &[Permission]) -> (String, String) {
    let mut all = permissions.iter().map(|permission| format!("`{}`", permission.name()));
    let first = all.next().unwrap_or_default();
    let more: Vec<String> = all.collect();
    let named =
        if more.is_empty() { first } else { format!("{first}; where the body asks for it {}", more.join(", ")) };
    let least = permissions.first().map_or_else(String::new, |permission| {
        format!("{}{}", permission.least().as_str(), if is_global(*permission) { ", global" } else { "" })
    });
    (named, least)
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to text cannot fail.
    writeln!(page, "{text}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_says_what_it_needs_and_every_permission_is_needed_somewhere() {
        for (method, path) in ROUTES {
            assert!(needs(method, path).is_some(), "{method} {path}: say in rbac/table.rs what it needs");
        }
        for (index, (method, path, _)) in NEEDS.iter().enumerate() {
            assert!(ROUTES.contains(&(method, path)), "{method} {path} is no route");
            let twin = NEEDS.iter().skip(index + 1).any(|(m, p, _)| (m, p) == (method, path));
            assert!(!twin, "{method} {path} stands twice");
        }
        for permission in Permission::ALL {
            let needed = NEEDS.iter().any(|(_, _, needs)| needs.permissions().contains(permission));
            assert!(needed, "{permission:?}: no route needs it");
        }
    }

    #[test]
    fn the_page_is_as_it_is_printed() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/permissions.md");
        let written = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/permissions.md is not what the code says: holdfast-api permissions > docs/permissions.md"
        );
    }
}
