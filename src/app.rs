//! Building and running: configuration in, a running gate out. The only place that wires and spawns.

use std::net::SocketAddr;

use crate::{config::Config, shutdown};

/// A gate that is bound and ready to run.
pub struct App {}

impl App {
    /// Builds every component bottom-up and binds the listeners.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let _ = config;
        Ok(Self {})
    }

    /// The addresses that were bound: the gate's and the management's.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        unreachable!()
    }

    /// Runs until `stop` is raised and everything has drained. An error means that the process had to stop.
    pub async fn run(self, stop: shutdown::Signal) -> anyhow::Result<()> {
        stop.raised().await;
        Ok(())
    }
}
