//! Rows of JSON: an object on each line, or one list of objects.

use crate::content::Packing;
use crate::documents::SourceError;
use crate::input::Input;
use crate::json_field::{Field, field_of};
use crate::rows::{Fault, FaultKind, Place, Row};
use crate::utf8::Utf8Counter;
use std::io::{self, BufRead, BufReader, Read};

/// A row longer than this is no document, but a file of another kind.
const LONGEST_ROW_BYTES: usize = 64 << 20;

/// Reads rows to the end of a file.
pub(crate) struct JsonRows {
    input: Input,
    packing: Option<Packing>,
    reader: BufReader<Box<dyn Read + Send>>,
    place: Place,
    field: String,
    counter: Utf8Counter,
    form: Form,
    /// Whether all lines are read.
    is_at_end: bool,
    /// Whether the file ends within a list.
    is_cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Unknown,
    Lines,
    List,
    /// The list is closed, or the file is at its end.
    Over,
}

/// The bytes of a row, or that there are too many.
enum RowBytes {
    Whole(Vec<u8>),
    TooLong,
}

impl JsonRows {
    pub(crate) fn open(input: &Input, packing: Option<Packing>, field: &str) -> Result<Self, SourceError> {
        let file = input.path.display().to_string().into();
        Ok(Self {
            reader: BufReader::with_capacity(1 << 20, input.reader(packing)?),
            input: input.clone(),
            packing,
            place: Place { file, unit: Some("line"), number: 0 },
            field: field.to_owned(),
            counter: Utf8Counter::default(),
            form: Form::Unknown,
            is_at_end: false,
            is_cut: false,
        })
    }

    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        loop {
            let bytes = match self.form {
                Form::Unknown => self.find_form().map(|form| {
                    self.form = form;
                    None
                }),
                Form::Over if std::mem::take(&mut self.is_cut) => {
                    let what = "the list is not closed: the file is cut off".to_owned();
                    return Ok(Some(Row::left_out(self.place.clone(), Fault { kind: FaultKind::Unreadable, what })));
                }
                Form::Over => return Ok(None),
                Form::List => self.next_element().map(Some),
                Form::Lines => self.next_line(),
            };
            let bytes = bytes.map_err(|source| self.input.failed(self.packing, source))?;
            match bytes {
                None if self.form == Form::Lines && self.is_at_end => self.form = Form::Over,
                None => {}
                Some(RowBytes::Whole(bytes)) if bytes.trim_ascii().is_empty() => {}
                Some(RowBytes::Whole(bytes)) => return self.row(&bytes).map(Some),
                Some(RowBytes::TooLong) => {
                    let what = format!("it is longer than {LONGEST_ROW_BYTES} bytes");
                    let fault = Fault { kind: FaultKind::Unreadable, what };
                    return Ok(Some(Row::left_out(self.place.clone(), fault)));
                }
            }
        }
    }

    /// Skips what is before the first row, or between two lists.
    fn find_form(&mut self) -> io::Result<Form> {
        if self.place.number == 0 && self.reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            self.reader.consume(3);
        }
        loop {
            let buffer = self.reader.fill_buf()?;
            let Some(first) = buffer.first().copied() else { return Ok(Form::Over) };
            match first {
                b'[' => {
                    self.reader.consume(1);
                    if self.place.unit != Some("element") {
                        (self.place.unit, self.place.number) = (Some("element"), 0);
                    }
                    return Ok(Form::List);
                }
                first if first.is_ascii_whitespace() => {
                    self.place.number += u64::from(first == b'\n' && self.place.unit == Some("line"));
                    self.reader.consume(1);
                }
                _ => return Ok(Form::Lines),
            }
        }
    }

    fn next_line(&mut self) -> io::Result<Option<RowBytes>> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(LONGEST_ROW_BYTES as u64 + 1).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            self.is_at_end = true;
            return Ok(None);
        }
        self.place.number += 1;
        if bytes.len() > LONGEST_ROW_BYTES {
            drop(bytes);
            self.reader.skip_until(b'\n')?;
            return Ok(Some(RowBytes::TooLong));
        }
        Ok(Some(RowBytes::Whole(bytes)))
    }

    /// The bytes up to the comma after an element of the list, or up to the list's end.
    fn next_element(&mut self) -> io::Result<RowBytes> {
        let (mut bytes, mut length) = (Vec::new(), 0);
        let (mut depth, mut is_in_text, mut is_escaped) = (0u64, false, false);
        self.place.number += 1;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                (self.form, self.is_cut) = (Form::Over, true);
                break;
            }
            let end = buffer.iter().position(|byte| {
                let is_text = is_in_text;
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' if is_text => is_escaped = true,
                    b'"' => is_in_text = !is_text,
                    b'[' | b'{' if !is_text => depth += 1,
                    b']' | b'}' if !is_text && depth > 0 => depth -= 1,
                    b']' | b',' if !is_text && depth == 0 => return true,
                    _ => {}
                }
                false
            });
            let taken = end.unwrap_or(buffer.len());
            length += taken;
            if length <= LONGEST_ROW_BYTES {
                bytes.extend_from_slice(&buffer[..taken]);
            }
            if let Some(end) = end {
                // Behind the list there may be another.
                self.form = if buffer[end] == b']' { Form::Unknown } else { Form::List };
                self.reader.consume(taken + 1);
                break;
            }
            self.reader.consume(taken);
        }
        Ok(if length > LONGEST_ROW_BYTES { RowBytes::TooLong } else { RowBytes::Whole(bytes) })
    }

    fn row(&mut self, bytes: &[u8]) -> Result<Row, SourceError> {
        let (before, mut text) = (self.counter.wrong_sequences(), String::with_capacity(bytes.len()));
        self.counter.push(bytes, true, &mut text);
        self.counter.check(&self.input.path)?;
        let is_wrong = self.counter.wrong_sequences() > before;
        let field = &self.field;
        let fault = |kind, what: String| Row::left_out(self.place.clone(), Fault { kind, what });
        let text = text.trim();
        Ok(match field_of(text.as_bytes(), field) {
            Ok(Field::Text(text)) => {
                let is_repaired = text.contains('\u{FFFD}') && (is_wrong || has_half_characters(bytes));
                Row::text(self.place.clone(), text, is_repaired)
            }
            Ok(Field::Null) => fault(FaultKind::Null, format!("the field \"{field}\" is null")),
            Ok(Field::Other(what)) => {
                let inside = if what.starts_with("an object") { ": name one with a dot between" } else { "" };
                fault(FaultKind::NotText, format!("the field \"{field}\" is {what}, not text{inside}"))
            }
            Ok(Field::Missing(what)) if what.starts_with("an object") => {
                fault(FaultKind::Missing, format!("there is no field \"{field}\"; it is {what}"))
            }
            Ok(Field::Missing(what)) => {
                fault(FaultKind::NotText, format!("it is {what}, where an object with the field \"{field}\" is wanted"))
            }
            Err(error) => fault(FaultKind::Unreadable, not_json(&error, text)),
        })
    }
}

fn not_json(error: &serde_json::Error, text: &str) -> String {
    let is_cut = error.is_eof() && matches!(text, "{" | "[");
    match is_cut {
        true => "an object over several lines: write each on a line of its own, such as with `jq -c .`".to_owned(),
        false => format!("it is not JSON: {error}"),
    }
}

/// Whether there are escapes of halves of characters; whole ones count too, but leave no U+FFFD.
fn has_half_characters(json: &[u8]) -> bool {
    json.windows(3).any(|part| matches!(part, [b'\\', b'u', b'd' | b'D']))
}

impl Iterator for JsonRows {
    type Item = Result<Row, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::rows::Tally;

    fn read(json: impl AsRef<[u8]>) -> (Result<Vec<String>, SourceError>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, json).unwrap();
        let (mut texts, mut tally) = (Vec::new(), Tally::default());
        for row in Source::of_path(&path, "text").unwrap().rows() {
            match row {
                Ok(row) => {
                    tally.add(&row);
                    texts.extend(row.into_document());
                }
                Err(error) => return (Err(error), tally.to_string()),
            }
        }
        (Ok(texts), tally.to_string().replace(path.to_str().unwrap(), "a"))
    }

    fn error(json: &str) -> String {
        read(json).0.unwrap_err().to_string()
    }

    #[test]
    fn lines_give_their_field_and_those_without_are_counted() {
        let (texts, tally) = read("\u{FEFF}{\"text\":\"one\",\"id\":1}\r\n\n{\"text\":null}\n{\"text\":\"two\\n\"}");
        assert_eq!(texts.unwrap(), ["one", "two\n"]);
        assert_eq!(tally, "1 of 3 rows left out: 1 with null as the text (a, line 3: the field \"text\" is null)");
        let (texts, tally) =
            read("{\"text\":\"one\"}\n{\"body\":\"x\",\"id\":2}\n{\"te\n{\"text\":\"two\"}\n{\"text\":\"three\"}\n");
        assert_eq!(texts.unwrap(), ["one", "two", "three"]);
        assert!(tally.starts_with("2 of 5 rows left out: 1 unreadable (a, line 3: it is not JSON: EOF"), "{tally}");
        assert!(
            tally.ends_with(
                "1 without the field (a, line 2: there is no field \"text\"; it is an object with the fields body, id)"
            ),
            "{tally}"
        );
        let (texts, tally) = read(b"{\"text\":\"caf\xe9\"}\n{\"text\":\"a \\u0000\",\"by\":\"\xff\"}\n");
        assert_eq!(texts.unwrap(), ["caf\u{FFFD}", "a \0"]);
        assert_eq!(tally, "1 row with U+FFFD in place of what is no character (a, line 1)");
    }

    #[test]
    fn what_is_not_lines_of_objects_is_named() {
        assert!(
            error("{\"text\":\"one\"}\n{\"text\":5}\n")
                .contains("line 2: the field \"text\" is a number, not text; 1 of 2 rows")
        );
        assert!(error("{\"text\":[\"one\"]}\n").contains("is a list, not text"));
        assert!(error("{\"text\":{\"en\":\"a\"}}\n").contains("with the fields en, not text: name one with a dot"));
        assert!(error("{\n  \"text\": \"one\"\n}\n").contains("an object over several lines"));
        assert!(error("5\n").contains("it is a number, where an object"));
        assert!(error("[1]\n").contains("element 1: it is a number, where an object"));
        assert!(
            error("{\"body\":\"a\"}\n").contains("there is no field \"text\"; it is an object with the fields body")
        );
        assert!(error("").contains("there is no"));
    }

    #[test]
    fn a_list_gives_its_elements() {
        let list = "[\n {\"text\": \"a, ] } [ {\", \"x\": [1, {\"y\": \"\\\"]\"}]},\n {\"text\": \"b\"} ]\n[{\"text\": \"c\"}] \n";
        assert_eq!(read(list).0.unwrap(), ["a, ] } [ {", "b", "c"]);
        let (texts, tally) = read("[{\"text\": \"a\"}, {\"text\": \"b\"}");
        assert_eq!(texts.unwrap(), ["a", "b"]);
        assert!(tally.contains("element 2: the list is not closed"), "{tally}");
    }

    #[test]
    fn a_line_without_end_is_left_out() {
        let mut json = b"{\"text\":\"one\"}\n{\"text\":\"".to_vec();
        json.resize(LONGEST_ROW_BYTES + 100, b'a');
        json.extend(b"\"}\n{\"text\":\"two\"}\n");
        let (texts, tally) = read(json);
        assert_eq!(texts.unwrap(), ["one", "two"]);
        assert!(tally.contains("line 2: it is longer than"), "{tally}");
    }
}
