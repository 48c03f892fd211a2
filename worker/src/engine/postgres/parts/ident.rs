//! Names as `pg_dump` writes them into statements.

use super::{super::connect::ident, Name};

/// `"schema"."name"`
pub(super) fn qualified((schema, name): &Name) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// Quoted only where it has to be.
pub(super) fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() {
        name.to_owned()
    } else {
        ident(name)
    }
}

/// The table that an `ALTER TABLE` is about.
pub(super) fn altered(definition: &str) -> Option<Name> {
    let rest = definition.strip_prefix("ALTER TABLE ")?;
    let rest = rest.strip_prefix("ONLY ").unwrap_or(rest);
    let (schema, rest) = first(rest)?;
    let (table, _) = first(rest.strip_prefix('.')?)?;
    Some((schema, table))
}

/// The identifier at the start of a text, and what follows it.
fn first(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (piece, after) = rest.split_once('"')?;
        name.push_str(piece);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_statement_is_found_in_any_writing() {
        let name = |schema: &str, table: &str| Some((schema.to_owned(), table.to_owned()));
        assert_eq!(altered("ALTER TABLE ONLY app.bids\n    ADD CONSTRAINT x"), name("app", "bids"));
        assert_eq!(altered("ALTER TABLE app.log\n    ADD"), name("app", "log"));
        assert_eq!(altered("ALTER TABLE ONLY \"a \"\"b\".\"c=d.e\"\n"), name("a \"b", "c=d.e"));
        assert_eq!(altered("ALTER DOMAIN a.b ADD"), None);
        assert_eq!(altered("ALTER TABLE ONLY \"a"), None);
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(shown("lots_2"), "lots_2");
        assert_eq!(shown("Lots"), "\"Lots\"");
        assert_eq!(qualified(&("a\"".into(), "b".into())), "\"a\"\"\".\"b\"");
    }
}
