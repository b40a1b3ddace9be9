//! The writing of an answer: from a checked request to the texts that the scheduler makes, and out to the client.
//!
//! A task of its own writes each answer, so that whatever becomes of the connection, what was served is charged. When
//! nobody listens any more it ends, its texts end with it before their next token, and what was written until then is
//! charged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use templar_corpus::{StreamDecoder, TokenizerError};
use templar_engine::{Finish, GenerateOptions, StopStrings, TokenLogprobs};
use templar_model::Sampling;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::answer::{Finished, Heading, Usage};
use crate::billing::Reservation;
use crate::conversation::NEXT_TURN;
use crate::metrics::Watch;
use crate::request::{Kind, Prompt, Request};
use crate::scheduler::{Job, Piece, Progress};
use crate::{ApiError, Served};

/// The texts of a request, ready for the scheduler, and what writes the answer of them.
pub(crate) struct Writing {
    model: Arc<Served>,
    heading: Heading,
    request: Request,
    /// The tokens of each prompt.
    prompts: Vec<Arc<[u32]>>,
    pieces: mpsc::Receiver<Piece>,
    /// Set for each text when there is enough of it.
    has_enough: Vec<Arc<AtomicBool>>,
    /// How long the next piece may take.
    patience: Duration,
}

/// Where an answer goes.
pub(crate) enum Out {
    /// Events, for a stream.
    Stream(mpsc::Sender<Bytes>),
    /// A document.
    Whole(oneshot::Sender<Result<Value, ApiError>>),
}

/// Why an answer is not written to its end.
enum Broken {
    /// Nobody listens.
    Left,
    Failed(ApiError),
}

impl From<TokenizerError> for Broken {
    fn from(error: TokenizerError) -> Self {
        Self::Failed(ApiError::internal(error.to_string()))
    }
}

/// A text in the making.
struct Text<'a> {
    /// None when the text has ended.
    decoder: Option<StreamDecoder<'a>>,
    /// Watches a chat for the line of the next person.
    turn: StopStrings,
    /// Watches for what the client stops at, in the text as the client sees it.
    stops: StopStrings,
    /// A chat's answer begins with its first word: blanks before it are not part of it.
    has_begun: bool,
    shown: String,
    tokens: usize,
    logprobs: Vec<TokenLogprobs>,
    finish: Option<&'static str>,
}

/// What a request can take at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Most {
    /// Tokens read and written.
    pub units: u64,
}

impl Writing {
    /// Prepares the texts of a request to `model`.
    pub(crate) fn prepare(
        model: Arc<Served>,
        heading: Heading,
        request: Request,
        patience: Duration,
    ) -> Result<(Self, Vec<Job>, Most), ApiError> {
        let prompts = request.prompts.iter().map(|prompt| tokens_of(&model, prompt)).collect::<Result<Vec<_>, _>>()?;
        let room = |prompt: &Arc<[u32]>| {
            let room = model.positions() - prompt.len();
            request.max_tokens.map_or(room, |most| most.min(room))
        };
        let written: usize = prompts.iter().map(|prompt| request.count * room(prompt)).sum();
        let read: usize = prompts.iter().map(|prompt| prompt.len()).sum();
        let texts = prompts.len() * request.count;
        // Room for every token and every end: the engine never waits for a reader.
        let (sender, pieces) = mpsc::channel(written + 2 * texts);
        let seed = request.seed.map_or_else(random_seed, Ok)?;
        let job = |index: usize| {
            let prompt = Arc::clone(&prompts[index / request.count]);
            let options = options(&model, &request, (seed, index as u64), room(&prompt));
            let has_enough = Arc::<AtomicBool>::default();
            Job { model: Arc::clone(&model), prompt, options, index, pieces: sender.clone(), has_enough }
        };
        let jobs: Vec<Job> = (0..texts).map(job).collect();
        let has_enough = jobs.iter().map(|job| Arc::clone(&job.has_enough)).collect();
        let writing = Self { model, heading, request, prompts, pieces, has_enough, patience };
        Ok((writing, jobs, Most { units: (read + written) as u64 }))
    }

    /// Writes the answer, charges it, and ends it.
    pub(crate) async fn run(mut self, mut out: Out, reservation: Option<Reservation>, mut watch: Watch) {
        let model = Arc::clone(&self.model);
        let mut texts: Vec<Text<'_>> = (0..self.has_enough.len()).map(|index| self.text(&model, index)).collect();
        let written = self.write(&mut texts, &mut out, &mut watch).await;
        // Nobody reads the pieces any more: texts that still run end.
        self.pieces.close();
        let usage = Usage {
            prompt: self.prompts.iter().map(|prompt| prompt.len()).sum(),
            completion: texts.iter().map(|text| text.tokens).sum(),
        };
        let charged = match (reservation, &written) {
            (None, _) => Ok(()),
            // A failure of ours costs nothing, and neither does leaving before the first token.
            (Some(reservation), Err(Broken::Failed(_))) => reservation.release().await,
            (Some(reservation), Err(Broken::Left)) if usage.completion == 0 => reservation.release().await,
            (Some(reservation), _) => reservation.charge(usage.total()).await,
        };
        let ended = written.and(charged.map_err(Broken::Failed));
        let outcome = match &ended {
            Ok(()) => "answered",
            Err(Broken::Left) => "left",
            Err(Broken::Failed(error)) => error.outcome(),
        };
        watch.ended(outcome, &usage);
        match ended {
            Err(Broken::Left) => {}
            Err(Broken::Failed(error)) => out.fail(error).await,
            Ok(()) => self.end(texts, usage, out).await,
        }
    }

    fn text<'a>(&self, model: &'a Served, index: usize) -> Text<'a> {
        let is_chat = self.request.kind == Kind::Chat;
        let prompt = &self.prompts[index / self.request.count];
        Text {
            decoder: Some(model.checkpoint.tokenizer.stream_decoder_after(prompt)),
            turn: StopStrings::new(if is_chat { vec![NEXT_TURN.to_owned()] } else { Vec::new() }),
            stops: StopStrings::new(self.request.stop.clone()),
            has_begun: !is_chat,
            shown: String::new(),
            tokens: 0,
            logprobs: Vec::new(),
            finish: None,
        }
    }

    /// Takes pieces until all texts have ended. A stream gets what can be shown; the chunks that end its texts come after
    /// the charge.
    async fn write(&mut self, texts: &mut [Text<'_>], out: &mut Out, watch: &mut Watch) -> Result<(), Broken> {
        if self.request.kind == Kind::Chat {
            for index in 0..texts.len() {
                out.show(&self.with_usage(self.heading.first_chunk(index))).await?;
            }
        }
        while texts.iter().any(|text| text.finish.is_none()) {
            let piece = tokio::select! {
                () = out.closed() => return Err(Broken::Left),
                piece = timeout(self.patience, self.pieces.recv()) => piece,
            };
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => return Err(Broken::Failed(stopped())),
                Err(_) => return Err(Broken::Failed(late())),
            };
            let Piece { index, what } = piece;
            let before = match self.request.logprobs {
                Some(_) => texts[index].shown.chars().count(),
                None => 0,
            };
            let shown = match what {
                Progress::Token(token, logprobs) => {
                    watch.token();
                    texts[index].push(token, logprobs)?
                }
                Progress::End(finish) => texts[index].end(finish)?,
                Progress::Failed(error) => return Err(Broken::Failed(ApiError::internal(error.to_string()))),
            };
            if texts[index].finish.is_some() {
                self.has_enough[index].store(true, Ordering::Relaxed);
            }
            self.show(index, (&mut texts[index], before), &shown, out).await?;
        }
        Ok(())
    }

    /// Sends a stream what came of a text.
    async fn show(
        &self,
        index: usize,
        (text, before): (&mut Text<'_>, usize),
        shown: &str,
        out: &mut Out,
    ) -> Result<(), Broken> {
        if !out.is_stream() {
            return Ok(());
        }
        let new = std::mem::take(&mut text.logprobs);
        if shown.is_empty() && new.is_empty() {
            return Ok(());
        }
        let logprobs = match self.request.logprobs {
            Some(_) => self.heading.logprobs(&self.model.checkpoint.tokenizer, &new, before),
            None => Value::Null,
        };
        out.show(&self.with_usage(self.heading.piece_chunk(index, shown, logprobs))).await
    }

    /// Where a stream ends with its usage, the other chunks have the field too.
    fn with_usage(&self, mut chunk: Value) -> Value {
        if self.request.has_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// Sends what ends the answer.
    async fn end(&self, texts: Vec<Text<'_>>, usage: Usage, mut out: Out) {
        let tokenizer = &self.model.checkpoint.tokenizer;
        let finish = |text: &Text<'_>| text.finish.unwrap_or("stop");
        if let Out::Whole(answer) = out {
            let finished = texts.into_iter().map(|text| Finished {
                finish: finish(&text),
                logprobs: match self.request.logprobs {
                    Some(_) => self.heading.logprobs(tokenizer, &text.logprobs, 0),
                    None => Value::Null,
                },
                text: text.shown,
            });
            let whole = self.heading.whole(finished.collect(), usage);
            // Whoever left meanwhile has paid for it.
            let _ = answer.send(Ok(whole));
            return;
        }
        for (index, text) in texts.iter().enumerate() {
            let chunk = self.with_usage(self.heading.last_chunk(index, finish(text)));
            if out.show(&chunk).await.is_err() {
                return;
            }
        }
        if self.request.has_usage && out.show(&self.heading.usage_chunk(usage)).await.is_err() {
            return;
        }
        let _ = out.send(Bytes::from_static(b"data: [DONE]\n\n")).await;
    }
}

impl Text<'_> {
    /// Takes a token; gives what can be shown now.
    fn push(&mut self, token: u32, logprobs: Option<TokenLogprobs>) -> Result<String, TokenizerError> {
        // The engine may be a token ahead of a string that ended the text.
        let Some(decoder) = &mut self.decoder else { return Ok(String::new()) };
        self.tokens += 1;
        self.logprobs.extend(logprobs);
        let piece = decoder.push(token)?;
        Ok(self.take(&piece))
    }

    /// The engine has ended the text; gives what was held back.
    fn end(&mut self, finish: Finish) -> Result<String, TokenizerError> {
        let Some(decoder) = self.decoder.take() else { return Ok(String::new()) };
        let mut shown = self.take(&decoder.finish()?);
        if self.finish.is_none() {
            let rest = std::mem::take(&mut self.turn).finish();
            shown += &self.take(&rest);
        }
        if self.finish.is_none() {
            self.finish = Some(if finish == Finish::Length { "length" } else { "stop" });
            shown += &self.let_go();
        }
        Ok(shown)
    }

    /// Takes a piece of the text; gives what can be shown now.
    fn take(&mut self, piece: &str) -> String {
        let (piece, is_next_turn) = self.turn.push(piece);
        let piece = if self.has_begun { piece.as_str() } else { piece.trim_start() };
        self.has_begun |= !piece.is_empty();
        let (mut shown, is_stopped) = self.stops.push(piece);
        self.shown += &shown;
        if is_next_turn && !is_stopped {
            shown += &self.let_go();
        }
        if is_next_turn || is_stopped {
            self.decoder = None;
            self.finish = Some("stop");
        }
        shown
    }

    /// What was held back for a string that did not come.
    fn let_go(&mut self) -> String {
        let held = std::mem::take(&mut self.stops).finish();
        self.shown += &held;
        held
    }
}

impl Out {
    fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Ends when nobody listens any more.
    async fn closed(&mut self) {
        match self {
            Self::Stream(events) => events.closed().await,
            Self::Whole(answer) => answer.closed().await,
        }
    }

    async fn send(&mut self, event: Bytes) -> Result<(), Broken> {
        match self {
            Self::Stream(events) => events.send(event).await.map_err(|_| Broken::Left),
            Self::Whole(_) => Ok(()),
        }
    }

    /// Sends a chunk, in a stream.
    async fn show(&mut self, chunk: &Value) -> Result<(), Broken> {
        self.send(event(chunk)).await
    }

    async fn fail(mut self, error: ApiError) {
        if let Self::Whole(answer) = self {
            let _ = answer.send(Err(error));
            return;
        }
        let _ = self.send(event(&error.to_json())).await;
    }
}

/// An event of a stream.
fn event(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}

fn stopped() -> ApiError {
    ApiError::unavailable("The gateway stops.", Duration::from_secs(5))
}

fn late() -> ApiError {
    ApiError::unavailable("The text waited for too long: the gateway is overloaded.", Duration::from_secs(10))
}

fn tokens_of(model: &Served, prompt: &Prompt) -> Result<Arc<[u32]>, ApiError> {
    let vocabulary = model.checkpoint.config.vocab_size;
    let tokens = match prompt {
        Prompt::Text(text) => model.checkpoint.prompt(text).map_err(|error| ApiError::internal(error.to_string()))?,
        Prompt::Tokens(tokens) => match tokens.iter().find(|token| **token as usize >= vocabulary) {
            Some(token) => {
                let message = format!("Invalid 'prompt': the model knows the tokens under {vocabulary}, not {token}.");
                return Err(ApiError::field("prompt", message));
            }
            None => tokens.clone(),
        },
    };
    match tokens.len() < model.positions() {
        true => Ok(tokens.into()),
        false => Err(ApiError::too_long(tokens.len(), model.positions())),
    }
}

/// The engine's options of a text: the same for a seed and a number as those of `templar model generate`.
fn options(model: &Served, request: &Request, (seed, number): (u64, u64), max_tokens: usize) -> GenerateOptions {
    let Request { temperature, top_p, presence_penalty, frequency_penalty, logprobs, .. } = *request;
    let sampling =
        Sampling { max_tokens, temperature, top_k: 0, top_p, repetition_penalty: 1.0, stop: Vec::new(), seed };
    let options = sampling.options(&model.checkpoint, number);
    GenerateOptions { presence_penalty, frequency_penalty, logprobs, ..options }
}

fn random_seed() -> Result<u64, ApiError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| ApiError::internal(format!("no randomness: {error}")))?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::served::tests::tiny_model;

    /// A chat's text of these pieces: what was shown of each, and why it ended.
    fn chat(pieces: &[&str], stops: &[&str]) -> (Vec<String>, Option<&'static str>) {
        let model = tiny_model();
        let mut text = Text {
            decoder: Some(model.checkpoint.tokenizer.stream_decoder()),
            turn: StopStrings::new(vec![NEXT_TURN.to_owned()]),
            stops: StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()).collect()),
            has_begun: false,
            shown: String::new(),
            tokens: 0,
            logprobs: Vec::new(),
            finish: None,
        };
        let mut shown: Vec<String> = pieces.iter().map(|piece| text.take(piece)).collect();
        if text.finish.is_none() {
            shown.push(text.end(Finish::Length).unwrap());
        }
        assert_eq!(shown.concat(), text.shown);
        (shown, text.finish)
    }

    #[test]
    fn blanks_before_an_answer_are_not_shown_and_end_nothing() {
        let (shown, finish) = chat(&[" ", "\n the", " end", "\nmore"], &["\n", " t"]);
        assert_eq!((shown.concat().as_str(), finish), ("the end", Some("stop")));
        assert_eq!(chat(&[" ", "\n"], &[]).0.concat(), "");
    }

    #[test]
    fn the_next_persons_line_ends_an_answer_also_an_empty_one() {
        assert_eq!(
            chat(&[" well", "\nUs", "er: x"], &[]),
            (vec!["well".into(), String::new(), String::new()], Some("stop"))
        );
        let (shown, finish) = chat(&["\nUser", ": x"], &[]);
        assert_eq!((shown.concat().as_str(), finish), ("", Some("stop")));
        // What looked like the beginning of a stop string is shown where the text ends before it.
        let (shown, finish) = chat(&["a EN", "\nUser:"], &["END"]);
        assert_eq!((shown.concat().as_str(), finish), ("a EN", Some("stop")));
        let (shown, finish) = chat(&["a EN", "\nUs"], &["END", "x"]);
        assert_eq!((shown.concat().as_str(), finish), ("a EN\nUs", Some("length")));
    }
}
