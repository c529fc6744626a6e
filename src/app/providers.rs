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
