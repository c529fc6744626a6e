//! Keys: authenticated encryption, tags, hashes and randomness, with key rotation.
//!
//! Promises: a sealed value opens only for the purpose and the context that it was sealed for, so that a row cannot be
//! moved to another key, nor a login attempt be passed off as a session. The algorithms are XChaCha20-Poly1305 (24
//! random bytes of nonce, safe without a counter), HMAC and HKDF over SHA-256, all from the `RustCrypto` crates.

mod secret_text;
mod tag;

use std::sync::{PoisonError, RwLock};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand::{RngCore, rngs::OsRng};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use self::tag::compute_tag;
pub use self::{
    secret_text::{InvalidSecret, is_placeholder, secret_text},
    tag::{CookieKey, EphemeralKey},
};

const KEY_ID_LENGTH: usize = 4;
const NONCE_LENGTH: usize = 24;

/// Length of a [`Tag`] in bytes: 128 bits cannot be guessed over a network.
pub const TAG_LENGTH: usize = 16;

/// Message authentication code of a value: proof that we made it.
pub type Tag = [u8; TAG_LENGTH];

/// Length of a [`ShortTag`] in bytes: 96 bits, to which RFC 2404 truncates HMAC too.
pub const SHORT_TAG_LENGTH: usize = 12;

/// Truncated [`Tag`], for values that have to be short and live for an hour.
pub type ShortTag = [u8; SHORT_TAG_LENGTH];

/// Identifier of a secret, derived from it and telling nothing of it. Every sealed value begins with the one of its
/// secret.
pub type KeyId = [u8; KEY_ID_LENGTH];

/// Purpose of a sealed or tagged value. Each has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A session's row in the store; the context is its key.
    SessionRow,
    /// The session cookie's tag; the context is the cookie's audience. A service token's tag as well, with a context that is no
    /// host: the keys of retired secrets then verify both.
    SessionCookie,
    /// A sign-in or a sign-out under way, in the parameter `state`.
    LoginAttempt,
    /// The login cookie's tag; the context is the cookie's audience.
    LoginCookie,
    /// A return target that is too long for `state`; the context is its host and its id.
    KeptTarget,
    /// What a step-up asks for, in the URL that begins it.
    StepUp,
    /// The session-cookie key of a retired secret; the context is its [`KeyId`].
    RetiredCookieKey,
    /// A service token's row in the store; the context is its key.
    ServiceTokenRow,
}

impl Purpose {
    const ALL: [Self; 8] = [
        Self::SessionRow,
        Self::SessionCookie,
        Self::LoginAttempt,
        Self::LoginCookie,
        Self::KeptTarget,
        Self::StepUp,
        Self::RetiredCookieKey,
        Self::ServiceTokenRow,
    ];

    /// Label that separates the purposes' keys in HKDF. Changing one makes every value sealed for it unreadable.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::SessionRow => b"doorward v1 session row",
            Self::SessionCookie => b"doorward v1 session cookie",
            Self::LoginAttempt => b"doorward v1 login attempt",
            Self::LoginCookie => b"doorward v2 login cookie",
            Self::KeptTarget => b"doorward v1 kept target",
            Self::StepUp => b"doorward v1 step-up",
            Self::RetiredCookieKey => b"doorward v1 bequest",
            Self::ServiceTokenRow => b"doorward v1 service token",
        }
    }
}

/// The error of a secret that is too short.
#[derive(Debug, thiserror::Error)]
#[error("a sealing secret needs at least {MIN_SECRET_LENGTH} characters; `doorward secret` prints a good one")]
pub struct WeakSecret;

/// Shortest sealing secret, in bytes.
pub const MIN_SECRET_LENGTH: usize = 32;

/// Keys derived from the configured secrets. The first secret seals and tags; the others only open and verify, for key
/// rotation. Keyrings are equal if they have the same secrets in the same order.
pub struct Keyring {
    keys: Vec<DerivedKeys>,
    /// Cookie keys of retired secrets, once they are loaded.
    retired: RwLock<Option<RetiredKeys>>,
}

/// Session-cookie keys of retired secrets.
struct RetiredKeys {
    /// All of them, sealed, for the next keyring.
    sealed: Vec<(KeyId, Vec<u8>)>,
    /// Opened, of the secrets that are no longer configured.
    cookie_keys: Vec<Zeroizing<[u8; 32]>>,
}

impl PartialEq for Keyring {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

/// Keys derived from one secret.
#[derive(PartialEq, Eq)]
struct DerivedKeys {
    id: KeyId,
    by_purpose: [[u8; 32]; Purpose::ALL.len()],
}

impl Keyring {
    /// Derives the keys of at least one secret, each of [`MIN_SECRET_LENGTH`] bytes or more.
    pub fn new(secrets: &[SecretString]) -> Result<Self, WeakSecret> {
        let keys: Vec<_> = secrets.iter().map(DerivedKeys::derive).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(WeakSecret) } else { Ok(Self { keys, retired: RwLock::default() }) }
    }

    /// Encrypts `plain` so that only [`Keyring::open`] with the same purpose and context reads it.
    ///
    /// Layout: key id (4), nonce (24), ciphertext with its 16-byte tag.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let keys = self.newest_keys();
        let nonce = random::<NONCE_LENGTH>();
        let payload = Payload { msg: plain, aad: context };
        let sealed = keys
            .cipher(purpose)
            .encrypt(&XNonce::from(nonce), payload)
            .expect("memory holds less than the cipher's 256 GiB limit");
        [keys.id.as_slice(), &nonce, &sealed].concat()
    }

    /// Decrypts a value of [`Keyring::seal`]; `None` for anything else.
    #[must_use]
    pub fn open(&self, purpose: Purpose, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = sealed.split_first_chunk::<KEY_ID_LENGTH>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LENGTH>()?;
        let keys = self.find(*id)?;
        keys.cipher(purpose).decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: context }).ok()
    }

    /// Computes the tag of `message` in this context, by the newest secret.
    #[must_use]
    pub fn tag(&self, purpose: Purpose, context: &[u8], message: &[u8]) -> Tag {
        compute_tag(self.newest_keys().key(purpose), context, message)
    }

    /// Returns `true` if any of the secrets made `tag` over `message` in this context. Takes the same time whatever the
    /// tag.
    #[must_use]
    pub fn verify_tag(&self, purpose: Purpose, context: &[u8], message: &[u8], tag: &Tag) -> bool {
        let made_it = |key: &[u8; 32]| constant_time_eq(&compute_tag(key, context, message), tag);
        if self.keys.iter().any(|keys| made_it(keys.key(purpose))) {
            return true;
        }
        let retired = self.retired.read().unwrap_or_else(PoisonError::into_inner);
        purpose == Purpose::SessionCookie
            && retired.iter().flat_map(|retired| &retired.cookie_keys).any(|key| made_it(key))
    }

    /// Computes a truncated tag, by the newest secret.
    #[must_use]
    pub fn short_tag(&self, purpose: Purpose, context: &[u8], message: &[u8]) -> ShortTag {
        shortened(&self.tag(purpose, context, message))
    }

    /// Returns `true` if any of the configured secrets made this truncated tag.
    #[must_use]
    pub fn verify_short_tag(&self, purpose: Purpose, context: &[u8], message: &[u8], tag: &ShortTag) -> bool {
        let made_it = |key: &[u8; 32]| bool::from(shortened(&compute_tag(key, context, message)).ct_eq(tag));
        self.keys.iter().any(|keys| made_it(keys.key(purpose)))
    }

    /// Returns the secret that seals.
    #[must_use]
    pub fn newest(&self) -> KeyId {
        self.newest_keys().id
    }

    /// Returns `true` if this secret is configured.
    #[must_use]
    pub fn contains(&self, secret: KeyId) -> bool {
        self.find(secret).is_some()
    }

    /// Returns the secrets that open and do not seal.
    pub fn older(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().skip(1).map(|keys| keys.id)
    }

    /// Reencrypts a value of an older secret with the newest one; `None` where it is of the newest already, or does not
    /// open.
    #[must_use]
    pub fn reencrypt(&self, purpose: Purpose, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed_by(sealed)? == self.newest() {
            return None;
        }
        let plain = Zeroizing::new(self.open(purpose, context, sealed)?);
        Some(self.seal(purpose, context, &plain))
    }

    /// Returns the session-cookie key of each older secret, sealed by the newest, so that its cookies can be verified
    /// after it is dropped. The key opens nothing.
    #[must_use]
    pub fn older_cookie_keys(&self) -> Vec<(KeyId, Vec<u8>)> {
        let sealed = |keys: &DerivedKeys| {
            (keys.id, self.seal(Purpose::RetiredCookieKey, &keys.id, keys.key(Purpose::SessionCookie)))
        };
        self.keys.iter().skip(1).map(sealed).collect()
    }

    /// Loads the sealed cookie keys of retired secrets, in place of those loaded before. Those that do not open are
    /// skipped.
    pub fn load_retired(&self, sealed: Vec<(KeyId, Vec<u8>)>) {
        let opened = sealed
            .iter()
            .filter(|(secret, _)| !self.contains(*secret))
            .filter_map(|(secret, sealed)| self.open(Purpose::RetiredCookieKey, secret, sealed).map(Zeroizing::new))
            .filter_map(|key| key.as_slice().try_into().ok().map(Zeroizing::new));
        let cookie_keys = opened.collect();
        *self.retired.write().unwrap_or_else(PoisonError::into_inner) = Some(RetiredKeys { sealed, cookie_keys });
    }

    /// Loads the cookie keys that the keyring before this one had loaded.
    pub fn carry_over_retired(&self, previous: &Self) {
        let retired = previous.retired.read().unwrap_or_else(PoisonError::into_inner);
        let sealed = retired.as_ref().map(|retired| retired.sealed.clone());
        drop(retired);
        if let Some(sealed) = sealed {
            self.load_retired(sealed);
        }
    }

    /// Returns `true` once the cookie keys of retired secrets are loaded, be there any or not.
    #[must_use]
    pub fn has_loaded_retired(&self) -> bool {
        self.retired.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Returns what `derive` makes of each key that verifies session cookies, the newest first, those of retired secrets last.
    #[must_use]
    pub fn with_cookie_keys<T>(&self, derive: impl Fn(&CookieKey<'_>) -> T) -> Vec<T> {
        let retired = self.retired.read().unwrap_or_else(PoisonError::into_inner);
        let configured = self.keys.iter().map(|keys| keys.key(Purpose::SessionCookie));
        let retired = retired.iter().flat_map(|retired| &retired.cookie_keys).map(|key| &**key);
        configured.chain(retired).map(|key| derive(&CookieKey::new(key))).collect()
    }

    /// Returns what `derive` makes of the key that tags session cookies.
    pub fn with_newest_cookie_key<T>(&self, derive: impl Fn(&CookieKey<'_>) -> T) -> T {
        derive(&CookieKey::new(self.newest_keys().key(Purpose::SessionCookie)))
    }

    fn find(&self, secret: KeyId) -> Option<&DerivedKeys> {
        self.keys.iter().find(|keys| keys.id == secret)
    }

    fn newest_keys(&self) -> &DerivedKeys {
        self.keys.first().expect("a keyring is made with at least one secret")
    }
}

impl DerivedKeys {
    fn derive(secret: &SecretString) -> Result<Self, WeakSecret> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < MIN_SECRET_LENGTH {
            return Err(WeakSecret);
        }
        let root = Hkdf::<Sha256>::new(None, secret);
        let expand = |label: &[u8], out: &mut [u8]| {
            root.expand(label, out).expect("HKDF-SHA-256 gives up to 8160 bytes");
        };
        let mut keys = Self { id: [0; KEY_ID_LENGTH], by_purpose: [[0; 32]; Purpose::ALL.len()] };
        expand(b"doorward v1 key id", &mut keys.id);
        for (purpose, key) in Purpose::ALL.into_iter().zip(&mut keys.by_purpose) {
            expand(purpose.label(), key);
        }
        Ok(keys)
    }

    fn key(&self, purpose: Purpose) -> &[u8; 32] {
        let [row, cookie, attempt, login, kept, step_up, retired, service_token] = &self.by_purpose;
        match purpose {
            Purpose::SessionRow => row,
            Purpose::SessionCookie => cookie,
            Purpose::LoginAttempt => attempt,
            Purpose::LoginCookie => login,
            Purpose::KeptTarget => kept,
            Purpose::StepUp => step_up,
            Purpose::RetiredCookieKey => retired,
            Purpose::ServiceTokenRow => service_token,
        }
    }

    fn cipher(&self, purpose: Purpose) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key(purpose).into())
    }
}

fn shortened(tag: &Tag) -> ShortTag {
    let (short, _) = tag.split_first_chunk::<SHORT_TAG_LENGTH>().expect("a tag is longer");
    *short
}

/// Returns the secret that sealed a value; `None` for a value that is too short.
#[must_use]
pub fn sealed_by(sealed: &[u8]) -> Option<KeyId> {
    sealed.first_chunk().copied()
}

/// Returns `true` if two secrets are equal, in constant time.
#[must_use]
pub fn is_same_secret(a: &SecretString, b: &SecretString) -> bool {
    a.expose_secret().as_bytes().ct_eq(b.expose_secret().as_bytes()).into()
}

/// Returns `true` if `mac` is the HMAC-SHA-256 of `message` under a shared secret, in constant time.
#[must_use]
pub fn is_hmac_of(secret: &SecretString, message: &[u8], mac: &[u8]) -> bool {
    let keyed = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(secret.expose_secret().as_bytes());
    keyed.is_ok_and(|keyed| keyed.chain_update(message).verify_slice(mac).is_ok())
}

/// Returns `true` if two values are equal, in constant time.
#[must_use]
pub fn constant_time_eq<const N: usize>(a: &[u8; N], b: &[u8; N]) -> bool {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks(), b.as_chunks());
    // As numbers, sixteen bytes are compared at once.
    let wide = a.iter().zip(b).map(|(a, b)| u128::from_ne_bytes(*a).ct_eq(&u128::from_ne_bytes(*b)));
    wide.fold(a_rest.ct_eq(b_rest), |equal, chunk| equal & chunk).into()
}

/// Returns `N` bytes from the operating system's random number generator.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Computes SHA-256.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Encodes as base64url without padding (RFC 4648, section 5).
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// Decodes base64url without padding; `None` for any other text, and for all but the canonical encoding.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text).ok()
}

/// Decodes exactly `N` bytes like [`decode`], without allocating.
#[must_use]
pub fn decode_exact<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let fits = BASE64URL_NOPAD.decode_len(text.len()).is_ok_and(|length| length == N);
    (fits && BASE64URL_NOPAD.decode_mut(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests;
