//! Which configuration is in force, and what became of changes to it.

use std::sync::{Mutex, PoisonError};

use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};

use super::{Reload, counters, increment, register};

/// The configuration in force.
pub struct Configuration {
    info: IntGaugeVec,
    /// The hash that `info` shows.
    shown: Mutex<Option<String>>,
    reloads: Vec<IntCounter>,
}

impl Configuration {
    pub(super) fn new(registry: &Registry) -> Self {
        let opts = Opts::new("doorward_config_info", "The configuration in force");
        let reloads = counters(
            registry,
            "doorward_config_reloads_total",
            "Times that the configuration was read again",
            &["result"],
        );
        Self {
            info: register(registry, IntGaugeVec::new(opts, &["hash"])),
            shown: Mutex::default(),
            reloads: Reload::ALL.iter().map(|result| reloads.with_label_values(&[result.label()])).collect(),
        }
    }

    /// Shows the hash of a configuration, and that of no other.
    pub fn loaded(&self, hash: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = shown.replace(hash.to_owned()).filter(|before| before != hash) {
            // It was put there by us.
            let _removed = self.info.remove_label_values(&[&before]);
        }
        self.info.with_label_values(&[hash]).set(1);
    }

    /// Counts one reading.
    pub fn reloaded(&self, result: Reload) {
        increment(&self.reloads, result as usize, 1);
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn one_hash_is_shown_and_each_result_counted() {
        let registry = Registry::new();
        let configuration = Configuration::new(&registry);
        for hash in ["a", "b", "b", "a"] {
            configuration.loaded(hash);
        }
        configuration.reloaded(Reload::Refused);
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            series,
            [
                r#"doorward_config_info{hash="a"} 1"#,
                r#"doorward_config_reloads_total{result="applied"} 0"#,
                r#"doorward_config_reloads_total{result="refused"} 1"#,
                r#"doorward_config_reloads_total{result="unchanged"} 0"#,
            ]
        );
    }
}
