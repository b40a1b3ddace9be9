//! What the model knows: the tasks that idle validators put to it.

use super::parts::{Cell, hash, note, table, uid_link, window_link};
use super::words::{UNKNOWN, count, or_unknown};
use crate::chart::{Chart, Point, Series};
use crate::markup::Markup;
use crate::state::{RunFacts, Snapshot};
use templar_base::EvaluationRule;
use templar_record::{EvaluationStanding, EvaluationView, Figure, TaskResult, WindowRecord};

/// Evaluated windows in the table; the API has all.
const NEWEST: usize = 8;
/// Tasks in the chart: a line each, of as many colours as there are.
const DRAWN: usize = 3;
const HEADS: [&str; 9] = [
    "Window",
    "Task",
    "Accuracy",
    "Accuracy by byte",
    "Perplexity",
    "Bits per byte",
    "Questions",
    "State",
    "Validators",
];

/// The tasks by window, who agrees, and how to do it again.
pub(super) fn evaluation(facts: &RunFacts, snapshot: &Snapshot) -> Markup {
    let Some(rule) = &facts.evaluation else {
        return note("The genesis document names no tasks: nobody asks this model questions.");
    };
    let windows: Vec<&WindowRecord> =
        snapshot.finished.values().map(AsRef::as_ref).filter(|view| !view.evaluations.is_empty()).collect();
    let names: Vec<&str> = rule.tasks.iter().map(|task| task.name.as_str()).collect();
    let every = format!(
        "Validators that are idle put {} to the model at the start of every {}-th window, and sign what they find. It \
         decides nothing.",
        names.join(", "),
        rule.every_windows
    );
    if windows.is_empty() {
        return note(&every).then(note("No result of a finished window has been read yet."));
    }
    let drawn = Markup::tag("div", &[("class", &"charts")], chart(rule, &windows).draw());
    let rows = windows.iter().rev().take(NEWEST).flat_map(|view| rows(view)).collect();
    note(&every).then(drawn).then(table("Tasks, the newest window first", &HEADS, rows)).then(again(rule, &windows))
}

/// The leading figures of each task, and in the first row of a window who agrees.
fn rows(view: &WindowRecord) -> Vec<Vec<Cell>> {
    let Some(leading) = view.evaluation() else {
        // Nobody asked the state that most of the stake agreed on.
        let mut row = vec![Cell::of(window_link(view.window))];
        row.extend((0..HEADS.len() - 2).map(|_| Cell::text(UNKNOWN)));
        row.push(Cell::of(validators(view)));
        return vec![row];
    };
    let row = |(number, task): (usize, &TaskResult)| {
        let figure = |figure: &Figure| {
            let error = figure.stderr.map_or(String::new(), |error| format!(" ± {error:.3}"));
            Cell::number(format!("{:.3}{error}", figure.value), Some(figure.value))
        };
        let perhaps = |of: &Option<Figure>| of.as_ref().map_or_else(|| Cell::number(UNKNOWN, None), figure);
        vec![
            Cell::of(window_link(view.window)),
            Cell::text(&task.name),
            figure(&task.acc),
            perhaps(&task.acc_norm),
            perhaps(&task.perplexity),
            figure(&task.bits_per_byte),
            Cell::number(count(task.count), Some(task.count as f64)),
            Cell::of(hash(&leading.result.state, None)),
            if number == 0 { Cell::of(validators(view)) } else { Cell::text("") },
        ]
    };
    leading.result.tasks.iter().enumerate().map(row).collect()
}

/// Who found the leading figures, and who found something else.
fn validators(view: &WindowRecord) -> Markup {
    let of = |standing| view.evaluations.iter().filter(move |own: &&EvaluationView| own.standing == standing);
    let mut all = Markup::text(match of(EvaluationStanding::Leading).count() {
        0 => "nobody has the agreed state".to_owned(),
        1 => "1 says so".to_owned(),
        same => format!("{same} agree"),
    });
    let others = [(EvaluationStanding::Differs, "other figures"), (EvaluationStanding::OtherState, "another state")];
    for (standing, what) in others {
        for own in of(standing) {
            let who = Markup::text("; ").then(uid_link(own.uid)).then(Markup::text(format!(" disagrees: {what}")));
            all.push(Markup::tag("span", &[("class", &"null")], who));
        }
    }
    all
}

fn chart(rule: &EvaluationRule, windows: &[&WindowRecord]) -> Chart {
    let points = |number: usize| -> Vec<Point> {
        let point = |view: &&WindowRecord| {
            let acc = view.evaluation()?.result.tasks.get(number)?.acc;
            Some(Point { x: view.window.get() as f64, y: acc.value, error: acc.stderr })
        };
        windows.iter().filter_map(point).collect()
    };
    let series = rule.tasks.iter().enumerate().take(DRAWN);
    let series = series.map(|(number, task)| Series { name: task.name.clone().into(), points: points(number) });
    let title = match rule.tasks.len() {
        0..=DRAWN => "Accuracy by window".to_owned(),
        _ => format!("Accuracy by window, of the first {DRAWN} tasks"),
    };
    let (x, y, series) = ("window", "share of right answers", series.collect());
    Chart { id: "accuracy", title, x, y, series, bars: Vec::new() }
}

/// The commands that compute the newest figures again.
fn again(rule: &EvaluationRule, windows: &[&WindowRecord]) -> Markup {
    let window = or_unknown(windows.last(), |view| view.window.to_string());
    let files: Vec<String> =
        rule.tasks.iter().map(|task| format!(" --questions corpus/{}", task.file_name())).collect();
    let row = |command: String, what: &str| vec![Cell::of(Markup::with_text("code", command)), Cell::text(what)];
    let rows = vec![
        row(
            format!("templar checkpoint fetch --window {window} --out window-{window}"),
            "the model that was asked, while a validator keeps the checkpoint",
        ),
        row(
            format!("templar model benchmark window-{window}{}", files.concat()),
            "the same figures, to the last digit: acc, acc_norm, perplexity, bits_per_byte with --json",
        ),
    ];
    let from = "The questions are in the folder of the corpus, which `templar run join` fetches, each under its hash.";
    table("Recompute this", &["Command", "What it gives"], rows).then(note(from))
}
