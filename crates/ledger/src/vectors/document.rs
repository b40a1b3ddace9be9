//! A JSON document that knows where each of its values stands, so that every complaint names the place.

use super::report::VectorError;
use serde_json::Value;

/// Decimals of [`Node::decimal`].
pub(super) const DECIMAL_ONE: u128 = 1_000_000_000_000_000_000_000_000_000_000;
const DECIMAL_DIGITS: usize = 30;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    pub path: String,
}

impl<'a> Node<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// The field `key`, unless it is missing or null.
    pub fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Some(Node { value, path })
    }

    pub fn need(&self, key: &str) -> Result<Node<'a>, VectorError> {
        self.get(key).ok_or_else(|| {
            let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
            VectorError::Missing { path }
        })
    }

    /// All fields in the file's order of keys.
    pub fn fields(&self) -> Result<Vec<(&'a str, Node<'a>)>, VectorError> {
        let object = self.value.as_object().ok_or_else(|| self.malformed("an object"))?;
        let field = |(key, value): (&'a String, &'a Value)| {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            (key.as_str(), Node { value, path })
        };
        Ok(object.iter().filter(|(_, value)| !value.is_null()).map(field).collect())
    }

    pub fn list(&self) -> Result<Vec<Node<'a>>, VectorError> {
        let list = self.value.as_array().ok_or_else(|| self.malformed("a list"))?;
        let entry = |(at, value): (usize, &'a Value)| Node { value, path: format!("{}[{at}]", self.path) };
        Ok(list.iter().enumerate().map(entry).collect())
    }

    /// A list of exactly `length` entries.
    pub fn list_of(&self, length: usize) -> Result<Vec<Node<'a>>, VectorError> {
        let list = self.list()?;
        if list.len() == length {
            return Ok(list);
        }
        let (path, found) = (self.path.clone(), format!("a list of {}", list.len()));
        Err(VectorError::Malformed { path, found, wanted: format!("a list of {length}") })
    }

    /// A list of exactly two entries.
    pub fn pair(&self) -> Result<(Node<'a>, Node<'a>), VectorError> {
        let mut list = self.list_of(2)?;
        // The length was checked.
        let second = list.remove(1);
        Ok((list.remove(0), second))
    }

    /// A whole number from 0 to `most`, written as a number or as text.
    pub fn whole(&self, most: u64) -> Result<u64, VectorError> {
        let number = match self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| *number <= most);
        number.ok_or_else(|| self.malformed(&format!("a whole number from 0 to {most}")))
    }

    pub fn u64(&self) -> Result<u64, VectorError> {
        self.whole(u64::MAX)
    }

    pub fn u16(&self) -> Result<u16, VectorError> {
        // The bound was checked.
        Ok(self.whole(u16::MAX.into())? as u16)
    }

    /// A whole number that may be negative.
    pub fn i16(&self) -> Result<i16, VectorError> {
        let number = match self.value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let number = number.and_then(|number| i16::try_from(number).ok());
        number.ok_or_else(|| self.malformed("a whole number from -32768 to 32767"))
    }

    pub fn bool(&self) -> Result<bool, VectorError> {
        match self.value {
            Value::Bool(value) => Ok(*value),
            Value::Number(number) if number.as_u64().is_some_and(|number| number <= 1) => {
                Ok(number.as_u64() == Some(1))
            }
            _ => Err(self.malformed("true or false")),
        }
    }

    /// A decimal number that is not negative, in 10^-30; further decimals are cut off. No float is involved: the digits
    /// are read as they are written.
    pub fn decimal(&self) -> Result<u128, VectorError> {
        let text = match self.value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => String::new(),
        };
        parse_decimal(&text).ok_or_else(|| self.malformed("a decimal number from 0 to 100000000"))
    }

    /// A name for people: text, or a number.
    pub fn label(&self) -> String {
        match self.value {
            Value::String(text) => text.chars().take(80).collect(),
            other => brief(other),
        }
    }

    pub fn malformed(&self, wanted: &str) -> VectorError {
        VectorError::Malformed { path: self.path.clone(), found: brief(self.value), wanted: wanted.to_owned() }
    }
}

/// A value in few words.
fn brief(value: &Value) -> String {
    let text = match value {
        Value::Array(list) => return format!("a list of {}", list.len()),
        Value::Object(_) => return "an object".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= 60 { text } else { format!("{}…", text.chars().take(60).collect::<String>()) }
}

/// Digits, at most one point, and an exponent, to 10^-30.
fn parse_decimal(text: &str) -> Option<u128> {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.trim_start_matches('+').parse().ok().filter(|power: &i32| power.abs() <= 60)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let all = format!("{whole}{fraction}");
    // How many of the digits stand before 10^-30 is reached.
    let kept = i32::try_from(whole.len() + DECIMAL_DIGITS).ok()? + exponent;
    let kept = usize::try_from(kept.max(0)).ok()?;
    let cut: String = all.chars().chain(std::iter::repeat('0')).take(kept).collect();
    let cut = cut.trim_start_matches('0');
    let value = if cut.is_empty() { 0 } else { cut.parse::<u128>().ok()? };
    (value <= 100_000_000 * DECIMAL_ONE).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_digit_by_digit() {
        assert_eq!(parse_decimal("1"), Some(DECIMAL_ONE));
        assert_eq!(parse_decimal("0.1013"), Some(DECIMAL_ONE / 10_000 * 1_013));
        assert_eq!(parse_decimal("3e-06"), Some(DECIMAL_ONE / 1_000_000 * 3));
        assert_eq!(parse_decimal("1.5E+2"), Some(DECIMAL_ONE * 150));
        assert_eq!(parse_decimal("0.0000000000000000000000000000009"), Some(0));
        for wrong in ["", ".", "-1", "1e99", "1e9", "nan", "1.2.3", "0x1"] {
            assert_eq!(parse_decimal(wrong), None, "{wrong}");
        }
    }
}
