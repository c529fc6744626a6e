//! What a configuration is made of, and reading it again when that has changed.
//!
//! Promises: a change is noticed wherever it is, in the file or in one that it names, even where it was refused before; one
//! that is under way is waited for. It must not know what becomes of what is read.

use std::path::{Path, PathBuf};

use super::{Complaints, Config, files::Files, read};

/// The files of a configuration.
pub struct Watch {
    named: Option<PathBuf>,
    /// As they were when they were read.
    read: Files,
    /// As they were at the last look.
    seen: Option<Files>,
}

impl Watch {
    /// Reads the configuration for the first time, as [`super::load`] does. It is watched even where it is none.
    pub fn begin(named: Option<&Path>) -> (Self, Result<Config, Complaints>) {
        let mut files = Files::default();
        let config = read(named, &mut files);
        (Self { named: named.map(ToOwned::to_owned), read: files, seen: None }, config)
    }

    /// Whether it has changed since it was read, and stayed as it is between the last look and this one: what is still being
    /// written need not be read. Blocks while it reads the files.
    pub fn has_changed(&mut self) -> bool {
        let now = self.read.look();
        let has_settled = self.seen.as_ref() == Some(&now);
        let has_changed = has_settled && now != self.read;
        self.seen = Some(now);
        has_changed
    }

    /// Reads the configuration again. Blocks.
    pub fn read_again(&mut self) -> Result<Config, Complaints> {
        let mut files = Files::again();
        let config = read(self.named.as_deref(), &mut files);
        self.read = files;
        self.seen = None;
        config
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

    /// Whether a change is noticed, as somebody does who looks regularly.
    fn notices(watch: &mut Watch) -> bool {
        watch.has_changed() || watch.has_changed()
    }

    #[test]
    fn a_change_of_the_file_or_of_one_that_it_names_is_noticed_once_it_is_done() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        assert!(!notices(&mut watch));
        folder.configure("session.lifetime =");
        assert!(!watch.has_changed(), "it may still be written");
        folder.configure("session.lifetime = '1h'");
        assert!(!watch.has_changed(), "so it was");
        assert!(watch.has_changed());
        assert_eq!(watch.read_again().unwrap().session.lifetime.as_secs(), 3_600);
        assert!(!notices(&mut watch));
        folder.write("secret", &"t".repeat(32));
        assert!(notices(&mut watch));
    }

    #[test]
    fn what_a_refused_configuration_names_is_watched_as_well() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        let later = folder.path("later");
        folder.configure(&format!("brand.logo = {later:?}"));
        assert!(notices(&mut watch));
        assert!(watch.read_again().is_err());
        assert!(!notices(&mut watch), "it is refused once");
        folder.write("later", "<svg/>");
        assert!(notices(&mut watch));
        assert!(watch.read_again().is_ok());
    }

    #[test]
    fn a_file_that_is_gone_for_a_while_is_noticed_when_it_is_back() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        fs::rename(folder.path("doorward.toml"), folder.path("away")).unwrap();
        assert!(notices(&mut watch));
        assert!(watch.read_again().is_err());
        fs::rename(folder.path("away"), folder.path("doorward.toml")).unwrap();
        assert!(notices(&mut watch));
        assert!(watch.read_again().is_ok());
    }
}
