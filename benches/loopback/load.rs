//! The generator: one thread that keeps each of its connections busy with one question at a time and holds every answer
//! against what it has to be.
//!
//! It has to cost less than the server that it asks, so questions and expected answers are made beforehand; what is
//! left of a question is a copy of 64 bytes.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{self, SocketAddr},
    ops::Range,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    contestant::{About, Contestant},
    support::{gate::FIRST_PERSON, question::Question},
};

/// The digits of a person's number.
const DIGITS: usize = 7;

/// What one round came to.
pub(crate) struct Round {
    /// Answers within the round.
    pub(crate) answers: u64,
    /// How long it took.
    pub(crate) took: Duration,
    /// Nanoseconds from the question to the whole answer.
    pub(crate) latency: Histogram<u64>,
    /// Nanoseconds that the server's worker was on a core.
    pub(crate) server_busy: u64,
}

impl Round {
    /// Answers in a second.
    pub(crate) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 answers")]
        let answers = self.answers as f64;
        answers / self.took.as_secs_f64()
    }

    /// How much of the time the server's worker was on a core.
    pub(crate) fn saturation(&self) -> f64 {
        Duration::from_nanos(self.server_busy).as_secs_f64() / self.took.as_secs_f64()
    }

    /// Microseconds of the worker for one answer.
    pub(crate) fn cost(&self) -> f64 {
        self.saturation() / self.rate() * 1e6
    }
}

/// Open connections to one contestant.
pub(crate) struct Load<'c> {
    contestant: &'c Contestant,
    connections: Vec<Connection>,
    expected: Expected,
    poll: Poll,
    events: Events,
    dice: u64,
}

struct Connection {
    stream: TcpStream,
    question: Vec<u8>,
    asked: Asked,
    answer: Vec<u8>,
    received: usize,
}

#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    digits: [u8; DIGITS],
}

impl<'c> Load<'c> {
    /// Connects so many times and learns what answers look like.
    pub(crate) fn open(contestant: &'c Contestant, connections: usize) -> Self {
        let question = Question::dashboard(contestant.cookies.first().map(String::as_str)).bytes();
        let expected = Expected::learn(contestant, &question);
        let poll = Poll::new().expect("the system has epoll");
        let open = |index| {
            let mut stream = connect(contestant.address);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE).expect("epoll takes a socket");
            let asked = Asked { at: Instant::now(), digits: [b'0'; DIGITS] };
            Connection { stream, question: question.clone(), asked, answer: vec![0; 4_096], received: 0 }
        };
        let connections = (0..connections).map(open).collect();
        Self { contestant, connections, expected, poll, events: Events::with_capacity(1_024), dice: 0x9E37_79B9 }
    }

    /// Asks for everybody once, so that no round has to.
    pub(crate) fn greet(&mut self) {
        let mut latency = histogram();
        for person in 0..self.contestant.cookies.len() {
            self.ask(0, person);
            while self.hear(0, &mut latency).is_none() {
                std::thread::yield_now();
            }
        }
    }

    /// Asks for people at random as fast as answers come.
    pub(crate) fn round(&mut self, time: Duration) -> Round {
        let mut latency = histogram();
        let (busy, begun) = (self.contestant.busy(), Instant::now());
        for index in 0..self.connections.len() {
            self.ask_somebody(index);
        }
        let (mut answers, mut waiting) = (0, self.connections.len());
        let mut result = None;
        while waiting > 0 {
            self.wait();
            let is_over = begun.elapsed() >= time;
            if is_over && result.is_none() {
                result = Some((answers, begun.elapsed(), self.contestant.busy() - busy));
            }
            let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
            for index in ready {
                if self.hear(index, &mut latency).is_none() {
                    continue;
                }
                answers += 1;
                if is_over {
                    waiting -= 1;
                } else {
                    self.ask_somebody(index);
                }
            }
        }
        let (answers, took, server_busy) = result.expect("a round is over before nobody waits");
        Round { answers, took, latency, server_busy }
    }

    fn wait(&mut self) {
        match self.poll.poll(&mut self.events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("epoll: {error}"),
            _ => {}
        }
    }

    fn ask_somebody(&mut self, index: usize) {
        // xorshift64: random enough to defeat a cache, and nearly free.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let people = self.contestant.cookies.len();
        self.ask(index, usize::try_from(self.dice % people as u64).expect("a place in a list"));
    }

    fn ask(&mut self, index: usize, person: usize) {
        let connection = self.connections.get_mut(index).expect("a connection");
        let cookie = self.contestant.cookies.get(person).expect("a person");
        connection.question.get_mut(self.expected.cookie.clone()).expect("a cookie").copy_from_slice(cookie.as_bytes());
        let number = match self.contestant.about {
            About::Asker => FIRST_PERSON + person,
            About::First => FIRST_PERSON,
        };
        connection.asked = Asked { at: Instant::now(), digits: digits(number) };
        let written = connection.stream.write(&connection.question).expect("the server is there");
        assert_eq!(written, connection.question.len(), "a socket that nothing waits in takes a question");
    }

    /// Reads an answer; `None` while it is not whole.
    fn hear(&mut self, index: usize, latency: &mut Histogram<u64>) -> Option<()> {
        let connection = self.connections.get_mut(index).expect("a connection");
        let room = connection.answer.get_mut(connection.received..).expect("room for an answer");
        match connection.stream.read(room) {
            Ok(0) => panic!("{} has closed a connection", self.contestant.name),
            Ok(read) => connection.received += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{}: {error}", self.contestant.name),
        }
        let answer = connection.answer.get(..connection.received).expect("what was read");
        if answer.len() < self.expected.answer.len() {
            return None;
        }
        let took = connection.asked.at.elapsed();
        self.expected.hold(answer, connection.asked.digits);
        connection.received = 0;
        latency.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        Some(())
    }
}

/// What an answer has to be: the same bytes every time, but for the date and the person's number.
struct Expected {
    answer: Vec<u8>,
    fixed: Vec<Range<usize>>,
    numbers: Vec<Range<usize>>,
    /// Where the cookie stands in a question.
    cookie: Range<usize>,
}

impl Expected {
    fn learn(contestant: &Contestant, question: &[u8]) -> Self {
        let mut stream = net::TcpStream::connect(contestant.address).expect("the server listens");
        stream.write_all(question).expect("the server reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the server answers");
            answer.extend(byte);
        }
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let user = format!("\r\nremote-user: person{FIRST_PERSON}\r\n");
        assert!(text.starts_with("http/1.1 200 ok\r\n") && text.contains(&user), "{}: {text}", contestant.name);
        let numbers = places(&answer, &digits(FIRST_PERSON));
        let date = text.find("\r\ndate: ").map(|at| at + 8..at + 8 + "Sun, 22 Nov 2026 02:30:00 GMT".len());
        let mut open: Vec<_> = numbers.iter().cloned().chain(date).collect();
        open.sort_by_key(|range| range.start);
        let mut fixed = Vec::new();
        let mut from = 0;
        for range in open {
            fixed.push(from..range.start);
            from = range.end;
        }
        fixed.push(from..answer.len());
        let first = contestant.cookies.first().expect("somebody asks");
        let cookie = places(question, first.as_bytes()).pop().expect("the question has a cookie");
        Self { answer, fixed, numbers, cookie }
    }

    /// Panics at an answer that is not what it has to be: a benchmark of wrong answers is none.
    fn hold(&self, answer: &[u8], digits: [u8; DIGITS]) {
        let is_as_fixed = |range: &Range<usize>| answer.get(range.clone()) == self.answer.get(range.clone());
        let is_about = |range: &Range<usize>| answer.get(range.clone()) == Some(digits.as_slice());
        let is_right = answer.len() == self.answer.len()
            && self.fixed.iter().all(is_as_fixed)
            && self.numbers.iter().all(is_about);
        assert!(is_right, "a wrong answer: {}", String::from_utf8_lossy(answer));
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = net::TcpStream::connect(address).expect("the server listens");
    stream.set_nonblocking(true).expect("a socket has the option");
    stream.set_nodelay(true).expect("a socket has the option");
    TcpStream::from_std(stream)
}

fn digits(number: usize) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
    digits
}

fn places(text: &[u8], part: &[u8]) -> Vec<Range<usize>> {
    let windows = text.windows(part.len()).enumerate();
    windows.filter(|(_, window)| *window == part).map(|(at, _)| at..at + part.len()).collect()
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("the bounds are in order")
}
