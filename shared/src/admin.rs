//! Admins: what they are called, the roles from the least to the most, and how a password's text is taken.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// What an admin may do, globally or for one service. The order is the order of power: each role may do what the
/// ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "db", derive(sqlx::Type), sqlx(type_name = "text", rename_all = "snake_case"))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Backs up, restores into new databases, follows and cancels jobs.
    Operator,
    /// Registers and changes what is backed up.
    Admin,
    /// Everything, other admins included; only ever global.
    Super,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Super];

    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Super => "super",
        }
    }
}

/// Why a name cannot be an admin's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name must have 1 to 128 printable characters, without spaces around them")]
pub struct AdminNameError;

/// What an admin logs in as: 1 to 128 printable characters, kept in lower case, so that nobody is told from another by case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(value_type = String, pattern = r"^.{1,128}$", examples("anna"))
)]
#[serde(try_from = "String", into = "String")]
pub struct AdminName(String);

impl AdminName {
    /// Parses the text and puts it into lower case.
    pub fn parse(text: &str) -> Result<Self, AdminNameError> {
        let name = text.to_lowercase();
        let good = (1..=128).contains(&name.chars().count()) && !name.contains(char::is_control) && name.trim() == name;
        if good { Ok(Self(name)) } else { Err(AdminNameError) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AdminName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AdminName {
    type Error = AdminNameError;

    fn try_from(text: String) -> Result<Self, AdminNameError> {
        Self::parse(&text)
    }
}

impl From<AdminName> for String {
    fn from(name: AdminName) -> Self {
        name.0
    }
}

/// A password as it is hashed: the same characters in whatever form a keyboard sends them. `SASLprep` (RFC 4013: NFKC, one kind
/// of space) where the text can be prepared, and the text itself where it cannot (emoji), as PostgreSQL does it for SCRAM.
#[must_use]
pub fn prepared(password: &str) -> Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_printable() {
        assert_eq!(AdminName::parse("Ärger").unwrap().as_str(), "ärger");
        for bad in ["", " ", "a ", "\ta", "a\u{0}b", &"x".repeat(129)] {
            assert!(AdminName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(AdminName::parse(&"é".repeat(128)).is_ok());
    }

    #[test]
    fn one_password_has_one_form() {
        assert_eq!(prepared("na\u{ef}ve no\u{a0}space"), prepared("nai\u{308}ve no space"));
        assert_eq!(prepared("plain ASCII"), "plain ASCII");
        assert_eq!(prepared("\u{1f600} na\u{ef}ve"), "\u{1f600} na\u{ef}ve", "what cannot be prepared stays");
    }
}
