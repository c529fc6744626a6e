//! `[limits]`: how often one network may begin a sign-in, complete one, or bring a credential that is not known.

use std::num::NonZeroU32;

use super::super::reader::{Cursor, Reader};
use crate::flow::{RateLimit, RateLimitSettings};

/// Sections with which credentials count that are no session.
const CREDENTIALS: [&str; 3] = ["bearer", "tokens", "emergency"];

pub(super) fn read(reader: &mut Reader<'_>, root: &Cursor<'_>) -> Option<RateLimitSettings> {
    let section = root.at("limits")?;
    let [sign_in, callback, credentials] =
        ["sign_in", "callback", "credentials"].map(|name| limit(reader, &section.at(name)?));
    if let Some(cursor) =
        section.at("credentials").filter(|limit| limit.entries().iter().any(|(_, key)| key.is_written()))
        && CREDENTIALS.iter().all(|section| root.at(section).is_none())
    {
        let hint = "remove it, or add the section that it is for: [bearer], [tokens] or [emergency]";
        reader.error(&cursor, "has no effect: no credential but a session counts", hint);
    }
    Some(RateLimitSettings { sign_in: sign_in?, callback: callback?, credentials: credentials? })
}

fn limit(reader: &mut Reader<'_>, section: &Cursor<'_>) -> Option<RateLimit> {
    let [per_minute, burst] = ["per_minute", "burst"].map(|name| {
        let number = reader.number(section.at(name).as_ref(), 1, RateLimit::MAX)?;
        u32::try_from(number).ok().and_then(NonZeroU32::new)
    });
    Some(RateLimit::new(per_minute?, burst?))
}
