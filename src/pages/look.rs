//! How the pages look: everything that follows from the configuration and not from the request, prepared once.
//!
//! The stylesheet is inlined, and the policy allows exactly its bytes by their hash. A setting that makes no sense is
//! replaced by the default and never reaches a page.

use askama::Template;
use bytes::Bytes;
use data_encoding::BASE64;
use http::HeaderValue;

use super::{Asset, Settings, colour::Colour};
use crate::crypto;

const TITLE: &str = "Doorward";
const ACCENT: Colour = Colour([0x1f, 0x6f, 0x5c]);

/// Image formats that every browser of the last years shows, and what their files are called.
const IMAGES: [(&str, &str); 6] = [
    ("image/svg+xml", "svg"),
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/webp", "webp"),
    ("image/gif", "gif"),
    ("image/avif", "avif"),
];

/// What every page shares.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) title: String,
    pub(super) stylesheet: String,
    /// The mark, as an element for the page.
    pub(super) mark: String,
    /// The mark, as a `data:` address for the tab.
    pub(super) icon: String,
    /// The operator's image as a `data:` address; shown in place of mark and title.
    pub(super) logo: Option<String>,
    pub(super) assets: Vec<Asset>,
    /// For pages without a form.
    pub(super) policy: HeaderValue,
    /// For the page that asks before it signs out.
    pub(super) policy_with_form: HeaderValue,
}

impl Look {
    pub(super) fn new(settings: Settings) -> Self {
        let accent = settings.accent.as_deref().and_then(Colour::parse).unwrap_or(ACCENT);
        let stylesheet = stylesheet(accent);
        let mark = rendered(&Mark { accent, door: accent.text() });
        let icon = Asset::new("icon", ("image/svg+xml", "svg"), Bytes::from(mark.clone()));
        let logo = settings.logo.and_then(|(media_type, content)| {
            let image = IMAGES.into_iter().find(|(known, _)| media_type.eq_ignore_ascii_case(known))?;
            Some(Asset::new("logo", image, content))
        });
        Self {
            title: settings.title.filter(|title| !title.trim().is_empty()).unwrap_or_else(|| TITLE.to_owned()),
            icon: icon.data_address(),
            logo: logo.as_ref().map(Asset::data_address),
            policy: policy(&stylesheet, "'none'"),
            // Browsers hold the redirects that follow a form to this too, and signing out ends at the provider, which
            // may send the browser on to another one.
            policy_with_form: policy(&stylesheet, "http: https:"),
            assets: std::iter::once(icon).chain(logo).collect(),
            mark,
            stylesheet,
        }
    }

    /// How many bytes of a document are the look's.
    pub(super) fn size(&self) -> usize {
        let Self { title, stylesheet, mark, icon, logo, .. } = self;
        2 * title.len() + stylesheet.len() + mark.len() + icon.len() + logo.as_ref().map_or(0, String::len)
    }
}

impl Asset {
    fn new(stem: &str, (media_type, extension): (&'static str, &str), content: Bytes) -> Self {
        let digest = crypto::digest(&content);
        let (fingerprint, _) = digest.split_first_chunk::<8>().expect("SHA-256 gives 32 bytes");
        let name = format!("{stem}.{:016x}.{extension}", u64::from_be_bytes(*fingerprint));
        Self { name, media_type, content }
    }

    fn data_address(&self) -> String {
        format!("data:{};base64,{}", self.media_type, BASE64.encode(&self.content))
    }
}

#[derive(Template)]
#[template(path = "mark.svg")]
struct Mark {
    accent: Colour,
    door: Colour,
}

#[derive(Template)]
#[template(path = "style.css", escape = "none")]
struct Stylesheet {
    accent: Colour,
    on_accent: Colour,
    light: Scheme,
    dark: Scheme,
}

/// The colours of one colour scheme.
struct Scheme {
    page: Colour,
    card: Colour,
    line: Colour,
    text: Colour,
    quiet: Colour,
    /// The accent as far as it can be read on page and card.
    link: Colour,
}

impl Scheme {
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
    let source = rendered(&Stylesheet {
        accent,
        on_accent: accent.text(),
        light: Scheme::light(accent),
        dark: Scheme::dark(accent),
    });
    source.lines().map(str::trim).collect()
}

fn rendered(template: &impl Template) -> String {
    template.render().expect("writing to a String does not fail")
}

fn policy(stylesheet: &str, forms: &str) -> HeaderValue {
    let hash = BASE64.encode(&crypto::digest(stylesheet.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action {forms}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 and our own words are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::colour::READABLE;

    fn accents() -> impl Iterator<Item = Colour> {
        let channel = || (0..=u8::MAX).step_by(17);
        channel()
            .flat_map(move |red| channel().flat_map(move |green| channel().map(move |blue| Colour([red, green, blue]))))
    }

    #[test]
    fn every_text_can_be_read_whatever_the_accent_in_light_and_dark() {
        for accent in accents() {
            let contrast = accent.contrast(accent.text());
            assert!(contrast >= READABLE, "the button's text on {accent}: {contrast}");
            for scheme in [Scheme::light(accent), Scheme::dark(accent)] {
                for text in [scheme.text, scheme.quiet, scheme.link] {
                    for surface in [scheme.page, scheme.card] {
                        let contrast = text.contrast(surface);
                        assert!(contrast >= READABLE, "{text} on {surface} with accent {accent}: {contrast}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_accent_that_is_no_colour_is_replaced_by_ours() {
        let default = Look::new(Settings::default());
        for bad in ["red", "#fff", "#000000;}body{display:none}", "</style><script>"] {
            let look = Look::new(Settings { accent: Some(bad.to_owned()), ..Settings::default() });
            assert_eq!(look.stylesheet, default.stylesheet, "{bad}");
        }
        let look = Look::new(Settings { accent: Some("#b00020".to_owned()), ..Settings::default() });
        assert!(look.stylesheet.contains("#b00020") && look.mark.contains("#b00020"));
    }

    #[test]
    fn a_logo_that_is_not_an_image_is_left_out() {
        let logo = |media_type: &str| {
            let logo = Some((media_type.to_owned(), Bytes::from_static(b"pixels")));
            Look::new(Settings { logo, ..Settings::default() })
        };
        for bad in ["text/html", "image/svg+xml\" onload=\"", "image/x-icon,", ""] {
            assert_eq!(logo(bad).logo, None, "{bad}");
            assert_eq!(logo(bad).assets.len(), 1, "{bad}");
        }
        assert_eq!(logo("Image/PNG").logo.as_deref(), Some("data:image/png;base64,cGl4ZWxz"));
    }

    #[test]
    fn an_assets_name_follows_its_content() {
        let asset = Asset::new("logo", ("image/png", "png"), Bytes::from_static(b"abc"));
        // The digest of "abc" is the first example of FIPS 180-2.
        assert_eq!(asset.name, "logo.ba7816bf8f01cfea.png");
    }
}
