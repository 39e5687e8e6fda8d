//! Messages to domain values and back: the only code that knows both.
//!
//! Outward is `From`, of a borrowed domain value: whatever exists can be sent. Inward is `TryFrom`, of a message:
//! whatever another program sent is checked by the constructors of the domain, and refused with the path of the
//! field that is wrong.
//!
//! To add a message:
//! 1. Convert it in the file that is named after its subject, one helper of this module per field.
//! 2. Put its fields into the paths of errors with [`ConvertError::within`].
//! 3. Add it to the round trips and refusals in `tests/wire/`.

mod adjacency;
mod batch;
mod error;
mod event;
mod fetch;
mod list;
mod membership;
mod outcome;
mod page;
mod screening;
mod submission;
mod worker;

pub(crate) use batch::submissions_of;
pub use error::{ConvertError, Problem};
pub use fetch::{FetchRequest, WrongAnswer};
pub use submission::{RejectedSubmission, event_from, parked_result, result_of};

use mini_platform_core::domain::Timestamp;

/// Puts the name of a field to what is wrong with it.
trait InField<T> {
    fn in_field(self, field: &str) -> Result<T, ConvertError>;
}

impl<T, E: Into<Problem>> InField<T> for Result<T, E> {
    fn in_field(self, field: &str) -> Result<T, ConvertError> {
        self.map_err(|problem| ConvertError::new(field, problem))
    }
}

/// Takes the value of a field that has to be set.
fn required<T>(value: Option<T>, field: &str) -> Result<T, ConvertError> {
    value.ok_or(Problem::Missing).in_field(field)
}

/// Converts a message that has to be set, and puts its field into the path of an error.
fn message<M, T>(value: Option<M>, field: &str) -> Result<T, ConvertError>
where
    T: TryFrom<M, Error = ConvertError>,
{
    T::try_from(required(value, field)?).map_err(|error| error.within(field))
}

/// Converts a message that may be left out, and puts its field into the path of an error.
fn optional_message<M, T>(value: Option<M>, field: &str) -> Result<Option<T>, ConvertError>
where
    T: TryFrom<M, Error = ConvertError>,
{
    value.map(T::try_from).transpose().map_err(|error| error.within(field))
}

/// Converts the messages of a repeated field, and puts the field and the place into the path of an error.
fn items<M, T>(values: Vec<M>, field: &str, max: usize) -> Result<Vec<T>, ConvertError>
where
    T: TryFrom<M, Error = ConvertError>,
{
    if values.len() > max {
        return Err(Problem::TooMany { max }).in_field(field); // before any work on them
    }
    let mut items = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        items.push(T::try_from(value).map_err(|error| error.within_item(field, index))?);
    }
    Ok(items)
}

/// Takes a time that has to be set.
fn timestamp(micros: Option<i64>, field: &str) -> Result<Timestamp, ConvertError> {
    Timestamp::from_micros(required(micros, field)?).in_field(field)
}

/// Takes a time that may be left out.
fn optional_timestamp(micros: Option<i64>, field: &str) -> Result<Option<Timestamp>, ConvertError> {
    micros.map(Timestamp::from_micros).transpose().in_field(field)
}

/// Finds the enum value of a number.
fn enum_value<E: TryFrom<i32>>(number: i32) -> Result<E, Problem> {
    E::try_from(number).map_err(|_| Problem::UnknownEnumValue(number))
}
