//! The directory tree of a `file` store: made, renamed into and listed so that every step is durable.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

use super::{MARKER, TMP};
use crate::store::Listed;

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Renames without replacing. Where the file system knows no such rename (some network ones), a hard link does the same.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        other => other.map_err(io::Error::from),
    }
}

/// Makes a small file that has no name before it is whole, so that whoever dies meanwhile leaves nothing that no row
/// names. Where the file system cannot (network ones), it goes by way of `temp`.
pub(super) fn create_whole(path: &Path, bytes: &[u8], temp: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(path.parent().unwrap_or(path), flags, Mode::RUSR | Mode::WUSR) {
        Ok(nameless) => {
            let mut file = File::from(nameless);
            file.write_all(bytes)?;
            file.sync_all()?;
            let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
            Ok(rustix::fs::linkat(CWD, nameless, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
        }
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temp)?;
            let made = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| rename_new(temp, path));
            if made.is_err() {
                fs::remove_file(temp)?;
            }
            made
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes `dir` and its parents up to `root`, private to the worker, each durable in its own parent.
pub(super) fn make_dirs(root: &Path, dir: &Path) -> io::Result<()> {
    if dir == root || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(root);
    make_dirs(root, parent)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_dir(parent),
    }
}

/// Files below `dir` in order of key, which comes after `after`. Only directories that can hold such are entered.
pub(super) fn walk(
    dir: &Path,
    base: &str,
    (prefix, after): (&str, &str),
    limit: usize,
    found: &mut Vec<Listed>,
) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if base.is_empty() && (name == TMP || name == MARKER) {
            continue;
        }
        let kind = entry.file_type()?;
        // A directory sorts as its children do: by its name with the slash.
        let key = if kind.is_dir() { format!("{base}{name}/") } else { format!("{base}{name}") };
        entries.push((key, kind.is_dir(), entry));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (key, is_dir, entry) in entries {
        if found.len() >= limit {
            break;
        }
        if is_dir {
            let is_wanted = key.starts_with(prefix) || prefix.starts_with(&key);
            if is_wanted && (key.as_str() > after || after.starts_with(&key)) {
                walk(&entry.path(), &key, (prefix, after), limit, found)?;
            }
        } else if key.starts_with(prefix) && key.as_str() > after {
            match entry.metadata() {
                Ok(meta) => found.push(Listed { key, bytes: meta.len() }),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
