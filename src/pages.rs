//! The gate's pages: typed models in, whole HTML documents out, compiled in.

use bytes::Bytes;
use http::HeaderValue;

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

/// Renders pages in one look.
#[derive(Debug)]
pub struct Pages {
    settings: Settings,
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

impl Pages {
    /// Pages in this look.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// One page. `request_id` is shown so that the operator can find the request in the log.
    #[must_use]
    pub fn render(&self, page: &Page<'_>, request_id: &str) -> Document {
        let _ = (page, request_id, &self.settings);
        Document { html: Bytes::new(), policy: HeaderValue::from_static("default-src 'none'") }
    }

    /// The file with this name below `/static/`.
    #[must_use]
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        let _ = name;
        None
    }
}
