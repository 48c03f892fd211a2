//! Declares what the API shows of a row.

/// A serialisable struct with the named fields of a row and nothing else of it: a column that is not listed here is not
/// shown, whatever is added to the row later.
macro_rules! view {
    ($(#[$meta:meta])* pub struct $name:ident of $row:ty { $($(#[$field_meta:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Serialize, utoipa::ToSchema)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),+ }

        impl From<$row> for $name {
            fn from(row: $row) -> Self {
                Self { $($field: row.$field),+ }
            }
        }
    };
}

pub(crate) use view;
