//! Contestants taking turns: many short rounds, each contestant once in each, and medians of what they come to.

use std::{fmt, time::Duration};

use crate::{
    contestant::Contestant,
    load::{Load, Round},
};

/// What came of it: for each contestant its rounds, in the order in which they were run.
pub(crate) struct Contest {
    names: Vec<&'static str>,
    rounds: Vec<Vec<Round>>,
}

impl Contest {
    /// Lets the contestants take turns.
    pub(crate) fn between(contestants: &[&Contestant], connections: usize, rounds: usize, each: Duration) -> Self {
        let mut loads: Vec<_> = contestants.iter().map(|contestant| Load::open(contestant, connections)).collect();
        for load in &mut loads {
            load.greet();
            load.round(each);
        }
        let mut played: Vec<Vec<Round>> = loads.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            // Not always after the same one.
            for turn in 0..loads.len() {
                let index = (round + turn) % loads.len();
                if let (Some(load), Some(played)) = (loads.get_mut(index), played.get_mut(index)) {
                    played.push(load.round(each));
                }
            }
        }
        Self { names: contestants.iter().map(|contestant| contestant.name).collect(), rounds: played }
    }

    /// Requests a second of one contestant ÷ those of another: the median over the rounds.
    pub(crate) fn requests(&self, of: usize, to: usize) -> f64 {
        self.ratio(of, to, Round::rate)
    }

    /// The 99th percentile of latency of one contestant ÷ that of another.
    pub(crate) fn p99(&self, of: usize, to: usize) -> f64 {
        self.ratio(of, to, |round| nanoseconds(round, 0.99))
    }

    /// Time of a core for one answer.
    pub(crate) fn cost(&self, of: usize, to: usize) -> f64 {
        self.ratio(of, to, Round::cost)
    }

    fn ratio(&self, of: usize, to: usize, figure: impl Fn(&Round) -> f64) -> f64 {
        let (of, to) = (self.rounds_of(of), self.rounds_of(to));
        median(of.iter().zip(to).map(|(of, to)| figure(of) / figure(to)))
    }

    fn rounds_of(&self, contestant: usize) -> &[Round] {
        self.rounds.get(contestant).expect("a contestant")
    }
}

/// A table: ratios to the second contestant, which is the limit; then what they are made of.
impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:12} {:>8} {:>8} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9}",
            "", "requests", "core", "p99", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "saturated"
        )?;
        for (index, name) in self.names.iter().enumerate() {
            let rounds = self.rounds_of(index);
            let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
            let micro = |quantile| of(&|round| nanoseconds(round, quantile) / 1_000.0);
            writeln!(
                f,
                "{name:12} {:8.2} {:8.2} {:8.2} {:10.0} {:9.0} {:9.0} {:9.0} {:8.0}%",
                self.requests(index, 1),
                self.cost(index, 1),
                self.p99(index, 1),
                of(&Round::rate),
                micro(0.5),
                micro(0.99),
                micro(0.999),
                of(&Round::saturation) * 100.0,
            )?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 nanoseconds")]
fn nanoseconds(round: &Round, quantile: f64) -> f64 {
    round.latency.value_at_quantile(quantile) as f64
}

/// The middle one.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
