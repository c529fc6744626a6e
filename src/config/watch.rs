//! What a configuration is made of, and reading it again when that has changed.
//!
//! Promises: a change is noticed wherever it is, in the file or in one that it names, even where it was refused before; one
//! that is under way is waited for. It must not know what becomes of what is read.

use std::path::{Path, PathBuf};

use super::{Complaints, Config, files::Files, read};

/// The files of a configuration.
pub struct Watch {
    /// The one that was found at first: where it goes missing, another at a usual place would be a surprise.
    file: Option<PathBuf>,
    /// As they were when they were read.
    read: Files,
    /// As they were at the last look.
    seen: Option<Files>,
}

impl Watch {
    /// Reads the configuration for the first time, as [`super::load`] does. It is watched even where it is none.
    pub fn begin(named: Option<&Path>) -> (Self, Result<Config, Complaints>) {
        let (mut file, mut files) = (named.map(ToOwned::to_owned), Files::default());
        let config = read(&mut file, &mut files);
        (Self { file, read: files, seen: None }, config)
    }

    /// Reads the configuration again where it has changed since it was read, and stayed as it is between the last look and
    /// this one: what is still being written need not be read. Blocks while it reads the files.
    pub fn read_changed(&mut self) -> Option<Result<Config, Complaints>> {
        let now = self.read.look();
        let has_settled = self.seen.replace(now).is_some_and(|before| Some(&before) == self.seen.as_ref());
        let settled = self.seen.take_if(|now| has_settled && *now != self.read)?;
        let (config, files) = self.read_now();
        // Half of something that is being written just now may be a configuration too, and another one.
        if !settled.agrees_with(&files) {
            return None;
        }
        self.read = files;
        Some(config)
    }

    /// Reads the configuration again, because somebody says that it is to be. Blocks.
    pub fn read_again(&mut self) -> Result<Config, Complaints> {
        let (config, files) = self.read_now();
        self.read = files;
        self.seen = None;
        config
    }

    fn read_now(&mut self) -> (Result<Config, Complaints>, Files) {
        let mut files = Files::again();
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

    struct Folder(tempfile::TempDir);

    impl Folder {
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

        fn watch(&self) -> Watch {
            let (watch, config) = Watch::begin(Some(&self.path("doorward.toml")));
            config.unwrap_or_else(|complaints| panic!("{complaints}"));
            watch
        }
    }

    /// What somebody reads who looks regularly.
    fn look_twice(watch: &mut Watch) -> Option<Result<Config, Complaints>> {
        watch.read_changed().or_else(|| watch.read_changed())
    }

    #[test]
    fn a_change_of_the_file_or_of_one_that_it_names_is_read_once_it_is_done() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        assert!(look_twice(&mut watch).is_none());
        folder.configure("session.lifetime =");
        assert!(watch.read_changed().is_none(), "it may still be written");
        folder.configure("session.lifetime = '1h'");
        assert!(watch.read_changed().is_none(), "so it was");
        assert_eq!(watch.read_changed().unwrap().unwrap().session.lifetime.as_secs(), 3_600);
        assert!(look_twice(&mut watch).is_none());
        folder.write("secret", &"t".repeat(32));
        assert!(look_twice(&mut watch).unwrap().is_ok());
    }

    #[test]
    fn what_a_refused_configuration_names_is_watched_as_well() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        let later = folder.path("later");
        folder.configure(&format!("brand.logo = {later:?}"));
        assert!(look_twice(&mut watch).unwrap().is_err());
        assert!(look_twice(&mut watch).is_none(), "it is refused once");
        folder.write("later", "<svg/>");
        assert!(look_twice(&mut watch).unwrap().is_ok());
    }

    #[test]
    fn a_file_that_is_gone_for_a_while_is_read_when_it_is_back() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        fs::rename(folder.path("doorward.toml"), folder.path("away")).unwrap();
        assert!(look_twice(&mut watch).unwrap().is_err());
        fs::rename(folder.path("away"), folder.path("doorward.toml")).unwrap();
        assert!(look_twice(&mut watch).unwrap().is_ok());
    }
}
