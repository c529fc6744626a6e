//! The ways of programs to a verdict: requests with a credential of their own in place of a session.

use std::time::Duration;

use data_encoding::BASE64;
use serde_json::json;

use super::{
    ways::{Promise, Scene},
    world::{GateProcess, Question, World},
};
use crate::{
    oidc::tests::AccessTokenKey::{self, Forged, Published, Unpublished},
    session::service_tokens::admin::NewServiceToken,
};

/// Audience of the tokens that count.
const AUDIENCE: &str = "api";

/// Beyond the grace of an outage.
const LONG: Duration = Duration::from_hours(2);

/// Way of a program. Those without the right to pass are refused whatever fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgramWay {
    /// A service token in the store.
    ServiceToken,
    /// A service token in memory that other processes may have revoked, longer than the grace ago.
    StaleServiceToken,
    /// A service token that was revoked, and is not in memory.
    RevokedServiceToken,
    /// A service token in memory that another process has revoked, longer than the grace ago.
    ServiceTokenRevokedElsewhere,
    /// A service token for another app.
    ForeignServiceToken,
    /// A JWT whose issuer's metadata and keys have to be fetched.
    Jwt,
    /// A JWT for another audience.
    ForeignJwt,
    /// A JWT with a signature of somebody else's.
    ForgedJwt,
    /// A JWT with a key that the issuer does not publish.
    UnknownKeyJwt,
    /// An opaque token that the provider has to be asked about.
    OpaqueToken,
    /// The same, when it was asked about a while ago.
    KnownOpaqueToken,
    /// An opaque token that was revoked since.
    RevokedOpaqueToken,
    /// An opaque token that is not in force.
    InactiveToken,
    /// An opaque token that was issued to another client.
    ForeignOpaqueToken,
    /// An app password.
    AppPassword,
    /// A wrong app password.
    WrongAppPassword,
    /// An app password that the provider answers for somebody else.
    AppPasswordOfAnother,
}

impl ProgramWay {
    pub(super) fn promise(self) -> Promise {
        match self {
            Self::ServiceToken | Self::StaleServiceToken => Promise::Serves(&["store_unavailable"]),
            Self::Jwt | Self::OpaqueToken | Self::KnownOpaqueToken | Self::AppPassword => {
                Promise::Serves(&["provider_unavailable"])
            }
            Self::RevokedServiceToken
            | Self::ServiceTokenRevokedElsewhere
            | Self::ForeignServiceToken
            | Self::ForeignJwt
            | Self::ForgedJwt
            | Self::UnknownKeyJwt
            | Self::RevokedOpaqueToken
            | Self::InactiveToken
            | Self::ForeignOpaqueToken
            | Self::WrongAppPassword
            | Self::AppPasswordOfAnother => Promise::Refuses,
        }
    }

    /// Returns the status and the reason while nothing fails, and whether store and provider are asked.
    pub(super) fn undisturbed(self) -> (u16, &'static str, [bool; 2]) {
        let asked = [self.is_service_token(), !self.is_service_token()];
        match self.promise() {
            Promise::Serves(_) => (200, "", asked),
            _ => (401, "invalid_token", asked),
        }
    }

    /// Returns the name of who may be let in.
    pub(super) fn user(self) -> &'static str {
        if self.is_service_token() { "token:ann" } else { "ann" }
    }

    fn is_service_token(self) -> bool {
        matches!(
            self,
            Self::ServiceToken
                | Self::StaleServiceToken
                | Self::RevokedServiceToken
                | Self::ServiceTokenRevokedElsewhere
                | Self::ForeignServiceToken
        )
    }

    /// Puts up the situation.
    pub(super) async fn scene(self) -> Scene {
        let is_shared = matches!(self, Self::StaleServiceToken | Self::ServiceTokenRevokedElsewhere);
        let world = World::new(is_shared).await;
        let replica = world.replica();
        let question = if self.is_service_token() {
            self.service_token(&world, &replica).await
        } else {
            self.api_client(&world, &replica).await
        };
        Scene { world, replica, question, session: String::new() }
    }

    async fn service_token(self, world: &World, replica: &GateProcess) -> Question {
        let admin = world.token_admin();
        let app = if self == Self::ForeignServiceToken { "closed" } else { "app" };
        let (apps, groups) = (vec![app.to_owned()], vec!["admins".to_owned()]);
        let token =
            admin.create(NewServiceToken { name: "ann".to_owned(), apps, groups, lifetime: None }).await.unwrap();
        let question = Question::fetch("app.test", "/", "").with("doorward-token", &token);
        if matches!(self, Self::StaleServiceToken | Self::ServiceTokenRevokedElsewhere) {
            is_let_in(replica, &question).await;
            world.tick(LONG);
        }
        if matches!(self, Self::RevokedServiceToken | Self::ServiceTokenRevokedElsewhere) {
            admin.revoke("ann").await.unwrap();
        }
        question
    }

    async fn api_client(self, world: &World, replica: &GateProcess) -> Question {
        let jwt = |audience: &str, key: AccessTokenKey| world.issuer.access_token(audience, key);
        let credential = match self {
            Self::ForeignJwt => jwt("another", Published),
            Self::ForgedJwt => jwt(AUDIENCE, Forged),
            Self::UnknownKeyJwt => jwt(AUDIENCE, Unpublished),
            Self::Jwt => jwt(AUDIENCE, Published),
            Self::AppPassword | Self::WrongAppPassword => BASE64.encode(b"ann:an app password"),
            Self::AppPasswordOfAnother => BASE64.encode(b"ben:an app password"),
            _ => "an-access-token".to_owned(),
        };
        let scheme = match self {
            Self::AppPassword | Self::WrongAppPassword | Self::AppPasswordOfAnother => "Basic",
            _ => "Bearer",
        };
        // Nobody has signed in: an answer to an app password repeats no nonce. It lasts longer than the test's time.
        world.issuer.claims(json!({ "nonce": null, "exp": u64::from(u32::MAX) }), json!({}));
        let client = if self == Self::ForeignOpaqueToken { "another" } else { "doorward" };
        world.issuer.introspects(self != Self::InactiveToken, client);
        if self == Self::WrongAppPassword {
            world.issuer.refuse_grants();
        }
        let question =
            Question::fetch("app.test", "/api/x", "").with("authorization", &format!("{scheme} {credential}"));
        if matches!(self, Self::KnownOpaqueToken | Self::RevokedOpaqueToken) {
            is_let_in(replica, &question).await;
            world.tick(Duration::from_mins(2));
            world.issuer.introspects(self == Self::KnownOpaqueToken, client);
        }
        question
    }
}

async fn is_let_in(replica: &GateProcess, question: &Question) {
    let seen = replica.ask(question).await;
    assert!(seen.lets_in(), "{seen:?}");
}
