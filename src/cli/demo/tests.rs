//! The whole demo.
