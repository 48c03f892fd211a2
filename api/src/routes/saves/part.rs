//! Which part of a save is asked for, and whether the save has it.

use std::collections::HashSet;

use shared::{job::Part, save::Mode};

use crate::error::ApiError;

/// One list for `pg_restore`, and one transaction: every table takes locks.
const MAX_TABLES: usize = 1000;

/// Checks the part that is asked for; `mode` is None where all is asked for that the save has.
pub(super) fn checked(part: Part, mode: Option<Mode>, saved: Mode) -> Result<Part, ApiError> {
    if part.tables.len() > MAX_TABLES {
        return Err(ApiError::field("/tables", format!("names more than {MAX_TABLES} tables")));
    }
    if part.collections.len() > MAX_TABLES {
        return Err(ApiError::field("/collections", format!("names more than {MAX_TABLES} collections")));
    }
    let mut named = HashSet::new();
    for (index, collection) in part.collections.iter().enumerate() {
        if !named.insert(collection.as_str()) {
            return Err(ApiError::field(format!("/collections/{index}"), "is named twice"));
        }
    }
    let mut seen = HashSet::new();
    for (index, table) in part.tables.iter().enumerate() {
        if !seen.insert((table.schema.as_str(), table.table.as_str())) {
            return Err(ApiError::field(format!("/tables/{index}"), "is named twice"));
        }
    }
    let mode = match (saved, mode) {
        (Mode::Data, None | Some(Mode::Data)) => Mode::Data,
        (Mode::Data, Some(_)) => return Err(ApiError::field("/mode", "the save holds rows alone")),
        (Mode::Schema, Some(Mode::Data)) => return Err(ApiError::field("/mode", "the save holds no rows")),
        (_, mode) => mode.unwrap_or_default(),
    };
    Ok(Part { mode, ..part })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_gives_what_it_has() {
        let mode = |saved, asked| checked(Part::default(), asked, saved).map(|part| part.mode).ok();
        assert_eq!(mode(Mode::All, None), Some(Mode::All));
        assert_eq!(mode(Mode::All, Some(Mode::Data)), Some(Mode::Data));
        assert_eq!(mode(Mode::Schema, None), Some(Mode::All));
        assert_eq!(mode(Mode::Schema, Some(Mode::Data)), None);
        assert_eq!(mode(Mode::Data, None), Some(Mode::Data));
        assert_eq!(mode(Mode::Data, Some(Mode::All)), None);
    }
}
