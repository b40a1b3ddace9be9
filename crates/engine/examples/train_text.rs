//! Trains a small model on a text file, byte by byte, and saves it as a Hugging Face folder.
//!
//! `cargo run --release -p templar-engine --example train_text -- README.md trained 200`
//!
//! (a text, the folder to make, the number of steps). `load_and_generate` continues texts with the result.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use templar_engine::checkpoint::{Precision, SpecialTokens, config_to_json, generation_config_to_json, write_streamed};
use templar_engine::{
    Batch, Buffer, CpuBackend, Decay, DeviceName, Engine, ModelConfig, OpenRequest, Schedule, initial_parameters, open,
    preset,
};

/// A token for each byte, and one that ends a text.
const VOCABULARY: usize = 257;
const END_OF_TEXT: u32 = 256;

const SEQUENCES: usize = 8;
const LENGTH: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, folder, steps] = &arguments[..] else {
        return Err("usage: train_text TEXT-FILE NEW-FOLDER STEPS".into());
    };
    let steps: u64 = steps.parse()?;
    let tokens: Vec<u32> = fs::read(text)?.into_iter().map(u32::from).chain([END_OF_TEXT]).collect();
    if tokens.len() <= LENGTH + 1 {
        return Err(format!("{text} has {} bytes; give more than {LENGTH}", tokens.len() - 1).into());
    }

    let config = preset("nano", VOCABULARY)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let request = OpenRequest::new(config.clone()).with_threads(threads);
    let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], request)?;
    engine.write(Buffer::Parameters, 0, &initial_parameters(&config, [1; 32]))?;
    println!("{} parameters on {}", engine.layout().total(), engine.device());

    let (peak, warmup_steps) = (3e-3, steps / 20);
    let schedule =
        Schedule { peak, warmup_steps, flat_steps: 0, total_steps: steps, final_share: 0.1, decay: Decay::Cosine };
    for step in 0..steps {
        let report = engine.train_step(&[batch(&tokens, step)], schedule.learning_rate(step))?;
        if step % 20 == 0 || step + 1 == steps {
            println!("step {step:4}  loss {:.3} nats per byte", report.loss);
        }
    }
    save(engine.as_mut(), &config, Path::new(folder))?;
    println!("saved to {folder}");
    Ok(())
}

/// The sequences of a step, from places spread over the text.
fn batch(tokens: &[u32], step: u64) -> Batch {
    let places = (tokens.len() - LENGTH) as u64;
    let sequence = |index: u64| {
        // The golden ratio's multiples spread evenly, whatever the number of steps.
        let place = (step * SEQUENCES as u64 + index).wrapping_mul(0x9e37_79b9_7f4a_7c15) % places;
        &tokens[place as usize..place as usize + LENGTH + 1]
    };
    let tokens = (0..SEQUENCES as u64).flat_map(|index| sequence(index).iter().copied()).collect();
    Batch::new(tokens, SEQUENCES, LENGTH)
}

/// Writes the model's folder; the parameters go from the engine to the file segment by segment.
fn save(engine: &mut dyn Engine, config: &ModelConfig, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let special = SpecialTokens { begin: None, end: vec![END_OF_TEXT], padding: None };
    fs::write(folder.join("config.json"), config_to_json(config, &special, Precision::F32))?;
    fs::write(folder.join("generation_config.json"), generation_config_to_json(&special))?;
    let mut file = BufWriter::new(File::create(folder.join("model.safetensors"))?);
    write_streamed(config, Precision::F32, &mut file, &mut |start, values| {
        Ok(engine.read(Buffer::Parameters, start, values)?)
    })?;
    Ok(file.flush()?)
}
