//! Step-up authentication (RFC 9470): what a sign-in has to be like, beyond whom it is of.
//!
//! Promises: only an ID token that says so counts as proof. A class of authentication that it does not name and a time that it does
//! not tell, or that is yet to come, are none.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;

/// Difference that is forgiven between the provider's clock and ours.
const LEEWAY: Duration = Duration::from_mins(1);

/// Authentication that is asked for. The serialised field names stay, because replicas of other versions read them in `state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUp {
    /// Authentication context classes (`acr`), of which the sign-in has to have one, the preferred one first; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    acr: Vec<String>,
    /// The most seconds since the person proved who they are (`auth_time`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
}

/// Shortcoming of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmetStepUp {
    /// Its class of authentication is another one, or not told.
    Class,
    /// The time at which the person proved who they are is not told, or is yet to come.
    UnknownTime,
    /// That was too long ago.
    TooOld,
}

impl StepUp {
    /// What all of these ask for together, each by its `acr` and `max_age`; `None` where no sign-in could satisfy all of them.
    #[must_use]
    pub fn of_all<'a>(all: impl IntoIterator<Item = (&'a [String], Option<Duration>)>) -> Option<Self> {
        let mut joined = Self::default();
        for (acr, max_age) in all {
            if joined.acr.is_empty() {
                joined.acr = acr.to_vec();
            } else if !acr.is_empty() {
                joined.acr.retain(|class| acr.contains(class));
                if joined.acr.is_empty() {
                    return None;
                }
            }
            if let Some(age) = max_age {
                joined = joined.within(age);
            }
        }
        Some(joined)
    }

    /// The same, with a proof no older than this.
    #[must_use]
    pub fn within(self, age: Duration) -> Self {
        let age = age.as_secs();
        Self { max_age: Some(self.max_age.map_or(age, |own| own.min(age))), ..self }
    }

    /// Returns `true` if every sign-in will do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acr.is_empty() && self.max_age.is_none()
    }

    /// Authentication context classes, the preferred one first; empty: any.
    #[must_use]
    pub fn acr(&self) -> &[String] {
        &self.acr
    }

    /// The most time since the person proved who they are.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age.map(Duration::from_secs)
    }

    /// Judges the claims of a sign-in.
    pub fn judge(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(), UnmetStepUp> {
        judge(&self.acr, self.max_age(), claims, now)
    }
}

/// Judges the claims of a sign-in by an `acr` and a `max_age`.
pub(super) fn judge(
    acr: &[String],
    max_age: Option<Duration>,
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<(), UnmetStepUp> {
    judge_class(acr, claims)?;
    max_age.map_or(Ok(()), |most| judge_age(most, claims, now))
}

fn judge_class(accepted: &[String], claims: &Map<String, Value>) -> Result<(), UnmetStepUp> {
    let own = claims.get("acr").and_then(Value::as_str);
    let is_met = accepted.is_empty() || own.is_some_and(|own| accepted.iter().any(|class| class == own));
    if is_met { Ok(()) } else { Err(UnmetStepUp::Class) }
}

fn judge_age(most: Duration, claims: &Map<String, Value>, now: Timestamp) -> Result<(), UnmetStepUp> {
    let proved = auth_time(claims).filter(|proved| *proved <= now.plus(LEEWAY)).ok_or(UnmetStepUp::UnknownTime)?;
    if now.since(proved) <= most { Ok(()) } else { Err(UnmetStepUp::TooOld) }
}

/// Returns the time at which a person proved who they are, as an ID token tells it.
#[must_use]
pub fn auth_time(claims: &Map<String, Value>) -> Option<Timestamp> {
    let seconds = claims.get("auth_time")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturating")]
    let whole = || seconds.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64);
    seconds.as_u64().or_else(whole).map(Timestamp::from_unix)
}

/// Prints what is asked for as it is configured, such as `acr = ["gold"] and max_age = "15m"`.
impl fmt::Display for StepUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if !self.acr.is_empty() {
            write!(f, "acr = {:?}", self.acr)?;
            between = " and ";
        }
        match self.max_age() {
            Some(age) => write!(f, "{between}max_age = \"{}\"", humantime::format_duration(age)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);

    fn asking(acr: &[&str], max_age: Option<u64>) -> StepUp {
        StepUp { acr: acr.iter().map(|class| (*class).to_owned()).collect(), max_age }
    }

    fn judged(asked: &StepUp, claims: &Value) -> Result<(), UnmetStepUp> {
        asked.judge(claims.as_object().unwrap(), NOW)
    }

    #[test]
    fn one_of_the_classes_is_enough_and_nothing_else_is() {
        let asked = asking(&["gold", "2"], None);
        for sound in [json!({ "acr": "gold" }), json!({ "acr": "2" })] {
            assert_eq!(judged(&asked, &sound), Ok(()), "{sound}");
        }
        for other in [
            json!({}),
            json!({ "acr": null }),
            json!({ "acr": "" }),
            json!({ "acr": "Gold" }),
            json!({ "acr": "gold silver" }),
            json!({ "acr": ["gold"] }),
            json!({ "acr": 2 }),
            json!({ "amr": "gold" }),
        ] {
            assert_eq!(judged(&asked, &other), Err(UnmetStepUp::Class), "{other}");
        }
        assert_eq!(judged(&asking(&[], None), &json!({})), Ok(()));
    }

    #[test]
    fn a_proof_counts_for_its_time_and_one_that_is_not_told_or_yet_to_come_is_none() {
        let asked = asking(&[], Some(900));
        let at = |offset: i64| json!({ "auth_time": 1_000_000 + offset });
        for (claims, expected) in [
            (at(0), Ok(())),
            (at(-900), Ok(())),
            (at(-901), Err(UnmetStepUp::TooOld)),
            (at(60), Ok(())),
            (at(61), Err(UnmetStepUp::UnknownTime)),
            (json!({}), Err(UnmetStepUp::UnknownTime)),
            (json!({ "auth_time": null }), Err(UnmetStepUp::UnknownTime)),
            (json!({ "auth_time": "1000000" }), Err(UnmetStepUp::UnknownTime)),
            (json!({ "auth_time": -1 }), Err(UnmetStepUp::UnknownTime)),
            (json!({ "auth_time": 999_999.5 }), Ok(())),
            (json!({ "auth_time": 1e300 }), Err(UnmetStepUp::UnknownTime)),
            (json!({ "iat": 1_000_000 }), Err(UnmetStepUp::UnknownTime)),
        ] {
            assert_eq!(judged(&asked, &claims), expected, "{claims}");
        }
    }

    #[test]
    fn several_sets_ask_for_what_satisfies_all_of_them() {
        let of_all = |all: &[&StepUp]| StepUp::of_all(all.iter().map(|one| (one.acr(), one.max_age())));
        let (app, rule) = (asking(&["mfa", "gold"], Some(900)), asking(&["gold", "platinum"], Some(60)));
        let both = of_all(&[&app, &rule, &StepUp::default()]).unwrap();
        assert_eq!((both.acr(), both.max_age()), (["gold".to_owned()].as_slice(), Some(Duration::from_mins(1))));
        assert_eq!(of_all(&[&app, &asking(&["silver"], None)]), None, "no sign-in has two classes");
        assert!(of_all(&[&StepUp::default()]).unwrap().is_empty());
        assert_eq!(both.within(Duration::from_secs(5)).to_string(), r#"acr = ["gold"] and max_age = "5s""#);
    }
}
