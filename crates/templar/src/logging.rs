//! The log on stderr.

use std::io::IsTerminal;
use templar_screen::{Diagnostics, say};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log: warnings, more with each `-v`, only errors with `-q`. `TEMPLAR_LOG` (such as `info` or
/// `warn,templar_node=debug`) decides if it is set.
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
    let asked = std::env::var("TEMPLAR_LOG").ok().filter(|text| !text.is_empty());
    let targets = match asked.as_ref().map(|text| text.parse::<Targets>()) {
        Some(Ok(targets)) => targets,
        Some(Err(error)) => {
            let example = "write for example `info` or `warn,templar_node=debug`";
            say(&format!("TEMPLAR_LOG is not understood ({error}); {example}"));
            chosen
        }
        None => chosen,
    };
    let has_colour = templar_screen::is_colour_wanted(std::io::stderr().is_terminal());
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Diagnostics).with_ansi(has_colour);
    tracing_subscriber::registry().with(lines).with(targets).init();
}
