//! The command line: what its words mean, and how a mistake in them is told.

use crate::{Failure, FailureKind};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::any::TypeId;
use std::ffi::OsString;

/// Whether the words ask for output for programs, even where they are wrong otherwise.
pub fn asks_for_json(words: &[OsString]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word == "--json")
}

/// What the words of a process say, by the options of its command.
///
/// An option with one value takes the next word as it is, also one that begins with a hyphen: a prompt, a name, or a
/// number whose bounds are then told. A flag where the value of a path or name should be, as in `--data --fresh`, was
/// not meant: the value was forgotten.
pub fn parse(command: Command, words: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let mut command = taking_any_value(command);
    let matches = command.try_get_matches_from_mut(words).map_err(|error| without_wrong_tip(error, words))?;
    let mut leaf = &command;
    let mut chosen = matches.subcommand();
    while let Some((name, inner)) = chosen {
        leaf = leaf.find_subcommand(name).unwrap_or(leaf);
        chosen = inner.subcommand();
    }
    check_values(leaf, words)?;
    Ok(matches)
}

/// Where several values may follow, only numbers are taken for values in spite of their hyphen.
fn taking_any_value(command: Command) -> Command {
    let taking = |arg: Arg| match (takes_one(&arg), arg.get_action()) {
        (true, _) => arg.allow_hyphen_values(true),
        (false, ArgAction::Set | ArgAction::Append) => arg.allow_negative_numbers(true),
        _ => arg,
    };
    command.mut_args(taking).mut_subcommands(taking_any_value)
}

fn takes_one(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
        && !arg.is_positional()
        && arg.get_num_args().is_none_or(|range| range.max_values() == 1)
}

/// Free text may be anything.
fn is_text(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "TEXT" || name == "SENTENCE"))
}

fn check_values(command: &Command, words: &[OsString]) -> Result<(), clap::Error> {
    let named = |word: &OsString| {
        let name = word.to_str()?.strip_prefix("--")?;
        command.get_arguments().find(|arg| arg.get_long() == Some(name))
    };
    let mut words = words.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let Some(arg) = named(word).filter(|arg| takes_one(arg)) else { continue };
        let value = words.next();
        if let Some(flag) = value.filter(|value| !is_text(arg) && named(value).is_some()) {
            let (name, flag) = (word.to_string_lossy(), flag.to_string_lossy());
            let message =
                format!("{name} needs a value, and {flag} is an option: write {name}={flag} to mean the word");
            return Err(command.clone().error(ErrorKind::InvalidValue, message));
        }
    }
    Ok(())
}

/// A word that begins with a hyphen among the values of an option is no positional argument: the tip to write `--` before
/// it does not help there.
fn without_wrong_tip(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let is_value = |word: &str| {
        let place = words.iter().position(|other| other == word);
        let before = place.and_then(|place| words.get(place.checked_sub(1)?));
        before.is_some_and(|before| before.to_string_lossy().starts_with("--"))
    };
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => word.clone(),
        _ => return error,
    };
    if is_value(&unknown) && !unknown.starts_with("--") {
        error.remove(ContextKind::Suggested);
    }
    error
}

/// A mistake in the words as a failure.
pub fn failure(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut parts = text.split("\n\n").map(str::trim).filter(|part| !part.is_empty());
    let message = parts.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message).replace("\n  ", " ");
    let tip = parts.find_map(|part| part.strip_prefix("tip: "));
    let remedy = tip.unwrap_or("see the command's --help").to_owned();
    Failure::new(FailureKind::Usage, [message], Some(remedy))
}

/// The options of a command and its subcommands that take a count of any size: each should have a bound. Seeds have none.
pub fn unbounded_counts(command: &Command) -> Vec<String> {
    let counts = [TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<usize>()];
    let is_count = |arg: &&Arg| counts.iter().any(|count| arg.get_value_parser().type_id() == *count);
    let is_unbounded = |arg: &&Arg| {
        let name = arg.get_long().unwrap_or_default();
        let alone = Command::new("one").arg(Arg::clone(arg).required(false));
        name != "seed" && alone.try_get_matches_from(["one".to_owned(), format!("--{name}={}", u64::MAX)]).is_ok()
    };
    let of = |arg: &Arg| format!("{} --{}", command.get_name(), arg.get_long().unwrap_or_default());
    let own = command.get_arguments().filter(|arg| takes_one(arg)).filter(is_count).filter(is_unbounded).map(of);
    own.chain(command.get_subcommands().flat_map(unbounded_counts)).collect()
}

/// One of these names, each with its help and its value.
pub fn named<T: Copy + Send + Sync + 'static>(values: &'static [(&str, &str, T)]) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(values.iter().map(|(name, help, _)| PossibleValue::new(name).help(help)))
        .try_map(|name| values.iter().find(|value| value.0 == name).map(|value| value.2).ok_or("there is no such name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let option = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
        let run = Command::new("run")
            .arg(option("prompt", "TEXT"))
            .arg(option("data", "FOLDER"))
            .arg(option("count", "N").value_parser(crate::bounds::items()))
            .arg(option("free", "N").value_parser(clap::value_parser!(u64)))
            .arg(option("text", "PATH").num_args(1..))
            .arg(Arg::new("fresh").long("fresh").action(ArgAction::SetTrue));
        Command::new("program").subcommand(run)
    }

    fn error(line: &[&str]) -> Option<String> {
        let words: Vec<OsString> = ["program", "run"].iter().chain(line).map(OsString::from).collect();
        parse(command(), &words).err().map(|error| failure(&error).message)
    }

    #[test]
    fn free_text_is_taken_as_it_is() {
        for text in ["- item", "---", "-5", "-", "--", "--json", "-x", "--count", "--fresh"] {
            assert_eq!(error(&["--prompt", text]), None, "{text}");
        }
        for name in ["-name", "--name", "-5"] {
            assert_eq!(error(&["--data", name]), None, "{name}");
        }
    }

    #[test]
    fn a_forgotten_value_is_told() {
        let told = error(&["--data", "--fresh"]).unwrap();
        assert_eq!(told, "--data needs a value, and --fresh is an option: write --data=--fresh to mean the word");
        assert_eq!(error(&["--data=--fresh"]), None);
        assert!(error(&["--data"]).unwrap().contains("a value is required"));
    }

    #[test]
    fn a_negative_number_gets_the_bound_and_no_tip() {
        assert!(error(&["--count", "-5"]).unwrap().contains("'-5' for '--count <N>'"));
        let words: Vec<OsString> = ["program", "run", "--text", "-notes.txt"].map(OsString::from).into();
        let told = parse(command(), &words).unwrap_err().render().to_string();
        assert!(!told.contains("-- -notes.txt"), "{told}");
        assert_eq!(unbounded_counts(&command()), ["run --free"]);
    }
}
