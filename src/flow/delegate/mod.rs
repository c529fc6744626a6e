//! Delegation: apps whose checks an outpost answers, asked over pooled connections.
//!
//! Promises: nothing but its 200 lets in, and of that only the headers that the app is configured to get; what clients say about
//! themselves in forwarded or identity headers does not reach it; an outpost that does not answer lets nobody in.

mod answer;
mod cache;
mod health;
pub(super) mod question;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;

pub(super) use self::{answer::OutpostAnswer, health::OutpostHealth};
use self::{cache::AdmissionCache, question::OutpostQuestion};
use super::context::RequestContext;
use crate::{
    clock::Clock,
    cookie::GateCookies,
    edge::Edge,
    policy::headers::HeaderPlan,
    upstream::{self, ConfiguredUpstreams, Upstream},
};

/// The longest body of an outpost's answer: its pages are small.
const MAX_BODY: usize = 256 << 10;
/// Deadline of a question, well under those of edges (L3: Traefik gives up after 30 s, nginx after 60).
const DEADLINE: Duration = Duration::from_secs(8);

/// An app's outpost, as configured and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegateSettings {
    /// Origin of the outpost.
    pub upstream: upstream::Settings,
    /// Path at which it is asked, such as `/outpost.goauthentik.io/auth/traefik`.
    pub path: String,
    /// Dialect in which it is asked, by the end of the path.
    pub dialect: Edge,
    /// `delegate_cache`: time for which an admission counts without asking again.
    pub cache: Option<Duration>,
}

/// Asks an app's outpost.
pub(super) struct Delegation {
    settings: DelegateSettings,
    /// Absent only by a mistake of ours; nobody is let in then.
    upstream: Option<Arc<Upstream>>,
    jar: Arc<GateCookies>,
    cache: Option<AdmissionCache>,
    pub(super) health: Arc<OutpostHealth>,
}

impl Delegation {
    /// The delegations of all apps, by their places in the configuration.
    pub(super) fn all(
        settings: &[Option<DelegateSettings>],
        prepared: &ConfiguredUpstreams,
        jar: &Arc<GateCookies>,
        clock: &Clock,
    ) -> Vec<Option<Self>> {
        let delegation = |settings: &DelegateSettings| Self {
            upstream: prepared.get(&settings.upstream).cloned(),
            jar: Arc::clone(jar),
            cache: settings.cache.map(AdmissionCache::new),
            health: Arc::new(OutpostHealth::new(settings.upstream.origin(), clock.clone())),
            settings: settings.clone(),
        };
        if settings.iter().all(Option::is_none) {
            // No check looks among them then.
            return Vec::new();
        }
        settings.iter().map(|settings| settings.as_ref().map(delegation)).collect()
    }

    /// Returns the headers of an admission that was given a moment ago to the same cookies (`delegate_cache`).
    pub(super) fn cached(&self, host: &str, target: &str, headers: &HeaderMap) -> Option<HeaderMap> {
        self.cache.as_ref()?.get(host, target, headers)
    }

    /// Asks the outpost. `plan` says which headers the app gets, and `target` what is asked for.
    pub(super) async fn ask(&self, context: &RequestContext<'_>, plan: &HeaderPlan, target: &str) -> OutpostAnswer {
        let exchanged = match &self.upstream {
            Some(upstream) => timeout(DEADLINE, self.exchange(upstream, context, target)).await,
            None => Ok(Err(upstream::Error::Unavailable("it is not set up".to_owned()))),
        };
        let answer = match exchanged.unwrap_or(Err(upstream::Error::Timeout(DEADLINE))) {
            Ok(response) => OutpostAnswer::read(response, plan),
            Err(error) => OutpostAnswer::Unavailable(error),
        };
        self.health.record(&answer);
        if let (OutpostAnswer::Admitted(headers), Some(cache)) = (&answer, &self.cache) {
            cache.keep(context.authority.host(), target, context.headers, headers);
        }
        answer
    }

    async fn exchange(
        &self,
        upstream: &Upstream,
        context: &RequestContext<'_>,
        target: &str,
    ) -> Result<Response<Bytes>, upstream::Error> {
        let DelegateSettings { path, dialect, .. } = &self.settings;
        let question =
            OutpostQuestion { path, dialect: *dialect, upstream: &self.settings.upstream.url, jar: &self.jar };
        let (head, body) = upstream.send(question.about(context, target)?).await?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| upstream::Error::Unavailable(format!("its answer broke off: {error}")))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}
