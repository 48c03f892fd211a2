//! What a server takes, by its version.

use mongodb::{
    Database,
    bson::{Bson, Document, doc},
};

use super::fault::failed;
use crate::engine::EngineError;

/// What may be asked of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Takes {
    /// An `insert` that is told so leaves timestamps of nought as they are. Others put their own time in the place of one that
    /// stands at a document's top, and what was restored is found to be another document.
    pub(super) empty_timestamps: bool,
    /// It keeps time series as buckets in a collection that can be written to.
    pub(super) buckets: bool,
}

impl Takes {
    /// Asks the server for its version.
    pub(super) async fn of(database: &Database) -> Result<Self, EngineError> {
        let admin = database.client().database("admin");
        let build = admin.run_command(doc! { "buildInfo": 1 }).await;
        Ok(Self::by(version(&build.map_err(failed("asking the server for its version"))?)))
    }

    /// `bypassEmptyTsReplacement` is in 8.0 and in the patches 5.0.29, 6.0.17 and 7.0.13 (SERVER-88750); buckets have no
    /// collection of their own from 8.3 on.
    fn by(version: [i64; 3]) -> Self {
        let [major, minor, patch] = version;
        let is_patched = |least| minor == 0 && patch >= least;
        let empty_timestamps = match major {
            5 => is_patched(29),
            6 => is_patched(17),
            7 => is_patched(13),
            _ => major >= 8,
        };
        Self { empty_timestamps, buckets: (major, minor) < (8, 3) }
    }
}

fn version(build: &Document) -> [i64; 3] {
    let parts = build.get_array("versionArray").map(Vec::as_slice).unwrap_or_default();
    let part = |at: usize| match parts.get(at) {
        Some(Bson::Int32(part)) => i64::from(*part),
        Some(Bson::Int64(part)) => *part,
        _ => 0,
    };
    [part(0), part(1), part(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_say_what_is_taken() {
        let of = |major: i32, minor: i32, patch: i64| {
            let takes = Takes::by(version(&doc! { "versionArray": [major, minor, patch, 0] }));
            (takes.empty_timestamps, takes.buckets)
        };
        for (version, expected) in [
            ((4, 4, 30), (false, true)),
            ((5, 0, 28), (false, true)),
            ((5, 0, 29), (true, true)),
            ((5, 3, 99), (false, true)),
            ((6, 0, 17), (true, true)),
            ((7, 0, 12), (false, true)),
            ((7, 0, 13), (true, true)),
            ((8, 0, 0), (true, true)),
            ((8, 2, 1), (true, true)),
            ((8, 3, 0), (true, false)),
            ((9, 0, 0), (true, false)),
        ] {
            assert_eq!(of(version.0, version.1, version.2), expected, "{version:?}");
        }
        assert_eq!(Takes::by(version(&doc! {})), Takes { empty_timestamps: false, buckets: true });
    }
}
