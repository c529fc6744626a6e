//! The gate itself: what happens between a request and its verdict.
//!
//! It joins the strangers below it (sessions, providers, pages) and owns no I/O of its own. Every failure, at any point,
//! becomes a refusal here; `check` is the only place that lets in.

mod answer;
mod attempt;
mod check;
mod login;
mod logout;
mod own;
mod visit;

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::request::Parts;

use self::{
    answer::Answers,
    check::{Check, Lacking},
    login::Login,
    logout::Logout,
    own::OwnPages,
    visit::{Arrival, Outside, RequestId, Visit},
};
use crate::{
    clock::Clock,
    cookie::{Jar, Transport},
    crypto::Keyring,
    edge::{self, AuthRequest, BadRequest, Edge, Intent, Reason, Response, TrustedProxies, Verdict},
    metrics::Metrics,
    oidc::Provider,
    pages::{Page, Pages},
    policy::{Asked, Policy, Site, redirect::RedirectTarget},
    session::Sessions,
};

/// How the gate is reached and what it leaves behind in browsers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `server.prefix`: begins with a slash, never ends with one.
    pub prefix: String,
    /// `server.scheme`.
    pub transport: Transport,
    /// `server.trusted_proxies`.
    pub trusted_proxies: TrustedProxies,
    /// `session.cookie_name`.
    pub cookie_name: String,
    /// `session.cookie_domain`.
    pub cookie_domain: Option<String>,
    /// `session.legacy_cookies`.
    pub legacy_cookies: Vec<String>,
}

/// What the gate joins.
pub struct Components {
    /// The apps and their rules.
    pub policy: Policy,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The providers in their order.
    pub providers: Vec<Arc<Provider>>,
    /// The pages.
    pub pages: Pages,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// The time.
    pub clock: Clock,
    /// The numbers.
    pub metrics: Arc<Metrics>,
}

/// The gate.
pub struct Gate {
    outside: Outside,
    proxies: TrustedProxies,
    policy: Arc<Policy>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
    check: Arc<Check>,
    login: Arc<Login>,
    own: OwnPages,
    answers: Arc<Answers>,
    metrics: Arc<Metrics>,
}

/// What the gate depends on, for the health page.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether the store answers.
    pub store: bool,
    /// Each provider by name, and whether it answers.
    pub providers: Vec<(String, bool)>,
}

impl Gate {
    /// Joins the components.
    #[must_use]
    pub fn new(settings: Settings, components: Components) -> Self {
        let Components { policy, sessions, providers, pages, keyring, clock, metrics } = components;
        let jar = Arc::new(Jar::new(&settings.cookie_name, settings.cookie_domain.as_deref(), settings.transport));
        let names = providers.iter().map(|provider| provider.settings().name.clone()).collect();
        let (policy, answers) = (Arc::new(policy), Arc::new(Answers::new(pages)));
        let check = Arc::new(Check::new(Arc::clone(&sessions), Arc::clone(&jar), names));
        let login = Arc::new(Login {
            policy: Arc::clone(&policy),
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            check: Arc::clone(&check),
            answers: Arc::clone(&answers),
            keyring: Arc::clone(&keyring),
            jar: Arc::clone(&jar),
            clock,
            metrics: metrics.logins.clone(),
        });
        let logout = Logout {
            policy: Arc::clone(&policy),
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            answers: Arc::clone(&answers),
            keyring,
            jar,
            legacy_cookies: settings.legacy_cookies,
        };
        let own = OwnPages {
            policy: Arc::clone(&policy),
            login: Arc::clone(&login),
            logout,
            check: Arc::clone(&check),
            answers: Arc::clone(&answers),
        };
        let scheme = match settings.transport {
            Transport::Https => "https",
            Transport::Http => "http",
        };
        let outside = Outside { scheme, prefix: settings.prefix };
        Self {
            outside,
            proxies: settings.trusted_proxies,
            policy,
            sessions,
            providers,
            check,
            login,
            own,
            answers,
            metrics,
        }
    }

    /// `server.prefix`, such as `/_doorward`; never ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.outside.prefix
    }

    /// Lets an authorization request in where memory alone can decide that; `None` leaves it to [`Gate::authorize`]. Nothing is
    /// waited for, so nothing needs bounds: this is the way of nearly every request.
    #[must_use]
    pub fn admit_at_once(&self, edge: Edge, peer: IpAddr, request: &Parts, envoy_target: &str) -> Option<Response> {
        let begun = Instant::now();
        let (asked, site) = self.read(edge, peer, request, envoy_target).ok()?;
        let path = asked.path();
        if own::below(&self.outside.prefix, path).is_some() {
            return None;
        }
        let seen = Asked { path, method: asked.method, client: asked.client };
        let verdict = self.check.admit_at_once(site.app, seen, &request.headers)?;
        self.metrics.auth.count(edge, site.index, answer::label(&verdict), begun.elapsed());
        Some(edge::write(edge, verdict, ""))
    }

    /// Answers an authorization request. `envoy_target` is what follows `/auth/envoy` on the raw request line.
    pub async fn authorize(&self, edge: Edge, peer: IpAddr, request: &Parts, envoy_target: &str) -> Response {
        let begun = Instant::now();
        let id = RequestId::default();
        let (verdict, site) = match self.read(edge, peer, request, envoy_target) {
            Ok((asked, site)) => (self.answer(asked, site, request, &id).await, Some(site)),
            Err(unread) => (self.reject(peer, request, &id, unread), None),
        };
        self.metrics.auth.count(edge, site.and_then(|site| site.index), answer::label(&verdict), begun.elapsed());
        match verdict {
            // An answer that lets in needs no id, and making one costs.
            allow @ Verdict::Allow(_) => edge::write(edge, allow, ""),
            other => edge::write(edge, other, id.as_str()),
        }
    }

    /// Answers a request for one of the gate's own pages that arrived over a direct route. `page` is the path below the
    /// prefix, beginning with a slash.
    pub async fn own_page(&self, request: &Parts, page: &str) -> Response {
        if page == "/ping" {
            return own::pong();
        }
        let id = RequestId::default();
        let method = request.method.as_str();
        let intent = edge::intent(Some(method), &request.headers);
        let read = edge::asked_host(request).map_err(Unread::Malformed).and_then(|authority| {
            let site =
                self.policy.site(authority.host()).ok_or_else(|| Unread::UnknownHost(authority.host().to_owned()))?;
            Ok((authority, site))
        });
        let (authority, site) = match read {
            Ok(read) => read,
            Err(unread) => return edge::write_direct(self.refuse_unread(intent, &id, unread), id.as_str()),
        };
        let visit = Visit {
            authority,
            site,
            intent,
            method: Some(method),
            headers: &request.headers,
            arrival: Arrival::Direct,
            id: &id,
            outside: &self.outside,
        };
        Box::pin(self.own.show(&visit, page, request.uri.query().unwrap_or_default())).await
    }

    /// Answers a request for anything else.
    #[must_use]
    pub fn nothing_here(&self, request: &Parts) -> Response {
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        own::nothing(&self.answers, intent, RequestId::default().as_str(), Reason::NotFound)
    }

    /// Answers a request that there is no room or no time for.
    #[must_use]
    pub fn overloaded(&self) -> Response {
        // JSON for everybody: under overload nothing is rendered.
        own::nothing(&self.answers, Intent::Fetch, RequestId::default().as_str(), Reason::Overloaded)
    }

    /// How the things that the gate depends on are.
    #[must_use]
    pub fn health(&self) -> Health {
        let providers =
            self.providers.iter().map(|provider| (provider.settings().name.clone(), provider.is_up())).collect();
        Health { store: self.sessions.is_up(), providers }
    }

    /// What is asked, and of which app. Nothing is believed before the peer has been.
    fn read<'r>(
        &'r self,
        edge: Edge,
        peer: IpAddr,
        request: &'r Parts,
        envoy_target: &'r str,
    ) -> Result<(AuthRequest<'r>, Site<'r>), Unread> {
        let trusted = self.proxies.admit(peer).ok_or(Unread::UntrustedPeer)?;
        let asked = edge::read(edge, trusted, request, envoy_target)?;
        let site = self
            .policy
            .site(asked.authority.host())
            .ok_or_else(|| Unread::UnknownHost(asked.authority.host().to_owned()))?;
        if edge == Edge::Nginx {
            self.cross_check(request, site)?;
        }
        Ok((asked, site))
    }

    /// nginx routes by `Host` while `X-Original-URL` may name another one, where a client sent an absolute-form request
    /// line; both must mean the same app.
    fn cross_check(&self, request: &Parts, site: Site<'_>) -> Result<(), Unread> {
        let routed = edge::asked_host(request)?;
        match self.policy.site(routed.host()) {
            Some(other) if other.index != site.index => {
                Err(BadRequest { header: "Host", problem: "names another app than X-Original-URL does" }.into())
            }
            _ => Ok(()),
        }
    }

    async fn answer<'r>(
        &'r self,
        asked: AuthRequest<'r>,
        site: Site<'r>,
        request: &'r Parts,
        id: &'r RequestId,
    ) -> Verdict {
        let (path, query, intent) = (asked.path(), asked.query().unwrap_or_default(), asked.intent());
        let (target, method, client, edge) = (asked.target, asked.method, asked.client, asked.edge);
        let visit = Visit {
            authority: asked.authority,
            site,
            intent,
            method,
            headers: &request.headers,
            arrival: Arrival::Question,
            id,
            outside: &self.outside,
        };
        if let Some(page) = own::below(&self.outside.prefix, path) {
            if edge == Edge::Nginx {
                return Verdict::Refuse(self.answers.refuse(&visit, Reason::NeedsRoute, &Page::NotFound));
            }
            // On the heap, like every cold branch, so that the future of an answer from memory stays small.
            return Box::pin(self.own.ask(&visit, page, query)).await;
        }
        match self.check.decide(&visit, Asked { path, method, client }).await {
            Ok(verdict) => verdict,
            Err(lacking) => Box::pin(self.refuse(&visit, target, lacking)).await,
        }
    }

    /// What somebody is told who is not let in.
    async fn refuse(&self, visit: &Visit<'_>, target: &str, lacking: Lacking) -> Verdict {
        let app = visit.site.app.name.as_str();
        match lacking {
            Lacking::Session(reason) => match visit.intent {
                Intent::Page => {
                    let target = RedirectTarget::asked(target, visit.here(), &self.policy);
                    self.login.challenge(visit, &target.unwrap_or_else(|| RedirectTarget::root(visit.here()))).await
                }
                Intent::Form => Verdict::Refuse(self.answers.form_held(visit, reason)),
                Intent::Fetch => Verdict::Refuse(Answers::login_required(visit, reason)),
            },
            Lacking::Permission(who, reason) => {
                let identity = who.as_ref().map(|live| &live.record.identity);
                let subject = identity.map(|identity| identity.subject.0.as_str());
                tracing::info!(request_id = %visit.id, app, subject, reason = reason.code(), "refused");
                let switch = visit.own("/sign_out");
                let page = match identity {
                    Some(identity) => Page::NotAllowed { user: &identity.user, app, switch: &switch },
                    None => Page::Denied { app },
                };
                Verdict::Refuse(self.answers.refuse(visit, reason, &page))
            }
            Lacking::Answer(error) => {
                tracing::warn!(request_id = %visit.id, app, %error, "refused: a session could not be looked up");
                let retry = format!("{}://{}/", self.outside.scheme, visit.authority);
                Verdict::Refuse(self.answers.refuse(
                    visit,
                    Reason::StoreUnavailable,
                    &Page::StoreAway { retry: &retry },
                ))
            }
        }
    }

    fn reject(&self, peer: IpAddr, request: &Parts, id: &RequestId, unread: Unread) -> Verdict {
        if let Unread::UntrustedPeer = unread {
            tracing::warn!(request_id = %id, %peer, "refused: the peer is not in server.trusted_proxies");
        }
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        self.refuse_unread(intent, id, unread)
    }

    fn refuse_unread(&self, intent: Intent, id: &RequestId, unread: Unread) -> Verdict {
        let id = id.as_str();
        Verdict::Refuse(match unread {
            Unread::UntrustedPeer => {
                let page = Page::BadRequest { detail: "This address may not ask on behalf of others." };
                self.answers.refuse_as(intent, id, Reason::UntrustedPeer, &page)
            }
            Unread::Malformed(problem) => {
                tracing::info!(request_id = id, %problem, "refused: not a request that an edge makes");
                let detail = problem.to_string();
                self.answers.refuse_as(intent, id, Reason::BadRequest, &Page::BadRequest { detail: &detail })
            }
            Unread::UnknownHost(host) => {
                tracing::info!(request_id = id, host, "refused: no app names this host");
                self.answers.refuse_as(intent, id, Reason::UnknownHost, &Page::UnknownHost { host: &host })
            }
        })
    }
}

/// Why it is not even known what is asked of which app.
#[derive(Debug)]
enum Unread {
    UntrustedPeer,
    Malformed(BadRequest),
    UnknownHost(String),
}

impl From<BadRequest> for Unread {
    fn from(problem: BadRequest) -> Self {
        Self::Malformed(problem)
    }
}
