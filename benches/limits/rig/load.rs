//! The load generator: one thread with one request at a time on each of its connections, which compares every response with
//! the expected one.
//!
//! It has to cost less CPU time than the server, so requests and expected responses are prepared; sending one is a copy of
//! 64 bytes.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use super::{
    account::Account,
    contestant::Contestant,
    cores,
    expected::{DIGITS, Expected, digits},
    line::Line,
};

/// Tick of an open-loop generator: epoll has a resolution of a millisecond.
const BEAT: Duration = Duration::from_millis(1);

/// Result of one round.
pub(crate) struct Round {
    /// Number of responses.
    pub(crate) answers: u64,
    /// Elapsed time.
    pub(crate) took: Duration,
    /// Latencies from the request to the complete response, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// CPU time of the server.
    pub(crate) server: Duration,
    /// CPU time of the generator.
    pub(crate) generator: Duration,
}

impl Round {
    /// Returns responses per second.
    pub(crate) fn rate(&self) -> f64 {
        self.count() / self.took.as_secs_f64()
    }

    /// Returns the number of cores that the server used.
    pub(crate) fn server_cores(&self) -> f64 {
        self.server.as_secs_f64() / self.took.as_secs_f64()
    }

    /// Returns the fraction of its core that the generator used.
    pub(crate) fn generator_cores(&self) -> f64 {
        self.generator.as_secs_f64() / self.took.as_secs_f64()
    }

    /// Returns the server's CPU time per response in microseconds.
    pub(crate) fn cost(&self) -> f64 {
        self.server.as_secs_f64() / self.count() * 1e6
    }

    /// Returns a quantile of the latencies in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 nanoseconds")]
    pub(crate) fn latency(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 answers")]
    fn count(&self) -> f64 {
        self.answers as f64
    }
}

/// Open connections to one contestant.
pub(crate) struct Load<'c> {
    contestant: &'c Contestant,
    connections: Vec<Connection>,
    expected: Expected,
    poll: Poll,
    events: Events,
    dice: Xorshift,
}

struct Connection {
    line: Line,
    question: Vec<u8>,
    asked: PendingRequest,
    answer: Vec<u8>,
    received: usize,
}

#[derive(Clone, Copy)]
struct PendingRequest {
    at: Instant,
    digits: [u8; DIGITS],
}

impl<'c> Load<'c> {
    /// Opens connections and learns the expected response.
    pub(crate) fn open(contestant: &'c Contestant, connections: usize) -> Self {
        let question = contestant.question();
        let expected = Expected::learn(contestant, &question);
        let poll = Poll::new().expect("the system has epoll");
        let open = |index| {
            let mut line = Line::open(&contestant.wire, contestant.address);
            line.watch(poll.registry(), Token(index));
            let asked = PendingRequest { at: Instant::now(), digits: [b'0'; DIGITS] };
            Connection { line, question: question.clone(), asked, answer: vec![0; 4_096], received: 0 }
        };
        let connections = (0..connections).map(open).collect();
        Self {
            contestant,
            connections,
            expected,
            poll,
            events: Events::with_capacity(1_024),
            dice: Xorshift::default(),
        }
    }

    /// Sends one request for everybody.
    pub(crate) fn request_all_once(&mut self) -> Round {
        let mut everybody = 0..self.contestant.cookies.len();
        self.drive(|_, _| everybody.next())
    }

    /// Sends requests for random people as fast as responses arrive (closed loop).
    pub(crate) fn round(&mut self, time: Duration) -> Round {
        let (people, over) = (self.contestant.cookies.len(), Instant::now() + time);
        self.drive(|dice, now| (now < over).then(|| dice.below(people)))
    }

    /// Sends requests for random people at a fixed rate until it is over, whether or not earlier responses have arrived (open
    /// loop). Waiting for a free connection counts as latency.
    pub(crate) fn paced(&mut self, with_each_beat: usize, is_over: impl Fn() -> bool) -> Round {
        let people = self.contestant.cookies.len();
        let mut latency = histogram();
        let own = Account::Thread(cores::this_thread());
        let (server, generator, begun) = (self.contestant.busy(), own.busy(), Instant::now());
        let mut free: VecDeque<usize> = (0..self.connections.len()).collect();
        let (mut due, mut next, mut answers) = (VecDeque::new(), begun, 0);
        loop {
            let now = Instant::now();
            let over = is_over();
            // A late request, because the machine or the server stalled, counts from when it was due.
            while !over && now >= next {
                due.extend([next].repeat(with_each_beat));
                next += BEAT;
            }
            while let Some(index) = free.pop_front_if(|_| !due.is_empty()) {
                let at = due.pop_front().unwrap_or(now);
                let person = self.dice.below(people);
                self.ask(index, person, at);
            }
            if over && due.is_empty() && free.len() == self.connections.len() {
                break;
            }
            for index in self.wait(Some(BEAT)) {
                if self.receive(index, &mut latency).is_some() {
                    answers += 1;
                    free.push_back(index);
                }
            }
        }
        let (server, generator) = (self.contestant.busy().saturating_sub(server), own.busy().saturating_sub(generator));
        Round { answers, took: begun.elapsed(), latency, server, generator }
    }

    /// Sends requests for the people that `whom` returns, until it returns `None` and all responses have arrived.
    fn drive(&mut self, mut whom: impl FnMut(&mut Xorshift, Instant) -> Option<usize>) -> Round {
        let mut latency = histogram();
        let own = Account::Thread(cores::this_thread());
        let (server, generator, begun) = (self.contestant.busy(), own.busy(), Instant::now());
        let (mut answers, mut waiting) = (0, 0);
        for index in 0..self.connections.len() {
            let now = Instant::now();
            if let Some(person) = whom(&mut self.dice, now) {
                self.ask(index, person, now);
                waiting += 1;
            }
        }
        while waiting > 0 {
            for index in self.wait(None) {
                let Some(now) = self.receive(index, &mut latency) else { continue };
                answers += 1;
                match whom(&mut self.dice, now) {
                    Some(person) => self.ask(index, person, now),
                    None => waiting -= 1,
                }
            }
        }
        Round {
            answers,
            took: begun.elapsed(),
            latency,
            server: self.contestant.busy().saturating_sub(server),
            generator: own.busy().saturating_sub(generator),
        }
    }

    /// Waits for readable connections.
    fn wait(&mut self, most: Option<Duration>) -> Vec<usize> {
        match self.poll.poll(&mut self.events, most) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("epoll: {error}"),
            _ => self.events.iter().map(|event| event.token().0).collect(),
        }
    }

    fn ask(&mut self, index: usize, person: usize, now: Instant) {
        let connection = self.connections.get_mut(index).expect("a connection");
        let cookie = self.contestant.cookies.get(person).expect("a person");
        connection.question.get_mut(self.expected.cookie()).expect("a cookie").copy_from_slice(cookie.as_bytes());
        connection.asked = PendingRequest { at: now, digits: digits(self.contestant.about.number(person)) };
        let written = connection.line.write(&connection.question).expect("the server is there");
        assert_eq!(written, connection.question.len(), "a socket that nothing waits in takes a question");
    }

    /// Reads a response and returns its time of arrival, or `None` while it is incomplete.
    fn receive(&mut self, index: usize, latency: &mut Histogram<u64>) -> Option<Instant> {
        let connection = self.connections.get_mut(index).expect("a connection");
        let room = connection.answer.get_mut(connection.received..).expect("room for an answer");
        match connection.line.read(room) {
            Ok(0) => panic!("{} has closed a connection", self.contestant.name),
            Ok(read) => connection.received += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{}: {error}", self.contestant.name),
        }
        let answer = connection.answer.get(..connection.received).expect("what was read");
        if answer.len() < self.expected.len() {
            return None;
        }
        let now = Instant::now();
        self.expected.hold(answer, connection.asked.digits);
        connection.received = 0;
        let took = now.duration_since(connection.asked.at).as_nanos();
        latency.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
        Some(now)
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("the bounds are in order")
}

/// xorshift64: random enough to defeat caches, at nearly no cost.
struct Xorshift(u64);

impl Default for Xorshift {
    fn default() -> Self {
        Self(0x9E37_79B9)
    }
}

impl Xorshift {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("less than a number that was one")
    }
}
