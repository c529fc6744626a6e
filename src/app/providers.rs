//! The providers of one configuration after another, and the task that looks after each.

use std::sync::Arc;

use anyhow::Context as _;

use crate::{
    clock::Clock,
    metrics,
    oidc::{Provider, Settings, Transport},
    shutdown::{Signal, Tasks},
};

/// A provider that can be made without anything going wrong any more.
pub(super) enum Prepared {
    /// As it was, with all that is known of it.
    Same(Arc<Provider>),
    /// Known already, under other settings.
    Changed(Arc<Provider>, Settings, Transport),
    /// Not known yet.
    New(Settings, Transport),
}

/// Does what may fail: reads whom to trust.
pub(super) fn prepare(before: &[Arc<Provider>], settings: &[Settings]) -> anyhow::Result<Vec<Prepared>> {
    let prepare = |(index, settings): (usize, &Settings)| {
        let known = before.iter().find(|known| known.settings().name == settings.name);
        if let Some(same) = known.filter(|known| known.settings() == settings) {
            return Ok(Prepared::Same(Arc::clone(same)));
        }
        let transport = Transport::new(settings).with_context(|| format!("providers[{index}]"))?;
        Ok(match known {
            Some(known) => Prepared::Changed(Arc::clone(known), settings.clone(), transport),
            None => Prepared::New(settings.clone(), transport),
        })
    };
    settings.iter().enumerate().map(prepare).collect()
}

/// Makes the providers, each with its numbers.
pub(super) fn made(prepared: Vec<Prepared>, numbers: &[metrics::Provider], clock: &Clock) -> Vec<Arc<Provider>> {
    let make = |(prepared, numbers): (Prepared, &metrics::Provider)| match prepared {
        Prepared::Same(provider) => provider,
        Prepared::Changed(known, settings, transport) => Arc::new(known.under(settings, transport)),
        Prepared::New(settings, transport) => {
            Arc::new(Provider::new(settings, transport, clock.clone(), numbers.clone()))
        }
    };
    prepared.into_iter().zip(numbers).map(make).collect()
}

/// Lets a task look after each provider in force.
pub(super) struct Caretaker {
    tasks: Tasks,
    stop: Signal,
    cares: Vec<(Arc<Provider>, Signal)>,
}

impl Caretaker {
    /// Looks after nobody yet; `stop` ends all that it will do, and `tasks` are to stop then.
    pub(super) fn new(tasks: Tasks, stop: Signal) -> Self {
        Self { tasks, stop, cares: Vec::new() }
    }

    /// Looks after these from now on, and after no others. Whoever has another one in hand goes on with it.
    pub(super) fn look_after(&mut self, providers: &[Arc<Provider>]) {
        let before = std::mem::take(&mut self.cares);
        for provider in providers {
            let care = before.iter().find(|(known, _)| Arc::ptr_eq(known, provider));
            let until = care.map_or_else(|| self.begin(provider), |(_, until)| until.clone());
            self.cares.push((Arc::clone(provider), until));
        }
        for (provider, until) in before {
            if !providers.iter().any(|kept| Arc::ptr_eq(kept, &provider)) {
                until.raise();
            }
        }
    }

    fn begin(&self, provider: &Arc<Provider>) -> Signal {
        let (provider, until) = (Arc::clone(provider), self.stop.branch());
        let stop = until.clone();
        self.tasks.until(until.clone()).supervise("provider", async move { provider.maintain(stop).await });
        until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::{
        config::{self, Environment, Source},
        metrics::{Metrics, Settings as Kept},
    };

    /// Providers that are not there, by name and client.
    fn settings(providers: &[(&str, &str)]) -> Vec<Settings> {
        let sections = providers.iter().map(|(name, client)| {
            format!("[[providers]]\nname = '{name}'\nissuer = 'http://127.0.0.1:9/'\nclient_id = '{client}'\n")
        });
        let head = "server.listen = '127.0.0.1:0'\nsession.secrets = ['0123456789abcdef0123456789abcdef']\n";
        let text = format!("{head}{}", sections.collect::<String>());
        let source = Source { path: "doorward.toml".into(), text };
        config::load_from(Some(&source), &Environment::new()).unwrap().providers
    }

    fn after(before: &[Arc<Provider>], providers: &[(&str, &str)]) -> Vec<Arc<Provider>> {
        let names: Vec<_> = providers.iter().map(|(name, _)| *name).collect();
        let metrics = Metrics::new(&Kept { backend: "memory", version: "", commit: "" });
        let numbers = metrics.bind(&[], &[], &names).providers;
        made(prepare(before, &settings(providers)).unwrap(), &numbers, &Clock::System)
    }

    /// Waits until nobody but the test holds a provider.
    async fn is_let_go(provider: &Arc<Provider>) {
        while Arc::strong_count(provider) > 1 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn a_provider_stays_itself_wherever_it_stands_while_its_settings_do() {
        let first = after(&[], &[("a", "x"), ("b", "x")]);
        let second = after(&first, &[("c", "x"), ("b", "y"), ("a", "x")]);
        assert!(Arc::ptr_eq(&second[2], &first[0]));
        assert!(!Arc::ptr_eq(&second[1], &first[1]));
        let names: Vec<_> = second.iter().map(|provider| provider.settings().name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[tokio::test]
    async fn each_provider_in_force_is_looked_after_and_no_other() {
        let (stop, first) = (Signal::default(), after(&[], &[("a", "x"), ("b", "x")]));
        let tasks = Tasks::new(stop.clone());
        let mut caretaker = Caretaker::new(tasks.clone(), stop.clone());
        caretaker.look_after(&first);
        let second = after(&first, &[("b", "x"), ("c", "x")]);
        caretaker.look_after(&second);
        let [gone, kept] = <[_; 2]>::try_from(first).ok().unwrap();
        is_let_go(&gone).await;
        drop(second);
        // Those who hold it are the caretaker and the task, of which there is one.
        assert_eq!(Arc::strong_count(&kept), 3);
        stop.raise();
        drop(caretaker);
        tasks.joined().await;
        is_let_go(&kept).await;
    }
}
