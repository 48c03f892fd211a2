//! What a wipe leaves alone: patterns for names of tables and collections.

use serde::{Deserialize, Serialize};

/// The most patterns that a target, or a request, may name.
pub const MAX_PATTERNS: usize = 100;

/// What a new target keeps unless told otherwise: where the known tools for migrations write down which of them they have
/// applied. Without these rows an application would try to make again what is there.
pub const WIPE_KEEP: [&str; 22] = [
    "schema_migrations",
    "_sqlx_migrations",
    "flyway_schema_history",
    "alembic_version",
    "django_migrations",
    "goose_db_version",
    "knex_migrations",
    "knex_migrations_lock",
    "__EFMigrationsHistory",
    "databasechangelog",
    "databasechangeloglock",
    "DATABASECHANGELOG",
    "DATABASECHANGELOGLOCK",
    "__diesel_schema_migrations",
    "seaql_migrations",
    "refinery_schema_history",
    "_prisma_migrations",
    "ar_internal_metadata",
    "__drizzle_migrations",
    "changelog",
    "mongockChangeLog",
    "mongockLock",
];

/// A name with `*` for any characters and `?` for one; literal and case-sensitive in all else. Of PostgreSQL it is held
/// against the table's name and against `schema.table`. 1 to 255 characters without NUL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, pattern = r"^[^\u0000]{1,255}$", examples("schema_migrations")))]
#[serde(try_from = "String", into = "String")]
pub struct KeepPattern(String);

/// Why a pattern was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 characters without NUL")]
pub struct PatternError;

impl KeepPattern {
    /// Parses the text.
    pub fn parse(text: impl Into<String>) -> Result<Self, PatternError> {
        let text = text.into();
        let is_fit = !text.is_empty() && text.chars().count() <= 255 && !text.contains('\0');
        is_fit.then_some(Self(text)).ok_or(PatternError)
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether all of the name is what the pattern says.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let name: Vec<char> = name.chars().collect();
        let (mut p, mut n) = (0, 0);
        // Where to go on from, should what follows the last star not fit.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p + 1, n));
                    p += 1;
                }
                Some(c) if *c == '?' || name.get(n) == Some(c) => {
                    p += 1;
                    n += 1;
                }
                _ => match star {
                    Some((after, taken)) => {
                        p = after;
                        n = taken + 1;
                        star = Some((after, taken + 1));
                    }
                    None => return false,
                },
            }
        }
        pattern.iter().skip(p).all(|c| *c == '*')
    }
}

impl TryFrom<String> for KeepPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl From<KeepPattern> for String {
    fn from(pattern: KeepPattern) -> Self {
        pattern.0
    }
}

/// The default as a target's row holds it.
#[must_use]
pub fn default_keep() -> Vec<String> {
    WIPE_KEEP.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_all_of_a_name() {
        for (pattern, name, expected) in [
            ("lots", "lots", true),
            ("lots", "lot", false),
            ("lots", "slots", false),
            ("Lots", "lots", false),
            ("*", "", true),
            ("*", "anything.at all\n", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbcd", false),
            ("a*b*c", "axxbyybzzc", true),
            ("*.lots", "public.lots", true),
            ("l?ts", "läts", true),
            ("l?ts", "lts", false),
            ("**x", "x", true),
            ("?", "", false),
            ("a.b", "axb", false),
        ] {
            assert_eq!(KeepPattern::parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_defaults_are_patterns_and_nothing_else_is_taken() {
        for pattern in WIPE_KEEP {
            assert!(KeepPattern::parse(pattern).unwrap().matches(pattern));
        }
        assert!(KeepPattern::parse("").is_err() && KeepPattern::parse("a\0").is_err());
        assert!(KeepPattern::parse("ä".repeat(255)).is_ok() && KeepPattern::parse("ä".repeat(256)).is_err());
    }
}
