//! Members of a merge patch (RFC 7396): what is absent is kept, `null` clears what may be empty.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    __dev::ComposeSchema,
    ToSchema,
    openapi::{RefOr, Schema},
};

/// A member of a PATCH body; each needs `#[serde(default)]` on its struct. `Merge<Option<T>>` is for what may be cleared:
/// there `null` is a value like others. Everywhere else `null` is refused with the member's pointer, as any wrong type.
#[derive(Debug, Default)]
pub enum Merge<T> {
    #[default]
    Keep,
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Merge<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Set)
    }
}

/// Only for the description, which asks what stands there unless said otherwise: nothing.
impl<T> Serialize for Merge<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// Described as its value is: that it may be left out stands with the struct.
impl<T: ComposeSchema> ComposeSchema for Merge<T> {
    fn compose(schemas: Vec<RefOr<Schema>>) -> RefOr<Schema> {
        schemas.into_iter().next().unwrap_or_else(|| T::compose(Vec::new()))
    }
}

impl<T: ComposeSchema + ToSchema> ToSchema for Merge<T> {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

impl<T> Merge<T> {
    /// Writes the new value over the old one, if there is a new one.
    pub fn apply(self, old: &mut T) {
        if let Self::Set(new) = self {
            *old = new;
        }
    }

    /// The new value; none: it is kept.
    pub fn new_value(&self) -> Option<&T> {
        match self {
            Self::Keep => None,
            Self::Set(new) => Some(new),
        }
    }

    /// Whether the body names this member.
    pub fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }
}

#[cfg(test)]
mod tests {
    use crate::{error::ApiError, extract::parse};

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Patch {
        name: Merge<String>,
        limit: Merge<Option<u16>>,
    }

    #[test]
    fn absent_keeps_null_clears_and_is_refused_where_nothing_can_be_cleared() {
        for (body, name, limit) in [
            ("{}", "old", Some(7)),
            (r#"{"limit":null}"#, "old", None),
            (r#"{"limit":9,"name":"new"}"#, "new", Some(9)),
        ] {
            let patch: Patch = parse(body.as_bytes()).unwrap();
            let (mut old_name, mut old_limit) = ("old".to_owned(), Some(7));
            patch.name.apply(&mut old_name);
            patch.limit.apply(&mut old_limit);
            assert_eq!((old_name.as_str(), old_limit), (name, limit), "{body}");
        }
        let Err(ApiError::Invalid { errors, .. }) = parse::<Patch>(br#"{"name":null}"#) else { panic!("accepted") };
        assert_eq!(errors[0].pointer, "/name");
    }
}
