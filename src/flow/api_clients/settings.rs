//! Settings of API clients (`[bearer]`).

use crate::{identity::KeptAttributes, oidc};

/// The credentials of API clients that count under rules with `access = "bearer"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerSettings {
    /// The issuers whose JWTs are verified here.
    pub issuers: Vec<TrustedIssuer>,
    /// Opaque tokens at the app's provider.
    pub introspection: Introspection,
    /// App passwords at the app's provider.
    pub app_passwords: AppPasswords,
}

/// An issuer whose JWTs count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// The audiences, of which a token has to name one.
    pub audience: Vec<String>,
    /// Its keys.
    pub keys: IssuerKeys,
}

/// The source of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKeys {
    /// Those of the providers with this issuer. Its tokens count at their apps alone.
    Provider(url::Url),
    /// Its own: nobody signs in there. Its tokens count at every app.
    Own(Box<oidc::Settings>),
}

/// Use of token introspection (RFC 7662).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Introspection {
    /// Opaque tokens are refused.
    #[default]
    Off,
    /// The app's provider is asked about them.
    AtProvider,
}

/// Use of app passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppPasswords {
    /// Names and passwords are refused.
    #[default]
    Off,
    /// They are redeemed at the app's provider.
    AtProvider,
}

impl BearerSettings {
    /// Has the issuers at which nobody signs in keep these attributes: their tokens count at every app.
    #[must_use]
    pub fn keeping(mut self, attributes: &KeptAttributes) -> Self {
        for issuer in &mut self.issuers {
            if let IssuerKeys::Own(settings) = &mut issuer.keys {
                settings.kept_attributes.clone_from(attributes);
            }
        }
        self
    }

    /// Returns the settings of the issuers at which nobody signs in, in their order.
    pub fn own_issuers(&self) -> impl Iterator<Item = &oidc::Settings> {
        self.issuers.iter().filter_map(|issuer| match &issuer.keys {
            IssuerKeys::Own(settings) => Some(&**settings),
            IssuerKeys::Provider(_) => None,
        })
    }
}
