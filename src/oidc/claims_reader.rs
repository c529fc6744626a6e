//! Reading a person's claims: from a verified ID token, completed from the userinfo endpoint where it lacks some.
//!
//! Promises: a userinfo endpoint that fails ends no session and, where no rule needs its groups, stops no sign-in; what
//! cannot be read, and groups that are missing or held back, are logged once with the mend.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    claims::{self, Occasion, UserinfoClaims},
    error::Error,
    groups,
    id_token::VerifiedIdToken,
    json::{JsonObject, ReadObject},
    odd_fields::OddFields,
    settings::{GroupsUse, Settings},
    standard_claims,
    userinfo::{UserinfoEndpoint, UserinfoError, UserinfoRequest},
};
use crate::{clock::Timestamp, identity::Identity};

const ID_TOKEN: &str = "ID token";
const USERINFO: &str = "userinfo";
const ACCESS_TOKEN: &str = "access token";
const INTROSPECTION: &str = "introspection response";
/// The most different warnings: their texts hold a status.
const MAX_WARNINGS: usize = 32;

/// Reader of the claims of one provider's people.
pub(super) struct ClaimsReader {
    settings: Arc<Settings>,
    userinfo_endpoint: UserinfoEndpoint,
    odd: Arc<OddFields>,
    /// Warnings that have been logged.
    warned: Mutex<BTreeSet<String>>,
}

impl ClaimsReader {
    pub(super) fn new(settings: Arc<Settings>, userinfo_endpoint: UserinfoEndpoint, odd: Arc<OddFields>) -> Self {
        Self { settings, userinfo_endpoint, odd, warned: Mutex::default() }
    }

    /// Returns the identity of a verified ID token. `previous` is the session's identity, at a renewal.
    pub(super) async fn complete(
        &self,
        verified: VerifiedIdToken,
        request: &UserinfoRequest<'_>,
        previous: Option<&Identity>,
    ) -> Result<Identity, Error> {
        let VerifiedIdToken { claims, subject } = verified;
        let own = standard_claims::without_odd(claims, ID_TOKEN, &self.odd);
        self.name_odd_groups(&own, ID_TOKEN);
        let userinfo = match &request.metadata.userinfo_endpoint {
            Some(url) if claims::needs_userinfo(&self.settings, &own) => {
                match self.userinfo_endpoint.fetch(url, request, &subject).await {
                    Ok(read) => UserinfoClaims::Told(self.userinfo(read)),
                    Err(UserinfoError::Unusable(error)) => {
                        self.warn_of_userinfo(&error);
                        UserinfoClaims::Failed(error)
                    }
                    Err(error @ UserinfoError::AnotherSubject) => return Err(error.into()),
                }
            }
            _ => UserinfoClaims::NotAsked,
        };
        self.warn_of_groups(&own, &userinfo);
        let occasion = Occasion { previous, now: request.now };
        claims::identity(&self.settings, &subject, &own, userinfo, occasion)
    }

    /// Returns the identity of a verified access token of an API client. It says all that there is to know: nothing is asked.
    pub(super) fn of_access_token(&self, claims: ReadObject, subject: &str, now: Timestamp) -> Result<Identity, Error> {
        let own = standard_claims::without_odd(claims, ACCESS_TOKEN, &self.odd);
        self.name_odd_groups(&own, ACCESS_TOKEN);
        claims::identity(&self.settings, subject, &own, UserinfoClaims::NotAsked, Occasion { previous: None, now })
    }

    /// Returns the identity of an introspected token that is good for the userinfo endpoint, unless that says otherwise.
    pub(super) async fn of_introspected_token(
        &self,
        claims: ReadObject,
        subject: &str,
        request: &UserinfoRequest<'_>,
    ) -> Result<Identity, Error> {
        let own = standard_claims::without_odd(claims, INTROSPECTION, &self.odd);
        self.name_odd_groups(&own, INTROSPECTION);
        let userinfo = match &request.metadata.userinfo_endpoint {
            Some(url) if claims::needs_userinfo(&self.settings, &own) => {
                match self.userinfo_endpoint.fetch(url, request, subject).await {
                    Ok(read) => UserinfoClaims::Told(self.userinfo(read)),
                    Err(UserinfoError::Unusable(error @ Error::Unavailable(_))) => return Err(error),
                    // A client that acts for itself has no person to tell of.
                    Err(UserinfoError::Unusable(_)) => UserinfoClaims::NotAsked,
                    Err(error @ UserinfoError::AnotherSubject) => return Err(error.into()),
                }
            }
            _ => UserinfoClaims::NotAsked,
        };
        let occasion = Occasion { previous: None, now: request.now };
        claims::identity(&self.settings, subject, &own, userinfo, occasion)
    }

    /// Returns the identity of a session at a renewal that brought no new ID token; `None` where nothing is new about it.
    pub(super) async fn renewed_without_id_token(
        &self,
        request: &UserinfoRequest<'_>,
        previous: &Identity,
    ) -> Result<Option<Identity>, Error> {
        let Some(url) = &request.metadata.userinfo_endpoint else { return Ok(None) };
        match self.userinfo_endpoint.fetch(url, request, &previous.subject.0).await {
            Ok(read) => {
                let userinfo = self.userinfo(read);
                claims::refreshed_identity(&self.settings, previous, userinfo, request.now).map(Some)
            }
            Err(UserinfoError::Unusable(error)) => {
                self.warn_of_userinfo(&error);
                Ok(claims::outdated_identity(&self.settings, previous, request.now))
            }
            Err(error @ UserinfoError::AnotherSubject) => Err(error.into()),
        }
    }

    /// Warns, once, where the provider sends the ID token of the sign-in again when it refreshes tokens.
    pub(super) fn warn_of_repeated_id_token(&self) {
        if self.is_first("repeated ID token") {
            tracing::warn!(
                provider = self.settings.name,
                "the provider repeats the ID token of the sign-in at renewals, which proves nothing new: groups and claims \
                 are read from its userinfo endpoint, or stay as they were where it has none; mend: have it issue a new ID \
                 token with each refresh, or none"
            );
        }
    }

    fn userinfo(&self, read: ReadObject) -> JsonObject {
        let claims = standard_claims::without_odd(read, USERINFO, &self.odd);
        self.name_odd_groups(&claims, USERINFO);
        claims
    }

    fn name_odd_groups(&self, claims: &JsonObject, source: &'static str) {
        if groups::read(&self.settings, claims).is_odd {
            self.odd.name_once(source, self.settings.groups_claim.to_string(), groups::EXPECTED);
        }
    }

    fn warn_of_userinfo(&self, reason: &Error) {
        if self.is_first(&reason.to_string()) {
            tracing::warn!(
                provider = self.settings.name,
                %reason,
                "the userinfo endpoint gives no claims: sign-ins and renewals go on with the ID token alone"
            );
        }
    }

    /// Warns, once, of groups that rules need and that the provider does not send, or does not send whole.
    fn warn_of_groups(&self, own: &JsonObject, userinfo: &UserinfoClaims) {
        let settings = &self.settings;
        let sources = [Some(own), if let UserinfoClaims::Told(claims) = userinfo { Some(claims) } else { None }];
        let sources = || sources.into_iter().flatten();
        let (claim, provider) = (&settings.groups_claim, &settings.name);
        if settings.groups_use == GroupsUse::Unused || sources().any(|one| groups::read(settings, one).groups.is_some())
        {
            return;
        }
        if sources().any(|one| groups::are_held_back(settings, one)) {
            if self.is_first("groups held back") {
                tracing::warn!(
                    provider,
                    %claim,
                    "the provider does not send the groups of somebody who is in too many of them: rules by group let nobody \
                     in whose groups are held back (groups_incomplete); mend: have it send only the groups assigned to the \
                     application, or app roles with groups_claim = \"roles\""
                );
            }
        } else if !matches!(userinfo, UserinfoClaims::Failed(_)) && self.is_first("no groups") {
            tracing::warn!(
                provider,
                %claim,
                "the provider sends no groups, neither in the ID token nor at its userinfo endpoint: rules by group let in \
                 nobody of whom it sends none; mend: have the provider send the claim that providers[].groups_claim names, \
                 or name the one that it sends; some send it only with a scope such as \"groups\" in providers[].scopes"
            );
        }
    }

    fn is_first(&self, warning: &str) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.len() < MAX_WARNINGS && warned.insert(warning.to_owned())
    }
}
