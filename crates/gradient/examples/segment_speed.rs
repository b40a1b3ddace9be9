//! Prints the sizes and rates of payloads and aggregates on synthetic drifts.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p templar-gradient --example segment_speed -- [parameters] [peers]`

use std::time::{Duration, Instant};
use templar_base::Uid;
use templar_base::random::Stream;
use templar_gradient::{
    Aggregate, ErrorFeedback, GradientLayout, Merge, MergeRule, Metadata, Payload, outer_step, shares_dot, state_hash,
};

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// Millions a second.
fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64() / 1e6
}

/// Values as a miner has them: a part common to all peers, the larger own part, both heavy-tailed.
fn drift(parameters: usize, uid: u64) -> Vec<f32> {
    let mut shared = Stream::new([1; 32], "shared", 0);
    let mut own = Stream::new([1; 32], "own", uid);
    let peaked = |stream: &mut Stream| {
        let sum: f32 = (0..3).map(|_| stream.unit_f32() - 0.5).sum();
        sum * (1.0 + sum * sum)
    };
    (0..parameters).map(|_| 1e-3 * (0.35 * peaked(&mut shared) + peaked(&mut own))).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let parameters: usize = arguments.next().map_or(Ok(8 << 20), |text| text.parse())?;
    let peers: u16 = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let layout = GradientLayout::new([("weight".to_owned(), parameters, 64)])?;
    println!("{parameters} parameters, 64 of 4096 kept, {peers} peers, {} threads", rayon::current_num_threads());

    let mut payloads = Vec::new();
    for uid in 0..peers {
        let mut feedback = ErrorFeedback::new(&layout);
        let values = drift(parameters, u64::from(uid));
        let (_, time) = timed(|| feedback.accumulate(&values, 0.95));
        let (payload, compress) =
            timed(|| feedback.compress(&layout, Metadata { uid: Uid(uid), ..Metadata::default() }));
        let payload = payload?;
        if uid == 0 {
            println!("accumulate           {:8.1} M parameters/s", rate(parameters, time));
            println!("compress, all of it  {:8.1} M parameters/s", rate(parameters, compress));
            report_coding(&payload, &layout)?;
        }
        payloads.push(payload);
    }
    report_aggregate(&payloads, &layout)
}

fn report_coding(payload: &Payload, layout: &GradientLayout) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = payload.encode();
    let (decoded, decode) = timed(|| Payload::decode(&bytes, layout));
    decoded?;
    println!("payload              {:8.3} bits per kept value", 8.0 * bytes.len() as f64 / payload.kept() as f64);
    println!("                     {:8.4} bits per parameter", 8.0 * bytes.len() as f64 / layout.parameters() as f64);
    println!("decode               {:8.1} M kept values/s", rate(payload.kept(), decode));
    Ok(())
}

fn report_aggregate(payloads: &[Payload], layout: &GradientLayout) -> Result<(), Box<dyn std::error::Error>> {
    let parameters = layout.parameters();
    if let [first, second, ..] = payloads {
        println!("agreement of two     {:8.3}", second.agreement(first));
    }
    let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
    let kept: usize = payloads.iter().map(Payload::kept).sum();
    let (aggregate, merge) = timed(|| Aggregate::merge(layout, &set, MergeRule::default()));
    let aggregate = aggregate?;
    let bytes = aggregate.encode();
    let (decoded, decode) = timed(|| Aggregate::decode(&bytes, layout));
    decoded?;
    println!("aggregate            {:8.4} bits per parameter", 8.0 * bytes.len() as f64 / parameters as f64);
    println!("                     {:8.4} of the parameters in it", aggregate.entries() as f64 / parameters as f64);
    println!("merge and encode     {:8.1} M parameters/s", rate(parameters, merge));
    println!("aggregate decode     {:8.1} M parameters/s", rate(parameters, decode));

    let mut params = drift(parameters, 99);
    let borrowed: Vec<&Payload> = payloads.iter().collect();
    // A judge merges payloads as it reads them; everyone else applies the aggregate's bytes.
    let merge = Merge::new(layout, &set, MergeRule::default())?;
    let (shares, dot) = timed(|| shares_dot(&merge, &borrowed, &params));
    shares?;
    println!("shares               {:8.1} M kept values/s", rate(kept, dot));
    let (stepped, step) = timed(|| outer_step(&mut params, &merge, 1.0));
    stepped?;
    println!("merge and step       {:8.1} M parameters/s", rate(parameters, step));
    let (stepped, step) = timed(|| outer_step(&mut params, &aggregate, 1.0));
    stepped?;
    println!("decode and step      {:8.1} M parameters/s", rate(parameters, step));
    let (hash, hashing) = timed(|| state_hash(&params));
    println!("state hash           {:8.1} M parameters/s ({})", rate(parameters, hashing), hash.short());
    Ok(())
}
