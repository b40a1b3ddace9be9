//! Questions from JSON lines, in either of two forms: a question a line, or a request a line as the package has it.
//!
//! A line that cannot be used stops the reading: figures over fewer questions would not be those of the task.

use crate::question::{Choice, Question};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

/// A line with all answers of a long text has some hundred kilobytes.
pub const MAX_LINE_BYTES: u64 = 4 << 20;
/// A question has four or five choices, seldom ten.
pub const MAX_CHOICES: usize = 64;
/// The largest task has ten thousand.
pub const MAX_QUESTIONS: usize = 1_000_000;
/// Bytes of all lines: they are in memory. The largest task has 231 million.
pub const MAX_TEXT_BYTES: u64 = 2 << 30;

/// Requests from this number on have no question in their context: they measure how likely an answer is without it.
const FIRST_UNCONDITIONAL: u64 = 1_000_000;

/// A file of questions that cannot be used; the file is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinesError {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// A line cannot be used.
    #[error("{file}, line {line}: {what}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// There is no question in it.
    #[error("{file} has no question")]
    Empty {
        /// The file.
        file: String,
    },
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The questions, in order.
    pub questions: Vec<Question>,
    /// Requests that are not part of the task.
    pub left_out: usize,
}

/// Reads the lines of `file`, also gzipped; the name is for errors.
pub fn read_lines(file: &str, from: impl Read) -> Result<Lines, LinesError> {
    let failed = |source| LinesError::Read { file: file.to_owned(), source };
    let mut from = BufReader::new(from);
    let is_gzip = from.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    let mut from: Box<dyn BufRead + '_> =
        if is_gzip { Box::new(BufReader::new(GzDecoder::new(from))) } else { Box::new(from) };
    let mut reader = Reader::default();
    let (mut line, mut all) = (Vec::new(), 0);
    for number in 1.. {
        let at = |what: String| LinesError::Line { file: file.to_owned(), line: number, what };
        line.clear();
        let bytes = (&mut from).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line).map_err(failed)? as u64;
        all += bytes;
        if bytes == 0 {
            break;
        }
        if bytes > MAX_LINE_BYTES {
            return Err(at(format!("it is over the limit of {MAX_LINE_BYTES} bytes")));
        }
        if all > MAX_TEXT_BYTES {
            return Err(at(format!("the file is over the limit of {MAX_TEXT_BYTES} bytes")));
        }
        let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        if !line.trim_ascii().is_empty() {
            reader.line(number, line).map_err(at)?;
        }
    }
    reader.finish().map_err(|(line, what)| LinesError::Line { file: file.to_owned(), line, what })?;
    match reader.read {
        lines if lines.questions.is_empty() => Err(LinesError::Empty { file: file.to_owned() }),
        lines => Ok(lines),
    }
}

/// A question a line.
#[derive(Deserialize)]
struct QuestionLine {
    context: OneOrMany,
    choices: Vec<String>,
    label: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A request a line: one choice of a question.
#[derive(Deserialize)]
struct RequestLine {
    request_type: String,
    request: RequestText,
    idx: u64,
    doc_id: u64,
    label: Value,
}

#[derive(Deserialize)]
struct RequestText {
    context: String,
    continuation: String,
}

/// The lines so far.
#[derive(Default)]
struct Reader {
    read: Lines,
    /// Whether the lines are requests, once there was one.
    is_requests: Option<bool>,
    /// The question whose requests come, by its number; its label as it stands.
    open: Option<(u64, Value)>,
}

impl Reader {
    fn line(&mut self, number: u64, line: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(line).map_err(|error| format!("it is not JSON: {error}"))?;
        let is_requests = value.get("request").is_some();
        if *self.is_requests.get_or_insert(is_requests) != is_requests {
            return Err("it has another form than the lines before it".to_owned());
        }
        if is_requests {
            let request = RequestLine::deserialize(value).map_err(|error| format!("it is no request: {error}"))?;
            return self.request(number, request);
        }
        let question = QuestionLine::deserialize(value).map_err(|error| format!("it is no question: {error}"))?;
        self.room()?;
        self.read.questions.push(of_question_line(number, question)?);
        Ok(())
    }

    fn room(&self) -> Result<(), String> {
        match self.read.questions.len() {
            MAX_QUESTIONS.. => Err(format!("there are more than {MAX_QUESTIONS} questions")),
            _ => Ok(()),
        }
    }

    fn request(&mut self, line: u64, request: RequestLine) -> Result<(), String> {
        let RequestLine { request_type, request, idx, doc_id, label } = request;
        if request_type != "loglikelihood" {
            return Err(format!("requests of the type {request_type:?} are not scored here, only \"loglikelihood\""));
        }
        if doc_id >= FIRST_UNCONDITIONAL {
            self.read.left_out += 1;
            return Ok(());
        }
        let mut choice = Choice { context: request.context.into(), continuation: request.continuation.into() };
        check_choice(&choice)?;
        if self.open.as_ref().is_none_or(|(open, _)| *open != doc_id) {
            self.finish().map_err(|(line, what)| format!("the question of line {line}: {what}"))?;
            self.room()?;
            self.read.questions.push(Question { choices: Vec::new(), gold: 0, line });
            self.open = Some((doc_id, label));
        } else if self.open.as_ref().is_some_and(|(_, open)| *open != label) {
            return Err("its label is not that of the question's other requests".to_owned());
        }
        let Some(question) = self.read.questions.last_mut() else { return Ok(()) };
        if idx != question.choices.len() as u64 {
            return Err(format!("its idx is {idx}, and {} is the question's next", question.choices.len()));
        }
        if question.choices.len() >= MAX_CHOICES {
            return Err(format!("the question has more than {MAX_CHOICES} choices"));
        }
        if let Some(last) = question.choices.last().filter(|last| last.context == choice.context) {
            choice.context = Arc::clone(&last.context);
        }
        question.choices.push(choice);
        Ok(())
    }

    /// Ends the question whose requests came last; on failure gives its first line.
    fn finish(&mut self) -> Result<(), (u64, String)> {
        let (Some((_, label)), Some(question)) = (self.open.take(), self.read.questions.last_mut()) else {
            return Ok(());
        };
        // A label that is text is the one answer itself.
        let label = if question.choices.len() == 1 && !label.is_u64() { Some(0) } else { label.as_u64() };
        question.gold = gold(label, question.choices.len()).map_err(|what| (question.line, what))?;
        Ok(())
    }
}

fn of_question_line(line: u64, question: QuestionLine) -> Result<Question, String> {
    let count = question.choices.len();
    if count == 0 || count > MAX_CHOICES {
        return Err(format!("it has {count} choices, and 1 to {MAX_CHOICES} are possible"));
    }
    let contexts: Vec<Arc<str>> = match question.context {
        OneOrMany::One(context) => vec![context.into(); count],
        OneOrMany::Many(contexts) if contexts.len() == count => contexts.into_iter().map(Arc::from).collect(),
        OneOrMany::Many(contexts) => return Err(format!("it has {} contexts for {count} choices", contexts.len())),
    };
    let choices = contexts.into_iter().zip(question.choices);
    let choice = |(context, continuation): (_, String)| Choice { context, continuation: continuation.into() };
    let choices: Vec<Choice> = choices.map(choice).collect();
    choices.iter().try_for_each(check_choice)?;
    let label = if count == 1 { question.label.or(Some(0)) } else { question.label };
    Ok(Question { choices, gold: gold(label, count)?, line })
}

fn check_choice(choice: &Choice) -> Result<(), String> {
    match choice.answer_bytes() {
        0 => Err("an answer has no text".to_owned()),
        _ => Ok(()),
    }
}

fn gold(label: Option<u64>, choices: usize) -> Result<usize, String> {
    match label {
        Some(label) if label < choices as u64 => Ok(label as usize),
        Some(label) => Err(format!("its label is {label}, and its {choices} choices are counted from 0")),
        None => Err(format!("its label is not a number, and it has {choices} choices")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn read(text: &str) -> Result<Lines, String> {
        read_lines("t.jsonl", text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_question_has_one_context_or_one_for_each_choice() {
        let text = concat!(
            "\u{feff}{\"id\": 7, \"context\": \"1+1=\", \"choices\": [\" 2\", \" 3\"], \"label\": 0}\r\n\n",
            r#"{"context": ["A", "B"], "choices": [" x", " x"], "label": 1}"#,
            "\n",
            r#"{"context": "The", "choices": [" end"]}"#
        );
        let lines = read(text).unwrap();
        let shape: Vec<_> = lines.questions.iter().map(|q| (q.choices.len(), q.gold, q.line)).collect();
        assert_eq!(shape, [(2, 0, 1), (2, 1, 3), (1, 0, 4)]);
        assert_eq!(&*lines.questions[1].choices[1].context, "B");

        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        assert_eq!(read_lines("t.jsonl.gz", &gzip.finish().unwrap()[..]).unwrap(), lines);
    }

    fn request(doc_id: u64, idx: u64, label: &str, continuation: &str) -> String {
        format!(
            "{{\"request_type\": \"loglikelihood\", \"doc_id\": {doc_id}, \"idx\": {idx}, \"label\": {label}, \
             \"request\": {{\"context\": \"c\", \"continuation\": \"{continuation}\"}}}}\n"
        )
    }

    #[test]
    fn requests_are_gathered_to_questions() {
        let text = [
            request(0, 0, "1", " a"),
            request(0, 1, "1", " b"),
            request(1, 0, "[\\\"w\\\"]".replace('\\', "").as_str(), " w"),
            request(1_000_000, 0, "1", " a"),
        ];
        let lines = read(&text.concat()).unwrap();
        let shape: Vec<_> = lines.questions.iter().map(|q| (q.choices.len(), q.gold, q.line)).collect();
        assert_eq!((shape, lines.left_out), (vec![(2, 1, 1), (1, 0, 3)], 1));
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named() {
        let good = "{\"context\": \"c\", \"choices\": [\" a\", \" b\"], \"label\": 0}\n";
        let long = format!("{{\"context\": \"{}\"}}", "x".repeat(MAX_LINE_BYTES as usize));
        let many = format!("{{\"context\": \"c\", \"choices\": {:?}, \"label\": 0}}", vec!["a"; MAX_CHOICES + 1]);
        for (line, why) in [
            ("{\"context\"", "it is not JSON"),
            ("{\"context\": \"c\", \"choices\": [\" a\", \" b\"]}", "its label is not a number"),
            ("{\"context\": \"c\", \"choices\": [\" a\", \" b\"], \"label\": 2}", "its label is 2, and its 2 choices"),
            ("{\"context\": \"c\", \"choices\": [\" a\", \" b\"], \"label\": -1}", "it is no question"),
            ("{\"context\": \"c\", \"choices\": [], \"label\": 0}", "it has 0 choices"),
            ("{\"context\": \"c\", \"choices\": [\" a\", \" \"], \"label\": 0}", "an answer has no text"),
            ("{\"context\": [\"c\"], \"choices\": [\"a\", \"b\"], \"label\": 0}", "it has 1 contexts for 2 choices"),
            ("{\"choices\": [\"a\", \"b\"], \"label\": 0}", "missing field `context`"),
            (&request(0, 0, "0", " a"), "another form"),
            (&long, "over the limit of 4194304 bytes"),
            (&many, "it has 65 choices"),
        ] {
            let error = read(&format!("{good}\n{line}\n{good}")).unwrap_err();
            assert!(error.starts_with("t.jsonl, line 3: ") && error.contains(why), "{error}");
        }
        assert_eq!(read("\n \n").unwrap_err(), "t.jsonl has no question");
    }

    #[test]
    fn requests_that_do_not_fit_each_other_are_named() {
        for (lines, why) in [
            (vec![request(0, 1, "0", " a")], "line 1: its idx is 1, and 0 is"),
            (vec![request(0, 0, "0", " a"), request(0, 1, "1", " b")], "line 2: its label is not that"),
            (vec![request(0, 0, "3", " a"), request(0, 1, "3", " b")], "line 1: its label is 3"),
            (vec![request(0, 0, "9", " a"), request(1, 0, "0", " b")], "line 2: the question of line 1: its label"),
            (vec![request(0, 0, "0", " a").replace("loglikelihood", "generate")], "\"generate\" are not scored"),
        ] {
            let error = read(&lines.concat()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
