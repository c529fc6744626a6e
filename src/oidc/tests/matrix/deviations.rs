//! Deviations: one field or one document that is not right, and what that has to lead to.

use std::fmt;

use super::{
    fields::{AnswerDocument, AnswerField, Expected, Moment},
    variants::{VARIANTS, Variant, WHOLE_VARIANTS, WholeVariant},
};

/// What is not right about one document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deviation {
    pub(crate) document: AnswerDocument,
    pub(crate) edit: Edit,
    pub(crate) moment: Moment,
}

/// A change to a document.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit {
    Member(&'static AnswerField, Variant),
    Whole(WholeVariant),
}

/// Line of a failure: what was odd, and when.
impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, edit, moment } = self;
        match edit {
            Edit::Member(field, variant) => {
                write!(f, "{document:?} {} = {variant:?} ({:?}), {moment:?}", field.name, field.need)
            }
            Edit::Whole(whole) => write!(f, "{document:?} as a whole = {whole:?}, {moment:?}"),
        }
    }
}

impl Deviation {
    /// Returns all deviations of a document at a moment.
    pub(crate) fn all(document: AnswerDocument, moment: Moment) -> Vec<Self> {
        let of = |edit| Self { document, edit, moment };
        let mut all = Vec::new();
        for field in document.fields() {
            let fits = |variant: &&Variant| !field.right.is_empty() || !variant.needs_right_value();
            all.extend(VARIANTS.iter().filter(fits).map(|variant| of(Edit::Member(field, *variant))));
        }
        let is_own_answer = !matches!(document, AnswerDocument::IdToken | AnswerDocument::Header | AnswerDocument::Key);
        let mut whole =
            if is_own_answer { WHOLE_VARIANTS } else { &[WholeVariant::Genuine, WholeVariant::ByteOrderMark] };
        if document == AnswerDocument::Key {
            whole = &[];
        }
        all.extend(whole.iter().map(|whole| of(Edit::Whole(*whole))));
        if matches!(document, AnswerDocument::Userinfo | AnswerDocument::UserinfoWithGroups) {
            all.extend([WholeVariant::Signed, WholeVariant::SignedByAnother].map(|whole| of(Edit::Whole(whole))));
        }
        all
    }

    /// Returns what it has to lead to.
    pub(crate) fn expected(&self) -> Expected {
        match (self.edit, self.document, self.moment) {
            (Edit::Member(field, variant), ..) => field.expected(variant, self.moment),
            (Edit::Whole(whole), ..) if whole.is_readable() => Expected::Accepted,
            // The ID token is enough, or the last groups are.
            (Edit::Whole(_), AnswerDocument::Userinfo, _)
            | (Edit::Whole(_), AnswerDocument::UserinfoWithGroups, Moment::Renewal) => Expected::Accepted,
            (Edit::Whole(_), ..) => Expected::Refused,
        }
    }

    /// Returns the name of the field; empty for a whole document.
    pub(crate) fn name(&self) -> &'static str {
        match self.edit {
            Edit::Member(field, _) => field.name,
            Edit::Whole(_) => "",
        }
    }

    /// Returns the word for the field in texts for people.
    pub(crate) fn spoken_name(&self) -> &'static str {
        match (self.document, self.name()) {
            (AnswerDocument::TokenResponse, "id_token") => "ID token",
            (AnswerDocument::TokenResponse, "token_type") => "type",
            (_, "") => "",
            (AnswerDocument::KeySet | AnswerDocument::Key, _) => "key",
            (_, "authorization_response_iss_parameter_supported") => "iss",
            (_, name) => name,
        }
    }

    /// Returns `true` if it is about the field of this name.
    pub(crate) fn is_of(&self, name: &str) -> bool {
        self.name() == name
    }
}
