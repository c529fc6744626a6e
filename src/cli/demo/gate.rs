//! Configuration of the demo's gate: the shipped `config/demo.toml` with values that are known only at run time.

use url::Url;

use crate::config::{self, Config, ConfigFile, Diagnostics, Environment};

/// Path of the configuration, for diagnostics.
const PATH: &str = "config/demo.toml";
const TEXT: &str = include_str!("../../../config/demo.toml");

/// Values that are known only at run time.
pub(super) struct GateParameters<'a> {
    /// Issuer identifier of the provider.
    pub(super) issuer: &'a Url,
    /// Client ID at the provider.
    pub(super) client_id: &'a str,
    /// Client secret at the provider.
    pub(super) client_secret: &'a str,
    /// The sealing secret.
    pub(super) sealing_secret: &'a str,
}

/// Loads and validates the configuration as any other, but ignores the environment of the process.
pub(super) fn config(parameters: &GateParameters<'_>) -> Result<Config, Diagnostics> {
    let environment = [
        ("DOORWARD_SERVER__LISTEN", "127.0.0.1:0"),
        ("DOORWARD_SERVER__MANAGEMENT", "127.0.0.1:0"),
        // No load balancer has to notice the stop, so there is nothing to wait for.
        ("DOORWARD_SERVER__SHUTDOWN_GRACE", "1s"),
        ("DOORWARD_PROVIDERS__0__ISSUER", parameters.issuer.as_str()),
        ("DOORWARD_PROVIDERS__0__CLIENT_ID", parameters.client_id),
        ("CLIENT_SECRET", parameters.client_secret),
        ("SEALING_SECRET", parameters.sealing_secret),
    ];
    let environment: Environment =
        environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    config::load_from(Some(&ConfigFile { path: PATH.into(), text: TEXT.to_owned() }), &environment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::names::SampleApp;

    #[test]
    fn the_shipped_configuration_is_for_loopback_and_the_sample_apps() {
        let issuer = Url::parse("http://127.0.0.1:9/").unwrap();
        let secret = "s".repeat(43);
        let parameters =
            GateParameters { issuer: &issuer, client_id: "gate", client_secret: "p", sealing_secret: &secret };
        let config = config(&parameters).unwrap();
        assert!(config.server.listen.ip().is_loopback() && config.server.management.ip().is_loopback());
        assert_eq!(config.providers[0].issuer, issuer);
        let names: Vec<_> = config.policy.apps.iter().map(|app| app.name.as_str()).collect();
        assert_eq!(names, SampleApp::ALL.map(|app| app.host().strip_suffix(".localhost").unwrap()));
    }
}
