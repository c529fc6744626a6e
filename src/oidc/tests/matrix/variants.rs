//! Variants: what a provider may put in place of a field's right value, in every type and form of JSON, and of a whole document.
//!
//! All are text, because some of them no JSON value can express: a field given twice, a number beyond `f64`, half a surrogate
//! pair.

use self::Variant::{
    Absent, AsText, Blank, Control, Deep, Empty, EmptyList, EmptyObject, False, Fraction, Huge, List, ListOfRight,
    LoneSurrogate, LongText, Negative, Null, Number, Object, Right, Text, True, Twice, TwiceOther,
};

/// A variant of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The right value, for comparison.
    Right,
    /// No such field.
    Absent,
    /// `null`.
    Null,
    /// `""`.
    Empty,
    /// `" "`.
    Blank,
    /// Another text.
    Text,
    /// A text of 20,000 bytes.
    LongText,
    /// A text with NUL and other control characters.
    Control,
    /// A text with half a surrogate pair.
    LoneSurrogate,
    /// A positive number.
    Number,
    /// A number below zero.
    Negative,
    /// A number with a fraction.
    Fraction,
    /// A number beyond `f64`.
    Huge,
    /// `true`.
    True,
    /// `false`.
    False,
    /// `[]`.
    EmptyList,
    /// A list of elements of several types.
    List,
    /// A list that holds the right value alone.
    ListOfRight,
    /// `{}`.
    EmptyObject,
    /// An object with members of several types.
    Object,
    /// 200 lists in one another.
    Deep,
    /// A text that holds the JSON of the right value.
    AsText,
    /// The field twice, with the right value.
    Twice,
    /// The field twice, first with the right value and then with another.
    TwiceOther,
}

/// All variants of one field.
pub(crate) const VARIANTS: &[Variant] = &[
    Right,
    Absent,
    Null,
    Empty,
    Blank,
    Text,
    LongText,
    Control,
    LoneSurrogate,
    Number,
    Negative,
    Fraction,
    Huge,
    True,
    False,
    EmptyList,
    List,
    ListOfRight,
    EmptyObject,
    Object,
    Deep,
    AsText,
    Twice,
    TwiceOther,
];

/// A text that is none of the right values.
pub(crate) const OTHER_TEXT: &str = "odd text";

impl Variant {
    /// Returns `true` for a variant that is made of the right value.
    pub(crate) fn needs_right_value(self) -> bool {
        matches!(self, Right | ListOfRight | AsText | Twice | TwiceOther)
    }

    /// Returns the members that stand for a field, as JSON; `right` is the JSON of its right value.
    pub(crate) fn members(self, name: &str, right: &str) -> Vec<String> {
        let value = match self {
            Absent => return Vec::new(),
            Twice => return vec![format!("{name:?}:{right}"); 2],
            TwiceOther => return vec![format!("{name:?}:{right}"), format!("{name:?}:\"{OTHER_TEXT}\"")],
            Right => right.to_owned(),
            Null => "null".to_owned(),
            Empty => r#""""#.to_owned(),
            Blank => r#"" ""#.to_owned(),
            Text => format!("\"{OTHER_TEXT}\""),
            LongText => format!("\"{}\"", "x".repeat(20_000)),
            Control => r#""a\u0000b\u0007c\r\nd\u001b[31m""#.to_owned(),
            LoneSurrogate => r#""half \ud800 a pair""#.to_owned(),
            Number => "7".to_owned(),
            Negative => "-7".to_owned(),
            Fraction => "7.5".to_owned(),
            Huge => "1e999".to_owned(),
            True => "true".to_owned(),
            False => "false".to_owned(),
            EmptyList => "[]".to_owned(),
            List => format!("[\"{OTHER_TEXT}\",7,null,{{}}]"),
            ListOfRight => format!("[{right}]"),
            EmptyObject => "{}".to_owned(),
            Object => format!("{{\"odd\":\"{OTHER_TEXT}\",\"name\":7}}"),
            Deep => format!("{}{}", "[".repeat(200), "]".repeat(200)),
            AsText => serde_json::Value::from(right).to_string(),
        };
        vec![format!("{name:?}:{value}")]
    }
}

/// A variant of a whole document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WholeVariant {
    /// As it should be.
    Genuine,
    /// The right JSON as `text/plain`.
    PlainText,
    /// The right JSON without a `Content-Type`.
    NoContentType,
    /// The right JSON with the status 201.
    Created,
    /// The right JSON behind a byte order mark.
    ByteOrderMark,
    /// The right JSON in a list.
    InList,
    /// The right JSON without its end.
    CutOff,
    /// Status 200 without a body.
    NoBody,
    /// A page with the status 200.
    Html,
    /// A page with another status.
    Status(u16),
    /// The right claims as a JWT signed with a published key.
    Signed,
    /// The right claims as a JWT signed with another key.
    SignedByAnother,
}

/// All variants of a whole document but the signed ones, which only userinfo has.
pub(crate) const WHOLE_VARIANTS: &[WholeVariant] = &[
    WholeVariant::Genuine,
    WholeVariant::PlainText,
    WholeVariant::NoContentType,
    WholeVariant::Created,
    WholeVariant::ByteOrderMark,
    WholeVariant::InList,
    WholeVariant::CutOff,
    WholeVariant::NoBody,
    WholeVariant::Html,
    WholeVariant::Status(204),
    WholeVariant::Status(401),
    WholeVariant::Status(403),
    WholeVariant::Status(404),
    WholeVariant::Status(500),
    WholeVariant::Status(503),
];

impl WholeVariant {
    /// Returns `true` where the document can be read as it is meant.
    pub(crate) fn is_readable(self) -> bool {
        matches!(
            self,
            Self::Genuine | Self::PlainText | Self::NoContentType | Self::Created | Self::ByteOrderMark | Self::Signed
        )
    }
}
