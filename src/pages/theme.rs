//! The theme of the pages: stylesheet, icon, logo and Content Security Policy, made once from the settings.
//!
//! The stylesheet is inlined, and the policy allows exactly its bytes by their hash. An invalid setting is replaced by the
//! default and never reaches a page.

use askama::Template;
use bytes::Bytes;
use data_encoding::BASE64;
use http::HeaderValue;

use super::{colour::Colour, settings::Settings, static_file::StaticFile};
use crate::crypto;

const DEFAULT_TITLE: &str = "Doorward";
const DEFAULT_ACCENT: Colour = Colour([0x1f, 0x6f, 0x5c]);

/// Image formats that all current browsers show, with their file extensions.
const IMAGE_FORMATS: [(&str, &str); 6] = [
    ("image/svg+xml", "svg"),
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/webp", "webp"),
    ("image/gif", "gif"),
    ("image/avif", "avif"),
];

/// The parts that all pages share.
#[derive(Debug)]
pub(super) struct Theme {
    pub(super) title: String,
    pub(super) stylesheet: String,
    /// The gate's icon as an SVG element.
    pub(super) icon_svg: String,
    /// The same as a `data:` URL, for the browser's tab.
    pub(super) favicon: String,
    /// The operator's image as a `data:` URL; shown in place of icon and title.
    pub(super) logo: Option<String>,
    pub(super) static_files: Vec<StaticFile>,
    /// Content Security Policy of pages without a form.
    pub(super) csp: HeaderValue,
    /// Content Security Policy of the page that asks before it signs out.
    pub(super) csp_with_form: HeaderValue,
    /// Content Security Policy of pages that are shown in frames too.
    pub(super) csp_in_frames: HeaderValue,
}

impl Theme {
    pub(super) fn new(settings: Settings) -> Self {
        let accent = settings.accent.as_deref().and_then(Colour::parse).unwrap_or(DEFAULT_ACCENT);
        let stylesheet = stylesheet(accent);
        let icon_svg = rendered(&IconTemplate { accent, door: accent.text() });
        let icon = StaticFile::new("icon", ("image/svg+xml", "svg"), Bytes::from(icon_svg.clone()));
        let logo = settings.logo.and_then(|(media_type, content)| {
            let image = IMAGE_FORMATS.into_iter().find(|(known, _)| media_type.eq_ignore_ascii_case(known))?;
            Some(StaticFile::new("logo", image, content))
        });
        Self {
            title: settings.title.filter(|title| !title.trim().is_empty()).unwrap_or_else(|| DEFAULT_TITLE.to_owned()),
            favicon: icon.data_url(),
            logo: logo.as_ref().map(StaticFile::data_url),
            csp: content_security_policy(&stylesheet, "'none'", "'none'"),
            // Browsers hold the redirects that follow a form to this too, and signing out ends at the provider, which
            // may send the browser on to another one.
            csp_with_form: content_security_policy(&stylesheet, "http: https:", "'none'"),
            csp_in_frames: content_security_policy(&stylesheet, "'none'", "http: https:"),
            static_files: std::iter::once(icon).chain(logo).collect(),
            icon_svg,
            stylesheet,
        }
    }

    /// Bytes that the theme adds to a document.
    pub(super) fn size(&self) -> usize {
        let Self { title, stylesheet, icon_svg, favicon, logo, .. } = self;
        2 * title.len() + stylesheet.len() + icon_svg.len() + favicon.len() + logo.as_ref().map_or(0, String::len)
    }
}

#[derive(Template)]
#[template(path = "icon.svg")]
struct IconTemplate {
    accent: Colour,
    door: Colour,
}

#[derive(Template)]
#[template(path = "style.css", escape = "none")]
struct StylesheetTemplate {
    accent: Colour,
    on_accent: Colour,
    light: ColourScheme,
    dark: ColourScheme,
}

/// Colours of one colour scheme, light or dark.
struct ColourScheme {
    page: Colour,
    card: Colour,
    line: Colour,
    text: Colour,
    quiet: Colour,
    /// The accent, adjusted until it can be read on page and card.
    link: Colour,
}

impl ColourScheme {
    fn light(accent: Colour) -> Self {
        let (page, card) = (Colour([0xf3, 0xf4, 0xf2]), Colour::WHITE);
        Self {
            page,
            card,
            line: Colour([0xdf, 0xe2, 0xde]),
            text: Colour([0x1c, 0x22, 0x20]),
            quiet: Colour([0x57, 0x60, 0x5c]),
            link: accent.on_light([page, card]),
        }
    }

    fn dark(accent: Colour) -> Self {
        let (page, card) = (Colour([0x11, 0x14, 0x13]), Colour([0x1a, 0x1e, 0x1d]));
        Self {
            page,
            card,
            line: Colour([0x2e, 0x35, 0x33]),
            text: Colour([0xe8, 0xec, 0xea]),
            quiet: Colour([0xa2, 0xac, 0xa8]),
            link: accent.on_dark([page, card]),
        }
    }
}

fn stylesheet(accent: Colour) -> String {
    let source = rendered(&StylesheetTemplate {
        accent,
        on_accent: accent.text(),
        light: ColourScheme::light(accent),
        dark: ColourScheme::dark(accent),
    });
    source.lines().map(str::trim).collect()
}

fn rendered(template: &impl Template) -> String {
    template.render().expect("writing to a String does not fail")
}

fn content_security_policy(stylesheet: &str, form_action: &str, frame_ancestors: &str) -> HeaderValue {
    let hash = BASE64.encode(&crypto::digest(stylesheet.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action {form_action}; base-uri 'none'; \
         frame-ancestors {frame_ancestors}"
    );
    HeaderValue::try_from(policy).expect("base64 and our own words are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::colour::MIN_CONTRAST;

    fn accents() -> impl Iterator<Item = Colour> {
        let channel = || (0..=u8::MAX).step_by(17);
        channel()
            .flat_map(move |red| channel().flat_map(move |green| channel().map(move |blue| Colour([red, green, blue]))))
    }

    #[test]
    fn every_text_has_enough_contrast_with_any_accent_in_light_and_dark() {
        for accent in accents() {
            let contrast = accent.contrast(accent.text());
            assert!(contrast >= MIN_CONTRAST, "the button's text on {accent}: {contrast}");
            for scheme in [ColourScheme::light(accent), ColourScheme::dark(accent)] {
                for text in [scheme.text, scheme.quiet, scheme.link] {
                    for surface in [scheme.page, scheme.card] {
                        let contrast = text.contrast(surface);
                        assert!(contrast >= MIN_CONTRAST, "{text} on {surface} with accent {accent}: {contrast}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_accent_that_is_no_colour_is_replaced_by_ours() {
        let default = Theme::new(Settings::default());
        for bad in ["red", "#fff", "#000000;}body{display:none}", "</style><script>"] {
            let theme = Theme::new(Settings { accent: Some(bad.to_owned()), ..Settings::default() });
            assert_eq!(theme.stylesheet, default.stylesheet, "{bad}");
        }
        let theme = Theme::new(Settings { accent: Some("#b00020".to_owned()), ..Settings::default() });
        assert!(theme.stylesheet.contains("#b00020") && theme.icon_svg.contains("#b00020"));
    }

    #[test]
    fn a_logo_that_is_not_an_image_is_left_out() {
        let logo = |media_type: &str| {
            let logo = Some((media_type.to_owned(), Bytes::from_static(b"pixels")));
            Theme::new(Settings { logo, ..Settings::default() })
        };
        for bad in ["text/html", "image/svg+xml\" onload=\"", "image/x-icon,", ""] {
            assert_eq!(logo(bad).logo, None, "{bad}");
            assert_eq!(logo(bad).static_files.len(), 1, "{bad}");
        }
        assert_eq!(logo("Image/PNG").logo.as_deref(), Some("data:image/png;base64,cGl4ZWxz"));
    }

    #[test]
    fn the_name_of_a_static_file_follows_its_content() {
        let file = StaticFile::new("logo", ("image/png", "png"), Bytes::from_static(b"abc"));
        // The digest of "abc" is the first example of FIPS 180-2.
        assert_eq!(file.name, "logo.ba7816bf8f01cfea.png");
    }
}
