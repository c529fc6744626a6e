//! The client that is registered at the provider.

/// The one registered client.
pub(in crate::cli::demo) struct RegisteredClient {
    /// `client_id`.
    pub(in crate::cli::demo) id: String,
    /// SHA-256 of the secret: the time to compare digests reveals nothing about a guess.
    pub(in crate::cli::demo) secret: [u8; 32],
    /// Registered redirect URIs, compared as text.
    pub(in crate::cli::demo) redirect_uris: Vec<String>,
    /// Registered redirect URIs for the end of signing out, compared as text.
    pub(in crate::cli::demo) post_logout_redirect_uris: Vec<String>,
}
