//! The ways to a verdict, each as a request in a situation, and what is promised of it whatever fails.
//!
//! A new way is a variant, a line in [`Way::ALL`], its situation and its promise.

use std::time::Duration;

use serde_json::json;

use super::{
    adopting::AdoptWay,
    programs::ProgramWay,
    world::{GateProcess, Question, World},
};

/// Refusals of somebody who may pass, while something is unavailable.
pub(super) const UNAVAILABLE: &[&str] = &["store_unavailable", "provider_unavailable"];

const HOUR: Duration = Duration::from_hours(1);

/// Way to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A session in memory.
    Cached,
    /// A session in the store.
    Uncached,
    /// A session in memory that other processes may have changed.
    Revalidated,
    /// The same, longer than the grace ago.
    RevalidatedBeyondGrace,
    /// A session that another process has ended, longer than the grace ago.
    EndedElsewhere,
    /// A session that has ended, and is not in memory.
    Ended,
    /// Somebody who is signed in, and not allowed.
    NotAllowed,
    /// A cookie of another host.
    OtherHost,
    /// A made-up cookie.
    MadeUp,
    /// A path for anybody, whose app is told who asks.
    Optional,
    /// A session whose access token has ended, within the grace.
    Overdue,
    /// The same, beyond it.
    OverdueBeyondGrace,
    /// A session beyond the grace that the provider will not renew.
    RenewalRefused,
    /// A session beyond the grace whose renewal takes the group that lets in.
    RenewalTakesGroup,
    /// A page whose session the provider has to authorize again.
    Reauthorized,
    /// A fetch, long after that.
    ReauthorizationOverdue,
    /// The provider's answer that it does not authorize a session again.
    SilentRefusal,
    /// A page without a session.
    SignIn,
    /// A callback.
    Callback,
    /// A callback whose ID token was issued for another sign-in.
    ForeignToken,
    /// A callback in a browser that did not begin it.
    ForeignBrowser,
    /// A sign-out.
    SignOut,
    /// A reset.
    Reset,
    /// A logout token.
    BackchannelLogout,
    /// A logout through the browser.
    FrontchannelLogout,
    /// The page that tells of the caller's session.
    SessionPage,
    /// A page that asks for a stronger sign-in than the session's.
    StepUp,
    /// A fetch of the same.
    StepUpFetch,
    /// The callback of a stronger sign-in.
    StepUpCallback,
    /// A callback whose sign-in is no stronger than the one before.
    StepUpUnmet,
    /// A program with a credential of its own.
    Program(ProgramWay),
    /// Cookies of an old outpost.
    Adopt(AdoptWay),
}

/// What is promised of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// Somebody is let in, or told for one of these reasons to come again, and is let in once nothing fails.
    Serves(&'static [&'static str]),
    /// Nobody is let in, then or later.
    Refuses,
    /// Nobody is let in by this answer, and nobody is signed in but by a callback of their own.
    Answers,
    /// The session is over from then on, in this process, whatever the answer.
    Ends,
    /// The session is over if the answer says so; otherwise asking again ends it.
    EndsOrCanBeRepeated,
}

/// Request in its situation.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) replica: GateProcess,
    pub(super) question: Question,
    /// Cookies of the session.
    pub(super) session: String,
}

impl Way {
    /// All ways.
    pub(super) const ALL: [Self; 51] = [
        Self::Cached,
        Self::Uncached,
        Self::Revalidated,
        Self::RevalidatedBeyondGrace,
        Self::EndedElsewhere,
        Self::Ended,
        Self::NotAllowed,
        Self::OtherHost,
        Self::MadeUp,
        Self::Optional,
        Self::Overdue,
        Self::OverdueBeyondGrace,
        Self::RenewalRefused,
        Self::RenewalTakesGroup,
        Self::Reauthorized,
        Self::ReauthorizationOverdue,
        Self::SilentRefusal,
        Self::SignIn,
        Self::Callback,
        Self::ForeignToken,
        Self::ForeignBrowser,
        Self::SignOut,
        Self::Reset,
        Self::BackchannelLogout,
        Self::FrontchannelLogout,
        Self::SessionPage,
        Self::StepUp,
        Self::StepUpFetch,
        Self::StepUpCallback,
        Self::StepUpUnmet,
        Self::Program(ProgramWay::ServiceToken),
        Self::Program(ProgramWay::StaleServiceToken),
        Self::Program(ProgramWay::RevokedServiceToken),
        Self::Program(ProgramWay::ServiceTokenRevokedElsewhere),
        Self::Program(ProgramWay::ForeignServiceToken),
        Self::Program(ProgramWay::Jwt),
        Self::Program(ProgramWay::ForeignJwt),
        Self::Program(ProgramWay::ForgedJwt),
        Self::Program(ProgramWay::UnknownKeyJwt),
        Self::Program(ProgramWay::OpaqueToken),
        Self::Program(ProgramWay::KnownOpaqueToken),
        Self::Program(ProgramWay::RevokedOpaqueToken),
        Self::Program(ProgramWay::InactiveToken),
        Self::Program(ProgramWay::ForeignOpaqueToken),
        Self::Program(ProgramWay::AppPassword),
        Self::Program(ProgramWay::WrongAppPassword),
        Self::Program(ProgramWay::AppPasswordOfAnother),
        Self::Adopt(AdoptWay::Unseen),
        Self::Adopt(AdoptWay::Adopted),
        Self::Adopt(AdoptWay::Ended),
        Self::Adopt(AdoptWay::Unknown),
    ];

    pub(super) fn promise(self) -> Promise {
        match self {
            Self::Cached => Promise::Serves(&[]),
            Self::Uncached | Self::Revalidated | Self::RevalidatedBeyondGrace | Self::Optional | Self::Overdue => {
                Promise::Serves(UNAVAILABLE)
            }
            // Where the provider is there, signing in mends what keeps a session from being renewed.
            Self::OverdueBeyondGrace => {
                Promise::Serves(&["store_unavailable", "provider_unavailable", "session_ended"])
            }
            Self::EndedElsewhere
            | Self::Ended
            | Self::NotAllowed
            | Self::OtherHost
            | Self::MadeUp
            | Self::RenewalRefused
            | Self::RenewalTakesGroup
            | Self::ReauthorizationOverdue
            | Self::StepUpFetch => Promise::Refuses,
            Self::Reauthorized
            | Self::SignIn
            | Self::Callback
            | Self::ForeignToken
            | Self::ForeignBrowser
            | Self::SessionPage
            | Self::StepUp
            | Self::StepUpCallback
            | Self::StepUpUnmet => Promise::Answers,
            Self::Program(program) => program.promise(),
            Self::Adopt(adopt) => adopt.promise(),
            Self::SilentRefusal | Self::SignOut | Self::Reset => Promise::Ends,
            Self::BackchannelLogout | Self::FrontchannelLogout => Promise::EndsOrCanBeRepeated,
        }
    }

    /// Returns the status and the reason while nothing fails, and whether store and provider are asked.
    pub(super) fn undisturbed(self) -> (u16, &'static str, [bool; 2]) {
        let (store, provider, both, memory) = ([true, false], [false, true], [true, true], [false, false]);
        match self {
            Self::Cached => (200, "", memory),
            Self::Uncached | Self::Revalidated | Self::RevalidatedBeyondGrace | Self::Optional | Self::SessionPage => {
                (200, "", store)
            }
            Self::Overdue | Self::OverdueBeyondGrace | Self::BackchannelLogout => (200, "", both),
            Self::EndedElsewhere | Self::Ended => (401, "session_ended", store),
            Self::NotAllowed => (403, "group_missing", store),
            Self::OtherHost | Self::MadeUp => (401, "no_session", memory),
            Self::RenewalRefused => (401, "session_ended", both),
            Self::RenewalTakesGroup => (403, "group_missing", both),
            Self::Reauthorized => (302, "reauthorize", store),
            Self::ReauthorizationOverdue => (401, "reauthorize", store),
            Self::SilentRefusal => (302, "session_ended", store),
            Self::SignIn | Self::ForeignBrowser => (302, "no_session", provider),
            Self::Callback | Self::StepUpCallback => (302, "signed_in", both),
            Self::StepUp => (302, "step_up", both),
            Self::StepUpFetch => (401, "step_up", store),
            Self::StepUpUnmet => (403, "step_up", both),
            Self::Program(program) => program.undisturbed(),
            Self::Adopt(adopt) => adopt.undisturbed(),
            Self::ForeignToken => (403, "sign_in_failed", provider),
            Self::SignOut => (302, "signed_out", store),
            Self::Reset => (401, "reset", store),
            Self::FrontchannelLogout => (401, "signed_out", store),
        }
    }

    /// Returns `true` for a way at whose end somebody may be signed in.
    pub(super) fn may_sign_in(self) -> bool {
        matches!(self, Self::Callback | Self::StepUpCallback | Self::StepUpUnmet)
    }

    /// Returns the name of who may be let in.
    pub(super) fn user(self) -> &'static str {
        match self {
            Self::Program(program) => program.user(),
            _ => "ann",
        }
    }

    /// Returns the host of the app.
    pub(super) fn host(self) -> &'static str {
        match self {
            Self::NotAllowed => "closed.test",
            Self::Reauthorized | Self::ReauthorizationOverdue | Self::SilentRefusal => "fresh.test",
            Self::StepUp | Self::StepUpFetch | Self::StepUpCallback | Self::StepUpUnmet => "strong.test",
            _ => "app.test",
        }
    }

    /// Puts up the situation.
    pub(super) async fn scene(self) -> Scene {
        match self {
            Self::Program(program) => return program.scene().await,
            Self::Adopt(adopt) => return adopt.scene().await,
            _ => {}
        }
        let is_shared = matches!(self, Self::Revalidated | Self::RevalidatedBeyondGrace | Self::EndedElsewhere);
        let world = World::new(is_shared).await;
        let before = world.replica();
        let host = self.host();
        let access = match self {
            Self::Overdue | Self::OverdueBeyondGrace | Self::RenewalRefused | Self::RenewalTakesGroup => {
                Duration::from_mins(5)
            }
            _ => 10 * HOUR,
        };
        let session = match self {
            Self::SignIn | Self::Callback | Self::ForeignToken | Self::ForeignBrowser => String::new(),
            Self::MadeUp => format!("__Host-doorward={}", "A".repeat(64)),
            _ => before.create(world.session(host, access)).await,
        };
        self.let_time_pass(&world).await;
        // Those that have the session in memory; all others are a process that has just been started.
        let replica = match self {
            Self::Cached
            | Self::Revalidated
            | Self::RevalidatedBeyondGrace
            | Self::EndedElsewhere
            | Self::SilentRefusal
            | Self::BackchannelLogout
            | Self::FrontchannelLogout => before,
            _ => world.replica(),
        };
        // These find a provider that has not been asked for anything yet.
        let is_cold = matches!(
            self,
            Self::OverdueBeyondGrace
                | Self::RenewalRefused
                | Self::RenewalTakesGroup
                | Self::SignIn
                | Self::Callback
                | Self::ForeignToken
                | Self::ForeignBrowser
                | Self::BackchannelLogout
                | Self::StepUp
                | Self::StepUpCallback
                | Self::StepUpUnmet
        );
        if !is_cold {
            replica.warm_up().await;
        }
        let question = self.question(&world, &replica, host, &session).await;
        Scene { world, replica, question, session }
    }

    async fn let_time_pass(self, world: &World) {
        match self {
            Self::Revalidated => world.advance(Duration::from_mins(5), json!({})),
            Self::RevalidatedBeyondGrace | Self::OverdueBeyondGrace => world.advance(2 * HOUR, json!({})),
            Self::EndedElsewhere => {
                world.advance(2 * HOUR, json!({}));
                world.rows.clear().await;
            }
            Self::Ended => world.rows.clear().await,
            Self::Overdue => world.advance(Duration::from_mins(10), json!({})),
            Self::RenewalRefused => {
                world.advance(2 * HOUR, json!({}));
                world.issuer.refuse_grants();
            }
            Self::RenewalTakesGroup => world.advance(2 * HOUR, json!({ "groups": ["users"] })),
            Self::Reauthorized | Self::SilentRefusal => world.advance(Duration::from_mins(90), json!({})),
            Self::ReauthorizationOverdue => world.advance(5 * HOUR, json!({})),
            _ => {}
        }
    }

    async fn question(self, world: &World, replica: &GateProcess, host: &str, session: &str) -> Question {
        let endpoint = |target: &str| Question::page(host, &format!("/_doorward{target}"), session);
        match self {
            Self::Optional => Question::fetch(host, "/optional", session),
            Self::OtherHost => Question::fetch("closed.test", "/", session),
            Self::Reauthorized | Self::SignIn | Self::StepUp => Question::page(host, "/deep", session),
            Self::SilentRefusal => {
                let begun = replica.ask(&Question::page(host, "/deep", session)).await;
                let login = begun.set_cookie("__Host-doorward_login").unwrap();
                let target = format!("/_doorward/callback?error=login_required&state={}", begun.parameter("state"));
                Question::page(host, &target, &format!("{session}; {login}"))
            }
            Self::Callback | Self::ForeignToken | Self::ForeignBrowser => {
                let begun = world.replica().ask(&Question::page(host, "/deep", "")).await;
                if self != Self::ForeignToken {
                    world.expect_nonce(&begun.parameter("nonce"));
                }
                let login = begun.set_cookie("__Host-doorward_login").unwrap();
                let login = if self == Self::ForeignBrowser { String::new() } else { login };
                let target = format!("/_doorward/callback?code=a-code&state={}", begun.parameter("state"));
                Question::page(host, &target, &login)
            }
            Self::StepUpCallback | Self::StepUpUnmet => {
                let begun = world.replica().ask(&Question::page(host, "/deep", session)).await;
                let acr = if self == Self::StepUpCallback { json!("mfa") } else { json!(null) };
                world.issuer.claims(json!({ "nonce": begun.parameter("nonce"), "acr": acr }), json!({}));
                let login = begun.set_cookie("__Host-doorward_login").unwrap();
                let target = format!("/_doorward/callback?code=a-code&state={}", begun.parameter("state"));
                Question::page(host, &target, &format!("{session}; {login}"))
            }
            Self::SignOut => endpoint("/sign_out"),
            Self::Reset => endpoint("/reset"),
            Self::BackchannelLogout => Question::logout(host, &world.issuer.logout_token(&json!({}))),
            Self::FrontchannelLogout => {
                let issuer = url::form_urlencoded::byte_serialize(world.issuer_name().as_bytes()).collect::<String>();
                endpoint(&format!("/frontchannel_logout?iss={issuer}&sid=sid-1"))
            }
            Self::SessionPage => Question::direct(host, "/session", session, "cors"),
            _ => Question::fetch(host, "/", session),
        }
    }
}
