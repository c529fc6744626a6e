//! What a step-up asks for, sealed into the URL that begins it: a fetch, a frame or a form cannot go to the provider itself.
//!
//! Promises: nobody but the gate says what is asked for, so that no link can have somebody sign in in another way.

use super::context::RequestContext;
use crate::{
    crypto::{self, Keyring, Purpose},
    policy::StepUp,
};

/// Path of `/start` below which it stands, so that `?rd=` can follow as it does without.
pub(super) const BELOW: &str = "/start/";

/// Returns the absolute URL that begins a step-up. Whoever opens it adds `?rd=`.
pub(super) fn url(context: &RequestContext<'_>, keyring: &Keyring, asked: &StepUp) -> String {
    context.endpoint_url(&path(keyring, asked))
}

/// Returns the absolute URL that begins a step-up and ends at `target`.
pub(super) fn url_with_target(context: &RequestContext<'_>, keyring: &Keyring, asked: &StepUp, target: &str) -> String {
    context.with_rd(&path(keyring, asked), target)
}

fn path(keyring: &Keyring, asked: &StepUp) -> String {
    format!("{BELOW}{}", seal(keyring, asked))
}

/// Opens what stands there; `None` unless we made it.
pub(super) fn open(keyring: &Keyring, value: &str) -> Option<StepUp> {
    let sealed = crypto::decode(value.as_bytes())?;
    serde_json::from_slice(&keyring.open(Purpose::StepUp, b"", &sealed)?).ok()
}

fn seal(keyring: &Keyring, asked: &StepUp) -> String {
    let plain = serde_json::to_vec(asked).expect("text and numbers serialise");
    crypto::encode(&keyring.seal(Purpose::StepUp, b"", &plain))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::SecretString;

    use super::*;

    #[test]
    fn only_what_the_gate_sealed_is_asked_for() {
        let ring = |letter: &str| Keyring::new(&[SecretString::from(letter.repeat(32))]).unwrap();
        let asked = StepUp::default().within(Duration::from_mins(15));
        let sealed = seal(&ring("a"), &asked);
        assert!(sealed.len() < 100, "{sealed}");
        assert_eq!(open(&ring("a"), &sealed), Some(asked));
        for other in ["", "eyJhY3IiOlsiZ29sZCJdfQ", &sealed[..sealed.len() - 1], &seal(&ring("b"), &StepUp::default())]
        {
            assert_eq!(open(&ring("a"), other), None, "{other}");
        }
    }
}
