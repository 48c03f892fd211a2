//! The time zone of a schedule.

use std::{fmt, str::FromStr};

use chrono_tz::{TZ_VARIANTS, Tz};
use serde::{Deserialize, Serialize};

/// A time zone by its name in the IANA database, which is compiled in: the same on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(as = TimeZone, value_type = String, examples("Europe/Berlin"))
)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(pub Tz);

/// Why a text is no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    #[error("is empty: give a name of the IANA time zone database, such as Europe/Berlin or UTC")]
    Empty,
    #[error("{0:?} is no time zone of the IANA database, such as Europe/Berlin or UTC")]
    Unknown(String),
    #[error("{given:?} is no time zone: do you mean {near}?")]
    Near { given: String, near: &'static str },
}

impl ZoneError {
    /// The same text is refused again.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        true
    }
}

/// The longest name that is looked for, in bytes; the database's own are shorter.
const MAX_LEN: usize = 64;

impl Zone {
    /// No offset and no changes.
    pub const UTC: Self = Self(Tz::UTC);

    /// Parses the name of a zone; one that is nearly right is told what would be.
    pub fn parse(text: &str) -> Result<Self, ZoneError> {
        if text.is_empty() {
            return Err(ZoneError::Empty);
        }
        if let Ok(zone) = Tz::from_str(text) {
            return Ok(Self(zone));
        }
        let given: String = text.chars().take(MAX_LEN).collect();
        match near(&given) {
            Some(near) => Err(ZoneError::Near { given, near }),
            None => Err(ZoneError::Unknown(given)),
        }
    }

    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::UTC
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(text: String) -> Result<Self, ZoneError> {
        Self::parse(&text)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

/// The name that was probably meant: the same but for case and blanks, a city without its continent, or up to two letters off.
fn near(given: &str) -> Option<&'static str> {
    let plain = given.trim().replace(' ', "_").to_ascii_lowercase();
    let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let city = |name: &str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&plain));
    names()
        .find(|name| name.eq_ignore_ascii_case(&plain))
        .or_else(|| names().find(|name| name.contains('/') && city(name)))
        .or_else(|| {
            // Short names are near to too many others.
            let nearest = names().map(|name| (distance(&plain, &name.to_ascii_lowercase()), name)).min()?;
            (plain.len() > 5 && nearest.0 <= 2).then_some(nearest.1)
        })
}

/// How many letters have to be added, taken away or replaced.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (above, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (corner + usize::from(x != y)).min(*above + 1).min(left + 1);
            corner = *above;
            *above = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_database_are_zones() {
        for name in
            ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"]
        {
            assert_eq!(Zone::parse(name).unwrap().to_string(), name);
        }
        assert_eq!(Zone::default().name(), "UTC");
    }

    #[test]
    fn what_is_nearly_right_is_told_what_would_be() {
        for (given, near) in [
            ("europe/berlin", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("New York", "America/New_York"),
            ("America/New York", "America/New_York"),
            ("Europe/Berln", "Europe/Berlin"),
            ("Asia/Tokio", "Asia/Tokyo"),
            (" utc", "UTC"),
        ] {
            assert_eq!(Zone::parse(given), Err(ZoneError::Near { given: given.to_owned(), near }), "{given}");
        }
        assert_eq!(Zone::parse(""), Err(ZoneError::Empty));
        for given in ["Middle/Earth", "+02:00", "xx", "Mars", &"x".repeat(100_000)] {
            assert!(matches!(Zone::parse(given), Err(ZoneError::Unknown(_))), "{given}");
        }
    }

    #[test]
    fn it_crosses_the_wire_as_its_name() {
        assert_eq!(serde_json::to_string(&Zone::parse("Asia/Tokyo").unwrap()).unwrap(), r#""Asia/Tokyo""#);
        let error = serde_json::from_str::<Zone>(r#""Berlin""#).unwrap_err().to_string();
        assert!(error.contains("do you mean Europe/Berlin?"), "{error}");
    }
}
