//! Bits, error and speed of codings, and the aggregate of many payloads.

use super::error::{GradientBenchError, check_same};
use crate::Section;
use indicatif::HumanCount;
use rayon::prelude::*;
use serde::Serialize;
use std::hint::black_box;
use std::time::Instant;
use templar_base::Uid;
use templar_gradient::exchange::QuantisedTopK;
use templar_gradient::{Aggregate, ErrorFeedback, GradientLayout, Merge, MergeRule, Merged, Metadata, Mode, Payload};

/// Each speed is the best of so many turns.
const TURNS: usize = 5;

/// One coding of one worker's values.
#[derive(Debug, Serialize)]
pub struct CodingFigures {
    pub coding: &'static str,
    pub kept: usize,
    pub bits_per_kept_value: f64,
    pub bits_per_parameter: f64,
    /// Squared error over that of sending as many largest values exactly.
    pub error_ratio: f64,
    /// Million kept values a second from all values to bytes, the selection included.
    pub compress_million_per_second: f64,
    /// Million kept values a second from selected values to bytes; only where the two can be told apart.
    pub encode_million_per_second: Option<f64>,
    /// Million kept values a second.
    pub decode_million_per_second: f64,
    /// Tensors that are coded with two scales.
    pub magnitude_tensors: usize,
}

/// The aggregate of all workers' payloads.
#[derive(Debug, Serialize)]
pub struct AggregateFigures {
    /// Counted from 1.
    pub window: usize,
    /// Share of the parameters that somebody sent.
    pub density: f64,
    pub bits_per_parameter: f64,
    pub bits_per_entry: f64,
    /// The payloads together, over the aggregate.
    pub times_smaller_than_payloads: f64,
    /// Million parameters a second, sent or not; `density` of them are entries.
    pub merge_million_per_second: f64,
    /// Merging and coding, which go together.
    pub encode_million_per_second: f64,
    pub decode_million_per_second: f64,
}

/// The result of the last turn, and millions a second at the best of all.
fn timed<T>(count: usize, mut work: impl FnMut() -> T) -> (T, f64) {
    timed_from(count, || (), |()| work())
}

/// As [`timed`], from what `before` makes for each turn, which is not measured.
fn timed_from<B, T>(count: usize, mut before: impl FnMut() -> B, mut work: impl FnMut(B) -> T) -> (T, f64) {
    let mut best = f64::INFINITY;
    let mut turn = || {
        let made = before();
        let start = Instant::now();
        let result = black_box(work(made));
        best = best.min(start.elapsed().as_secs_f64());
        result
    };
    (0..TURNS - 1).for_each(|_| drop(turn()));
    let result = turn();
    (result, count as f64 / best / 1e6)
}

fn squared(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum()
}

/// The payload's coding beside the published ones.
pub fn codings(layout: &GradientLayout, values: &[f32]) -> Result<Vec<CodingFigures>, GradientBenchError> {
    let mut feedback = ErrorFeedback::from(values.to_vec());
    let payload = feedback.compress(layout, Metadata::default())?;
    // Sending the same places exactly leaves the error of what is not sent.
    let mut unsent = values.to_vec();
    payload.for_each(|place, _| unsent[place] = 0.0);
    let exact = squared(unsent.into_iter()).max(f64::MIN_POSITIVE);
    let fresh = || ErrorFeedback::from(values.to_vec());
    let (again, compress) = timed_from(payload.kept(), fresh, |mut feedback| {
        let sent = feedback.compress(layout, Metadata::default());
        // Given back, so that freeing the values is not measured either.
        sent.map(|sent| (feedback, sent.encode()))
    });
    let bytes = payload.encode();
    check_same(again?.1 == bytes, "the same values were coded in two ways")?;
    let (decoded, decode) = timed(payload.kept(), || Payload::decode(&bytes, layout));
    let decoded = decoded?;
    let mut all = vec![CodingFigures {
        coding: "templar",
        kept: payload.kept(),
        bits_per_kept_value: 8.0 * bytes.len() as f64 / payload.kept().max(1) as f64,
        bits_per_parameter: 8.0 * bytes.len() as f64 / values.len() as f64,
        error_ratio: squared(feedback.into_values().into_iter()) / exact,
        compress_million_per_second: compress,
        encode_million_per_second: None,
        decode_million_per_second: decode,
        magnitude_tensors: decoded.modes().iter().filter(|mode| **mode == Mode::Magnitude).count(),
    }];
    for (coding, bits) in [("published, 14 bits", 2), ("shipped, 20 bits", 8)] {
        let rule = QuantisedTopK { layout: layout.clone(), bits, decay: 1.0 };
        let kept = layout.kept();
        let (bytes, compress) = timed(kept, || rule.encode(values));
        let (decoded, decode) = timed(kept, || rule.decode(&bytes));
        let mut left = values.to_vec();
        decoded?.into_iter().for_each(|(place, value)| left[place] -= value);
        all.push(CodingFigures {
            coding,
            kept,
            bits_per_kept_value: 8.0 * bytes.len() as f64 / kept as f64,
            bits_per_parameter: 8.0 * bytes.len() as f64 / values.len() as f64,
            error_ratio: squared(left.into_iter()) / exact,
            compress_million_per_second: compress,
            encode_million_per_second: None,
            decode_million_per_second: decode,
            magnitude_tensors: 0,
        });
    }
    Ok(all)
}

/// Compresses what each worker has, and merges it.
pub fn aggregate(
    layout: &GradientLayout,
    window: usize,
    accumulated: &[Vec<f32>],
) -> Result<AggregateFigures, GradientBenchError> {
    let compress = |(uid, values): (usize, &Vec<f32>)| {
        let metadata = Metadata { uid: Uid(uid as u16), ..Metadata::default() };
        ErrorFeedback::from(values.clone()).compress(layout, metadata)
    };
    let payloads = accumulated.iter().enumerate().map(compress).collect::<Result<Vec<Payload>, _>>()?;
    let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
    let parameters = layout.parameters();
    let whole = Merge::new(layout, &set, MergeRule::default())?;
    let (entries, merge) = timed(parameters, || entries_of(&whole));
    let (merged, encode) = timed(parameters, || Aggregate::of(&whole));
    check_same(entries == merged.entries(), "the merge has other entries than its coding")?;
    let bytes = merged.encode();
    let (decoded, decode) = timed(parameters, || Aggregate::decode(&bytes, layout));
    check_same(decoded? == merged, "the aggregate did not come back as it went")?;
    let sent: usize = payloads.iter().map(|payload| payload.encode().len()).sum();
    Ok(AggregateFigures {
        window,
        density: merged.entries() as f64 / parameters as f64,
        bits_per_parameter: 8.0 * bytes.len() as f64 / parameters as f64,
        bits_per_entry: 8.0 * bytes.len() as f64 / merged.entries().max(1) as f64,
        times_smaller_than_payloads: sent as f64 / bytes.len() as f64,
        merge_million_per_second: merge,
        encode_million_per_second: encode,
        decode_million_per_second: decode,
    })
}

/// Merges on all cores, and forgets the entries.
fn entries_of(merge: &Merge<'_>) -> usize {
    let of_segment = |segment| {
        let mut entries = 0;
        merge.visit_segment(segment, &mut |chunk| entries += chunk.indices.len());
        entries
    };
    (0..merge.head().layout.segment_count()).into_par_iter().map(of_segment).sum()
}

/// The codings for people.
pub fn coding_section(codings: &[CodingFigures]) -> Section {
    let speeds = ["compress M/s", "encode M/s", "decode M/s"];
    let head = [&["coding", "kept", "bits/value", "bits/param", "error"], &speeds[..], &["two scales"]].concat();
    let rows = codings
        .iter()
        .map(|figures| {
            vec![
                figures.coding.to_owned(),
                HumanCount(figures.kept as u64).to_string(),
                format!("{:.3}", figures.bits_per_kept_value),
                format!("{:.4}", figures.bits_per_parameter),
                format!("{:.4}", figures.error_ratio),
                format!("{:.1}", figures.compress_million_per_second),
                figures.encode_million_per_second.map_or("-".to_owned(), |speed| format!("{speed:.1}")),
                format!("{:.1}", figures.decode_million_per_second),
                format!("{} tensors", figures.magnitude_tensors),
            ]
        })
        .collect();
    Section { head: head.into_iter().map(str::to_owned).collect(), rows, ..Section::default() }
}

/// The aggregates for people: a line for each window. Speeds are in million parameters a second, in brackets entries.
pub fn aggregate_section(aggregates: &[AggregateFigures]) -> Section {
    let sizes = ["in it", "bits/param", "bits/entry", "smaller"];
    let head = [&["window"], &sizes[..], &["merge M/s", "encode M/s", "decode M/s"]].concat();
    let speed =
        |figures: &AggregateFigures, parameters: f64| format!("{parameters:.1} ({:.2})", figures.density * parameters);
    let rows = aggregates
        .iter()
        .map(|figures| {
            vec![
                figures.window.to_string(),
                format!("{:.3}", figures.density),
                format!("{:.3}", figures.bits_per_parameter),
                format!("{:.2}", figures.bits_per_entry),
                format!("{:.2}x", figures.times_smaller_than_payloads),
                speed(figures, figures.merge_million_per_second),
                speed(figures, figures.encode_million_per_second),
                speed(figures, figures.decode_million_per_second),
            ]
        })
        .collect();
    Section { head: head.into_iter().map(str::to_owned).collect(), rows, ..Section::default() }
}
