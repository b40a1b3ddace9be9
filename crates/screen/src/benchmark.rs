//! Benchmarks of a model: their figures and their progress.

use crate::printable::printable;
use crate::progress::Progress;
use crate::table::{Paint, count, table};
use templar_evaluation::{Mean, News, Report, TaskReport};

/// Shows what a benchmark does.
pub fn show(progress: &mut Progress, news: News) {
    match news {
        News::Note(text) => progress.note(&text),
        News::Doing { what, share: Some(share) } => progress.show(share, &what),
        News::Doing { what, share: None } => {
            // The next task has an estimate of its own.
            progress.restart();
            progress.say(&what);
        }
    }
}

/// The figures of each task, a line each, and what must be known to compare them.
pub fn report(paint: Paint, report: &Report) -> String {
    let head = ["task", "variant", "questions", "acc", "acc_norm", "perplexity", "bits per byte"];
    let share =
        |mean: Mean| of(Mean { value: 100.0 * mean.value, stderr: mean.stderr.map(|stderr| 100.0 * stderr) }, "%");
    let row = |task: &TaskReport| {
        vec![
            printable(&task.task),
            printable(&task.variant),
            questions(task),
            share(task.metrics.acc),
            task.metrics.acc_norm.map_or("-".to_owned(), share),
            task.metrics.perplexity.map_or("-".to_owned(), |perplexity| of(perplexity, "")),
            format!("{:.4}", task.metrics.bits_per_byte.value),
        ]
    };
    let mut text = table(paint, Some(&head), &report.tasks.iter().map(row).collect::<Vec<_>>());
    for task in report.tasks.iter().filter(|task| task.truncated > 0) {
        let (cut, all) = (count(task.truncated as u64), count(task.requests as u64));
        let note = format!(
            "{}: the model sees less than {cut} of {all} answers with their contexts; these were cut from the left\n",
            printable(&task.task)
        );
        text += &paint.yellow(&note);
    }
    text
}

fn questions(task: &TaskReport) -> String {
    match (task.questions as u64, task.available as u64) {
        (asked, available) if asked == available => count(asked),
        (asked, available) => format!("{} of {}", count(asked), count(available)),
    }
}

/// A mean with its standard error.
fn of(mean: Mean, unit: &str) -> String {
    let error = mean.stderr.map_or(String::new(), |stderr| format!(" ± {stderr:.2}"));
    format!("{:.2}{error}{unit}", mean.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_evaluation::Metrics;

    fn task(name: &str, metrics: Metrics) -> TaskReport {
        TaskReport {
            task: name.to_owned(),
            variant: "rc_0shot".to_owned(),
            source: String::new(),
            questions: 1200,
            available: 1200,
            requests: 4800,
            truncated: 0,
            left_out: 0,
            metrics,
            tokens: 0,
            computed_tokens: 0,
            seconds: 0.0,
            scores: "x".into(),
        }
    }

    #[test]
    fn a_line_for_each_task_and_what_was_cut() {
        let mean = |value| Mean { value, stderr: Some(0.0125) };
        let bits_per_byte = Mean { value: 1.25, stderr: None };
        let choices = Metrics { acc: mean(0.5), acc_norm: Some(mean(0.25)), perplexity: None, bits_per_byte };
        let single = Metrics { acc: mean(0.5), acc_norm: None, perplexity: Some(mean(20.0)), bits_per_byte };
        let cut = TaskReport { questions: 10, truncated: 3, ..task("lambada", single) };
        let (model, tasks) = ("m".into(), vec![task("arc\x1b[2J", choices), cut]);
        let shown =
            report(Paint::plain(), &Report { model, model_hash: Default::default(), numerics: "s".into(), tasks });
        let expected = [
            r"task        variant   questions    acc            acc_norm       perplexity    bits per byte",
            r"arc\x1b[2J  rc_0shot  1,200        50.00 ± 1.25%  25.00 ± 1.25%  -             1.2500",
            r"lambada     rc_0shot  10 of 1,200  50.00 ± 1.25%  -              20.00 ± 0.01  1.2500",
            r"lambada: the model sees less than 3 of 4,800 answers with their contexts; these were cut from the left",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    }
}
