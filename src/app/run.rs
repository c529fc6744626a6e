//! Running gate: its background tasks, and the order in which everything stops.
//!
//! The listeners drain first; the store and the providers outlast them.

use std::{net::SocketAddr, sync::Arc};

use anyhow::bail;

use super::{
    components::{AppComponents, log_warnings},
    memory,
    providers::ProviderTasks,
    reload::{ConfigReloader, ReloadSources},
};
use crate::{
    config::Config,
    metrics,
    server::{Capacity, Server},
    shutdown,
};

/// Gate that is bound and ready to run.
pub struct BoundApp {
    server: Server,
    components: AppComponents,
    reload: Option<ReloadSources>,
}

impl BoundApp {
    /// Builds every component and binds the listeners. Fails on errors that waiting does not mend; a store or a provider that is
    /// unavailable is none.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let backend = config.session.backend.kind();
        let components = AppComponents::build(config).await?;
        log_warnings(&components.config);
        let server = Server::bind(components.config.server.clone()).await?;
        let (listen, management) = server.addresses();
        let Capacity { files, connections } = server.capacity();
        tracing::info!(%listen, %management, store = backend, files, connections, version = env!("CARGO_PKG_VERSION"), "bound");
        Ok(Self { server, components, reload: None })
    }

    /// Reloads the configuration while the gate runs, whenever `sources` have a change.
    #[must_use]
    pub fn with_reload(self, sources: ReloadSources) -> Self {
        Self { reload: Some(sources), ..self }
    }

    /// Addresses that were bound: the gate's and the management's.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        self.server.addresses()
    }

    /// Runs until `stop` is raised and everything has drained. Fails if a background task ended by itself.
    pub async fn run(self, stop: shutdown::Signal) -> anyhow::Result<()> {
        let tasks = shutdown::Tasks::new(stop.clone());
        // The store and the providers outlive the listeners: requests in flight still need them.
        let drained = shutdown::Signal::default();
        let background = shutdown::Tasks::new(drained.clone());
        let (gate, metrics) = (Arc::clone(&self.components.gate), Arc::clone(&self.components.metrics));
        let sessions = Arc::clone(&self.components.sessions);
        let until = drained.clone();
        background.supervise("sessions", async move { sessions.maintain(until).await });
        let renewals = gate.renewer().run(background.clone(), drained.clone());
        background.supervise("renewals", renewals);
        let (counting, until) = (Arc::clone(&gate), drained.clone());
        background.supervise("refusals", async move { counting.log_refusals(until).await });
        let (following, until) = (Arc::clone(&gate), drained.clone());
        background.supervise("header plans", async move { following.follow_providers(until).await });
        let (watching, until) = (Arc::clone(&gate), drained.clone());
        background.supervise("emergency", async move { watching.watch_emergency(until).await });
        let (until, threads) = (drained.clone(), background.clone());
        background.supervise("memory", async move {
            tokio::select! { never = memory::return_free_pages(threads) => match never {}, () = until.raised() => {} }
        });
        let mut provider_tasks = ProviderTasks::new(background.clone(), drained.clone());
        provider_tasks.follow(&self.components.providers);
        if let Some(sources) = self.reload {
            let (reloader, until) = (
                ConfigReloader { components: self.components, provider_tasks, last: metrics::ReloadResult::Unchanged },
                stop.clone(),
            );
            tasks.supervise("configuration", async move {
                tokio::select! { never = reloader.run(sources) => match never {}, () = until.raised() => {} }
            });
        }
        let serving = self.server.run(gate, metrics, tasks.clone(), stop.clone());
        let lost = async {
            tokio::select! { () = tasks.failed() => {}, () = background.failed() => {} }
            stop.raise();
        };
        let stopped_on_request = {
            tokio::pin!(serving);
            tokio::select! {
                () = &mut serving => true,
                () = lost => { serving.await; false }
            }
        };
        drained.raise();
        tasks.joined().await;
        background.joined().await;
        tracing::info!("stopped");
        if stopped_on_request { Ok(()) } else { bail!("a background task ended by itself; the log says which") }
    }
}
