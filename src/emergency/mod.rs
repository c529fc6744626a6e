//! Emergency sign-in: name and password from a file, while the gate cannot know who is asking.
//!
//! Promises: it says who somebody is, and for which hosts that counts; when it is asked is not decided here. A password has a
//! bounded cost, and is never printed. The names of its principals begin with `emergency:`, so that they are nobody else's.

mod credentials;
mod password_hash;
mod users;
mod verifier;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use http::HeaderValue;
use serde_json::{Map, json};

use self::users::Candidate;
pub use self::{
    credentials::{Credentials, MAX_PASSWORD},
    password_hash::{HashStrength, hash_password},
    users::{Users, UsersFault},
    verifier::{Busy, PasswordVerifier},
};
use crate::{
    clock::Timestamp,
    identity::{
        ClaimsStanding, Identity, OwnedPrincipal, PackedIdentity, PrincipalSource, Registration, SessionScope, Subject,
    },
    policy::HostPattern,
};

/// Prefix of the names of principals, and their provider.
const NAMESPACE: &str = "emergency";

/// Settings of the emergency sign-in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `emergency.users_file`, read.
    pub users: Users,
    /// `emergency.hosts`.
    pub hosts: Vec<HostPattern>,
    /// `emergency.groups`: told to apps, and judged by nobody.
    pub groups: Vec<String>,
    /// `emergency.realm`: visible ASCII without quotes.
    pub realm: String,
}

/// Users and hosts of one configuration.
pub struct EmergencyUsers {
    users: Users,
    principals: HashMap<String, Arc<OwnedPrincipal>>,
    exact: HashSet<String>,
    below: HashSet<String>,
    challenge: HeaderValue,
    verifier: Arc<PasswordVerifier>,
}

/// Outcome of an attempt.
pub enum PasswordAttempt {
    /// The password is right.
    Right(Arc<OwnedPrincipal>),
    /// It is not. `name` is the principal's, where there is a user of that name: what else was typed may be a password.
    Wrong {
        /// The name.
        name: Option<String>,
    },
}

impl EmergencyUsers {
    /// The users of a configuration. `now` is the time since which they are known.
    #[must_use]
    pub fn new(settings: Settings, verifier: Arc<PasswordVerifier>, now: Timestamp) -> Self {
        let Settings { users, hosts, groups, realm } = settings;
        let principals = users.iter().map(|user| (user.name.clone(), Arc::new(principal(&user.name, &groups, now))));
        let principals = principals.collect();
        let (mut exact, mut below) = (HashSet::new(), HashSet::new());
        for host in hosts {
            match host {
                HostPattern::Exact(host) => exact.insert(host),
                HostPattern::Below(domain) => below.insert(domain),
            };
        }
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        let challenge = HeaderValue::try_from(challenge).expect("the configuration checks the realm");
        Self { users, principals, exact, below, challenge, verifier }
    }

    /// Returns `true` if a host, folded, is one of those that it is for.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let parents = std::iter::successors(host.split_once('.'), |(_, parent)| parent.split_once('.'));
        self.exact.contains(host) || parents.into_iter().any(|(_, parent)| self.below.contains(parent))
    }

    /// Value of `WWW-Authenticate` (RFC 7617).
    #[must_use]
    pub fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }

    /// Returns who somebody is whose password was right lately. Costs no hash.
    #[must_use]
    pub fn recognise(&self, credentials: &Credentials) -> Option<Arc<OwnedPrincipal>> {
        let candidate = self.users.candidate(credentials.user())?;
        let is_right = self.verifier.recognises(&candidate, credentials.password());
        self.principal_of(&candidate).filter(|_| is_right)
    }

    /// Returns the outcome of an attempt that was in vain a moment ago. Costs no hash.
    #[must_use]
    pub fn recall_refusal(&self, credentials: &Credentials) -> Option<PasswordAttempt> {
        let candidate = self.users.candidate(credentials.user())?;
        let was_wrong = self.verifier.has_refused(&candidate, credentials.user(), credentials.password());
        was_wrong.then(|| self.wrong(&candidate))
    }

    /// Verifies a password. Waits for a bounded time; the client's network decides behind whom.
    pub async fn verify(&self, credentials: &Credentials, client: Option<IpAddr>) -> Result<PasswordAttempt, Busy> {
        let Some(candidate) = self.users.candidate(credentials.user()) else { return Err(Busy) };
        let is_right = self.verifier.verify(&candidate, credentials.password(), client).await?;
        Ok(match self.principal_of(&candidate) {
            Some(principal) if is_right => PasswordAttempt::Right(principal),
            _ => {
                self.verifier.remember_refused(&candidate, credentials.user(), credentials.password());
                self.wrong(&candidate)
            }
        })
    }

    fn wrong(&self, candidate: &Candidate) -> PasswordAttempt {
        let name = self.principal_of(candidate).map(|principal| principal.identity().user().to_owned());
        PasswordAttempt::Wrong { name }
    }

    /// Returns the principal of a user; `None` for a decoy.
    fn principal_of(&self, candidate: &Candidate) -> Option<Arc<OwnedPrincipal>> {
        match candidate {
            Candidate::Known(user) => self.principals.get(&user.name).cloned(),
            Candidate::Decoy(_) => None,
        }
    }
}

fn principal(name: &str, groups: &[String], now: Timestamp) -> OwnedPrincipal {
    let user = format!("{NAMESPACE}:{name}");
    let claims = json!({ "preferred_username": user, "groups": groups });
    let identity = Identity {
        provider: NAMESPACE.to_owned(),
        subject: Subject(user.clone()),
        user,
        email: String::new(),
        email_verified: false,
        name: name.to_owned(),
        groups: groups.to_vec(),
        claims: claims.as_object().cloned().unwrap_or_else(Map::new),
        standing: ClaimsStanding::default(),
    };
    let nowhere = SessionScope { audience: String::new(), registration: Registration([0; 8]) };
    OwnedPrincipal::new(PackedIdentity::scoped(&identity, &nowhere), PrincipalSource::Emergency, now, None)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};

    use super::*;

    fn users(groups: &[&str]) -> EmergencyUsers {
        let hash = bcrypt::hash_with_salt("right", 4, [1; 16]).unwrap().format_for_version(bcrypt::Version::TwoY);
        let settings = Settings {
            users: Users::parse(format!("ann:{hash}").as_bytes()).unwrap(),
            hosts: vec![HostPattern::Exact("a.example".to_owned()), HostPattern::Below("b.example".to_owned())],
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            realm: "Emergency Access".to_owned(),
        };
        EmergencyUsers::new(settings, Arc::default(), Timestamp::from_unix(1_000))
    }

    fn credentials(pair: &str) -> Credentials {
        let line = format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()));
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(line).unwrap())]);
        Credentials::of(&headers).unwrap()
    }

    #[tokio::test]
    async fn a_right_password_makes_a_principal_of_its_own_kind_and_name() {
        let users = users(&["rescue"]);
        let ann = credentials("ann:right");
        assert!(users.recognise(&ann).is_none());
        let Ok(PasswordAttempt::Right(principal)) = users.verify(&ann, None).await else {
            panic!("the password is right")
        };
        let identity = principal.identity().unpack();
        assert_eq!(
            [identity.user.as_str(), &identity.subject.0, &identity.name],
            ["emergency:ann", "emergency:ann", "ann"]
        );
        assert_eq!((identity.email.as_str(), identity.groups), ("", vec!["rescue".to_owned()]));
        assert_eq!(principal.principal().source, PrincipalSource::Emergency);
        assert!(users.recognise(&ann).is_some() && users.recognise(&credentials("ann:wrong")).is_none());
    }

    #[tokio::test]
    async fn only_names_of_the_file_are_told_of_wrong_passwords() {
        let users = users(&[]);
        for (pair, expected) in
            [("ann:wrong", Some("emergency:ann")), ("my-password:", None), ("emergency:ann:right", None)]
        {
            let pair = credentials(pair);
            assert!(users.recall_refusal(&pair).is_none());
            let first = users.verify(&pair, None).await.ok();
            for attempt in [first, users.recall_refusal(&pair)] {
                let Some(PasswordAttempt::Wrong { name }) = attempt else { panic!("it is wrong") };
                assert_eq!(name.as_deref(), expected, "{}", pair.user());
            }
        }
    }

    #[tokio::test]
    async fn a_right_password_under_a_wrong_name_is_not_refused_under_the_right_one() {
        let users = users(&[]);
        assert!(matches!(users.verify(&credentials("anne:right"), None).await, Ok(PasswordAttempt::Wrong { .. })));
        assert!(users.recall_refusal(&credentials("ann:right")).is_none());
        assert!(matches!(users.verify(&credentials("ann:right"), None).await, Ok(PasswordAttempt::Right(_))));
    }

    #[test]
    fn it_is_for_the_hosts_that_are_named_and_for_no_others() {
        let users = users(&[]);
        for (host, expected) in [
            ("a.example", true),
            ("x.b.example", true),
            ("x.y.b.example", true),
            ("b.example", false),
            ("x.a.example", false),
            ("xb.example", false),
            ("example", false),
            ("", false),
        ] {
            assert_eq!(users.covers(host), expected, "{host}");
        }
        assert_eq!(users.challenge(), r#"Basic realm="Emergency Access", charset="UTF-8""#);
    }
}
