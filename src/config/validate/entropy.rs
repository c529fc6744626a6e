//! Estimate of how hard a sealing secret is to guess, for a warning: it finds what was typed or copied in a hurry, and does
//! not prove that a secret is random.

use std::collections::HashMap;

/// Bits below which a secret is called easy to guess. Random ones of 32 characters have twice as many, even of hexadecimal
/// digits.
const MIN_BITS: f64 = 60.0;

/// Returns `true` if a text consists of few different characters, or repeats a short one.
pub(super) fn is_easy_to_guess(secret: &str) -> bool {
    let letters: Vec<_> = secret.chars().collect();
    let unit = letters.get(..period(&letters)).unwrap_or(&letters);
    bits(unit) < MIN_BITS
}

/// Returns the length of the shortest beginning whose repetition gives the whole text.
fn period(letters: &[char]) -> usize {
    let repeats = |length: &usize| letters.iter().zip(letters.iter().skip(*length)).all(|(one, later)| one == later);
    (1..letters.len()).find(repeats).unwrap_or(letters.len())
}

/// Returns the Shannon entropy of the letters' frequencies, times their number.
#[expect(clippy::cast_precision_loss, reason = "a secret has no 2^52 characters")]
fn bits(letters: &[char]) -> f64 {
    let mut counts: HashMap<char, usize> = HashMap::new();
    for letter in letters {
        *counts.entry(*letter).or_default() += 1;
    }
    let all = letters.len() as f64;
    counts.values().map(|count| *count as f64).map(|count| count * (all / count).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_few_letters_or_of_a_repeated_word_is_easy_to_guess() {
        for (secret, expected) in [
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true),
            ("abababababababababababababababababab", true),
            ("00000000000000000000000000000001", true),
            ("12345678901234567890123456789012", true),
            ("changeme-changeme-changeme-changeme", true),
            ("passwordpasswordpasswordpasswordpass", true),
            ("", true),
            ("3c6e0b8a9c15224a8228b9a98ca1531d", false),
            ("0123456789abcdef0123456789abcdef", false),
            ("QnjXzr7UL2UXWkUOTuZ4cU9hK0mRk2Rk1l0M6mJv9yI", false),
            ("correct horse battery staple, and so on", false),
        ] {
            assert_eq!(is_easy_to_guess(secret), expected, "{secret}");
        }
    }

    #[test]
    fn a_printed_secret_is_never_easy_to_guess() {
        for _ in 0..1_000 {
            let secret = crate::crypto::encode(&crate::crypto::random::<32>());
            assert!(!is_easy_to_guess(&secret), "{secret}");
        }
    }
}
