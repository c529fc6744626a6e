//! The files that a configuration is made of: each is read here, and its fingerprint recorded.
//!
//! Files are compared by content, so a rename, a copy and the swap of a Kubernetes volume are all noticed. A pipe is read
//! once and never waited for again.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::crypto;

/// Size limit of a file: more than any that a configuration names needs. Keeps a wrong path such as `/dev/zero` from
/// filling the memory.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// Fingerprints of the files that were read, by path.
#[derive(Debug, Default)]
pub(super) struct SourceFiles {
    fingerprints: BTreeMap<PathBuf, Fingerprint>,
    pass: ReadPass,
}

/// First load of the process, or a reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ReadPass {
    #[default]
    First,
    Reload,
}

/// SHA-256 of a content, for comparison; `None` for every file that could not be read. `Debug` prints nothing of it, so no
/// log can reveal a content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(Option<[u8; 32]>);

impl Fingerprint {
    /// Returns the fingerprint of a content.
    pub(super) fn of(content: &[u8]) -> Self {
        Self(Some(crypto::digest(content)))
    }

    /// Combines two fingerprints into one.
    pub(super) fn with(self, other: Option<Self>) -> Self {
        match other {
            None => self,
            Some(other) => Self::of(&[self.0.unwrap_or_default(), other.0.unwrap_or_default()].concat()),
        }
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

impl SourceFiles {
    /// An empty set for a reload: files that can be read only once are not read.
    pub(super) fn for_reload() -> Self {
        Self { fingerprints: BTreeMap::new(), pass: ReadPass::Reload }
    }

    /// Reads a file of at most [`MAX_SIZE`] bytes and records its fingerprint.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let content = match self.pass {
            ReadPass::Reload if is_read_once(path) => Err(io::Error::other("it is no file that can be read again")),
            ReadPass::First | ReadPass::Reload => content(path),
        };
        let fingerprint = content.as_ref().map_or(Fingerprint(None), |content| Fingerprint::of(content));
        self.fingerprints.insert(path.to_owned(), fingerprint);
        content
    }

    /// Records that there is no file at a path.
    pub(super) fn record_missing(&mut self, path: &Path) {
        self.fingerprints.insert(path.to_owned(), Fingerprint(None));
    }

    /// Returns the recorded fingerprint of a file, or `None` where it was not read.
    pub(super) fn fingerprint(&self, path: &Path) -> Option<Fingerprint> {
        self.fingerprints.get(path).copied()
    }

    /// Returns `true` if every file that both have read was the same. Files that can be read only once do not count.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let mut both =
            self.fingerprints.iter().filter_map(|(path, one)| Some((path, one, other.fingerprints.get(path)?)));
        both.all(|(path, one, other)| one == other || is_read_once(path))
    }

    /// Returns the same set with the fingerprints of the current contents.
    pub(super) fn current(&self) -> Self {
        let now = |(path, fingerprint): (&PathBuf, &Fingerprint)| {
            let now = if is_read_once(path) {
                *fingerprint
            } else {
                content(path).map_or(Fingerprint(None), |it| Fingerprint::of(&it))
            };
            (path.clone(), now)
        };
        Self { fingerprints: self.fingerprints.iter().map(now).collect(), pass: self.pass }
    }
}

impl PartialEq for SourceFiles {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprints == other.fingerprints
    }
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    // A truncated file could mean something else, so it is refused.
    if content.len() as u64 > MAX_SIZE { Err(io::Error::other("it is longer than 16 MiB")) } else { Ok(content) }
}

/// Returns `true` if the content can be read only once, as from the pipe of a shell's `<(…)`.
fn is_read_once(path: &Path) -> bool {
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
        let mut files = SourceFiles::default();
        assert!(files.read(&path).is_err());
        assert_eq!(files.current(), files, "the file still does not exist");
        fs::write(&path, "one").unwrap();
        assert_ne!(files.current(), files);
        assert_eq!(files.read(&path).unwrap(), b"one");
        fs::write(&path, "one").unwrap();
        assert_eq!(files.current(), files);
        let other = dir.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(files.current(), files);
        assert_eq!(format!("{:?}", files.fingerprint(&path).unwrap()), "Fingerprint");
    }

    #[test]
    fn two_loads_agree_if_the_files_that_both_have_read_were_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("file"), dir.path().join("other"));
        let reading = |paths: &[&PathBuf]| {
            let mut files = SourceFiles::default();
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
    fn a_pipe_is_not_read_a_second_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut files = SourceFiles::default();
        std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&path, "once").unwrap());
            assert_eq!(files.read(&path).unwrap(), b"once");
        });
        assert_eq!(files.current(), files);
        let error = SourceFiles::for_reload().read(&path).unwrap_err();
        assert!(error.to_string().contains("read again"), "{error}");
    }
}
