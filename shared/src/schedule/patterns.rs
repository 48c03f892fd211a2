//! Which names a schedule means: what its settings say of databases and saves.

use super::{Discovery, Settings};
use crate::save::Mode;

impl Discovery {
    /// Whether a database of this name is to be saved.
    #[must_use]
    pub fn names(&self, database: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| is_like(pattern, database));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

impl Settings {
    /// Whether nothing is left out of its saves: policies see full saves alone.
    #[must_use]
    pub fn makes_full_saves(&self) -> bool {
        self.mode == Mode::All && self.exclude_tables.is_empty() && self.exclude_collections.is_empty()
    }
}

/// Whether a name is like a pattern, in which `*` stands for any characters and `?` for one. Upper and lower case differ.
pub(crate) fn is_like(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where the last `*` stood, and up to where of the name it stands for.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_shells_mean() {
        for (pattern, name) in [
            ("*", "a"),
            ("*", ""),
            ("items", "items"),
            ("it*", "items"),
            ("*s", "items"),
            ("i?ems", "items"),
            ("*a*b*", "xxaxxbxx"),
            ("a*b*c", "abbbcbc"),
            ("?", "é"),
            ("**", "x"),
        ] {
            assert!(is_like(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("items", "Items"),
            ("it", "items"),
            ("?", ""),
            ("a*b", "abc"),
            ("*x", "items"),
            ("i.*", "items"),
        ] {
            assert!(!is_like(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_excluded_is_not_included() {
        let discovery = |include: &[&str], exclude: &[&str]| Discovery {
            include: include.iter().map(ToString::to_string).collect(),
            exclude: exclude.iter().map(ToString::to_string).collect(),
            backup_credential_id: uuid::Uuid::nil().into(),
            stores: Vec::new(),
            required_copies: None,
        };
        assert!(discovery(&[], &[]).names("anything"));
        assert!(discovery(&["shop_*", "items"], &[]).names("items"));
        assert!(!discovery(&["shop_*"], &[]).names("items"));
        assert!(!discovery(&[], &["*_test"]).names("items_test"));
        assert!(!discovery(&["items"], &["items"]).names("items"));
    }
}
