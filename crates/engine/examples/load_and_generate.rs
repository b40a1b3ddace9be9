//! Loads a model, a Hugging Face folder or a GGUF file, and continues a text with it.
//!
//! `cargo run --release -p templar-engine --example load_and_generate -- trained "The "`
//!
//! The folder of `train_text` has a token for each byte. This crate has no tokenizer: for another model, give the
//! prompt as the numbers of its tokens, such as `1,450,29871`, and the continuation is printed as numbers.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use templar_engine::checkpoint::{
    Gguf, INDEX_FILE, ParameterStream, SpecialTokens, config_from_json, files_of_index, gguf_config, gguf_parameters,
};
use templar_engine::{Buffer, CpuBackend, DeviceName, Engine, GenerateOptions, ModelConfig, OpenRequest, open};

/// The vocabulary of `train_text`.
const BYTES: usize = 257;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompt] = &arguments[..] else {
        return Err("usage: load_and_generate FOLDER-OR-FILE.gguf PROMPT".into());
    };
    let (mut engine, special) = load(Path::new(model))?;
    let is_text = engine.config().vocab_size == BYTES;
    let tokens: Vec<u32> = match is_text {
        true => prompt.bytes().map(u32::from).collect(),
        false => prompt.split(',').map(|token| token.trim().parse()).collect::<Result<_, _>>()?,
    };
    let options = GenerateOptions {
        max_new_tokens: 200,
        temperature: 0.8,
        top_p: 0.95,
        stop_tokens: special.end,
        ..GenerateOptions::default()
    };
    print!("{prompt}");
    engine.generator()?.generate(&tokens, &options, &mut |token| {
        let piece = if is_text { vec![token as u8] } else { format!(",{token}").into_bytes() };
        let mut out = std::io::stdout();
        out.write_all(&piece).and_then(|()| out.flush()).is_ok()
    })?;
    println!();
    Ok(())
}

/// An engine with the model's parameters, and the tokens that begin and end its texts.
fn load(path: &Path) -> Result<(Box<dyn Engine>, SpecialTokens), Box<dyn Error>> {
    if path.is_file() {
        let bytes = fs::read(path)?;
        let file = Gguf::parse(&bytes)?;
        let (config, special) = gguf_config(&file)?;
        let mut engine = engine_of(config.clone())?;
        engine.write(Buffer::Parameters, 0, &gguf_parameters(&file, &config)?)?;
        return Ok((engine, special));
    }
    let (config, special) = config_from_json(&fs::read_to_string(path.join("config.json"))?)?;
    let index = path.join(INDEX_FILE);
    let names = match index.is_file() {
        true => files_of_index(&fs::read_to_string(index)?)?,
        false => vec!["model.safetensors".to_owned()],
    };
    let files: Vec<_> = names.iter().map(|name| path.join(name)).collect();
    let mut bytes = 0;
    for file in &files {
        bytes += fs::metadata(file)?.len();
    }
    // The check of the sizes comes before the engine's memory.
    let mut stream = ParameterStream::new(&config, bytes)?;
    let mut engine = engine_of(config)?;
    for file in &files {
        let mut file = File::open(file)?;
        stream.read(&mut file, &mut |start, values| Ok(engine.write(Buffer::Parameters, start, values)?))?;
    }
    stream.finish()?;
    Ok((engine, special))
}

fn engine_of(config: ModelConfig) -> Result<Box<dyn Engine>, Box<dyn Error>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config).with_threads(threads))?)
}
