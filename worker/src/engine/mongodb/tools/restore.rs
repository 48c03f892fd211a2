//! `mongorestore` as a child: it reads the archive from its standard input and writes each wanted collection under the name
//! under which that waits. Indexes, comparison and names are Holdfast's afterwards, as without it.

use std::ffi::{OsStr, OsString};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        super::{Connection, EngineError, ErrorCode, Restore, process::Tool},
        Mongodb,
        archive::{ArchiveError, Event, Parser, Prelude},
        classify,
        restore::{LoadError, Loaded, Tally},
    },
    option,
};

/// Each takes three arguments, and all of them together have a limit.
const MOST_COLLECTIONS: usize = 1000;
/// What the tool reads patterns by; a name that holds one of them would be another pattern to every version.
const OF_PATTERNS: [char; 3] = ['*', '$', '\\'];
/// Read at once.
const CHUNK: usize = 256 * 1024;

/// From where to where.
#[derive(Debug, Clone, Copy)]
pub struct Databases<'a> {
    /// As the archive calls it.
    pub from: &'a str,
    pub to: &'a str,
}

impl Mongodb {
    /// The version of the tool that would restore this, or why none can, in words.
    pub fn restoring_tool(&self, databases: Databases<'_>, loaded: &Loaded) -> Result<String, String> {
        let Ok(tools) = self.tools() else { return Err("this worker has no mongorestore on its PATH".to_owned()) };
        if loaded.collections.len() > MOST_COLLECTIONS {
            return Err(format!("mongorestore cannot be told the names of {} collections", loaded.collections.len()));
        }
        if let Some(series) = loaded.collections.iter().find(|collection| collection.series.is_some()) {
            return Err(format!("mongorestore would not mark time series {:?} as what is not whole yet", series.name));
        }
        let names = loaded.collections.iter().map(|collection| collection.name.as_str());
        if let Some(name) = names.chain([databases.from, databases.to]).find(|name| name.contains(OF_PATTERNS)) {
            return Err(format!("mongorestore would read {name:?} as a pattern"));
        }
        Ok(tools.version.clone())
    }

    /// Starts it. What it writes has no indexes yet.
    pub async fn tool_restore(
        &self,
        at: &Connection,
        databases: Databases<'_>,
        loaded: &Loaded,
        cancel: &CancellationToken,
    ) -> Result<Restore, EngineError> {
        let tools = self.tools()?;
        let not_started =
            |error| EngineError::new(ErrorCode::ToolNotStarted, "mongorestore could not be started").with_source(error);
        let (dir, config) = self.private_config(at, "mongorestore.yaml").map_err(not_started)?;
        let mut args: Vec<OsString> = vec![option("config", config.as_os_str())];
        let flags =
            ["--archive", "--stopOnError", "--noIndexRestore", "--bypassDocumentValidation", "--writeConcern=majority"];
        args.extend(flags.map(OsString::from));
        for collection in &loaded.collections {
            let from = format!("{}.{}", databases.from, collection.name);
            args.push(option("nsInclude", OsStr::new(&from)));
            args.push(option("nsFrom", OsStr::new(&from)));
            args.push(option("nsTo", OsStr::new(&format!("{}.{}", databases.to, collection.staged))));
        }
        let path = tools.mongorestore.clone();
        let tool =
            Tool { path, args, secrets: super::secrets(at), dir: Some(dir), piped_stdin: true, ..Tool::default() };
        let started = self.launcher.start(tool, cancel).await.map_err(not_started)?;
        Ok(Restore::of_process(started, "mongorestore", classify::stderr))
    }
}

/// Hands an archive on to the tool, and counts on the way what it holds of each collection. It is read to its end whatever
/// happens: whether the save's bytes were good says more than an archive that makes no sense, or a tool that has given up,
/// which says itself why.
pub async fn pass(
    mut archive: impl AsyncRead + Unpin,
    tool: impl AsyncWrite + Unpin,
    from: &str,
    loaded: &mut Loaded,
) -> Result<(), LoadError> {
    let mut parser = Parser::default();
    let mut chunk = vec![0; CHUNK];
    let (mut tool, mut places, mut fault) = (Some(tool), None, None);
    loop {
        let read = archive.read(&mut chunk).await;
        let read = read.map_err(|source| ArchiveError::Read { offset: parser.offset(), source })?;
        let bytes = chunk.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        if fault.is_some() {
            continue;
        }
        let fed = parser.feed(bytes, &mut |prelude, event| {
            let places = places.get_or_insert_with(|| places_of(prelude, from, loaded));
            if let Event::Document { namespace, bytes } = event
                && let Some(Some(place)) = places.get(namespace)
                && let Some(collection) = loaded.collections.get_mut(*place)
            {
                collection.tally.add(Tally::of(bytes));
            }
        });
        fault = fed.err();
        let takes = match &mut tool {
            Some(tool) if fault.is_none() => tool.write_all(bytes).await.is_ok(),
            _ => false,
        };
        tool = tool.filter(|_| takes);
    }
    match fault {
        Some(fault) => return Err(fault.into()),
        None => parser.finish()?,
    }
    if let Some(mut tool) = tool {
        // As a tool that has gone meanwhile: its exit tells.
        tool.shutdown().await.ok();
    }
    Ok(())
}

/// For each namespace of the archive its place among the collections that are restored.
fn places_of(prelude: &Prelude, from: &str, loaded: &Loaded) -> Vec<Option<usize>> {
    let place = |name: &str| loaded.collections.iter().position(|collection| collection.name == name);
    let of = |namespace: &super::super::archive::Namespace| {
        if namespace.db == from { place(&namespace.collection) } else { None }
    };
    prelude.namespaces.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::super::restore::load::Collection, *};

    const ARCHIVE: &[u8] = include_bytes!("../archive/fixtures/auction.archive");

    fn announced() -> (String, Loaded) {
        let mut parser = Parser::default();
        parser.feed(ARCHIVE, &mut |_, _| ()).unwrap();
        let prelude = parser.prelude().unwrap();
        let collection = |name: &str| Collection {
            name: name.to_owned(),
            staged: format!("waiting {name}"),
            series: None,
            indexes: Vec::new(),
            is_capped: false,
            has_collation: false,
            tally: Tally::default(),
        };
        let collections = prelude.namespaces.iter().map(|namespace| collection(&namespace.collection)).collect();
        (prelude.namespaces[0].db.clone(), Loaded { collections, ..Loaded::default() })
    }

    #[tokio::test]
    async fn an_archive_passes_as_it_is_and_is_counted() {
        let (from, mut loaded) = announced();
        let mut out = Vec::new();
        pass(ARCHIVE, &mut out, &from, &mut loaded).await.unwrap();
        assert!(out == ARCHIVE);
        let mut expected = vec![Tally::default(); loaded.collections.len()];
        let mut count = |_: &Prelude, event: Event<'_>| {
            if let Event::Document { namespace, bytes } = event {
                expected[namespace].add(Tally::of(bytes));
            }
        };
        Parser::default().feed(ARCHIVE, &mut count).unwrap();
        let found: Vec<Tally> = loaded.collections.iter().map(|collection| collection.tally).collect();
        assert_eq!(found, expected);
        assert!(found.iter().any(|tally| tally.documents > 1));
        // Another database's are nobody's.
        let (_, mut others) = announced();
        pass(ARCHIVE, tokio::io::sink(), "another", &mut others).await.unwrap();
        assert!(others.collections.iter().all(|collection| collection.tally == Tally::default()));
    }

    #[tokio::test]
    async fn one_that_makes_no_sense_is_read_to_its_end_and_refused() {
        let mut damaged = ARCHIVE.to_vec();
        damaged[ARCHIVE.len() / 2] ^= 0x40;
        for bytes in [&ARCHIVE[..ARCHIVE.len() - 9], &damaged] {
            let (from, mut loaded) = announced();
            let (mut writer, reader) = tokio::io::duplex(1024);
            let writing = async {
                tokio::io::AsyncWriteExt::write_all(&mut writer, bytes).await.unwrap();
                drop(writer);
            };
            let (passed, ()) = tokio::join!(pass(reader, tokio::io::sink(), &from, &mut loaded), writing);
            assert!(matches!(passed, Err(LoadError::Archive(_))), "{passed:?}");
        }
    }
}
