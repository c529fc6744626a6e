//! The gate's pages: typed models in, complete HTML documents out, from templates that are compiled in.
//!
//! Each page is one self-contained response: no script and no second request that an edge could lose or a rate limit
//! refuse. Every value is escaped and truncated, and every document comes with the Content Security Policy that allows its
//! stylesheet and nothing else.

mod colour;
mod settings;
mod static_file;
#[cfg(test)]
mod tests;
mod theme;

use askama::Template;
use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;

use self::theme::Theme;
pub use self::{settings::Settings, static_file::StaticFile};
use crate::edge::Framing;

/// Characters of a value from outside that a page shows.
const MAX_VALUE_CHARS: usize = 300;

/// A page and its values. Links are absolute URLs or paths on the host.
#[derive(Clone, Debug)]
pub enum Page<'a> {
    /// Sign-in failed: the reason in plain words, and a link to try again.
    SignInFailed {
        /// One sentence, for instance the provider's error description.
        detail: &'a str,
        /// Begins another attempt.
        retry: &'a str,
    },
    /// Sign-in was repeated too often (redirect loop), most likely because cookies are blocked.
    SignInLoop {
        /// Begins another attempt.
        retry: &'a str,
        /// Clears the gate's cookies.
        reset: &'a str,
    },
    /// Sign-in was repeated too often because the edge does not pass the browser's cookies to the check.
    CookiesNotPassed {
        /// Begins another attempt.
        retry: &'a str,
    },
    /// Signed in, but not allowed here.
    NotAllowed {
        /// User name of the session.
        user: &'a str,
        /// The app's name.
        app: &'a str,
        /// Signs out, so that another account can be used.
        switch: &'a str,
    },
    /// Signed in, and allowed by an e-mail address that has not been verified.
    EmailUnverified {
        /// User name of the session.
        user: &'a str,
        /// The app's name.
        app: &'a str,
    },
    /// A path that is closed to all users.
    Denied {
        /// The app's name.
        app: &'a str,
    },
    /// A path for programs that send a credential of their own.
    CredentialNeeded {
        /// The app's name.
        app: &'a str,
    },
    /// Signed in, but another site made the request (CSRF).
    CrossSite {
        /// The app's name.
        app: &'a str,
    },
    /// No app answers on this host.
    UnknownHost {
        /// The host that was asked.
        host: &'a str,
    },
    /// The identity provider is unavailable.
    ProviderUnavailable {
        /// Tries again.
        retry: &'a str,
    },
    /// The app behind the gate does not answer.
    AppUnavailable {
        /// The app's name.
        app: &'a str,
    },
    /// The session store is unavailable.
    StoreUnavailable {
        /// Tries again.
        retry: &'a str,
    },
    /// More requests than there is room for, or more attempts from one network than are allowed in the time.
    TooManyRequests {
        /// Tries again.
        retry: &'a str,
    },
    /// The emergency sign-in asks: shown to those who cancel the browser's question.
    EmergencySignIn {
        /// What is unavailable, as a noun with its article.
        what: &'a str,
        /// Asks again.
        retry: &'a str,
    },
    /// An emergency password was wrong.
    EmergencyRefused {
        /// Asks again.
        retry: &'a str,
    },
    /// More emergency passwords than are looked at.
    EmergencyBusy {
        /// Asks again.
        retry: &'a str,
    },
    /// A form was sent without a session: the person signs in in a new tab, goes back and sends it again.
    FormNotSent {
        /// Begins a sign-in; opens in a new tab.
        sign_in: &'a str,
    },
    /// A page in a frame needs a sign-in, which opens in a new tab: sign-in pages refuse to be framed.
    SignInOutsideFrame {
        /// The app's name.
        app: &'a str,
        /// Begins a sign-in; opens in a new tab.
        sign_in: &'a str,
    },
    /// Signed in, but not as this page needs it, and the way to the provider has not changed that.
    StepUpFailed {
        /// The app's name.
        app: &'a str,
        /// What the page needs, as part of a sentence.
        needs: &'a str,
        /// Begins another attempt.
        retry: &'a str,
        /// Signs out, so that another account can be used.
        switch: &'a str,
    },
    /// Signed in, at a path of which several rules ask for sign-ins that exclude each other.
    StepUpImpossible {
        /// The app's name.
        app: &'a str,
    },
    /// A form was sent that needs a stronger or more recent sign-in, which opens in a new tab.
    FormNeedsStepUp {
        /// What it needs, as part of a sentence.
        needs: &'a str,
        /// Begins that sign-in; opens in a new tab.
        step_up: &'a str,
    },
    /// A page in a frame needs a stronger or more recent sign-in, which opens in a new tab.
    FrameNeedsStepUp {
        /// The app's name.
        app: &'a str,
        /// What it needs, as part of a sentence.
        needs: &'a str,
        /// Begins that sign-in; opens in a new tab.
        step_up: &'a str,
    },
    /// A page of the app needs a sign-in, which a link begins.
    SignIn {
        /// The app's name.
        app: &'a str,
        /// Begins a sign-in.
        sign_in: &'a str,
    },
    /// The session has ended.
    SignedOut {
        /// Signs in again.
        sign_in: &'a str,
    },
    /// Another site asked to sign out: a form for the person to confirm.
    ConfirmSignOut {
        /// Target of the form (`POST`).
        action: &'a str,
        /// Back to the app.
        stay: &'a str,
    },
    /// All cookies of the gate are cleared.
    Reset {
        /// Back to the app.
        back: &'a str,
    },
    /// A request that the gate does not understand.
    BadRequest {
        /// The reason, in one sentence.
        detail: &'a str,
    },
    /// No page at this path.
    NotFound,
}

impl Page<'_> {
    /// Returns `true` if the page has a form. Its browser then has to send `Origin` or `Referer`, or the gate takes the form
    /// for another site's.
    fn has_form(&self) -> bool {
        matches!(self, Self::ConfirmSignOut { .. })
    }

    /// Returns where the page may be shown: in frames only if all that can be clicked in it opens a tab of its own.
    fn framing(&self) -> Framing {
        match self {
            Self::FormNotSent { .. }
            | Self::SignInOutsideFrame { .. }
            | Self::FormNeedsStepUp { .. }
            | Self::FrameNeedsStepUp { .. } => Framing::Allowed,
            _ => Framing::Denied,
        }
    }

    /// Returns the text of the title and the heading.
    fn heading(&self) -> &'static str {
        match self {
            Self::SignInFailed { .. } => "Sign-in failed",
            Self::SignInLoop { .. } => "Sign-in keeps going round",
            Self::CookiesNotPassed { .. } => "This site loses your sign-in",
            Self::NotAllowed { .. } => "You do not have access",
            Self::EmailUnverified { .. } => "Your e-mail address is not verified",
            Self::Denied { .. } => "This page is closed",
            Self::CredentialNeeded { .. } => "This address is for programs",
            Self::CrossSite { .. } => "Another site sent this",
            Self::UnknownHost { .. } => "No app at this address",
            Self::ProviderUnavailable { .. } => "Sign-in is not available",
            Self::AppUnavailable { .. } => "The app does not answer",
            Self::StoreUnavailable { .. } => "We cannot check your sign-in",
            Self::TooManyRequests { .. } => "Too many requests",
            Self::EmergencySignIn { .. } => "Emergency sign-in",
            Self::EmergencyRefused { .. } => "The emergency password is wrong",
            Self::EmergencyBusy { .. } => "Too many attempts at once",
            Self::FormNotSent { .. } => "Your form was not sent",
            Self::SignInOutsideFrame { .. } => "Sign in to see this",
            Self::StepUpFailed { .. } => "You have to confirm who you are",
            Self::StepUpImpossible { .. } => "Nobody can sign in as this page asks",
            Self::FormNeedsStepUp { .. } => "Confirm who you are to send this form",
            Self::FrameNeedsStepUp { .. } => "Confirm who you are to see this",
            Self::SignIn { .. } => "Sign in",
            Self::SignedOut { .. } => "You are signed out",
            Self::ConfirmSignOut { .. } => "Do you want to sign out?",
            Self::Reset { .. } => "Cookies cleared",
            Self::BadRequest { .. } => "We could not read this request",
            Self::NotFound => "Page not found",
        }
    }
}

/// Renderer of the pages in one theme.
#[derive(Debug)]
pub struct Pages {
    theme: Theme,
}

/// A rendered page, with the Content Security Policy that it needs.
#[derive(Clone, Debug)]
pub struct Document {
    /// The complete HTML document.
    pub html: Bytes,
    /// Value of `Content-Security-Policy`.
    pub csp: HeaderValue,
    /// The same for browsers that read `X-Frame-Options`.
    pub framing: Framing,
}

/// The script of single-page apps (`docs/single-page-apps.md`).
pub const CLIENT_SCRIPT: &str = include_str!("client.js");

impl Pages {
    /// Pages with these settings. An accent that is no colour and a logo that is no image are left out.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { theme: Theme::new(settings) }
    }

    /// Renders a page. `request_id` is shown so that the operator can find the request in the log.
    #[must_use]
    pub fn render(&self, page: &Page<'_>, request_id: &str) -> Document {
        let template = PageTemplate { theme: &self.theme, page, request_id };
        let mut html = String::with_capacity(self.theme.size() + PageTemplate::SIZE_HINT);
        template.render_into(&mut html).expect("writing to a String does not fail");
        let framing = page.framing();
        let csp = match framing {
            Framing::Allowed => &self.theme.csp_in_frames,
            Framing::Denied if page.has_form() => &self.theme.csp_with_form,
            Framing::Denied => &self.theme.csp,
        };
        Document { html: Bytes::from(html), csp: csp.clone(), framing }
    }

    /// Returns the file with this name below `/static/`.
    #[must_use]
    pub fn static_file(&self, name: &str) -> Option<&StaticFile> {
        self.static_files().find(|file| file.name == name)
    }

    /// Returns all files below `/static/`.
    pub fn static_files(&self) -> impl Iterator<Item = &StaticFile> {
        self.theme.static_files.iter()
    }
}

/// Returns the JSON body of a refusal, for requests that do not open a page. `error` is the stable reason code, `message` one
/// sentence for a person who reads it in a console, `login_url` the start of a sign-in where one would help.
#[must_use]
pub fn json(error: &str, message: &str, request_id: &str, login_url: Option<&str>) -> Bytes {
    #[derive(Serialize)]
    struct ErrorBody<'a> {
        error: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        login_url: Option<&'a str>,
        request_id: &'a str,
    }
    let body = ErrorBody { error, message, login_url, request_id };
    Bytes::from(serde_json::to_vec(&body).expect("strings can always be written as JSON"))
}

#[derive(Template)]
#[template(path = "page.html")]
struct PageTemplate<'a> {
    theme: &'a Theme,
    page: &'a Page<'a>,
    request_id: &'a str,
}

/// Returns the beginning of a value from outside, so that no provider and no URL fills the page.
fn truncated(value: &str) -> &str {
    value.char_indices().nth(MAX_VALUE_CHARS).and_then(|(end, _)| value.get(..end)).unwrap_or(value)
}

/// Returns a link that a person may follow, an http(s) URL or a path on this host, and the start page for any other.
fn safe_link(address: &str) -> &str {
    // Browsers read a backslash as a slash, and skip tabs and line breaks wherever they stand.
    let host_relative = |address: &str| address.starts_with('/') && !address.starts_with("//");
    let web = |address: &str| address.starts_with("https://") || address.starts_with("http://");
    let plain = !address.contains(|c: char| c == '\\' || c.is_ascii_control());
    if plain && (host_relative(address) || web(address)) { address } else { "/" }
}
