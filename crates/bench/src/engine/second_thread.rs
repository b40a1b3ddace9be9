//! What a second thread of the machine can bring at most.

use super::EngineBenchError;
use super::process::{Kind, Process, Subject};
use super::turns::{Contestants, median, turn_steps};
use super::worker::Request;
use std::thread;

/// What it adds to multiply-adds that need nothing but a core each.
pub fn of_multiply_adds(contestants: &mut Contestants, rounds: usize) -> Result<Option<f64>, EngineBenchError> {
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let rates = (contestants.peak("templar")?, contestants.peak("templar, 2 threads")?);
        let (Some(one), Some(two)) = rates else { return Ok(None) };
        ratios.push(two / one);
    }
    Ok(Some(median(ratios)))
}

/// How much two engines of one thread train at the same time, over what one does alone.
///
/// They share nothing but the machine: what a second thread would bring if no work had to be shared out, handed over or
/// waited for.
pub fn of_engines_apart(
    contestants: &mut Contestants,
    subject: Subject,
    rounds: usize,
) -> Result<Option<f64>, EngineBenchError> {
    if contestants.get("templar, 2 threads").is_none() {
        return Ok(None);
    }
    let Some(one) = contestants.get("templar") else { return Ok(None) };
    let mut other = Process::start(Kind::Ours, None, subject, 1)?;
    let mut steps = 1;
    for process in [&mut *one, &mut other] {
        // The first step makes buffers.
        process.ask(&Request::Train { steps: 1 })?;
        steps = turn_steps(process.ask(&Request::Train { steps: 1 })?.seconds);
    }
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let alone = one.ask(&Request::Train { steps })?.seconds;
        ratios.push(2.0 * alone / together(one, &mut other, &Request::Train { steps })?);
    }
    Ok(Some(median(ratios)))
}

/// How long both take at the same time.
fn together(one: &mut Process, other: &mut Process, request: &Request) -> Result<f64, EngineBenchError> {
    let (first, second) = thread::scope(|scope| {
        let second = scope.spawn(|| other.ask(request));
        (one.ask(request), second.join())
    });
    let Ok(second) = second else { return Err(EngineBenchError::Panicked) };
    Ok(first?.seconds.max(second?.seconds))
}
