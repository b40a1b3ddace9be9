//! What the scores of a task come to.

use crate::question::{Question, Task};
use crate::scoring::Score;
use serde::Serialize;

/// A mean over the questions, with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Its standard error; none of a single question.
    pub stderr: Option<f64>,
}

impl Mean {
    /// `value = Σ xᵢ / n`, `stderr = sqrt(Σ (xᵢ - value)² / (n - 1)) / sqrt(n)`.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let value = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|x| (x - value) * (x - value)).sum();
        let stderr = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt() / count.sqrt());
        Self { value, stderr }
    }
}

/// The figures of a task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metrics {
    /// Of questions with choices: the share of those whose right choice has the highest log-likelihood. Of questions with
    /// one choice: the share of those whose answer the model writes, always taking the most likely token.
    pub acc: Mean,
    /// The share of questions whose right choice has the highest log-likelihood per byte; none where there is no choice.
    pub acc_norm: Option<Mean>,
    /// The exponential of the mean negative log-likelihood of the answers, where there is no choice; its standard error
    /// is that of the mean times the perplexity.
    pub perplexity: Option<Mean>,
    /// Bits that each byte of a right answer costs, the leading space included: the mean over the questions.
    pub bits_per_byte: Mean,
}

impl Metrics {
    /// Of the scores of all requests of a task, in their order.
    pub fn new(task: &Task, scores: &[Score]) -> Self {
        let mut rest = scores;
        let mut asked = Vec::with_capacity(task.questions.len());
        for question in &task.questions {
            let (scores, later) = rest.split_at(question.choices.len());
            asked.push((question, scores));
            rest = later;
        }
        let mean = |of: &dyn Fn(&Question, &[Score]) -> f64| {
            Mean::of(&asked.iter().map(|(question, scores)| of(question, scores)).collect::<Vec<_>>())
        };
        let bits_per_byte = mean(&|question, scores| {
            let bytes = question.choices[question.gold].continuation.len();
            -scores[question.gold].log_likelihood / std::f64::consts::LN_2 / bytes as f64
        });
        if task.is_single() {
            let acc = mean(&|_, scores| f64::from(u8::from(scores[0].is_greedy == Some(true))));
            let loss = mean(&|_, scores| -scores[0].log_likelihood);
            // Not the system's: the figure is the same in bits on every machine.
            let value = libm::exp(loss.value);
            let perplexity = Some(Mean { value, stderr: loss.stderr.map(|stderr| stderr * value) });
            return Self { acc, acc_norm: None, perplexity, bits_per_byte };
        }
        let is_right = |question: &Question, chosen: usize| f64::from(u8::from(chosen == question.gold));
        let acc = mean(&|question, scores| is_right(question, likeliest(scores)));
        let acc_norm = Some(mean(&|question, scores| is_right(question, likeliest_by_byte(question, scores))));
        Self { acc, acc_norm, perplexity: None, bits_per_byte }
    }
}

/// The choice with the highest log-likelihood; of several the first.
pub fn likeliest(scores: &[Score]) -> usize {
    first_of_highest(scores.iter().map(|score| score.log_likelihood))
}

/// The choice with the highest log-likelihood per byte of its answer; of several the first.
pub fn likeliest_by_byte(question: &Question, scores: &[Score]) -> usize {
    let each = question.choices.iter().zip(scores);
    first_of_highest(each.map(|(choice, score)| score.log_likelihood / choice.answer_bytes() as f64))
}

fn first_of_highest(values: impl Iterator<Item = f64>) -> usize {
    let best = values.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::Choice;

    fn question(choices: &[&str], gold: usize) -> Question {
        let choice = |text: &&str| Choice { context: "c".into(), continuation: (*text).into() };
        Question { choices: choices.iter().map(choice).collect(), gold, line: 1 }
    }

    fn task(questions: Vec<Question>) -> Task {
        let (name, variant, source) = ("t".to_owned(), "v".to_owned(), "s".to_owned());
        Task { name, variant, source, available: questions.len(), questions, left_out: 0 }
    }

    fn scores(values: &[f64]) -> Vec<Score> {
        values.iter().map(|&log_likelihood| Score { log_likelihood, is_greedy: None }).collect()
    }

    #[test]
    fn bytes_decide_where_answers_are_of_different_lengths() {
        // " é" has two bytes without its space, " abcdef" six.
        let asked = question(&[" é", " abcdef"], 1);
        assert_eq!(likeliest(&scores(&[-2.0, -4.0])), 0);
        assert_eq!(likeliest_by_byte(&asked, &scores(&[-2.0, -4.0])), 1, "-1 a byte against -2/3");
        assert_eq!(likeliest_by_byte(&asked, &scores(&[-2.0, -6.0])), 0, "of equal ones the first");
        assert_eq!(likeliest(&scores(&[-3.0, -2.0, -2.0])), 1);
    }

    #[test]
    fn figures_are_those_of_the_formulas() {
        let task = task(vec![question(&[" a", " bcd"], 0), question(&[" a", " b"], 1), question(&[" a", " b"], 1)]);
        let all = scores(&[-2.0, -3.0, -1.0, -2.0, -2.0, -1.0]);
        let metrics = Metrics::new(&task, &all);
        // Two of three: sqrt(p (1 - p) / (n - 1)).
        let p = 2.0 / 3.0_f64;
        let stderr = (p * (1.0 - p) / 2.0).sqrt();
        assert!((metrics.acc.value - p).abs() < 1e-15 && (metrics.acc.stderr.unwrap() - stderr).abs() < 1e-15);
        // By bytes the first question's longer answer wins: -1 against -2.
        assert!((metrics.acc_norm.unwrap().value - 1.0 / 3.0).abs() < 1e-15);
        let bits = (2.0 + 2.0 + 1.0) / 3.0 / 2.0 / std::f64::consts::LN_2;
        assert!((metrics.bits_per_byte.value - bits).abs() < 1e-15);
        assert_eq!(metrics.perplexity, None);
        assert_eq!(Mean::of(&[0.25]), Mean { value: 0.25, stderr: None });
    }

    #[test]
    fn without_choices_there_is_a_perplexity() {
        let task = task(vec![question(&[" word"], 0), question(&[" word"], 0)]);
        let score = |log_likelihood, greedy| Score { log_likelihood, is_greedy: Some(greedy) };
        let metrics = Metrics::new(&task, &[score(-1.0, true), score(-3.0, false)]);
        assert_eq!((metrics.acc.value, metrics.acc_norm), (0.5, None));
        let perplexity = metrics.perplexity.unwrap();
        assert!((perplexity.value - 2.0_f64.exp()).abs() < 1e-12, "the mean loss is 2");
        assert!((perplexity.stderr.unwrap() - 2.0_f64.exp()).abs() < 1e-12, "and its standard error 1");
    }
}
