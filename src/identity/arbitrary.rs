//! Arbitrary identities, for property tests.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{ClaimsStanding, Identity, Subject};
use crate::clock::Timestamp;

pub(crate) fn claims() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(any::<String>(), value, 0..6).prop_map(|map| map.into_iter().collect())
}

pub(crate) fn identity() -> impl Strategy<Value = Identity> {
    let standing = (any::<[bool; 3]>(), any::<u64>()).prop_map(
        |([groups_incomplete, from_userinfo, groups_from_userinfo], told)| ClaimsStanding {
            groups_incomplete,
            from_userinfo,
            groups_from_userinfo,
            told: Timestamp::from_unix(told),
        },
    );
    (any::<[String; 5]>(), any::<bool>(), prop::collection::vec(any::<String>(), 0..5), claims(), standing).prop_map(
        |([provider, subject, user, email, name], email_verified, groups, claims, standing)| Identity {
            provider,
            subject: Subject(subject),
            user,
            email,
            email_verified,
            name,
            groups,
            claims,
            standing,
        },
    )
}
