//! Message authentication codes by a key that is at hand: of a process, or of session cookies.
//!
//! Promises: no two pairs of context and message are encoded alike.

use hmac::{Hmac, Mac as _};
use secrecy::zeroize::Zeroizing;
use sha2::Sha256;

use super::{TAG_LENGTH, Tag, random};

/// Key of this process alone, for tags that it keeps in memory: they say nothing of their messages to others.
pub struct EphemeralKey(Zeroizing<[u8; 32]>);

/// Key that tags session cookies, or tagged them under an older secret.
pub struct CookieKey<'k>(&'k [u8; 32]);

impl EphemeralKey {
    /// A new key.
    #[must_use]
    pub fn random() -> Self {
        Self(Zeroizing::new(random()))
    }

    /// Computes the tag of `message` in this context.
    #[must_use]
    pub fn tag(&self, context: &[u8], message: &[u8]) -> Tag {
        compute_tag(&self.0, context, message)
    }
}

impl<'k> CookieKey<'k> {
    pub(super) fn new(key: &'k [u8; 32]) -> Self {
        Self(key)
    }

    /// Computes the tag of `message` in this context, as [`Keyring::verify_tag`](super::Keyring::verify_tag) takes it.
    #[must_use]
    pub fn tag(&self, context: &[u8], message: &[u8]) -> Tag {
        compute_tag(self.0, context, message)
    }

    /// Derives 32 bytes from `message` in this context.
    #[must_use]
    pub fn derive(&self, context: &[u8], message: &[u8]) -> [u8; 32] {
        compute_mac(self.0, context, message)
    }
}

/// Computes HMAC-SHA-256, cut to 128 bits.
pub(super) fn compute_tag(key: &[u8; 32], context: &[u8], message: &[u8]) -> Tag {
    let whole = compute_mac(key, context, message);
    let (tag, _) = whole.split_first_chunk::<TAG_LENGTH>().expect("SHA-256 gives 32 bytes");
    *tag
}

/// Computes HMAC-SHA-256. The context's length goes first, so that no two pairs of context and message are encoded alike.
fn compute_mac(key: &[u8; 32], context: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(&(context.len() as u64).to_be_bytes());
    mac.update(context);
    mac.update(message);
    mac.finalize().into_bytes().into()
}
