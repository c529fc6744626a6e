//! The names that the demo goes by: its sample apps, and the addresses at which a browser finds everything.
//!
//! Every name ends in `.localhost`, which browsers take for this machine without asking anybody (RFC 6761, section 6.3).

/// A sample app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum App {
    /// For everybody who is signed in.
    Notes,
    /// For the group `admins`.
    Admin,
}

impl App {
    pub(super) const ALL: [Self; 2] = [Self::Notes, Self::Admin];

    /// The app behind a folded host.
    pub(super) fn on(host: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|app| app.host() == host)
    }

    pub(super) const fn host(self) -> &'static str {
        match self {
            Self::Notes => "notes.localhost",
            Self::Admin => "admin.localhost",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Notes => "Notes",
            Self::Admin => "Admin",
        }
    }

    /// Who gets in, as the end of a sentence.
    pub(super) const fn audience(self) -> &'static str {
        match self {
            Self::Notes => "everybody who is signed in",
            Self::Admin => "members of the group admins",
        }
    }
}

/// The addresses, given the one port that they share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origins {
    /// The edge's port.
    pub(super) port: u16,
}

impl Origins {
    /// The page that explains the demo.
    pub(super) fn landing(self) -> String {
        self.of("localhost")
    }

    /// An app's address, without a slash at the end.
    pub(super) fn app(self, app: App) -> String {
        self.of(app.host())
    }

    /// The same path on every app's host.
    pub(super) fn on_every_app(self, path: &str) -> Vec<String> {
        App::ALL.iter().map(|app| format!("{}{path}", self.app(*app))).collect()
    }

    /// A browser leaves the default port out of what it sends, so addresses that are compared must too.
    fn of(self, host: &str) -> String {
        if self.port == 80 { format!("http://{host}") } else { format!("http://{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_left_out_as_browsers_do() {
        assert_eq!(Origins { port: 80 }.app(App::Notes), "http://notes.localhost");
        assert_eq!(Origins { port: 8080 }.landing(), "http://localhost:8080");
    }

    #[test]
    fn an_app_is_found_by_its_host_alone() {
        assert_eq!(App::on("admin.localhost"), Some(App::Admin));
        assert_eq!(App::on("localhost"), None);
        assert_eq!(App::on("admin.localhost.example.com"), None);
    }
}
