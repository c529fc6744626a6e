//! Clients by their settings: a reload keeps those that it does not change, with their connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{client::Upstream, settings::Settings};
use crate::{client_tls::TrustAnchorError, metrics::UpstreamMetrics};

/// The upstreams of a process. One is dropped, with its connections, once no configuration in use has it.
pub struct Upstreams {
    metrics: UpstreamMetrics,
    clients: Mutex<HashMap<Settings, Weak<Upstream>>>,
}

/// The upstreams of one configuration.
#[derive(Clone, Default)]
pub struct ConfiguredUpstreams(HashMap<Settings, Arc<Upstream>>);

impl Upstreams {
    /// No upstreams yet.
    #[must_use]
    pub fn new(metrics: UpstreamMetrics) -> Self {
        Self { metrics, clients: Mutex::default() }
    }

    /// Returns the clients for these settings: those that are in use already, and new ones. Opens no connection.
    pub fn prepare<'s>(
        &self,
        settings: impl Iterator<Item = &'s Settings>,
    ) -> Result<ConfiguredUpstreams, TrustAnchorError> {
        let mut known = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, client| client.strong_count() > 0);
        let mut clients = HashMap::new();
        for settings in settings {
            let client = match known.get(settings).and_then(Weak::upgrade) {
                Some(client) => client,
                None => Arc::new(Upstream::new(settings.clone(), self.metrics.of(&settings.origin()))?),
            };
            known.insert(settings.clone(), Arc::downgrade(&client));
            clients.insert(settings.clone(), client);
        }
        Ok(ConfiguredUpstreams(clients))
    }
}

impl ConfiguredUpstreams {
    /// Returns the client for these settings, which were among those prepared.
    #[must_use]
    pub fn get(&self, settings: &Settings) -> Option<&Arc<Upstream>> {
        self.0.get(settings)
    }
}
