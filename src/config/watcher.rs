//! Reloads of the configuration: the files that it is made of, and loading it again when one of them has changed.
//!
//! A change is noticed in the configuration file and in every file that it names, even after a refused load. A file that
//! is still being written is not loaded.

use std::path::{Path, PathBuf};

use super::{diagnostic::Diagnostics, files::SourceFiles, load::read, settings::Config};

/// Watches the files of a configuration by polling.
pub struct ConfigWatcher {
    /// Path found at the first load. If it disappears, loading a file at another default path would be a surprise.
    file: Option<PathBuf>,
    /// Files as they were at the last load.
    loaded: SourceFiles,
    /// Files as they were at the last poll.
    polled: Option<SourceFiles>,
}

impl ConfigWatcher {
    /// Loads the configuration for the first time, as [`super::load()`] does. It is watched even where it is invalid.
    pub fn start(named: Option<&Path>) -> (Self, Result<Config, Diagnostics>) {
        let (mut file, mut files) = (named.map(ToOwned::to_owned), SourceFiles::default());
        let config = read(&mut file, &mut files);
        (Self { file, loaded: files, polled: None }, config)
    }

    /// Polls the files once. Loads the configuration where they have changed since the last load and are the same as at
    /// the last poll: files that still change are being written. Blocks while it reads them.
    pub fn reload_if_changed(&mut self) -> Option<Result<Config, Diagnostics>> {
        let now = self.loaded.current();
        let has_settled = self.polled.replace(now).is_some_and(|before| Some(&before) == self.polled.as_ref());
        let settled = self.polled.take_if(|now| has_settled && *now != self.loaded)?;
        let (config, files) = self.load_again();
        // Written to since the poll: a half-written file may be a valid configuration, but not the intended one.
        if !settled.agrees_with(&files) {
            return None;
        }
        self.loaded = files;
        Some(config)
    }

    /// Loads the configuration again unconditionally, as on SIGHUP. Blocks.
    pub fn reload(&mut self) -> Result<Config, Diagnostics> {
        let (config, files) = self.load_again();
        self.loaded = files;
        self.polled = None;
        config
    }

    fn load_again(&mut self) -> (Result<Config, Diagnostics>, SourceFiles) {
        let mut files = SourceFiles::for_reload();
        (read(&mut self.file, &mut files), files)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TEXT: &str = r#"
server.listen = "127.0.0.1:9000"
session.secrets = [{ file = "SECRET" }]
providers = [{ name = "home", issuer = "https://id.example/", client_id = "x" }]
"#;

    struct ConfigFolder(tempfile::TempDir);

    impl ConfigFolder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.write("secret", &"s".repeat(32));
            folder.configure("");
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn configure(&self, more: &str) {
            let text = TEXT.replace("SECRET", self.path("secret").to_str().unwrap());
            self.write("doorward.toml", &format!("{text}{more}"));
        }

        fn watcher(&self) -> ConfigWatcher {
            let (watcher, config) = ConfigWatcher::start(Some(&self.path("doorward.toml")));
            config.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
            watcher
        }
    }

    /// Polls twice, which is enough to load a change that has settled.
    fn poll_twice(watcher: &mut ConfigWatcher) -> Option<Result<Config, Diagnostics>> {
        watcher.reload_if_changed().or_else(|| watcher.reload_if_changed())
    }

    #[test]
    fn a_change_of_the_file_or_of_one_that_it_names_is_loaded_once_it_has_settled() {
        let folder = ConfigFolder::new();
        let mut watcher = folder.watcher();
        assert!(poll_twice(&mut watcher).is_none());
        folder.configure("session.lifetime =");
        assert!(watcher.reload_if_changed().is_none(), "it may still be being written");
        folder.configure("session.lifetime = '1h'");
        assert!(watcher.reload_if_changed().is_none(), "it has changed since the last poll");
        assert_eq!(watcher.reload_if_changed().unwrap().unwrap().session.lifetime.as_secs(), 3_600);
        assert!(poll_twice(&mut watcher).is_none());
        folder.write("secret", &"t".repeat(32));
        assert!(poll_twice(&mut watcher).unwrap().is_ok());
    }

    #[test]
    fn files_named_by_a_refused_configuration_are_watched_as_well() {
        let folder = ConfigFolder::new();
        let mut watcher = folder.watcher();
        let later = folder.path("later");
        folder.configure(&format!("brand.logo = {later:?}"));
        assert!(poll_twice(&mut watcher).unwrap().is_err());
        assert!(poll_twice(&mut watcher).is_none(), "it is refused once");
        folder.write("later", "<svg/>");
        assert!(poll_twice(&mut watcher).unwrap().is_ok());
    }

    #[test]
    fn a_file_that_disappears_is_loaded_again_when_it_is_back() {
        let folder = ConfigFolder::new();
        let mut watcher = folder.watcher();
        fs::rename(folder.path("doorward.toml"), folder.path("away")).unwrap();
        assert!(poll_twice(&mut watcher).unwrap().is_err());
        fs::rename(folder.path("away"), folder.path("doorward.toml")).unwrap();
        assert!(poll_twice(&mut watcher).unwrap().is_ok());
    }
}
