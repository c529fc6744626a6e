//! Sealing, tagging, hashing and randomness: everything that touches a key.
//!
//! A sealed value opens only for the purpose and the context it was sealed for, so a row cannot be moved to another
//! row, nor a login attempt be passed off as a session. The algorithms are XChaCha20-Poly1305 (24 random bytes of nonce,
//! safe without a counter), HMAC and HKDF over SHA-256; the implementations are those of the `RustCrypto` crates.

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

const KEY_ID: usize = 4;
const NONCE: usize = 24;

/// Length of a [`Tag`] in bytes: 128 bits cannot be guessed over a network.
pub const TAG: usize = 16;

/// Proof that we made a value; useless without the value.
pub type Tag = [u8; TAG];

/// Names a secret without telling anything of it. Every sealed value begins with that of the secret that sealed it.
pub type KeyId = [u8; KEY_ID];

/// What a value is sealed or tagged for. Each purpose has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A session's row in the store; the context is the hash of its id.
    SessionRow,
    /// The session cookie's tag; the context is the host or domain that the cookie was made for.
    SessionCookie,
    /// A sign-in or a sign-out under way, travelling in `state`.
    LoginAttempt,
    /// The login cookie; the context is the host or domain that it was made for.
    LoginCookie,
    /// What is left of a secret that may be dropped; the context is its [`KeyId`].
    Bequest,
}

impl Purpose {
    const ALL: [Self; 5] =
        [Self::SessionRow, Self::SessionCookie, Self::LoginAttempt, Self::LoginCookie, Self::Bequest];

    /// The label that separates the purposes' keys. Changing one makes every value sealed for it unreadable.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::SessionRow => b"doorward v1 session row",
            Self::SessionCookie => b"doorward v1 session cookie",
            Self::LoginAttempt => b"doorward v1 login attempt",
            Self::LoginCookie => b"doorward v1 login cookie",
            Self::Bequest => b"doorward v1 bequest",
        }
    }
}

/// A secret that is too short to make keys of.
#[derive(Debug, thiserror::Error)]
#[error("a sealing secret needs at least {MINIMUM} characters; `doorward secret` prints a good one")]
pub struct WeakSecret;

/// The least number of bytes in a sealing secret.
pub const MINIMUM: usize = 32;

/// The keys made of the configured secrets. The first seals and tags; the others only open and verify, for rotation. Equal
/// ones are made of the same secrets in the same order.
pub struct Keyring {
    keys: Vec<Keys>,
    /// What other secrets have left, once it is known.
    inherited: RwLock<Option<Inheritance>>,
}

/// What secrets have left.
struct Inheritance {
    /// As it is sealed, for whoever comes after.
    sealed: Vec<(KeyId, Vec<u8>)>,
    /// Of secrets that are configured no more: what made their session cookies' tags.
    tags: Vec<Zeroizing<[u8; 32]>>,
}

impl PartialEq for Keyring {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

#[derive(PartialEq, Eq)]
struct Keys {
    id: KeyId,
    by_purpose: [[u8; 32]; Purpose::ALL.len()],
}

impl Keyring {
    /// Derives the keys. `secrets` must hold at least one, each of [`MINIMUM`] bytes or more.
    pub fn new(secrets: &[SecretString]) -> Result<Self, WeakSecret> {
        let keys: Vec<_> = secrets.iter().map(Keys::derive).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(WeakSecret) } else { Ok(Self { keys, inherited: RwLock::default() }) }
    }

    /// Encrypts `plain` so that only [`Keyring::open`] with the same purpose and context reads it.
    ///
    /// Layout: key id (4), nonce (24), ciphertext with its 16-byte tag.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let keys = self.first();
        let nonce = random::<NONCE>();
        let payload = Payload { msg: plain, aad: context };
        let sealed = keys
            .cipher(purpose)
            .encrypt(&XNonce::from(nonce), payload)
            .expect("memory holds less than the cipher's 256 GiB limit");
        [keys.id.as_slice(), &nonce, &sealed].concat()
    }

    /// Decrypts what [`Keyring::seal`] made; `None` for anything else whatever.
    #[must_use]
    pub fn open(&self, purpose: Purpose, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = sealed.split_first_chunk::<KEY_ID>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let keys = self.known(*id)?;
        keys.cipher(purpose).decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: context }).ok()
    }

    /// A tag over `message` in this context by the first secret.
    #[must_use]
    pub fn tag(&self, purpose: Purpose, context: &[u8], message: &[u8]) -> Tag {
        make_tag(self.first().key(purpose), context, message)
    }

    /// Whether any of the secrets made `tag` over `message` in this context. Takes the same time whatever the tag.
    #[must_use]
    pub fn made(&self, purpose: Purpose, context: &[u8], message: &[u8], tag: &Tag) -> bool {
        let made_it = |key: &[u8; 32]| same(&make_tag(key, context, message), tag);
        if self.keys.iter().any(|keys| made_it(keys.key(purpose))) {
            return true;
        }
        let inherited = self.inherited.read().unwrap_or_else(PoisonError::into_inner);
        purpose == Purpose::SessionCookie
            && inherited.iter().flat_map(|inherited| &inherited.tags).any(|key| made_it(key))
    }

    /// The secret that seals.
    #[must_use]
    pub fn newest(&self) -> KeyId {
        self.first().id
    }

    /// Whether this secret is among those that open.
    #[must_use]
    pub fn knows(&self, secret: KeyId) -> bool {
        self.known(secret).is_some()
    }

    /// The secrets that open and do not seal.
    pub fn older(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().skip(1).map(|keys| keys.id)
    }

    /// Seals anew what an older secret has sealed, whatever is in it; `None` where that is not so.
    #[must_use]
    pub fn reseal(&self, purpose: Purpose, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed_by(sealed)? == self.newest() {
            return None;
        }
        let plain = Zeroizing::new(self.open(purpose, context, sealed)?);
        Some(self.seal(purpose, context, &plain))
    }

    /// What each older secret leaves to those that come after it, sealed: the key that made its session cookies' tags, so
    /// that they are known when it is dropped. Nothing that it sealed can be opened with that.
    #[must_use]
    pub fn bequests(&self) -> Vec<(KeyId, Vec<u8>)> {
        let bequest = |keys: &Keys| (keys.id, self.seal(Purpose::Bequest, &keys.id, keys.key(Purpose::SessionCookie)));
        self.keys.iter().skip(1).map(bequest).collect()
    }

    /// Takes over what secrets have left, and gives up what it took over before. What does not open is passed over.
    pub fn inherit(&self, sealed: Vec<(KeyId, Vec<u8>)>) {
        let opened = sealed
            .iter()
            .filter(|(secret, _)| !self.knows(*secret))
            .filter_map(|(secret, sealed)| self.open(Purpose::Bequest, secret, sealed).map(Zeroizing::new))
            .filter_map(|key| key.as_slice().try_into().ok().map(Zeroizing::new));
        let tags = opened.collect();
        *self.inherited.write().unwrap_or_else(PoisonError::into_inner) = Some(Inheritance { sealed, tags });
    }

    /// Takes over what another one, in whose place this one comes, knew to be left.
    pub fn succeed(&self, other: &Self) {
        let known = other.inherited.read().unwrap_or_else(PoisonError::into_inner);
        let sealed = known.as_ref().map(|known| known.sealed.clone());
        drop(known);
        if let Some(sealed) = sealed {
            self.inherit(sealed);
        }
    }

    /// Whether anything, or nothing, has been taken over.
    #[must_use]
    pub fn has_inherited(&self) -> bool {
        self.inherited.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn known(&self, secret: KeyId) -> Option<&Keys> {
        self.keys.iter().find(|keys| keys.id == secret)
    }

    fn first(&self) -> &Keys {
        self.keys.first().expect("a keyring is made with at least one secret")
    }
}

impl Keys {
    fn derive(secret: &SecretString) -> Result<Self, WeakSecret> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < MINIMUM {
            return Err(WeakSecret);
        }
        let root = Hkdf::<Sha256>::new(None, secret);
        let expand = |label: &[u8], out: &mut [u8]| {
            root.expand(label, out).expect("HKDF-SHA-256 gives up to 8160 bytes");
        };
        let mut keys = Self { id: [0; KEY_ID], by_purpose: [[0; 32]; Purpose::ALL.len()] };
        expand(b"doorward v1 key id", &mut keys.id);
        for (purpose, key) in Purpose::ALL.into_iter().zip(&mut keys.by_purpose) {
            expand(purpose.label(), key);
        }
        Ok(keys)
    }

    fn key(&self, purpose: Purpose) -> &[u8; 32] {
        let [row, cookie, attempt, login, bequest] = &self.by_purpose;
        match purpose {
            Purpose::SessionRow => row,
            Purpose::SessionCookie => cookie,
            Purpose::LoginAttempt => attempt,
            Purpose::LoginCookie => login,
            Purpose::Bequest => bequest,
        }
    }

    fn cipher(&self, purpose: Purpose) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key(purpose).into())
    }
}

/// The context's length goes first, so that no two pairs look alike.
fn make_tag(key: &[u8; 32], context: &[u8], message: &[u8]) -> Tag {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(&(context.len() as u64).to_be_bytes());
    mac.update(context);
    mac.update(message);
    let whole: [u8; 32] = mac.finalize().into_bytes().into();
    let (tag, _) = whole.split_first_chunk::<TAG>().expect("SHA-256 gives 32 bytes");
    *tag
}

/// Which secret sealed a value; `None` for what is too short to be one.
#[must_use]
pub fn sealed_by(sealed: &[u8]) -> Option<KeyId> {
    sealed.first_chunk().copied()
}

/// Whether two secrets are the same one.
#[must_use]
pub fn is_same_secret(a: &SecretString, b: &SecretString) -> bool {
    a.expose_secret().as_bytes().ct_eq(b.expose_secret().as_bytes()).into()
}

/// Whether two values are equal, in constant time.
#[must_use]
pub fn same<const N: usize>(a: &[u8; N], b: &[u8; N]) -> bool {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks(), b.as_chunks());
    // As numbers they are compared sixteen at once, not byte by byte.
    let wide = a.iter().zip(b).map(|(a, b)| u128::from_ne_bytes(*a).ct_eq(&u128::from_ne_bytes(*b)));
    wide.fold(a_rest.ct_eq(b_rest), |same, these| same & these).into()
}

/// `N` bytes from the operating system's generator.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// SHA-256.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// base64url without padding (RFC 4648, section 5).
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// The bytes of a base64url text; `None` when it is not one, or not in its only canonical spelling.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text).ok()
}

/// Like [`decode`] for exactly `N` bytes, without touching the heap.
#[must_use]
pub fn decode_exact<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let fits = BASE64URL_NOPAD.decode_len(text.len()).is_ok_and(|length| length == N);
    (fits && BASE64URL_NOPAD.decode_mut(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests;
