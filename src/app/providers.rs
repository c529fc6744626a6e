//! Providers across configurations, and the background task of each.
//!
//! A provider whose settings are unchanged keeps its state and its task.

use std::sync::Arc;

use anyhow::Context as _;

use crate::{
    clock::Clock,
    metrics,
    oidc::{HttpTransport, Provider, Settings},
    shutdown::{Signal, Tasks},
};

/// Plan for a provider of the next configuration. To carry it out cannot fail.
pub(super) enum ProviderPlan {
    /// Unchanged, with its state.
    Unchanged(Arc<Provider>),
    /// Known under the same name, with other settings.
    Changed(Arc<Provider>, Settings, HttpTransport),
    /// New.
    New(Settings, HttpTransport),
}

/// Plans the next providers. Fails if the authorities of one cannot be read.
pub(super) fn prepare(before: &[Arc<Provider>], settings: &[Settings]) -> anyhow::Result<Vec<ProviderPlan>> {
    let prepare = |(index, settings): (usize, &Settings)| {
        let known = before.iter().find(|known| known.settings().name == settings.name);
        if let Some(same) = known.filter(|known| known.settings() == settings) {
            return Ok(ProviderPlan::Unchanged(Arc::clone(same)));
        }
        let transport = HttpTransport::new(settings).with_context(|| format!("providers[{index}]"))?;
        Ok(match known {
            Some(known) => ProviderPlan::Changed(Arc::clone(known), settings.clone(), transport),
            None => ProviderPlan::New(settings.clone(), transport),
        })
    };
    settings.iter().enumerate().map(prepare).collect()
}

/// Makes the planned providers, each with its metrics.
pub(super) fn make(
    plans: Vec<ProviderPlan>,
    metrics: &[metrics::ProviderMetrics],
    clock: &Clock,
) -> Vec<Arc<Provider>> {
    let make_one = |(plan, metrics): (ProviderPlan, &metrics::ProviderMetrics)| match plan {
        ProviderPlan::Unchanged(provider) => provider,
        ProviderPlan::Changed(known, settings, transport) => Arc::new(known.with_settings(settings, transport)),
        ProviderPlan::New(settings, transport) => {
            Arc::new(Provider::new(settings, transport, clock.clone(), metrics.clone()))
        }
    };
    plans.into_iter().zip(metrics).map(make_one).collect()
}

/// Background tasks of the providers in force, one each.
pub(super) struct ProviderTasks {
    tasks: Tasks,
    stop: Signal,
    running: Vec<(Arc<Provider>, Signal)>,
}

impl ProviderTasks {
    /// Creates it without tasks; `stop` ends all that will be spawned in `tasks`.
    pub(super) fn new(tasks: Tasks, stop: Signal) -> Self {
        Self { tasks, stop, running: Vec::new() }
    }

    /// Spawns the tasks of new providers, and stops those of providers that are no longer in force. Requests that hold such a
    /// provider finish with it.
    pub(super) fn follow(&mut self, providers: &[Arc<Provider>]) {
        let before = std::mem::take(&mut self.running);
        for provider in providers {
            let running = before.iter().find(|(known, _)| Arc::ptr_eq(known, provider));
            let until = running.map_or_else(|| self.spawn(provider), |(_, until)| until.clone());
            self.running.push((Arc::clone(provider), until));
        }
        for (provider, until) in before {
            if !providers.iter().any(|kept| Arc::ptr_eq(kept, &provider)) {
                until.raise();
            }
        }
    }

    fn spawn(&self, provider: &Arc<Provider>) -> Signal {
        let (provider, until) = (Arc::clone(provider), self.stop.child());
        let stop = until.clone();
        self.tasks.with_signal(until.clone()).supervise("provider", async move { provider.maintain(stop).await });
        until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::{
        config::{self, ConfigFile, Environment},
        metrics::{Metrics, Settings as MetricsSettings},
    };

    /// Settings of unreachable providers, by name and client.
    fn settings(providers: &[(&str, &str)]) -> Vec<Settings> {
        let sections = providers.iter().map(|(name, client)| {
            format!("[[providers]]\nname = '{name}'\nissuer = 'http://127.0.0.1:9/'\nclient_id = '{client}'\n")
        });
        let head = "server.listen = '127.0.0.1:0'\nsession.secrets = ['0123456789abcdef0123456789abcdef']\n";
        let text = format!("{head}{}", sections.collect::<String>());
        let source = ConfigFile { path: "doorward.toml".into(), text };
        config::load_from(Some(&source), &Environment::new()).unwrap().providers
    }

    fn after(before: &[Arc<Provider>], providers: &[(&str, &str)]) -> Vec<Arc<Provider>> {
        let names: Vec<_> = providers.iter().map(|(name, _)| *name).collect();
        let metrics = Metrics::new(&MetricsSettings { backend: "memory", version: "", commit: "" });
        let bound = metrics.bind(&[], &[], &names).providers;
        make(prepare(before, &settings(providers)).unwrap(), &bound, &Clock::System)
    }

    /// Waits until only the test holds a provider: its tasks end on other threads.
    async fn is_released(provider: &Arc<Provider>) {
        while Arc::strong_count(provider) > 1 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn an_unchanged_provider_is_kept_wherever_it_stands() {
        let first = after(&[], &[("a", "x"), ("b", "x")]);
        let second = after(&first, &[("c", "x"), ("b", "y"), ("a", "x")]);
        assert!(Arc::ptr_eq(&second[2], &first[0]));
        assert!(!Arc::ptr_eq(&second[1], &first[1]));
        let names: Vec<_> = second.iter().map(|provider| provider.settings().name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[tokio::test]
    async fn each_provider_in_force_has_a_task_and_no_other() {
        let (stop, first) = (Signal::default(), after(&[], &[("a", "x"), ("b", "x")]));
        let tasks = Tasks::new(stop.clone());
        let mut provider_tasks = ProviderTasks::new(tasks.clone(), stop.clone());
        provider_tasks.follow(&first);
        let second = after(&first, &[("b", "x"), ("c", "x")]);
        provider_tasks.follow(&second);
        let [removed, kept] = <[_; 2]>::try_from(first).ok().unwrap();
        is_released(&removed).await;
        drop(second);
        // Held by the test, by `ProviderTasks`, and by its only task.
        assert_eq!(Arc::strong_count(&kept), 3);
        stop.raise();
        drop(provider_tasks);
        tasks.joined().await;
        is_released(&kept).await;
    }
}
