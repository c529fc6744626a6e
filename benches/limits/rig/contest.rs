//! A contest: contestants take turns in many short rounds; results are medians over the rounds.

use std::time::Duration;

use super::{
    contestant::Contestant,
    cores,
    load::{Load, Round},
};
use crate::report::{
    figure::Unit,
    table::{Column, Table},
};

/// Length of a contest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    /// Number of rounds.
    pub(crate) rounds: usize,
    /// Duration of a round for each contestant.
    pub(crate) each: Duration,
}

/// Result of a contest: the rounds of each contestant in order.
pub(crate) struct Contest {
    names: Vec<String>,
    rounds: Vec<Vec<Round>>,
}

impl Contest {
    /// Runs a contest, after a request for everybody at each contestant.
    pub(crate) fn between(contestants: &[&Contestant], connections: usize, length: Length) -> Self {
        cores::run_on(cores::GENERATOR, || Self::held(contestants, connections, length))
    }

    fn held(contestants: &[&Contestant], connections: usize, length: Length) -> Self {
        let mut loads: Vec<_> = contestants.iter().map(|contestant| Load::open(contestant, connections)).collect();
        for load in &mut loads {
            load.request_all_once();
            load.round(length.each);
        }
        let mut played: Vec<Vec<Round>> = loads.iter().map(|_| Vec::new()).collect();
        for round in 0..length.rounds {
            // In a different order in each round.
            for turn in 0..loads.len() {
                let index = (round + turn) % loads.len();
                if let (Some(load), Some(played)) = (loads.get_mut(index), played.get_mut(index)) {
                    played.push(load.round(length.each));
                }
            }
        }
        Self { names: contestants.iter().map(|contestant| contestant.name.clone()).collect(), rounds: played }
    }

    /// Returns the ratio of requests per second of two contestants, the median over the rounds.
    pub(crate) fn requests(&self, of: usize, to: usize) -> f64 {
        self.ratio(of, to, Round::rate)
    }

    /// Returns the ratio of the 99th percentiles of latency of two contestants.
    pub(crate) fn p99(&self, of: usize, to: usize) -> f64 {
        self.ratio(of, to, |round| round.latency(0.99))
    }

    /// Returns the CPU time per response in microseconds.
    pub(crate) fn cost(&self, of: usize) -> f64 {
        self.typical(of, Round::cost)
    }

    /// Returns responses per second.
    pub(crate) fn rate(&self, of: usize) -> f64 {
        self.typical(of, Round::rate)
    }

    /// Returns a table with ratios to the contestant `to`, which is the limit.
    pub(crate) fn table(&self, title: impl Into<String>, to: usize) -> Table {
        let columns = [
            Column::plotted("requests ÷ limit", Unit::Ratio),
            Column::of("core ÷ limit", Unit::Ratio),
            Column::of("requests/s", Unit::Count),
            Column::of("core µs", Unit::Fine),
            Column::of("p50 µs", Unit::Count),
            Column::of("p99 µs", Unit::Count),
            Column::of("p99.9 µs", Unit::Count),
            Column::of("server's cores", Unit::Ratio),
            Column::of("generator's core", Unit::Ratio),
        ];
        let mut table = Table::new(title, columns);
        for (index, name) in self.names.iter().enumerate() {
            let values = [
                self.requests(index, to),
                self.ratio(index, to, Round::cost),
                self.rate(index),
                self.cost(index),
                self.typical(index, |round| round.latency(0.5)),
                self.typical(index, |round| round.latency(0.99)),
                self.typical(index, |round| round.latency(0.999)),
                self.typical(index, Round::server_cores),
                self.typical(index, Round::generator_cores),
            ];
            table.row(name, values);
        }
        table
    }

    fn ratio(&self, of: usize, to: usize, figure: impl Fn(&Round) -> f64) -> f64 {
        let (of, to) = (self.rounds_of(of), self.rounds_of(to));
        median(of.iter().zip(to).map(|(of, to)| figure(of) / figure(to)))
    }

    fn typical(&self, of: usize, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds_of(of).iter().map(figure))
    }

    fn rounds_of(&self, contestant: usize) -> &[Round] {
        self.rounds.get(contestant).expect("a contestant")
    }
}

/// Returns the median.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
