//! Expected responses: the same bytes every time, except for the date and the person's number.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    ops::Range,
    thread,
};

use super::{contestant::Contestant, line::Line};
use crate::support::gate::FIRST_PERSON;

/// Number of digits of a person's number.
pub(crate) const DIGITS: usize = 7;

const DATE: usize = "Sun, 22 Nov 2026 02:30:00 GMT".len();

/// An expected response, with the positions that may differ.
pub(crate) struct Expected {
    answer: Vec<u8>,
    fixed: Vec<Range<usize>>,
    numbers: Vec<Range<usize>>,
    /// Position of the cookie in a request.
    cookie: Range<usize>,
}

impl Expected {
    /// Learns the response from a request of the first person.
    pub(crate) fn learn(contestant: &Contestant, question: &[u8]) -> Self {
        let answer = first_answer(contestant, question);
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let user = format!("\r\nremote-user: person{FIRST_PERSON}\r\n");
        assert!(text.starts_with("http/1.1 200 ok\r\n") && text.contains(&user), "{}: {text}", contestant.name);
        let numbers = places(&answer, &digits(FIRST_PERSON));
        let date = text.find("\r\ndate: ").map(|at| at + 8..at + 8 + DATE);
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

    /// Panics if a response differs: a benchmark of wrong responses is worthless.
    pub(crate) fn hold(&self, answer: &[u8], digits: [u8; DIGITS]) {
        let is_as_fixed = |range: &Range<usize>| answer.get(range.clone()) == self.answer.get(range.clone());
        let is_about = |range: &Range<usize>| answer.get(range.clone()) == Some(digits.as_slice());
        let is_right = answer.len() == self.answer.len()
            && self.fixed.iter().all(is_as_fixed)
            && self.numbers.iter().all(is_about);
        assert!(is_right, "a wrong answer: {}", String::from_utf8_lossy(answer));
    }

    /// Returns the length of a response.
    pub(crate) fn len(&self) -> usize {
        self.answer.len()
    }

    /// Returns the position of the cookie in a request.
    pub(crate) fn cookie(&self) -> Range<usize> {
        self.cookie.clone()
    }
}

/// Returns the digits of a person's number.
pub(crate) fn digits(number: usize) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
    digits
}

fn first_answer(contestant: &Contestant, question: &[u8]) -> Vec<u8> {
    let mut line = Line::open(&contestant.wire, contestant.address);
    line.write_all(question).expect("the server reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut room = [0; 4_096];
        match line.read(&mut room) {
            Ok(0) => panic!("{} has closed a connection: {}", contestant.name, String::from_utf8_lossy(&answer)),
            Ok(read) => answer.extend(room.iter().take(read)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("{}: {error}", contestant.name),
        }
    }
    answer
}

fn places(text: &[u8], part: &[u8]) -> Vec<Range<usize>> {
    let windows = text.windows(part.len()).enumerate();
    windows.filter(|(_, window)| *window == part).map(|(at, _)| at..at + part.len()).collect()
}
