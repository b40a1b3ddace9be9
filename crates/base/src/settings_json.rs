//! The JSON of settings files as other programs write it.

use serde_json::Value;

/// Reads the JSON of a settings file that another program wrote. Beyond the standard it takes what Python's `json`
/// writes, `NaN`, `Infinity` and `-Infinity`, as texts of these names: in a field that nobody asks for they do no harm,
/// and in one that is asked for they are no number. A byte-order mark at the start is skipped.
///
/// ```
/// let fields = templar_base::settings_json(b"{\"eps\": 1e-5, \"limit\": [0, Infinity], \"name\": \"NaN\"}")?;
/// assert_eq!((&fields["eps"], &fields["limit"][1]), (&1e-5.into(), &"Infinity".into()));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn settings_json(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(bytes);
    serde_json::from_slice(bytes).or_else(|error| match quote_numbers_without_bound(bytes) {
        Some(quoted) => serde_json::from_slice(&quoted),
        None => Err(error),
    })
}

/// The text with quotes around what Python writes for numbers without bound; none where there are none.
fn quote_numbers_without_bound(text: &[u8]) -> Option<Vec<u8>> {
    let (mut quoted, mut rest) = (Vec::new(), text);
    let (mut is_changed, mut is_in_text) = (false, false);
    while let [first, after @ ..] = rest {
        let name = [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|name| rest.starts_with(name));
        let taken = match (is_in_text, name, first) {
            (false, Some(name), _) => {
                is_changed = true;
                quoted.extend([b"\"", name, b"\""].concat());
                name.len()
            }
            // An escaped character in a text, such as a quote.
            (true, _, b'\\') => 2.min(rest.len()),
            (_, _, b'"') => {
                is_in_text = !is_in_text;
                1
            }
            _ => 1,
        };
        if name.is_none() || is_in_text {
            quoted.extend_from_slice(&rest[..taken]);
        }
        rest = if taken == 1 { after } else { &rest[taken..] };
    }
    is_changed.then_some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_without_bound_become_texts_and_texts_stay() {
        let text = br#"{"a": [NaN, Infinity, -Infinity], "NaN \" Infinity": "-Infinity \\", "b": NaN}"#;
        let read = settings_json(text).unwrap();
        assert_eq!(read["a"], json!(["NaN", "Infinity", "-Infinity"]));
        assert_eq!((&read["NaN \" Infinity"], &read["b"]), (&json!("-Infinity \\"), &json!("NaN")));
        assert_eq!(settings_json(b"\xef\xbb\xbf[1]").unwrap(), json!([1]));
        for broken in [&b"{\"a\": Nan}"[..], b"NaN NaN", b"\"NaN", b"\"\\", b"[NaN", b""] {
            assert!(settings_json(broken).is_err(), "{broken:?}");
        }
        assert_eq!(settings_json(b"NaN").unwrap(), json!("NaN"));
    }
}
