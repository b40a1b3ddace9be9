//! The gateway: time to the first token and tokens a second, with several clients at once.
//!
//! A model is served from this process, or a server of any make is asked by its address: what is measured goes through
//! OpenAI's API either way, with streams, as clients read them. Each client asks again as soon as it has its answer.
//! No two prompts are alike, so that nothing can be kept from one to the next.

mod api;
mod error;
mod report;

pub use error::GatewayBenchError;
pub use report::{Level, Report};

use crate::{FileError, Progress};
use api::{Answer, Api, Asked};
use report::Served;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use templar_corpus::{Tokenizer, synthetic};
use templar_engine::{initial_parameters, preset};
use templar_gateway::{Admission, Gateway, GatewayOptions, Identity, Served as ServedModel};
use templar_gradient::OuterState;
use templar_record::write_model_files;
use tokio::task::JoinSet;

/// Vocabulary of a model that is made here, or what the synthetic text gives.
const VOCABULARY: u32 = 4_096;
/// Bytes of the text that the tokenizer of such a model is made from.
const TOKENIZER_BYTES: u64 = 2 << 20;
/// Folders that this process has made, so that each has a name of its own.
static FOLDERS: AtomicU64 = AtomicU64::new(0);

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct GatewayBench {
    /// Model folder or .gguf file; by default an untrained model of --preset, which is as fast as a trained one
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    pub model: Option<PathBuf>,
    /// Sizes of the untrained model
    #[arg(long, value_name = "NAME", default_value = "30m", conflicts_with_all = ["model", "url"])]
    pub preset: String,
    /// Address of a server with OpenAI's API that is measured instead, such as http://127.0.0.1:8000/v1
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Numbers of clients that ask at once, each in a measurement of its own
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1u16, 8, 32])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub clients: Vec<u16>,
    /// Requests of each client
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub requests: u16,
    /// Tokens of each answer, at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub tokens: u32,
    /// Bytes of each prompt
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub prompt_bytes: u32,
}

impl GatewayBench {
    /// Measures; the engine of a model that is served here has this many threads.
    pub async fn run(&self, threads: usize, progress: &mut dyn Progress) -> Result<Report, GatewayBenchError> {
        let Some(url) = &self.url else { return self.run_here(threads, progress).await };
        let api = Api::connect(url).await?;
        let served = Served { model: api.model.clone(), server: url.clone(), parameters: None, threads: None };
        self.measure(api, served, progress).await
    }

    /// Serves a model from this process and measures that.
    async fn run_here(&self, threads: usize, progress: &mut dyn Progress) -> Result<Report, GatewayBenchError> {
        progress.say("opening the model");
        let (model, parameters) = match &self.model {
            Some(path) => (ServedModel::open(path, Identity::of_folder(path), threads)?, None),
            None => {
                let (model, parameters) = untrained(&self.preset, threads)?;
                (model, Some(parameters))
            }
        };
        let gateway = Gateway::start((Ipv4Addr::LOCALHOST, 0).into(), GatewayOptions::default(), Admission::Open);
        let gateway = gateway.await.map_err(GatewayBenchError::Start)?;
        gateway.serve(Arc::new(model));
        let api = Api::connect(&format!("http://{}/v1", gateway.address())).await?;
        let (model, server) = (api.model.clone(), "here".to_owned());
        let served = Served { model, server, parameters, threads: Some(threads) };
        let report = self.measure(api, served, progress).await;
        gateway.stop().await;
        report
    }

    async fn measure(
        &self,
        api: Api,
        served: Served,
        progress: &mut dyn Progress,
    ) -> Result<Report, GatewayBenchError> {
        let api = Arc::new(api);
        // The first answer opens what later ones find open.
        api.ask(&self.asked(0)).await?;
        let all: u32 = self.clients.iter().map(|clients| u32::from(*clients)).sum();
        let (mut done, mut next) = (0, 1);
        let mut levels = Vec::with_capacity(self.clients.len());
        for &clients in &self.clients {
            progress.show(f64::from(done) / f64::from(all), &format!("{clients} clients"));
            levels.push(self.level(&api, clients, next).await?);
            done += u32::from(clients);
            next += u64::from(clients) * u64::from(self.requests);
        }
        Ok(Report::of(served, self, levels))
    }

    /// One measurement with this number of clients, whose prompts are counted from `first` on.
    async fn level(&self, api: &Arc<Api>, clients: u16, first: u64) -> Result<Level, GatewayBenchError> {
        let begun = Instant::now();
        let mut asking = JoinSet::new();
        for client in 0..u64::from(clients) {
            let api = Arc::clone(api);
            let own = (0..u64::from(self.requests)).map(|request| first + client * u64::from(self.requests) + request);
            let asked: Vec<Asked> = own.map(|number| self.asked(number)).collect();
            asking.spawn(async move {
                let mut answers = Vec::with_capacity(asked.len());
                for asked in &asked {
                    answers.push(api.ask(asked).await?);
                }
                Ok::<_, GatewayBenchError>(answers)
            });
        }
        let mut answers: Vec<Answer> = Vec::new();
        while let Some(own) = asking.join_next().await {
            answers.extend(own??);
        }
        Ok(Level::of(clients, &answers, begun.elapsed()))
    }

    fn asked(&self, number: u64) -> Asked {
        let text = synthetic(number, u64::from(self.prompt_bytes)).concat();
        let prompt = text.chars().take(self.prompt_bytes as usize).collect();
        Asked { prompt, tokens: self.tokens, seed: number }
    }
}

/// A model with first parameters, and how many they are.
fn untrained(name: &str, threads: usize) -> Result<(ServedModel, usize), GatewayBenchError> {
    let tokenizer = Tokenizer::train_up_to(&synthetic(0, TOKENIZER_BYTES), VOCABULARY)?;
    let config = preset(name, tokenizer.vocab_size() as usize)?;
    let outer = OuterState::new(initial_parameters(&config, [0; 32]));
    let parameters = outer.params.len();
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("templar-bench-gateway-{}-{number}", std::process::id()));
    let served = write_and_open(&folder, |path| {
        write_model_files(&config, &outer, tokenizer.to_json(), tokenizer.end_of_text(), path)?;
        Ok(ServedModel::open(path, Identity { name: name.to_owned(), ..Identity::of_folder(path) }, threads)?)
    });
    Ok((served?, parameters))
}

/// Opens what is written into a folder that is there for that alone.
fn write_and_open<T>(
    folder: &Path,
    open: impl FnOnce(&Path) -> Result<T, GatewayBenchError>,
) -> Result<T, GatewayBenchError> {
    std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
    let opened = open(folder);
    // Also after a failure: its own error is the one to report.
    let removed = std::fs::remove_dir_all(folder);
    let opened = opened?;
    removed.map_err(FileError::at("remove the folder", folder))?;
    Ok(opened)
}
