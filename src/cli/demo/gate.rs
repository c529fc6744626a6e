//! The gate of the demo: the one of `serve`, with the configuration that is shipped as `config/demo.toml`.

use url::Url;

use crate::config::{self, Complaints, Config, Environment, Source};

/// Where the configuration comes from, in the words of complaints.
const PATH: &str = "config/demo.toml";
const TEXT: &str = include_str!("../../../config/demo.toml");

/// What the configuration cannot know beforehand.
pub(super) struct Wiring<'a> {
    /// The provider.
    pub(super) issuer: &'a Url,
    /// The gate's name there.
    pub(super) client_id: &'a str,
    /// The gate's password there.
    pub(super) client_secret: &'a str,
    /// The sealing secret.
    pub(super) sealing_secret: &'a str,
}

/// The configuration, read and checked as any other is. The environment of the process has no say in it.
pub(super) fn config(wiring: &Wiring<'_>) -> Result<Config, Complaints> {
    let environment = [
        ("DOORWARD_SERVER__LISTEN", "127.0.0.1:0"),
        ("DOORWARD_SERVER__MANAGEMENT", "127.0.0.1:0"),
        // Nobody sends requests for a while yet to a demo that is told to stop.
        ("DOORWARD_SERVER__SHUTDOWN_GRACE", "1s"),
        ("DOORWARD_PROVIDERS__0__ISSUER", wiring.issuer.as_str()),
        ("DOORWARD_PROVIDERS__0__CLIENT_ID", wiring.client_id),
        ("CLIENT_SECRET", wiring.client_secret),
        ("SEALING_SECRET", wiring.sealing_secret),
    ];
    let environment: Environment =
        environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    config::load_from(Some(&Source { path: PATH.into(), text: TEXT.to_owned() }), &environment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::names::App;

    #[test]
    fn the_shipped_configuration_is_for_loopback_and_the_sample_apps() {
        let issuer = Url::parse("http://127.0.0.1:9/").unwrap();
        let secret = "s".repeat(43);
        let wiring = Wiring { issuer: &issuer, client_id: "gate", client_secret: "p", sealing_secret: &secret };
        let config = config(&wiring).unwrap();
        assert!(config.server.listen.ip().is_loopback() && config.server.management.ip().is_loopback());
        assert_eq!(config.providers[0].issuer, issuer);
        let names: Vec<_> = config.policy.apps.iter().map(|app| app.name.as_str()).collect();
        assert_eq!(names, App::ALL.map(|app| app.host().strip_suffix(".localhost").unwrap()));
    }
}
