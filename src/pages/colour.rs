//! Colours and their contrast, as WCAG 2.2 measures it.
//!
//! Text on any accent, and links in any accent, keep the least contrast.

use std::fmt;

/// Least contrast of text against its background (WCAG 2.2, success criterion 1.4.3).
pub(super) const MIN_CONTRAST: f64 = 4.5;

/// Steps that take any colour to black or white.
const MAX_STEPS: usize = 64;

/// An opaque sRGB colour. Prints as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour(pub(super) [u8; 3]);

impl Colour {
    pub(super) const BLACK: Self = Self([0; 3]);
    pub(super) const WHITE: Self = Self([255; 3]);

    /// Parses `#rrggbb`, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let [_, red, green, blue] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
        Some(Self([red, green, blue]))
    }

    /// Returns the contrast ratio of two colours, 1 to 21, the same in either order.
    pub(super) fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance() + 0.05, other.luminance() + 0.05);
        one.max(two) / one.min(two)
    }

    /// Returns the colour of text on this one: black or white, of which one always has a contrast above 4.58.
    pub(super) fn text(self) -> Self {
        if self.contrast(Self::WHITE) >= self.contrast(Self::BLACK) { Self::WHITE } else { Self::BLACK }
    }

    /// Returns this colour, darkened until it has enough contrast on each of these light surfaces.
    pub(super) fn on_light(self, surfaces: [Self; 2]) -> Self {
        self.with_contrast(surfaces, Self::darker).unwrap_or(Self::BLACK)
    }

    /// Returns this colour, lightened until it has enough contrast on each of these dark surfaces.
    pub(super) fn on_dark(self, surfaces: [Self; 2]) -> Self {
        self.with_contrast(surfaces, Self::lighter).unwrap_or(Self::WHITE)
    }

    fn with_contrast(self, surfaces: [Self; 2], step: fn(Self) -> Self) -> Option<Self> {
        std::iter::successors(Some(self), |colour| Some(step(*colour)))
            .take(MAX_STEPS)
            .find(|colour| surfaces.iter().all(|surface| colour.contrast(*surface) >= MIN_CONTRAST))
    }

    fn darker(self) -> Self {
        Self(self.0.map(|channel| channel - channel.div_ceil(8)))
    }

    fn lighter(self) -> Self {
        Self(self.0.map(|channel| channel + (u8::MAX - channel).div_ceil(8)))
    }

    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|channel| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(out, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_six_hexadecimal_digits_are_a_colour() {
        assert_eq!(Colour::parse("#0a1BfF"), Some(Colour([0x0a, 0x1b, 0xff])));
        for bad in ["", "#", "red", "#fff", "#12345", "#1234567", "123456", "#+12345", "#12 456", "#ééé", "#000;}*{"]
        {
            assert_eq!(Colour::parse(bad), None, "{bad}");
        }
        assert_eq!(Colour([0x0a, 0x1b, 0xff]).to_string(), "#0a1bff");
    }

    #[test]
    fn contrast_matches_the_reference_values_of_wcag() {
        // Reference values of the WCAG contrast formula, to two places.
        for (one, two, ratio) in [
            ("#000000", "#ffffff", 21.0),
            ("#777777", "#ffffff", 4.48),
            ("#767676", "#ffffff", 4.54),
            ("#ff0000", "#ffffff", 4.00),
            ("#0000ff", "#ffffff", 8.59),
        ] {
            let (one, two) = (Colour::parse(one).unwrap(), Colour::parse(two).unwrap());
            assert!((one.contrast(two) - ratio).abs() < 0.006, "{one} on {two}: {}", one.contrast(two));
            assert!((one.contrast(two) - two.contrast(one)).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_colour_with_enough_contrast_is_left_alone() {
        let teal = Colour([0x1f, 0x6f, 0x5c]);
        assert_eq!(teal.on_light([Colour::WHITE; 2]), teal);
        assert_ne!(teal.on_dark([Colour::BLACK; 2]), Colour::WHITE);
    }
}
