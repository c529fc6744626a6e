//! `doorward hash-password`: the hash of a password, for the users file of the emergency sign-in.
//!
//! Promises: the password is neither printed nor shown while it is typed, and one that could not be used is refused.

use std::{
    io::{self, IsTerminal as _, Read as _},
    process::ExitCode,
};

use super::output::print_status;
use crate::emergency::{self, MAX_PASSWORD};

/// Reads a password on standard input, or from the terminal without echo, and prints its hash.
pub(super) fn run() -> ExitCode {
    let typed = if io::stdin().is_terminal() { ask() } else { read(io::stdin().lock()) };
    match typed.and_then(|typed| usable(&typed).map(emergency::hash_password)) {
        Ok(hash) => print_status(&format!("{hash}\n")),
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Asks twice: nobody sees what is typed.
fn ask() -> Result<String, String> {
    let prompt = |text: &str| rpassword::prompt_password(text).map_err(|error| error.to_string());
    let (first, second) = (prompt("Emergency password: ")?, prompt("The same again: ")?);
    if first == second { Ok(first) } else { Err("the two are not the same".to_owned()) }
}

fn read(from: impl io::Read) -> Result<String, String> {
    let mut text = Vec::new();
    // Two more than a line break takes are enough to see that it is too long.
    let limit = u64::try_from(MAX_PASSWORD).unwrap_or(u64::MAX).saturating_add(4);
    from.take(limit).read_to_end(&mut text).map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|_| "the password is not UTF-8".to_owned())
}

/// Cuts the line break at the end. A line break inside is no part of a password: no browser could send it.
fn usable(typed: &str) -> Result<&str, String> {
    let password = typed.strip_suffix('\n').map_or(typed, |line| line.strip_suffix('\r').unwrap_or(line));
    if password.is_empty() {
        return Err("the password is empty; write it to standard input".to_owned());
    }
    if password.len() > MAX_PASSWORD {
        return Err(format!("the password is longer than {MAX_PASSWORD} bytes"));
    }
    if password.chars().any(char::is_control) {
        return Err("the password has a line break or another control character in it".to_owned());
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_break_at_the_end_is_cut_and_nothing_else() {
        for (typed, password) in
            [("pw", "pw"), ("pw\n", "pw"), ("pw\r\n", "pw"), (" p w \n", " p w "), ("süß", "süß"), ("pw\r", "pw\r")]
        {
            let expected = if password.contains('\r') { None } else { Some(password) };
            assert_eq!(usable(typed).ok(), expected, "{typed:?}");
        }
    }

    #[test]
    fn what_nobody_could_sign_in_with_is_refused() {
        for typed in ["", "\n", "\r\n", "a\nb\n", "a\n\n", "a\0", &"x".repeat(MAX_PASSWORD + 1)] {
            assert!(usable(typed).is_err(), "{typed:?}");
        }
        assert!(usable(&"x".repeat(MAX_PASSWORD)).is_ok());
    }

    #[test]
    fn no_more_is_read_than_a_password_is_long() {
        let endless = io::repeat(b'x');
        assert!(usable(&read(endless).unwrap()).is_err());
        assert!(read([0xff_u8, 0xfe].as_slice()).is_err());
    }
}
