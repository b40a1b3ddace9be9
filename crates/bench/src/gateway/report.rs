//! Figures of a gateway, as JSON and as a table.

use super::GatewayBench;
use super::api::Answer;
use crate::Section;
use indicatif::HumanCount;
use serde::Serialize;
use std::time::Duration;

/// What was measured with one number of clients.
#[derive(Debug, Clone, Serialize)]
pub struct Level {
    /// Clients that asked at once.
    pub clients: u16,
    /// Answers that they got.
    pub answers: usize,
    /// Tokens written, of all answers.
    pub tokens: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Tokens written in a second, of all clients.
    pub tokens_per_second: f64,
    /// Milliseconds from a request to its first token, in the median.
    pub first_token_ms: f64,
    /// The same of the slowest twentieth.
    pub first_token_ms_p95: f64,
    /// Tokens in a second of one answer after its first token, in the median.
    pub answer_tokens_per_second: f64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    event: &'static str,
    #[serde(flatten)]
    served: Served,
    requests: u16,
    max_tokens: u32,
    prompt_bytes: u32,
    levels: Vec<Level>,
}

/// What was asked.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Served {
    pub model: String,
    /// Its address, or `here`.
    pub server: String,
    pub parameters: Option<usize>,
    pub threads: Option<usize>,
}

impl Level {
    pub(super) fn of(clients: u16, answers: &[Answer], took: Duration) -> Self {
        let tokens: u64 = answers.iter().map(|answer| answer.tokens).sum();
        let first = sorted(answers.iter().map(|answer| answer.first.as_secs_f64() * 1e3));
        let after = answers.iter().filter(|answer| answer.tokens > 1 && answer.whole > answer.first);
        let speeds =
            sorted(after.map(|answer| (answer.tokens - 1) as f64 / (answer.whole - answer.first).as_secs_f64()));
        let seconds = took.as_secs_f64();
        Self {
            clients,
            answers: answers.len(),
            tokens,
            seconds,
            tokens_per_second: tokens as f64 / seconds,
            first_token_ms: quantile(&first, 0.5),
            first_token_ms_p95: quantile(&first, 0.95),
            answer_tokens_per_second: quantile(&speeds, 0.5),
        }
    }
}

impl Report {
    pub(super) fn of(served: Served, bench: &GatewayBench, levels: Vec<Level>) -> Self {
        let &GatewayBench { requests, tokens: max_tokens, prompt_bytes, .. } = bench;
        Self { event: "gateway", served, requests, max_tokens, prompt_bytes, levels }
    }

    /// What was measured, by number of clients.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The figures for people.
    pub fn section(&self) -> Section {
        let head = ["clients", "tokens/s", "first token ms", "of 95 %", "tokens/s of an answer", "answers"];
        let row = |level: &Level| {
            let figures = [
                level.tokens_per_second,
                level.first_token_ms,
                level.first_token_ms_p95,
                level.answer_tokens_per_second,
            ];
            let figures = figures.map(|figure| format!("{figure:.1}"));
            [level.clients.to_string()].into_iter().chain(figures).chain([level.answers.to_string()]).collect()
        };
        let Served { model, server, parameters, threads } = &self.served;
        let parameters = parameters.map(|count| format!(", {} parameters", HumanCount(count as u64)));
        let threads = threads.map(|threads| format!(", {threads} threads"));
        let served = format!("{model}{}{}", parameters.unwrap_or_default(), threads.unwrap_or_default());
        let asked = format!(
            "prompts of {} bytes, answers of up to {} tokens, {} requests of each client; the middle of all answers",
            self.prompt_bytes, self.max_tokens, self.requests
        );
        Section {
            title: if server == "here" { served } else { format!("{served} at {server}") },
            head: head.map(str::to_owned).to_vec(),
            rows: self.levels.iter().map(row).collect(),
            notes: vec![asked],
        }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value that so large a part of the sorted values does not exceed; 0 of none.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_all_clients_and_of_the_middle_answer() {
        let answer = |first, whole, tokens| Answer {
            first: Duration::from_millis(first),
            whole: Duration::from_millis(whole),
            tokens,
        };
        let answers = [answer(100, 1_100, 11), answer(300, 1_300, 21), answer(200, 700, 6)];
        let level = Level::of(3, &answers, Duration::from_secs(2));
        assert_eq!((level.answers, level.tokens, level.tokens_per_second), (3, 38, 19.0));
        assert_eq!((level.first_token_ms, level.first_token_ms_p95), (200.0, 300.0));
        assert_eq!(level.answer_tokens_per_second, 10.0);
    }

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[7.0], 0.95), 7.0);
    }
}
