//! Fields of a request's JSON, with the words that OpenAI's clients know for what is wrong.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::ApiError;

/// The fields of an object. A field that is null is absent.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(self, name: &str) -> Result<Option<&'a str>, ApiError> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| wrong(name, "a string", value))).transpose()
    }

    pub(crate) fn flag(self, name: &str) -> Result<bool, ApiError> {
        let flag = self.get(name).map(|value| value.as_bool().ok_or_else(|| wrong(name, "a boolean", value)));
        Ok(flag.transpose()?.unwrap_or(false))
    }

    pub(crate) fn number(self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| wrong(name, "a number", value))?;
        if !range.contains(&number) {
            let (start, end) = (range.start(), range.end());
            let message = format!("Invalid '{name}': {number}. Expected a number from {start} to {end}.");
            return Err(ApiError::field(name, message));
        }
        Ok(Some(number as f32))
    }

    pub(crate) fn integer(self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // Beyond 64 bits, numbers are read as floating-point ones.
        let is_huge = value.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() >= 2f64.powi(63));
        match value.as_i64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            None if !is_huge => Err(wrong(name, "an integer", value)),
            _ => {
                let (start, end) = (range.start(), range.end());
                let message = format!("Invalid '{name}': {value}. Expected an integer from {start} to {end}.");
                Err(ApiError::field(name, message))
            }
        }
    }

    pub(crate) fn object(self, name: &str) -> Result<Option<Fields<'a>>, ApiError> {
        let object = |value: &'a Value| value.as_object().map(Fields).ok_or_else(|| wrong(name, "an object", value));
        self.get(name).map(object).transpose()
    }
}

/// A field of the wrong kind.
pub(crate) fn wrong(name: &str, wanted: &str, value: &Value) -> ApiError {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with decimals",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    ApiError::field(name, format!("Invalid type for '{name}': expected {wanted}, but got {kind} instead."))
}
