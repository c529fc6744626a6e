//! Names of upstreams → their addresses.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
    vec,
};

use futures_util::future::{BoxFuture, FutureExt as _};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower::Service;

/// Resolver of names.
#[derive(Clone)]
pub(super) enum Resolver {
    /// The system's (`getaddrinfo`), on a blocking thread.
    System(GaiResolver),
    /// What a test says at that moment.
    #[cfg(test)]
    Told(std::sync::Arc<dyn Fn() -> Vec<SocketAddr> + Send + Sync>),
}

impl Resolver {
    pub(super) fn system() -> Self {
        Self::System(GaiResolver::new())
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::System(system) => system.poll_ready(cx),
            #[cfg(test)]
            Self::Told(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, name: Name) -> Self::Future {
        match self {
            Self::System(system) => {
                let resolving = system.call(name);
                async move { Ok(resolving.await?.collect::<Vec<_>>().into_iter()) }.boxed()
            }
            #[cfg(test)]
            Self::Told(addresses) => {
                let addresses = addresses();
                async move { Ok(addresses.into_iter()) }.boxed()
            }
        }
    }
}
