//! The gate's pages: typed models in, whole HTML documents out, compiled in.
//!
//! Each page is one self-contained answer: no script, no second request, nothing that an edge could lose or a rate
//! limit eat. Every value is escaped, every document comes with the policy that allows its stylesheet and nothing else,
//! and no value, however long or hostile, makes a document that is not ours. Knows nothing of statuses, sessions and
//! providers: who renders a page decides when.

mod colour;
mod look;
#[cfg(test)]
mod tests;

use askama::Template;
use bytes::Bytes;
use http::HeaderValue;
use look::Look;
use serde::Serialize;

/// The most characters of a value from outside that a page shows.
const BRIEF: usize = 300;

/// How the pages look.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The name in titles and headings; absent: `Doorward`.
    pub title: Option<String>,
    /// An image shown above the heading: its media type and bytes.
    pub logo: Option<(String, Bytes)>,
    /// The accent colour as `#rrggbb`, checked by the configuration.
    pub accent: Option<String>,
}

/// What a page says. Links are absolute addresses or paths on the host.
#[derive(Clone, Debug)]
pub enum Page<'a> {
    /// Sign-in failed: what happened in plain words, and a way to try again.
    SignInFailed {
        /// One sentence, for instance what the provider said.
        detail: &'a str,
        /// Begins another attempt.
        retry: &'a str,
    },
    /// Sign-in went round too often, most likely because cookies are blocked.
    SignInLoop {
        /// Begins another attempt.
        retry: &'a str,
        /// Clears the gate's cookies.
        reset: &'a str,
    },
    /// Signed in, but not allowed here.
    NotAllowed {
        /// Who is signed in.
        user: &'a str,
        /// The app's name.
        app: &'a str,
        /// Signs out, so that another account can be used.
        switch: &'a str,
    },
    /// Signed in and meant, but the e-mail address that is meant has not been verified.
    EmailUnverified {
        /// Who is signed in.
        user: &'a str,
        /// The app's name.
        app: &'a str,
    },
    /// Nobody may have this path.
    Denied {
        /// The app's name.
        app: &'a str,
    },
    /// No app answers on this host.
    UnknownHost {
        /// The host that was asked.
        host: &'a str,
    },
    /// The identity provider does not answer.
    ProviderAway {
        /// Tries again.
        retry: &'a str,
    },
    /// The session store does not answer.
    StoreAway {
        /// Tries again.
        retry: &'a str,
    },
    /// A form was sent without a session: sign in in another tab, go back, send again.
    FormHeld {
        /// Begins a sign-in; opens in a new tab.
        sign_in: &'a str,
    },
    /// The session has ended.
    SignedOut {
        /// Signs in again.
        sign_in: &'a str,
    },
    /// Another site asked to sign out: a form that asks the person.
    ConfirmSignOut {
        /// Where the form is sent (`POST`).
        action: &'a str,
        /// Back to the app.
        stay: &'a str,
    },
    /// All cookies of the gate are cleared.
    Reset {
        /// Back to the app.
        back: &'a str,
    },
    /// The request makes no sense.
    BadRequest {
        /// What is wrong with it.
        detail: &'a str,
    },
    /// There is nothing here.
    NotFound,
}

impl Page<'_> {
    /// Whether the page sends a form. Its browser has to say from where, or the gate takes it for another site's.
    fn has_form(&self) -> bool {
        matches!(self, Self::ConfirmSignOut { .. })
    }

    /// What happened, in a few words: the title and the heading.
    fn heading(&self) -> &'static str {
        match self {
            Self::SignInFailed { .. } => "Sign-in failed",
            Self::SignInLoop { .. } => "Sign-in keeps going round",
            Self::NotAllowed { .. } => "You do not have access",
            Self::EmailUnverified { .. } => "Your e-mail address is not verified",
            Self::Denied { .. } => "This page is closed",
            Self::UnknownHost { .. } => "No app at this address",
            Self::ProviderAway { .. } => "Sign-in is not available",
            Self::StoreAway { .. } => "We cannot check your sign-in",
            Self::FormHeld { .. } => "Your form was not sent",
            Self::SignedOut { .. } => "You are signed out",
            Self::ConfirmSignOut { .. } => "Do you want to sign out?",
            Self::Reset { .. } => "Cookies cleared",
            Self::BadRequest { .. } => "We could not read this request",
            Self::NotFound => "Page not found",
        }
    }
}

/// Renders pages in one look.
#[derive(Debug)]
pub struct Pages {
    look: Look,
}

/// A document and the content security policy that it needs.
#[derive(Clone, Debug)]
pub struct Document {
    /// The whole HTML document.
    pub html: Bytes,
    /// The value of `Content-Security-Policy`.
    pub policy: HeaderValue,
}

/// A file below `/static/`: its name carries a hash of its content, so it can be kept for ever.
#[derive(Clone, Debug)]
pub struct Asset {
    /// `name.hash.extension`.
    pub name: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub content: Bytes,
}

/// The script of single-page apps (`docs/single-page-apps.md`).
pub const CLIENT_SCRIPT: &str = include_str!("client.js");

impl Pages {
    /// Pages in this look. An accent that is no colour and a logo that is no image are left out.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { look: Look::new(settings) }
    }

    /// One page. `request_id` is shown so that the operator can find the request in the log.
    #[must_use]
    pub fn render(&self, page: &Page<'_>, request_id: &str) -> Document {
        let whole = Whole { look: &self.look, page, request_id };
        let mut html = String::with_capacity(self.look.size() + Whole::SIZE_HINT);
        whole.render_into(&mut html).expect("writing to a String does not fail");
        let policy = if page.has_form() { &self.look.policy_with_form } else { &self.look.policy };
        Document { html: Bytes::from(html), policy: policy.clone() }
    }

    /// The file with this name below `/static/`.
    #[must_use]
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets().find(|asset| asset.name == name)
    }

    /// Every file below `/static/`.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.look.assets.iter()
    }
}

/// The body of a refusal for whoever is not opening a page. `error` is the stable word, `message` one sentence for a
/// person who reads it in a console; `login_url` is where a sign-in begins, where one would help.
#[must_use]
pub fn json(error: &str, message: &str, request_id: &str, login_url: Option<&str>) -> Bytes {
    #[derive(Serialize)]
    struct Refusal<'a> {
        error: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        login_url: Option<&'a str>,
        request_id: &'a str,
    }
    let refusal = Refusal { error, message, login_url, request_id };
    Bytes::from(serde_json::to_vec(&refusal).expect("strings can always be written as JSON"))
}

#[derive(Template)]
#[template(path = "page.html")]
struct Whole<'a> {
    look: &'a Look,
    page: &'a Page<'a>,
    request_id: &'a str,
}

/// The beginning of a value from outside, so that no provider and no address line fills the page.
fn brief(value: &str) -> &str {
    value.char_indices().nth(BRIEF).and_then(|(end, _)| value.get(..end)).unwrap_or(value)
}

/// An address that a person may follow: one of the web, or a path on this host. Anything else leads to the start page.
fn link(address: &str) -> &str {
    // Browsers read a backslash as a slash, and skip tabs and line breaks wherever they stand.
    let host_relative = |address: &str| address.starts_with('/') && !address.starts_with("//");
    let web = |address: &str| address.starts_with("https://") || address.starts_with("http://");
    let plain = !address.contains(|c: char| c == '\\' || c.is_ascii_control());
    if plain && (host_relative(address) || web(address)) { address } else { "/" }
}
