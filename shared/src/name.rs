//! Names that were parsed: what holds one of these types needs no further check (guarantees F1, F2).

use serde::{Deserialize, Serialize};

/// Why a name was refused. The text says what is wrong and what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct NameError {
    what: &'static str,
    problem: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path, $pattern:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "db", derive(sqlx::Type), sqlx(transparent))]
        #[cfg_attr(
            feature = "openapi",
            derive(utoipa::ToSchema),
            schema(value_type = String, pattern = $pattern, examples($example))
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the text; the error says what is wrong with it.
            pub fn parse(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                $check(&text).map_err(|problem| NameError { what: $what, problem })?;
                Ok(Self(text))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name! {
    /// A name of ours (service, server, target, store, worker group): it may stand in an object key, a routing
    /// key and a file name, so it is 1–63 lower-case letters, digits and inner hyphens, first a letter or digit.
    Slug, "name", check_slug, r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "items"
}
name! {
    /// A database's name as PostgreSQL takes it: 1–63 bytes (NAMEDATALEN − 1), anything but NUL.
    DatabaseName, "database name", check_database, r"^[^\u0000]{1,63}$", "items"
}
name! {
    /// A database server's host: a DNS name, IPv4 or IPv6 address, and nothing that libpq would read as a list,
    /// an option or a socket directory.
    HostName, "host", check_host, r"^[A-Za-z0-9_:][A-Za-z0-9._:-]{0,252}$", "db-1.example.org"
}
name! {
    /// A database user: 1–63 bytes, without NUL and line breaks (a `PGPASSFILE` is a file of lines), and such that a login
    /// by SCRAM can carry it: prepared by `SASLprep` (RFC 4013), and without commas, which separate the login's fields.
    UserName, "user name", check_user, r"^[^\u0000\n\r,]{1,63}$", "backup"
}
name! {
    /// A collection's name as `MongoDB` takes it from users: 1–255 bytes, no NUL, no `$`, and not `system.` something.
    CollectionName, "collection name", check_collection, r"^[^\u0000$]{1,255}$", "lots"
}
name! {
    /// The key of an object in a store: relative, segments of `[A-Za-z0-9._-]`, never `.` or `..`, at most 512 bytes.
    StoreKey, "object key", check_key, r"^[A-Za-z0-9._][A-Za-z0-9._/-]{0,511}$",
    "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50/items/main/019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f51/1/dump.0001"
}

fn check_slug(text: &str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    match bytes {
        [] => Err("is empty: give 1 to 63 lower-case letters, digits and hyphens"),
        _ if bytes.len() > 63 => Err("is longer than 63 characters"),
        [first, .., last] if !plain(first) || !plain(last) => {
            Err("must begin and end with a lower-case letter or a digit")
        }
        _ if bytes.iter().all(|b| plain(b) || *b == b'-') && bytes != b"-" => Ok(()),
        _ => Err("may hold only lower-case letters, digits and hyphens"),
    }
}

fn check_database(text: &str) -> Result<(), &'static str> {
    match text.len() {
        0 => Err("is empty"),
        64.. => Err("is longer than 63 bytes, which PostgreSQL would cut off silently"),
        _ if text.contains('\0') => Err("holds a NUL character"),
        _ => Ok(()),
    }
}

fn check_host(text: &str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    match bytes {
        [] => Err("is empty"),
        _ if bytes.len() > 253 => Err("is longer than 253 characters"),
        [b'-' | b'/' | b'.', ..] => Err("must not begin with '-', '/' or '.': give a DNS name or an IP address"),
        _ if bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(b)) => Ok(()),
        _ => Err("may hold only letters, digits and . _ : - (one host, no list)"),
    }
}

fn check_user(text: &str) -> Result<(), &'static str> {
    match text.len() {
        0 => Err("is empty"),
        64.. => Err("is longer than 63 bytes"),
        _ if text.contains(['\0', '\n', '\r']) => Err("holds a NUL character or a line break"),
        _ => check_login(text),
    }
}

/// Whether `SASLprep` (RFC 4013), which SCRAM puts names and passwords through, lets the text pass. The drivers refuse what it
/// does not.
pub fn can_be_prepared(text: &str) -> bool {
    stringprep::saslprep(text).is_ok()
}

/// The PostgreSQL driver prepares the name as RFC 5802 wants it and does not quote it: of a name that is not fit for that
/// no login comes about, on whatever server.
fn check_login(text: &str) -> Result<(), &'static str> {
    match stringprep::saslprep(text) {
        Err(_) => Err("holds a character that no login can carry (RFC 4013: control characters, emoji and the like): \
                       rename the role, or make another for Holdfast"),
        Ok(prepared) if prepared.contains(',') => {
            Err("holds a comma, which separates the fields of a login: rename the role, or make another for Holdfast")
        }
        Ok(_) => Ok(()),
    }
}

fn check_collection(text: &str) -> Result<(), &'static str> {
    match text.len() {
        0 => Err("is empty"),
        256.. => Err("is longer than 255 bytes"),
        _ if text.contains(['\0', '$']) => Err("holds a NUL character or a dollar sign"),
        _ if text.starts_with("system.") && text != "system.js" => {
            Err("begins with \"system.\": the server's own collections are not dumped")
        }
        _ => Ok(()),
    }
}

fn check_key(text: &str) -> Result<(), &'static str> {
    if text.len() > 512 {
        return Err("is longer than 512 bytes");
    }
    let segment = |s: &str| {
        !matches!(s, "" | "." | "..")
            && !s.starts_with('-')
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if text.split('/').all(segment) {
        Ok(())
    } else {
        Err("must be relative, of segments of [A-Za-z0-9._-] that are not empty, '.' or '..' and do not begin with '-'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_that_could_be_an_option_or_a_path_are_refused() {
        for bad in ["", "-", "-a", "a-", "A", "a/b", "a.b", "a b", "a\n", "ä"] {
            assert!(Slug::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "items", "auction-house", "0a9"] {
            assert!(Slug::parse(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn hosts_that_libpq_would_read_as_something_else_are_refused() {
        for bad in ["", "a,b", "/run", "-h", "a b", "a=b", "@x", "a\n", ".."] {
            assert!(HostName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["localhost", "127.0.0.1", "::1", "db-1.example.org"] {
            assert!(HostName::parse(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn users_whom_no_login_can_name_are_refused() {
        // U+FF0C is a comma once it is prepared.
        for bad in ["", "a,b", "a\u{ff0c}b", "a\u{1}", "\u{1f600}", "\u{202e}", "a\nb"] {
            assert!(UserName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["backup", "o'neil", "a b", "日本", "a=b", "\"", "e\u{301}"] {
            assert!(UserName::parse(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn database_names_are_bytes_not_characters() {
        assert!(DatabaseName::parse("ä".repeat(31)).is_ok());
        assert!(DatabaseName::parse("ä".repeat(32)).is_err());
        assert!(DatabaseName::parse("host=evil port=1").is_ok(), "odd but legal: it is passed literally");
        assert!(DatabaseName::parse("a\0b").is_err());
    }

    #[test]
    fn collections_may_have_dots_and_any_letters() {
        for bad in ["", "a\0", "a$b", "system.users", &"x".repeat(256)] {
            assert!(CollectionName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a.b", "Ключ", "-x", " ", "system.js", "systems"] {
            assert!(CollectionName::parse(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn keys_cannot_leave_their_root() {
        for bad in ["", "/a", "a//b", "a/../b", "./a", "a/", "-a", "a/-b", "a\0"] {
            assert!(StoreKey::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(StoreKey::parse("0190/items/main/0191/3/dump.0001").is_ok());
    }
}
