//! The log-likelihoods of requests, batch by batch.

use crate::encode::Request;
use crate::plan::{LEAST_SHARED, Node, common, next_batch, order, tree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use templar_engine::{Engine, EngineError, ModelConfig, Piece, ReadText, Scorer, TokenScore};

/// Memory for keys and values of a batch, about.
const CACHE_BYTES: usize = 512 << 20;
/// Tokens of a batch, at most: a small model's cache would hold more than is worth sorting at once.
const MAX_BATCH_TOKENS: usize = 1 << 16;

/// What the model makes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The log-likelihood of the continuation, in nats: the sum over its tokens.
    pub log_likelihood: f64,
    /// Whether the model, always taking the most likely token, writes the continuation. Known of questions with one
    /// choice only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_greedy: Option<bool>,
}

/// A request that cannot be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// The engine rejects the request.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A log-likelihood is not a number; the model's parameters are broken.
    #[error("the log-likelihood of request {request} is {value}; the model's parameters are broken")]
    NotFinite {
        /// The number of the request, from 0.
        request: usize,
        /// What came out.
        value: f64,
    },
}

/// How requests are computed. No bit of a score depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passes {
    /// Tokens of a batch, whose keys and values are held together.
    pub batch_tokens: usize,
    /// Tokens that pass through the model together.
    pub pass_tokens: usize,
}

impl Passes {
    pub(crate) fn new(config: &ModelConfig, pass_tokens: usize) -> Self {
        // Beginnings are held beside the requests that branch from them.
        let batch_tokens = (CACHE_BYTES / 2 / bytes_of_token(config)).clamp(1, MAX_BATCH_TOKENS);
        Self { batch_tokens, pass_tokens: pass_tokens.max(1) }
    }

    /// What a batch holds, about; more only where one request is longer.
    pub(crate) fn cache_bytes(&self, config: &ModelConfig) -> u64 {
        2 * (self.batch_tokens * bytes_of_token(config)) as u64
    }
}

/// Bytes of a token's queries, keys and values in all layers.
fn bytes_of_token(config: &ModelConfig) -> usize {
    let heads = config.num_attention_heads + 2 * config.num_key_value_heads;
    (config.num_hidden_layers * heads * config.head_dim * size_of::<f32>()).max(1)
}

/// What was done so far, after each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    /// Tokens of the requests that are scored, and of those that were to be.
    pub tokens: usize,
    pub all_tokens: usize,
    /// Tokens that passed through the model.
    pub computed: usize,
}

/// Scores the requests that have none yet. After each batch `after` gets all scores, and returns whether to go on.
pub(crate) fn score<E: From<ScoreError>>(
    engine: &mut dyn Engine,
    requests: &[Request],
    scores: &mut [Option<Score>],
    (passes, wants_greedy): (Passes, bool),
    mut after: impl FnMut(&[Option<Score>], Done) -> Result<bool, E>,
) -> Result<(), E> {
    let mut scoring = Scoring::new(requests, scores);
    while !scoring.is_done() {
        scoring.advance(engine, requests, scores, (passes, wants_greedy))?;
        if !after(scores, scoring.done)? {
            break;
        }
    }
    Ok(())
}

/// Requests that are being scored, a batch at a time; the engine may do other work in between, at other parameters as long
/// as those of before are back.
pub(crate) struct Scoring {
    /// What was not scored when it began, in the order in which it is computed.
    order: Vec<usize>,
    /// How many of them are scored.
    at: usize,
    kept: Option<Kept>,
    done: Done,
}

impl Scoring {
    /// Of the requests without a score.
    pub(crate) fn new(requests: &[Request], scores: &[Option<Score>]) -> Self {
        let order = order(requests, (0..requests.len()).filter(|&number| scores[number].is_none()));
        let done = Done { tokens: 0, all_tokens: tokens_of(requests, &order), computed: 0 };
        Self { order, at: 0, kept: None, done }
    }

    /// Whether everything is scored.
    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.order.len()
    }

    /// How many requests were scored since it began.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Scores the next batch.
    pub(crate) fn advance(
        &mut self,
        engine: &mut dyn Engine,
        requests: &[Request],
        scores: &mut [Option<Score>],
        (passes, wants_greedy): (Passes, bool),
    ) -> Result<(), ScoreError> {
        let batch = next_batch(requests, &self.order[self.at..], passes.batch_tokens);
        let (scorer, pass_tokens) = (engine.scorer()?, passes.pass_tokens);
        let mut run = Run { requests, scorer, pass_tokens, wants_greedy, kept: self.kept.take(), computed: 0 };
        for (number, score) in run.batch(batch)? {
            if !score.log_likelihood.is_finite() {
                return Err(ScoreError::NotFinite { request: number, value: score.log_likelihood });
            }
            scores[number] = Some(score);
        }
        self.done.tokens += tokens_of(requests, batch);
        self.done.computed += run.computed;
        self.at += batch.len();
        self.kept = run.kept;
        Ok(())
    }
}

fn tokens_of(requests: &[Request], numbers: &[usize]) -> usize {
    numbers.iter().map(|&number| requests[number].inputs.len()).sum()
}

/// The beginning that the last batch's requests shared, for the next batch.
struct Kept {
    tokens: Vec<u32>,
    text: ReadText,
}

struct Run<'a> {
    requests: &'a [Request],
    scorer: &'a mut dyn Scorer,
    pass_tokens: usize,
    wants_greedy: bool,
    kept: Option<Kept>,
    computed: usize,
}

/// A node whose tokens are being read.
struct Reading<'a> {
    text: ReadText,
    /// What is left to read.
    tokens: &'a [u32],
    /// What the last of the tokens predict.
    targets: &'a [u32],
    scores: Vec<TokenScore>,
}

impl<'a> Run<'a> {
    /// The scores of a batch, with the numbers of their requests.
    fn batch(&mut self, batch: &[usize]) -> Result<Vec<(usize, Score)>, ScoreError> {
        let nodes = tree(self.requests, batch);
        let levels = nodes.iter().map(|node| node.level + 1).max().unwrap_or(0);
        let mut scored = Vec::with_capacity(batch.len());
        // What the inner nodes of the level above have read.
        let mut above: BTreeMap<usize, ReadText> = BTreeMap::new();
        for level in 0..levels {
            let members = || nodes.iter().enumerate().filter(move |(_, node)| node.level == level);
            let begun = members().map(|(_, node)| self.begin(node, &above));
            let mut readings = begun.collect::<Result<Vec<_>, _>>()?;
            self.keep(&nodes, std::mem::take(&mut above));
            self.read(&mut readings)?;
            for ((number, node), reading) in members().zip(readings) {
                match node.is_leaf {
                    true => scored.push((node.request, score_of(&reading.scores))),
                    false => drop(above.insert(number, reading.text)),
                }
            }
        }
        Ok(scored)
    }

    /// Begins a node with what its parent has read, else with what was kept, else with nothing.
    fn begin(&mut self, node: &Node, above: &BTreeMap<usize, ReadText>) -> Result<Reading<'a>, ScoreError> {
        let request: &'a Request = &self.requests[node.request];
        let shareable = &request.inputs[..node.end.min(request.head())];
        let kept = self.kept.as_ref().map(|kept| (&kept.text, common(&kept.tokens, shareable)));
        let known = match node.parent {
            Some(parent) => above.get(&parent).map(|text| (text, node.start)),
            None => kept.filter(|(_, shared)| *shared >= LEAST_SHARED),
        };
        let (text, start) = match known {
            Some((text, start)) => (self.scorer.branch(text, start, node.end)?, start),
            None => (self.scorer.start(node.end)?, 0),
        };
        let targets: &[u32] = if node.is_leaf { &request.targets } else { &[] };
        Ok(Reading { text, tokens: &request.inputs[start..node.end], targets, scores: Vec::new() })
    }

    /// Keeps the last of the beginnings that no other node precedes; the rest is of no more use.
    fn keep(&mut self, nodes: &[Node], texts: BTreeMap<usize, ReadText>) {
        if let Some((number, text)) = texts.into_iter().rfind(|(number, _)| nodes[*number].level == 0) {
            let Node { request, end, .. } = nodes[number];
            self.kept = Some(Kept { tokens: self.requests[request].inputs[..end].to_vec(), text });
        }
    }

    /// Reads all tokens, in passes of bounded size.
    fn read(&mut self, readings: &mut [Reading]) -> Result<(), ScoreError> {
        loop {
            let (mut room, mut members, mut pieces) = (self.pass_tokens, Vec::new(), Vec::new());
            for (number, reading) in readings.iter_mut().enumerate().filter(|(_, reading)| !reading.tokens.is_empty()) {
                let count = reading.tokens.len().min(room);
                if count == 0 {
                    break;
                }
                room -= count;
                members.push(number);
                pieces.push(reading.cut(count));
            }
            if pieces.is_empty() {
                return Ok(());
            }
            let scores = self.scorer.read(&mut pieces, self.wants_greedy)?;
            self.computed += self.pass_tokens - room;
            for (number, scores) in members.into_iter().zip(scores) {
                readings[number].scores.extend(scores);
            }
        }
    }
}

impl Reading<'_> {
    /// Takes the next tokens, with those of the targets that they predict.
    fn cut(&mut self, count: usize) -> Piece<'_> {
        let (tokens, rest) = self.tokens.split_at(count);
        let (targets, later) = self.targets.split_at(self.targets.len().saturating_sub(rest.len()));
        (self.tokens, self.targets) = (rest, later);
        Piece { text: &mut self.text, tokens, targets }
    }
}

fn score_of(scores: &[TokenScore]) -> Score {
    let log_likelihood = scores.iter().map(|score| -f64::from(score.loss)).sum();
    let is_greedy = scores.iter().map(|score| score.is_likeliest).try_fold(true, |all, one| Some(all && one?));
    Score { log_likelihood, is_greedy }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use templar_engine::{Batch, Buffer, CpuBackend, DeviceName, OpenRequest, initial_parameters, open, preset};

    pub(crate) fn engine(threads: usize) -> Box<dyn Engine> {
        let config = ModelConfig { initializer_range: 0.2, ..preset("nano", 300).unwrap() };
        let request = OpenRequest::new(config.clone()).with_threads(threads);
        let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], request).unwrap();
        engine.write(Buffer::Parameters, 0, &initial_parameters(&config, [7; 32])).unwrap();
        engine
    }

    pub(crate) fn requests() -> Vec<Request> {
        let mut requests = Vec::new();
        for question in 0..7_u32 {
            let length = 20 + 13 * (question as usize % 3);
            let context: Vec<u32> =
                (0..40).chain((0..length as u32).map(|place| (place * question + 3) % 290)).collect();
            for answer in 0..1 + question % 4 {
                let targets: Vec<u32> = (0..=answer * 3).map(|place| (place * 31 + answer) % 300).collect();
                let inputs = [&context[..], &targets[..targets.len() - 1]].concat();
                requests.push(Request { inputs, targets, is_truncated: false });
            }
        }
        requests.push(Request { inputs: vec![5], targets: vec![6], is_truncated: false });
        requests
    }

    fn scores(passes: Passes, threads: usize, wants_greedy: bool) -> (Vec<Score>, usize) {
        let requests = requests();
        let mut scores = vec![None; requests.len()];
        let mut computed = 0;
        let mut after = |_: &[Option<Score>], done: Done| {
            computed = done.computed;
            Ok::<_, ScoreError>(true)
        };
        score(engine(threads).as_mut(), &requests, &mut scores, (passes, wants_greedy), &mut after).unwrap();
        (scores.into_iter().map(Option::unwrap).collect(), computed)
    }

    #[test]
    fn a_score_is_the_sum_of_the_losses_that_the_engine_measures() {
        let (scores, _) = scores(Passes { batch_tokens: 1 << 16, pass_tokens: 1024 }, 1, true);
        let mut engine = engine(1);
        for (request, score) in requests().iter().zip(scores) {
            let mut tokens = request.inputs.clone();
            tokens.push(*request.targets.last().unwrap());
            let length = tokens.len() - 1;
            let batch = Batch::new(tokens, 1, length);
            let logits = engine.logits(&batch).unwrap();
            let (mut sum, mut is_greedy) = (0.0, true);
            for (logits, &target) in logits.chunks_exact(300).skip(request.head()).zip(&request.targets) {
                let logit = logits[target as usize];
                sum += f64::from(logit) - logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
                is_greedy &= logits.iter().all(|other| *other <= logit);
            }
            assert!((score.log_likelihood - sum).abs() < 1e-5, "{} {sum}", score.log_likelihood);
            assert_eq!(score.is_greedy, Some(is_greedy));
            // The mean loss of the whole text less that of its head is the answer's part.
            let mean = |batch: &Batch, engine: &mut dyn Engine| f64::from(engine.evaluate(batch).unwrap()[0]);
            let mut loss = mean(&batch, engine.as_mut()) * length as f64;
            if request.head() > 0 {
                let head = Batch::new(batch.tokens[..=request.head()].to_vec(), 1, request.head());
                loss -= mean(&head, engine.as_mut()) * request.head() as f64;
            }
            assert!((score.log_likelihood + loss).abs() < 1e-3, "{} {loss}", score.log_likelihood);
        }
    }

    #[test]
    fn no_bit_depends_on_batches_passes_and_threads() {
        let whole = scores(Passes { batch_tokens: 1 << 16, pass_tokens: 1024 }, 1, true);
        let apart: usize = requests().iter().map(|request| request.inputs.len()).sum();
        assert!(whole.1 * 2 < apart, "{} of {apart} tokens are computed", whole.1);
        for (batch_tokens, pass_tokens, threads) in [(1, 1024, 1), (200, 7, 2), (500, 64, 3), (1 << 16, 1, 1)] {
            let other = scores(Passes { batch_tokens, pass_tokens }, threads, true);
            assert_eq!(other.0, whole.0, "batches of {batch_tokens}, passes of {pass_tokens}, {threads} threads");
        }
        let likelihoods = |scores: &[Score]| scores.iter().map(|score| score.log_likelihood).collect::<Vec<_>>();
        let without = scores(Passes { batch_tokens: 300, pass_tokens: 100 }, 2, false).0;
        assert_eq!(likelihoods(&without), likelihoods(&whole.0));
        assert!(without.iter().all(|score| score.is_greedy.is_none()));
    }

    #[test]
    fn a_run_that_is_stopped_keeps_what_it_has_and_is_resumed() {
        let requests = requests();
        let passes = Passes { batch_tokens: 300, pass_tokens: 64 };
        let whole = scores(passes, 1, false).0;
        let mut scores = vec![None; requests.len()];
        let mut runs = 0;
        while scores.iter().any(Option::is_none) {
            let before = scores.iter().flatten().count();
            score(engine(1).as_mut(), &requests, &mut scores, (passes, false), |_, _| Ok::<_, ScoreError>(false))
                .unwrap();
            assert!(scores.iter().flatten().count() > before);
            runs += 1;
        }
        assert!(runs > 2);
        assert_eq!(scores.into_iter().map(Option::unwrap).collect::<Vec<_>>(), whole);
    }
}
