//! Tokens per second of training and evaluation, for the bench shape and a small one.
//!
//! `cargo run --release -p templar-engine --example step_speed -- [threads] [isa]`

use std::time::Instant;
use templar_engine::{Batch, Buffer, CpuBackend, DeviceName, Isa, OpenRequest, initial_parameters, open, preset};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().map_or(Ok(1), |threads| threads.parse())?;
    let isa = arguments.next().and_then(|name| Isa::ALL.into_iter().find(|isa| isa.to_string() == name));
    let isa = isa.unwrap_or(Isa::best());
    println!(
        "{:8} {:>8} {:>8} {:>16} {:>16} {:>10}",
        "model", "isa", "threads", "train tokens/s", "eval tokens/s", "gen tok/s"
    );
    for name in ["tiny", "small"] {
        let config = preset(name, 8192)?;
        let request = OpenRequest::new(config.clone()).with_threads(threads);
        let mut engine = open(&DeviceName::cpu_with(isa), &[&CpuBackend], request)?;
        engine.write(Buffer::Parameters, 0, &initial_parameters(&config, [1; 32]))?;
        let (sequences, length) = (8, 256);
        let tokens = (0..sequences * (length + 1)).map(|place| (place * place * 31 + place) as u32 % 8192).collect();
        let batch = Batch::new(tokens, sequences, length);
        let best = |times: &[f64]| (sequences * length) as f64 / times.iter().copied().fold(f64::MAX, f64::min);
        let mut times = Vec::new();
        for _ in 0..8 {
            let start = Instant::now();
            engine.train_step(std::slice::from_ref(&batch), 3e-4)?;
            times.push(start.elapsed().as_secs_f64());
        }
        let train = best(&times);
        times.clear();
        for _ in 0..8 {
            let start = Instant::now();
            engine.evaluate(&batch)?;
            times.push(start.elapsed().as_secs_f64());
        }
        let evaluate = best(&times);
        let options = templar_engine::GenerateOptions { max_new_tokens: 64, ..Default::default() };
        let start = Instant::now();
        let generated = engine.generator()?.generate(&[1, 2, 3, 4], &options, &mut |_| true)?.len();
        let generate = generated as f64 / start.elapsed().as_secs_f64();
        println!("{name:8} {:>8} {threads:>8} {train:>16.0} {evaluate:>16.0} {generate:>10.0}", isa.to_string());
    }
    Ok(())
}
