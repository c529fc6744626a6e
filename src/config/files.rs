//! The files that a configuration is made of: each is read here, and remembered as it was.
//!
//! Promises: files are compared by content, so that a rename, a copy and the swap of a Kubernetes volume are all noticed; a
//! pipe is read once and never waited for again. It must not know what stands in a file.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::crypto;

/// More than anything needs that a configuration names; keeps a wrong path such as `/dev/zero` from filling the memory.
const LIMIT: u64 = 16 * 1024 * 1024;

/// What was read, and as what.
#[derive(Debug, Default)]
pub(super) struct Files {
    seen: BTreeMap<PathBuf, Print>,
    reading: Reading,
}

/// Whether it is the process's first reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    First,
    Again,
}

/// Tells one content from another; all that could not be read are alike. It says nothing of a content, not even to a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Print(Option<[u8; 32]>);

impl Print {
    /// That of a piece of text.
    pub(super) fn of(content: &[u8]) -> Self {
        Self(Some(crypto::digest(content)))
    }

    /// That of several together.
    pub(super) fn with(self, other: Option<Self>) -> Self {
        match other {
            None => self,
            Some(other) => Self::of(&[self.0.unwrap_or_default(), other.0.unwrap_or_default()].concat()),
        }
    }
}

impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Print")
    }
}

impl Files {
    /// For a further reading: what can be read only once is not read.
    pub(super) fn again() -> Self {
        Self { seen: BTreeMap::new(), reading: Reading::Again }
    }

    /// Reads a file, up to a limit, and remembers it.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let content = match self.reading {
            Reading::Again if is_spent(path) => Err(io::Error::other("it is no file that can be read again")),
            Reading::First | Reading::Again => content(path),
        };
        let print = content.as_ref().map_or(Print(None), |content| Print::of(content));
        self.seen.insert(path.to_owned(), print);
        content
    }

    /// Remembers that there is no file here.
    pub(super) fn miss(&mut self, path: &Path) {
        self.seen.insert(path.to_owned(), Print(None));
    }

    /// What a file was, where it was read.
    pub(super) fn print(&self, path: &Path) -> Option<Print> {
        self.seen.get(path).copied()
    }

    /// Whether each file that both have read was the same; what can be read only once says nothing.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let mut both = self.seen.iter().filter_map(|(path, print)| Some((path, print, other.seen.get(path)?)));
        both.all(|(path, one, other)| one == other || is_spent(path))
    }

    /// The same files as they are now.
    pub(super) fn look(&self) -> Self {
        let now = |(path, print): (&PathBuf, &Print)| {
            let now = if is_spent(path) { *print } else { content(path).map_or(Print(None), |it| Print::of(&it)) };
            (path.clone(), now)
        };
        Self { seen: self.seen.iter().map(now).collect(), reading: self.reading }
    }
}

impl PartialEq for Files {
    fn eq(&self, other: &Self) -> bool {
        self.seen == other.seen
    }
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut content)?;
    // Half of it could mean something else.
    if content.len() as u64 > LIMIT { Err(io::Error::other("it is longer than 16 MiB")) } else { Ok(content) }
}

/// Whether it is something that gives what it has once, such as the pipe of a shell's `<(…)`.
fn is_spent(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_change_of_content_is_seen_and_one_of_anything_else_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut files = Files::default();
        assert!(files.read(&path).is_err());
        assert_eq!(files.look(), files, "it still is not there");
        fs::write(&path, "one").unwrap();
        assert_ne!(files.look(), files);
        assert_eq!(files.read(&path).unwrap(), b"one");
        fs::write(&path, "one").unwrap();
        assert_eq!(files.look(), files);
        let other = dir.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(files.look(), files);
        assert_eq!(format!("{:?}", files.print(&path).unwrap()), "Print");
    }

    #[test]
    fn two_readings_agree_where_what_both_have_read_was_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("file"), dir.path().join("other"));
        let reading = |paths: &[&PathBuf]| {
            let mut files = Files::default();
            let _missing = paths.iter().map(|path| files.read(path)).collect::<Vec<_>>();
            files
        };
        fs::write(&path, "whole").unwrap();
        let before = reading(&[&path]);
        assert!(before.agrees_with(&reading(&[&path, &other])));
        fs::write(&path, "who").unwrap();
        assert!(!before.agrees_with(&reading(&[&path, &other])));
        fs::remove_file(&path).unwrap();
        assert!(!before.agrees_with(&reading(&[&path])));
    }

    #[test]
    fn nobody_waits_for_a_pipe_a_second_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut files = Files::default();
        std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&path, "once").unwrap());
            assert_eq!(files.read(&path).unwrap(), b"once");
        });
        assert_eq!(files.look(), files);
        let error = Files::again().read(&path).unwrap_err();
        assert!(error.to_string().contains("read again"), "{error}");
    }
}
