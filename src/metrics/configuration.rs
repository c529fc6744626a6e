//! Metrics of the configuration: the one in force, and reloads.

use std::sync::{Mutex, PoisonError};

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use super::{
    labels::ReloadResult,
    registry::{counters, increment, register},
};

/// The configuration in force.
pub struct ConfigMetrics {
    info: IntGaugeVec,
    /// The hash that `info` shows.
    shown: Mutex<Option<String>>,
    reloads: Vec<IntCounter>,
    last_reload_successful: IntGauge,
}

impl ConfigMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let opts = Opts::new("doorward_config_info", "The configuration in force");
        let reloads = counters(
            registry,
            "doorward_config_reloads_total",
            "Times that the configuration was read again",
            &["result"],
        );
        let successful = "1 unless the configuration that was read last was refused: then the one before is in force";
        let last_reload_successful =
            register(registry, IntGauge::new("doorward_config_last_reload_successful", successful));
        // What is in force at the start was read successfully.
        last_reload_successful.set(1);
        Self {
            info: register(registry, IntGaugeVec::new(opts, &["hash"])),
            shown: Mutex::default(),
            reloads: ReloadResult::ALL.iter().map(|result| reloads.with_label_values(&[result.label()])).collect(),
            last_reload_successful,
        }
    }

    /// Sets the hash of the configuration in force; removes the one before.
    pub fn set_hash(&self, hash: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = shown.replace(hash.to_owned()).filter(|before| before != hash) {
            let _was_set_above = self.info.remove_label_values(&[&before]);
        }
        self.info.with_label_values(&[hash]).set(1);
    }

    /// Counts a reload.
    pub fn count_reload(&self, result: ReloadResult) {
        increment(&self.reloads, result as usize, 1);
        self.last_reload_successful.set((result != ReloadResult::Refused).into());
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn one_hash_is_shown_and_each_result_counted_and_the_last_one_told() {
        let registry = Registry::new();
        let configuration = ConfigMetrics::new(&registry);
        for hash in ["a", "b", "b", "a"] {
            configuration.set_hash(hash);
        }
        let successful = &configuration.last_reload_successful;
        assert_eq!(successful.get(), 1);
        configuration.count_reload(ReloadResult::Refused);
        assert_eq!(successful.get(), 0);
        configuration.count_reload(ReloadResult::Unchanged);
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            series,
            [
                r#"doorward_config_info{hash="a"} 1"#,
                "doorward_config_last_reload_successful 1",
                r#"doorward_config_reloads_total{result="applied"} 0"#,
                r#"doorward_config_reloads_total{result="refused"} 1"#,
                r#"doorward_config_reloads_total{result="unchanged"} 1"#,
            ]
        );
    }
}
