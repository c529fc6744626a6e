//! Names and addresses of the demo's sample apps.
//!
//! Every name ends in `.localhost`, which browsers resolve to this machine without a DNS query (RFC 6761, section 6.3).

/// A sample app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleApp {
    /// App for everybody who is signed in.
    Notes,
    /// App for the group `admins`.
    Admin,
}

impl SampleApp {
    pub(super) const ALL: [Self; 2] = [Self::Notes, Self::Admin];

    /// Returns the app with this normalised host.
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

    /// Returns a description of the allowed people, as the end of a sentence.
    pub(super) const fn audience(self) -> &'static str {
        match self {
            Self::Notes => "everybody who is signed in",
            Self::Admin => "members of the group admins",
        }
    }
}

/// Origins of the demo's sites, which share one port.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemoOrigins {
    /// Port of the edge.
    pub(super) port: u16,
}

impl DemoOrigins {
    /// Returns the origin of the page that explains the demo.
    pub(super) fn landing(self) -> String {
        self.of("localhost")
    }

    /// Returns an app's origin, without a slash at the end.
    pub(super) fn app(self, app: SampleApp) -> String {
        self.of(app.host())
    }

    /// Returns the URLs of a path on every app's host.
    pub(super) fn on_every_app(self, path: &str) -> Vec<String> {
        SampleApp::ALL.iter().map(|app| format!("{}{path}", self.app(*app))).collect()
    }

    /// Returns the origin of a host. Browsers omit the default port, so origins that are compared must too.
    fn of(self, host: &str) -> String {
        if self.port == 80 { format!("http://{host}") } else { format!("http://{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_omitted_as_browsers_do() {
        assert_eq!(DemoOrigins { port: 80 }.app(SampleApp::Notes), "http://notes.localhost");
        assert_eq!(DemoOrigins { port: 8080 }.landing(), "http://localhost:8080");
    }

    #[test]
    fn an_app_is_found_by_its_host_alone() {
        assert_eq!(SampleApp::on("admin.localhost"), Some(SampleApp::Admin));
        assert_eq!(SampleApp::on("localhost"), None);
        assert_eq!(SampleApp::on("admin.localhost.example.com"), None);
    }
}
