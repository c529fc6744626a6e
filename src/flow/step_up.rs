//! Step-up (RFC 9470): requests whose session was not signed in as a rule asks for.
//!
//! Promises: only a page that a person opens goes to the provider, and what comes back and is not what was asked for ends at a
//! page; everybody else is told what is needed, and where a person can see to it.

use std::{borrow::Cow, fmt, sync::Arc};

use http::HeaderValue;
use serde_json::{Map, Value};

use super::{
    context::RequestContext, login::LoginFlow, refusal::Refusals, refusal_log::RefusalDetails,
    return_target::ReturnTarget, step_up_request,
};
use crate::{
    edge::{Intent, Reason, Refusal, Verdict},
    identity::PackedIdentity,
    metrics::LoginResult,
    pages::Page,
    policy::{StepUp, UnmetStepUp, auth_time, redirect::RedirectTarget},
    session::CachedSession,
};

/// Answers requests that need a stronger or more recent sign-in.
pub(super) struct StepUps {
    pub(super) login: Arc<LoginFlow>,
    pub(super) refusals: Arc<Refusals>,
}

/// Sign-in that a request needs and does not have.
#[derive(Debug)]
pub(super) struct MissingStepUp {
    /// The session that lacks it; `None` for a credential that is no session.
    pub(super) session: Option<Arc<CachedSession>>,
    /// What is asked for; `None` where no sign-in could satisfy all of it.
    pub(super) asked: Option<StepUp>,
}

/// Step-up that has not brought what it asked for.
pub(super) struct FailedStepUp<'a> {
    pub(super) asked: &'a StepUp,
    /// Where the page leads that tries again.
    pub(super) target: &'a ReturnTarget,
    /// The person and their claims.
    pub(super) user: &'a str,
    pub(super) subject: &'a str,
    pub(super) claims: &'a Map<String, Value>,
    pub(super) cause: StepUpFailure,
    /// `Set-Cookie` lines of the page.
    pub(super) cookies: Vec<HeaderValue>,
}

/// Cause of a step-up that has not brought what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepUpFailure {
    /// The provider signed the person in, but otherwise.
    Unmet(UnmetStepUp),
    /// It answered with an error of this code, such as after the person cancelled.
    Refused(&'static str),
}

impl StepUps {
    /// Answers a request that lacks a sign-in: sends a page to the provider, and tells anything else what is needed.
    pub(super) async fn answer(
        &self,
        context: &RequestContext<'_>,
        target: &RedirectTarget,
        missing: &MissingStepUp,
    ) -> Verdict {
        let Some(asked) = &missing.asked else { return Verdict::Refuse(self.impossible(context, missing)) };
        if missing.session.is_none() {
            return Verdict::Refuse(Refusals::insufficient(context, challenge(asked), None));
        }
        let begins_at = |target: &str| step_up_request::url_with_target(context, &self.login.keyring, asked, target);
        match context.intent {
            Intent::Page if context.is_opened_by_a_person() => {
                self.login.challenge(context, target, Reason::StepUp, Some(asked)).await
            }
            // A page that nobody opens: a prefetch.
            Intent::Page | Intent::Fetch => {
                let login_url = step_up_request::url(context, &self.login.keyring, asked);
                Verdict::Refuse(Refusals::insufficient(context, challenge(asked), Some(&login_url)))
            }
            Intent::Frame => {
                let (app, needs) = (context.site.app.name.as_str(), in_words(asked));
                let page = Page::FrameNeedsStepUp { app, needs: &needs, step_up: &begins_at(target.as_str()) };
                Verdict::Refuse(self.refusals.insufficient_page(challenge(asked), &page))
            }
            Intent::Form => {
                let (root, needs) = (RedirectTarget::root(context.redirect_base()), in_words(asked));
                let page = Page::FormNeedsStepUp { needs: &needs, step_up: &begins_at(root.as_str()) };
                Verdict::Refuse(self.refusals.insufficient_page(challenge(asked), &page))
            }
        }
    }

    /// Refuses where the trip to the provider has not brought what it asked for. The page says what is needed, and tries again.
    pub(super) fn failed(&self, context: &RequestContext<'_>, failure: FailedStepUp<'_>) -> Verdict {
        let FailedStepUp { asked, target, user, subject, claims, cause, cookies } = failure;
        let result = match cause {
            StepUpFailure::Unmet(_) => LoginResult::Failed,
            StepUpFailure::Refused(_) => LoginResult::Denied,
        };
        self.login.refused.count(context, result);
        let retry = match target {
            ReturnTarget::Whole(target) => {
                step_up_request::url_with_target(context, &self.login.keyring, asked, target.as_str())
            }
            kept @ ReturnTarget::Kept { .. } => kept.retry_url(context),
        };
        let (needs, has) = (in_words(asked), SignInOf(claims));
        let details = RefusalDetails {
            user: Some(user),
            subject: Some(subject),
            needs: Some(asked),
            has: Some(&has),
            detail: Some(&cause),
            mend: cause.mend(),
            ..RefusalDetails::default()
        };
        let page = Page::StepUpFailed {
            app: &context.site.app.name,
            needs: &needs,
            retry: &retry,
            switch: &context.endpoint_url("/sign_out?rd=%2F"),
        };
        let mut refusal = self.refusals.refuse_with(context, Reason::StepUp, &page, details);
        refusal.headers.extend(cookies.into_iter().map(|cookie| (http::header::SET_COOKIE, cookie)));
        Verdict::Refuse(refusal)
    }

    /// Refuses where several rules apply and no sign-in could satisfy all of them.
    fn impossible(&self, context: &RequestContext<'_>, missing: &MissingStepUp) -> Refusal {
        let identity = missing.session.as_ref().map(|session| session.identity());
        let details = RefusalDetails {
            user: identity.map(PackedIdentity::user),
            subject: identity.map(PackedIdentity::subject),
            detail: Some(&"several rules apply, and no class of authentication is in all of their lists (acr)"),
            ..RefusalDetails::default()
        };
        let page = Page::StepUpImpossible { app: &context.site.app.name };
        self.refusals.refuse_with(context, Reason::StepUp, &page, details)
    }
}

impl StepUpFailure {
    /// Advice to the operator.
    fn mend(self) -> Option<&'static str> {
        match self {
            Self::Unmet(UnmetStepUp::Class) => Some(
                "have the provider reach one of these classes where acr_values asks for it, and put acr into the ID token",
            ),
            Self::Unmet(UnmetStepUp::UnknownTime) => Some(
                "have the provider put auth_time into the ID token, and check both clocks; without it neither max_age nor an \
                 app's lifetime and idle_timeout can be kept",
            ),
            Self::Unmet(UnmetStepUp::TooOld) => {
                Some("have the provider heed max_age, and check both clocks: the proof is older than was asked for")
            }
            Self::Refused(_) => None,
        }
    }
}

impl fmt::Display for StepUpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unmet(UnmetStepUp::Class) => {
                "the provider signed the person in, but not in one of these classes (acr)"
            }
            Self::Unmet(UnmetStepUp::UnknownTime) => {
                "the provider signed the person in, but does not say when they proved who they are (auth_time)"
            }
            Self::Unmet(UnmetStepUp::TooOld) => {
                "the provider signed the person in, but the proof of who they are is too old (auth_time)"
            }
            Self::Refused(code) => return write!(f, "the provider answered with an error ({code})"),
        })
    }
}

/// Prints how somebody signed in.
struct SignInOf<'c>(&'c Map<String, Value>);

impl fmt::Display for SignInOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get("acr") {
            Some(acr) => write!(f, "acr = {acr}")?,
            None => f.write_str("no acr")?,
        }
        match auth_time(self.0) {
            Some(time) => write!(f, ", auth_time = {time}"),
            None => f.write_str(", no auth_time"),
        }
    }
}

/// Returns what is asked for as part of a sentence for people.
fn in_words(asked: &StepUp) -> String {
    let class = match asked.acr() {
        [] => Cow::Borrowed("a sign-in"),
        classes => format!("a sign-in in a stronger way ({})", classes.join(" or ")).into(),
    };
    match asked.max_age() {
        Some(age) => format!("{class} that is not older than {}", humantime::format_duration(age)),
        None => class.into_owned(),
    }
}

/// Returns the challenge for programs (RFC 9470, section 3).
fn challenge(asked: &StepUp) -> HeaderValue {
    const ERROR: &str = "Bearer error=\"insufficient_user_authentication\"";
    let classes = match asked.acr() {
        [] => String::new(),
        classes => format!(", acr_values=\"{}\"", classes.join(" ")),
    };
    let age = asked.max_age().map(|age| format!(", max_age=\"{}\"", age.as_secs())).unwrap_or_default();
    let text = format!("{ERROR}{classes}{age}");
    // The configuration takes no class that could not stand there.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(ERROR))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_is_challenged_and_a_person_told_in_words() {
        let acr = ["gold", "urn:mace:incommon:iap:silver"].map(str::to_owned).to_vec();
        for (acr, max_age, challenged, told) in [
            (
                acr.clone(),
                Some(900),
                r#", acr_values="gold urn:mace:incommon:iap:silver", max_age="900""#,
                "a sign-in in a stronger way (gold or urn:mace:incommon:iap:silver) that is not older than 15m",
            ),
            (vec![], Some(5), r#", max_age="5""#, "a sign-in that is not older than 5s"),
            (vec!["gold".to_owned()], None, r#", acr_values="gold""#, "a sign-in in a stronger way (gold)"),
        ] {
            let asked = StepUp::of_all([(acr.as_slice(), max_age.map(Duration::from_secs))]).unwrap();
            let whole = format!("Bearer error=\"insufficient_user_authentication\"{challenged}");
            assert_eq!(challenge(&asked).to_str().unwrap(), whole);
            assert_eq!(in_words(&asked), told);
        }
    }
}
