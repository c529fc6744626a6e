//! Tests of the pooled client, against real servers.

use std::sync::Arc;

use url::Url;

use super::{Settings, Upstreams};
use crate::metrics::{self, Metrics};

#[test]
fn a_configuration_that_keeps_an_upstream_keeps_its_connections() {
    let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
    let upstreams = Upstreams::new(metrics.upstreams.clone());
    let settings = |url: &str| Settings::new(Url::parse(url).unwrap());
    let (app, other) = (settings("http://app:3000/"), settings("http://app:3001/"));
    let first = upstreams.prepare([&app].into_iter()).unwrap();
    let second = upstreams.prepare([&other, &app].into_iter()).unwrap();
    let client = |set: &super::ConfiguredUpstreams, settings| set.get(settings).map(Arc::clone).unwrap();
    assert!(Arc::ptr_eq(&client(&first, &app), &client(&second, &app)));
    assert!(!Arc::ptr_eq(&client(&second, &app), &client(&second, &other)));
    assert!(first.get(&other).is_none());
}
