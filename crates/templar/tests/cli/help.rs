//! Every help text, so that no flag changes unseen. After a change on purpose: `INSTA_UPDATE=always cargo test`.

use crate::program::Place;

/// The names under `Commands:` in a help text.
fn commands_in(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty()).then(|| name.to_owned())
    });
    names.collect()
}

fn walk(place: &Place, path: &[String], texts: &mut Vec<(String, String)>) {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = place.stdout(&arguments);
    for name in commands_in(&help) {
        walk(place, &[path, &[name]].concat(), texts);
    }
    texts.push((["templar"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join("-"), help));
}

#[test]
fn every_command_teaches() {
    let place = Place::new();
    let mut texts = Vec::new();
    walk(&place, &[], &mut texts);
    assert!(texts.len() > 20, "{}", texts.len());
    for (name, help) in &texts {
        // One sentence first, and an example; a mere heading of subcommands may do with the sentence.
        assert!(!help.starts_with("Usage"), "{name} does not say what it does");
        assert!(help.contains("Example: ") || help.contains("Commands:"), "{name} has no example");
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name.as_str(), help);
        });
    }
}

#[test]
fn the_version_and_the_completions_are_there() {
    let place = Place::new();
    assert!(place.stdout(&["--version"]).starts_with("templar "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.stdout(&["completions", shell]).contains("templar"));
    }
}
