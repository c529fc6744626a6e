//! The cookies of a request: its `Cookie` lines, read as bytes.
//!
//! Promises: what is no cookie of the name is passed over, and nothing is unescaped or joined.

use http::{HeaderMap, header};

/// Returns the values of all cookies with exactly this name, in their order, over all `Cookie` lines.
///
/// A browser may send a name several times (another path, another domain), so callers try each one. Splits at `;` only:
/// some edges join lines with a comma, and such a value is not one of ours.
pub fn values<'r>(headers: &'r HeaderMap, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    headers.get_all(header::COOKIE).into_iter().flat_map(move |line| {
        parts(line.as_bytes()).filter_map(move |pair| {
            let rest = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
            Some(rest.strip_prefix(b"=")?.trim_ascii_end())
        })
    })
}

/// Returns the names and values of all cookies, in their order, over all `Cookie` lines.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(header::COOKIE).into_iter().flat_map(|line| {
        parts(line.as_bytes()).filter_map(|pair| {
            let (name, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
            Some((name.trim_ascii(), value.strip_prefix(b"=")?.trim_ascii_end()))
        })
    })
}

/// Splits at semicolons. An app's cookies are long, and `memchr` looks at many bytes at once.
pub(super) fn parts(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(line);
    std::iter::from_fn(move || {
        let line = left?;
        let Some((pair, rest)) = memchr::memchr(b';', line).and_then(|end| line.split_at_checked(end)) else {
            return left.take();
        };
        left = rest.get(1..);
        Some(pair)
    })
}

/// Returns the names of all cookies in the request, for `/reset`.
pub fn names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok()).flat_map(|line| {
        line.split(';')
            .filter_map(|pair| pair.split_once('=').map(|(name, _)| name.trim()))
            .filter(|name| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn every_value_of_the_name_is_found_and_no_other() {
        let headers =
            request(&["a=1; doorward=first;doorward2=x; xdoorward=y", "doorward=second ; Doorward=z", "doorward"]);
        let found: Vec<_> = values(&headers, "doorward").collect();
        assert_eq!(found, [b"first".as_slice(), b"second".as_slice()]);
    }

    proptest::proptest! {
        #[test]
        fn values_are_what_stands_behind_the_name_in_any_pair(lines in proptest::collection::vec("(a=|[ab=; \\t,]){0,12}", 0..3)) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let pairs = lines.iter().flat_map(|line| line.split(';')).map(|pair| pair.trim_ascii_start().split_once('='));
            let expected: Vec<_> =
                pairs.flatten().filter(|(name, _)| *name == "a").map(|(_, value)| value.trim_ascii_end().as_bytes()).collect();
            let headers = request(&lines);
            proptest::prop_assert_eq!(values(&headers, "a").collect::<Vec<_>>(), expected);
        }
    }
}
