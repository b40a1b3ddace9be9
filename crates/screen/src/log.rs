//! The log on standard error: lines for people, or a JSON object a line for programs.

use crate::streams::{Diagnostics, say};
use crate::table::is_colour_wanted;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log: warnings, more with each `-v`, only errors with `-q`. `TEMPLAR_LOG` (such as `info` or
/// `warn,templar_node=debug`) decides if it is set; with `TEMPLAR_LOG_FORMAT=json` each line is an object.
pub fn start(verbosity: i8) {
    let level = match verbosity {
        i8::MIN..=-1 => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // What the libraries below say is of use only to those who look for a fault in them.
    let foreign = level.min(if verbosity > 2 { LevelFilter::TRACE } else { LevelFilter::WARN });
    // Every request that a client gets wrong is an error to the library of the bucket server.
    let s3 = if verbosity > 0 { foreign } else { LevelFilter::OFF };
    let chosen = Targets::new().with_default(foreign).with_target("templar", level).with_target("s3s", s3);
    let targets = match variable("TEMPLAR_LOG").map(|text| text.parse::<Targets>()) {
        Some(Ok(targets)) => targets,
        Some(Err(error)) => {
            let example = "write for example `info` or `warn,templar_node=debug`";
            say(&format!("TEMPLAR_LOG is not understood ({error}); {example}"));
            chosen
        }
        None => chosen,
    };
    let format = variable("TEMPLAR_LOG_FORMAT");
    match format.as_deref() {
        Some("json") => return tracing_subscriber::registry().with(JsonLines::over(Diagnostics)).with(targets).init(),
        Some("text") | None => {}
        Some(_) => say("TEMPLAR_LOG_FORMAT is not understood; write `text` or `json`"),
    }
    let has_colour = is_colour_wanted(io::stderr().is_terminal());
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Diagnostics).with_ansi(has_colour);
    tracing_subscriber::registry().with(lines).with(targets).init();
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Writes each event as an object on a line of its own.
struct JsonLines<W> {
    out: W,
}

impl<W> JsonLines<W> {
    fn over(out: W) -> Self {
        Self { out }
    }
}

impl<S: Subscriber, W: Write + Clone + Send + Sync + 'static> Layer<S> for JsonLines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = json!({
            "time_ms": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            "level": event.metadata().level().as_str().to_ascii_lowercase(),
            "target": event.metadata().target(),
            "message": fields.message,
            "fields": fields.others,
        });
        // One write a line, so that lines of several threads stay whole. A log that cannot be written stops nothing.
        let _ = self.out.clone().write_all(format!("{line}\n").as_bytes());
    }
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => drop(self.others.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_an_object_on_one_line_whatever_it_says() {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(JsonLines::over(kept.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other("it is \"full\"\n\u{1b}[2J");
            tracing::warn!(target: "templar_node::x", count = 3u64, share = 0.5, is_new = true, key = "a/b", %error, "no {}", "room");
            tracing::info!(loss = f64::NAN, "two\nlines");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let first = &lines[0];
        assert!(first["time_ms"].as_u64().unwrap() > 1_600_000_000_000, "{first}");
        assert_eq!((&first["level"], &first["target"]), (&"warn".into(), &"templar_node::x".into()));
        let fields =
            json!({"count": 3, "share": 0.5, "is_new": true, "key": "a/b", "error": "it is \"full\"\n\u{1b}[2J"});
        assert_eq!((&first["message"], &first["fields"]), (&"no room".into(), &fields));
        assert_eq!(lines[1]["message"], "two\nlines");
        assert!(lines[1]["fields"]["loss"].is_null(), "what is no number is none");
    }
}
