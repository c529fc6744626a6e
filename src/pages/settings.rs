//! Settings of the pages.

use bytes::Bytes;

/// Settings of the pages' branding.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Site name in titles and headings; absent: `Doorward`.
    pub title: Option<String>,
    /// Image above the heading: media type and bytes.
    pub logo: Option<(String, Bytes)>,
    /// Accent colour as `#rrggbb`, checked by the configuration.
    pub accent: Option<String>,
}
