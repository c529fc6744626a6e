//! Budget of identity headers in an answer (`server.header_budget`), and the shares of lists in it.

/// Bytes of an answer that lets in which are no identity headers: status line, `Content-Length`, `Date`, `Connection`.
const OTHER_LINES: usize = 128;

/// The most bytes of the head of an answer that lets in. With `session.hide_cookies` the app's cookies come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderBudget(usize);

impl HeaderBudget {
    /// The smallest one, in KiB: room for the names of all presets.
    pub const MIN_KIB: usize = 2;
    /// The largest one, in KiB: apps and edges read headers of twice that size at best.
    pub const MAX_KIB: usize = 32;

    /// Returns a budget of so many KiB, or `None` outside of the bounds.
    #[must_use]
    pub fn from_kib(kib: usize) -> Option<Self> {
        (Self::MIN_KIB..=Self::MAX_KIB).contains(&kib).then_some(Self(kib << 10))
    }

    /// Bytes for identity headers, names included.
    pub(super) fn for_identity(self) -> usize {
        self.0 - OTHER_LINES
    }
}

impl Default for HeaderBudget {
    /// 4 KiB: what nginx reads of an answer unless it is configured otherwise.
    fn default() -> Self {
        Self(4 << 10)
    }
}

/// Divides room among lists that need so many bytes each: all that they need where there is enough (max-min fairness). What a
/// short list leaves goes to the longer ones.
pub(super) fn shares(needs: &[usize], mut room: usize) -> Vec<usize> {
    let mut ascending: Vec<_> = needs.iter().copied().enumerate().collect();
    ascending.sort_by_key(|(_, need)| *need);
    let mut many = ascending.len();
    for (_, need) in &mut ascending {
        *need = (*need).min(room / many);
        room -= *need;
        many -= 1;
    }
    ascending.sort_by_key(|(place, _)| *place);
    ascending.into_iter().map(|(_, share)| share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lists_get_what_they_need_and_long_ones_share_the_rest() {
        for (needs, room, expected) in [
            (vec![], 10, vec![]),
            (vec![5, 4], 10, vec![5, 4]),
            (vec![50, 0, 50], 100, vec![50, 0, 50]),
            (vec![90, 10, 90], 100, vec![45, 10, 45]),
            (vec![90, 90], 0, vec![0, 0]),
        ] {
            assert_eq!(shares(&needs, room), expected, "{needs:?} in {room}");
        }
    }

    #[test]
    fn a_budget_has_bounds() {
        assert_eq!(HeaderBudget::from_kib(4), Some(HeaderBudget::default()));
        assert_eq!([1, 33].map(HeaderBudget::from_kib), [None, None]);
        assert_eq!(HeaderBudget::from_kib(32).map(HeaderBudget::for_identity), Some(32_768 - 128));
    }
}
