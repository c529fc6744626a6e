//! Files below `/static/`.
//!
//! The name of a file holds a hash of its content.

use bytes::Bytes;
use data_encoding::BASE64;

use crate::crypto;

/// A file below `/static/`. Its name holds a hash of its content, so that caches may keep it for ever.
#[derive(Clone, Debug)]
pub struct StaticFile {
    /// `name.hash.extension`.
    pub name: String,
    /// Media type.
    pub media_type: &'static str,
    /// Content.
    pub content: Bytes,
}

impl StaticFile {
    /// A file named `stem`, a hash and the extension of its format.
    pub(super) fn new(stem: &str, (media_type, extension): (&'static str, &str), content: Bytes) -> Self {
        let digest = crypto::digest(&content);
        let (fingerprint, _) = digest.split_first_chunk::<8>().expect("SHA-256 gives 32 bytes");
        let name = format!("{stem}.{:016x}.{extension}", u64::from_be_bytes(*fingerprint));
        Self { name, media_type, content }
    }

    /// Returns the file as a `data:` URL.
    pub(super) fn data_url(&self) -> String {
        format!("data:{};base64,{}", self.media_type, BASE64.encode(&self.content))
    }
}
