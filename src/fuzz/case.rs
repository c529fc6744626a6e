//! Inputs of targets with a seal or a signature.

/// Input by its first byte. A fuzzer can forge neither a seal nor a signature, so targets seal or sign for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Case<'i> {
    /// `r`: the bytes as they are.
    Raw(&'i [u8]),
    /// `m`: the content, to be sealed or signed with a valid key.
    Made(&'i [u8]),
    /// `x`: a valid one, with bytes changed by [`mutated`].
    Mutated(&'i [u8]),
}

impl<'i> Case<'i> {
    /// Parses an input; returns `None` where its first byte is none of these.
    pub(crate) fn of(input: &'i [u8]) -> Option<Self> {
        match input.split_first()? {
            (b'r', rest) => Some(Self::Raw(rest)),
            (b'm', rest) => Some(Self::Made(rest)),
            (b'x', rest) => Some(Self::Mutated(rest)),
            _ => None,
        }
    }
}

/// Returns `valid` with bytes changed: each three bytes of `edits` are a position and the new byte.
pub(crate) fn mutated(valid: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut changed = valid.to_vec();
    for edit in edits.chunks_exact(3) {
        if let [high, low, byte] = *edit {
            let place = usize::from(u16::from_be_bytes([high, low])).checked_rem(valid.len()).unwrap_or_default();
            if let Some(changed) = changed.get_mut(place) {
                *changed = byte;
            }
        }
    }
    changed
}
