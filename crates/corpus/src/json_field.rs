//! One field of a JSON object, found without reading the others: what is wrong in those does not matter.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Names of fields that are shown in place of one that is missing, at most.
const MOST_NAMES: usize = 12;
const LONGEST_NAME: usize = 60;

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    Text(String),
    Null,
    /// It is not there; with the fields that are, separated by commas.
    Missing(String),
    /// Something else, with its name.
    Other(String),
}

/// The field of the object in `json`; a dot goes into an object, where no field has the dot in its name.
pub(crate) fn field_of(json: &[u8], name: &str) -> Result<Field, serde_json::Error> {
    let first = read(json, name);
    match first {
        Ok(field) => Ok(field),
        // What JSON does not allow and programs write all the same: half characters, numbers without bound.
        Err(error) => read(&lenient(json), name).map_err(|_| error),
    }
}

fn read(json: &[u8], name: &str) -> Result<Field, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let field = Path { name: Some(name) }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(field)
}

/// The way from here to the field; none where this is the field.
#[derive(Clone, Copy)]
struct Path<'a> {
    name: Option<&'a str>,
}

impl<'de> DeserializeSeed<'de> for Path<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Path<'_> {
    /// A value that is no object and no text.
    fn plain(self, what: &str) -> Field {
        match self.name {
            None => Field::Other(what.to_owned()),
            Some(_) => Field::Missing(what.to_owned()),
        }
    }
}

impl<'de> Visitor<'de> for Path<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(self.plain("true or false"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(self.plain("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Field, E> {
        Ok(self.plain("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(self.plain("a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        match self.name {
            None => Ok(Field::Text(text.to_owned())),
            Some(_) => Ok(self.plain("a text")),
        }
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        // Where the object is null, what is in it is so too.
        Ok(Field::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.plain("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Field, A::Error> {
        let (mut whole, mut inner, mut names) = (None, None, Vec::new());
        while let Some(key) = object.next_key::<String>()? {
            let Some(name) = self.name else {
                object.next_value::<IgnoredAny>()?;
                remember(&mut names, key);
                continue;
            };
            // Where a name comes twice, the last one counts, as in other programs.
            if key == name {
                whole = Some(object.next_value_seed(Path { name: None })?);
            } else if let Some(rest) = name.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix('.')) {
                inner = Some(object.next_value_seed(Path { name: Some(rest) })?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
            remember(&mut names, key);
        }
        if let Some(field) = whole.or(inner) {
            return Ok(field);
        }
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Ok(match self.name {
            None => Field::Other(format!("an object with the fields {names}")),
            Some(_) => Field::Missing(format!("an object with the fields {names}")),
        })
    }
}

fn remember(names: &mut Vec<String>, mut key: String) {
    match names.len() {
        0..MOST_NAMES => {
            key.truncate(key.floor_char_boundary(LONGEST_NAME));
            names.push(key);
        }
        MOST_NAMES => names.push("…".to_owned()),
        _ => {}
    }
}

/// The JSON with U+FFFD in place of halves of characters, and null in place of NaN and Infinity.
fn lenient(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut rest, mut is_in_text) = (json, false);
    while let Some(&first) = rest.first() {
        let number = [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|name| rest.starts_with(name));
        let (taken, written) = match (is_in_text, first, number) {
            (false, _, Some(number)) => (number.len(), &b"null"[..]),
            (true, b'\\', _) => escape(rest),
            _ => (1, &rest[..1]),
        };
        is_in_text ^= first == b'"';
        out.extend_from_slice(written);
        rest = &rest[taken..];
    }
    out
}

/// How long an escaped character is, and what is written in its place.
fn escape(text: &[u8]) -> (usize, &[u8]) {
    let unit = |text: &[u8]| -> Option<u32> {
        let digits = text.strip_prefix(b"\\u")?.get(..4)?;
        // `from_str_radix` takes a sign too.
        let is_hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
        is_hexadecimal.then(|| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
    };
    let second = |text: &[u8]| text.get(6..).and_then(unit);
    match unit(text) {
        Some(0xd800..=0xdbff) if matches!(second(text), Some(0xdc00..=0xdfff)) => (12, &text[..12]),
        Some(0xd800..=0xdfff) => (6, b"\\ufffd"),
        _ => {
            let length = 2.min(text.len());
            (length, &text[..length])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(json: &str, name: &str) -> Field {
        field_of(json.as_bytes(), name).unwrap()
    }

    fn text(text: &str) -> Field {
        Field::Text(text.to_owned())
    }

    #[test]
    fn a_field_is_found_by_its_name_and_by_its_way() {
        assert_eq!(of(r#"{"id": 1, "text": "a\nb"}"#, "text"), text("a\nb"));
        assert_eq!(of(r#"{"meta": {"text": "a"}}"#, "meta.text"), text("a"));
        assert_eq!(of(r#"{"meta": {"text": "a"}, "meta.text": "b"}"#, "meta.text"), text("b"));
        assert_eq!(of(r#"{"a.b": {"c": "x"}}"#, "a.b.c"), text("x"));
        assert_eq!(of(r#"{"text": "a", "text": "b"}"#, "text"), text("b"));
        assert_eq!(of(r#"{"text": null}"#, "text"), Field::Null);
        assert_eq!(of(r#"{"meta": null}"#, "meta.text"), Field::Null);
        assert_eq!(of(r#"{"id": 1, "b": []}"#, "text"), Field::Missing("an object with the fields id, b".to_owned()));
        assert_eq!(of("[1]", "text"), Field::Missing("a list".to_owned()));
        assert_eq!(of("{}", "text"), Field::Missing("an object with the fields none".to_owned()));
        for (value, what) in [("5", "a number"), ("[\"a\"]", "a list"), ("true", "true or false")] {
            assert_eq!(of(&format!("{{\"text\": {value}}}"), "text"), Field::Other(what.to_owned()));
        }
        let object = of(r#"{"text": {"en": "a"}}"#, "text");
        assert_eq!(object, Field::Other("an object with the fields en".to_owned()));
    }

    #[test]
    fn what_is_wrong_elsewhere_does_not_matter() {
        assert_eq!(of(r#"{"text": "nice \ud83d\ude00 \ud83d", "a": 1}"#, "text"), text("nice 😀 \u{FFFD}"));
        assert_eq!(of(r#"{"text": "\ude00\\ud83d"}"#, "text"), text("\u{FFFD}\\ud83d"));
        assert_eq!(of(r#"{"author": "\ud83d", "text": "a"}"#, "text"), text("a"));
        assert_eq!(
            of(r#"{"score": NaN, "low": -Infinity, "big": 1e999, "text": "NaN \" NaN"}"#, "text"),
            text("NaN \" NaN")
        );
        for broken in ["{\"text\": \"a", "{\"text\": \"a\"} x", "", "text", "{\"text\": \"\\x\"}", "{\"text\": nan}"] {
            assert!(field_of(broken.as_bytes(), "text").is_err(), "{broken}");
        }
        let deep = format!("{{\"deep\": {}{}, \"text\": \"a\"}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(of(&deep, "text"), text("a"));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_field_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = field_of(&bytes, "a.b");
        }

        #[test]
        fn any_text_comes_back(value in "\\PC{0,30}") {
            let json = serde_json::json!({"a": {"b": &value}, "c": 1}).to_string();
            prop_assert_eq!(of(&json, "a.b"), text(&value));
            prop_assert_eq!(read(&lenient(json.as_bytes()), "a.b").unwrap(), text(&value));
        }
    }
}
