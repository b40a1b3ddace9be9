//! `templar bucket`.

use crate::config::{Config, DataFlag, Setting, listen};
use crate::failure::Advise;
use crate::interrupt;
use crate::metrics::{self, MetricsFlag};
use crate::output::{Output, print};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use templar_bucket::{BucketLocation, BucketServer, KeyRing, ServerError, ServerOptions, WriteKey};
use templar_screen::{check_output, table};

/// Run an S3-compatible bucket server over a folder.
///
/// Everybody may read; each bucket has its own write key, registered with `templar bucket key add`. Keys count at once,
/// without a restart.
///
/// Example: templar bucket --listen 127.0.0.1:9000
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub struct Bucket {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Manage the write keys
    #[command(subcommand)]
    Key(KeyAction),
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    Add(Add),
    List(List),
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Run {
    /// Address to listen on, 127.0.0.1:9000 by default; port 0 takes a free one [setting: bucket_listen]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    #[command(flatten)]
    metrics: MetricsFlag,
    #[command(flatten)]
    keys: KeysFile,
    #[command(flatten)]
    output: Output,
}

/// Register a new write key for a bucket and print it, once.
///
/// Example: templar bucket key add miner-1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Add {
    /// Name of the bucket: 3 to 63 lower-case letters, digits, dots and hyphens
    bucket: String,
    /// Name of the key; the bucket's name where it is not given
    #[arg(long, value_name = "NAME")]
    access_key: Option<String>,
    /// Address of the server as the world sees it; the setting bucket_listen where it is not given
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Give a key that exists a new secret; whoever writes with the old one is shut out
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    keys: KeysFile,
    #[command(flatten)]
    output: Output,
}

/// List the write keys with their buckets; no secrets.
///
/// Example: templar bucket key list
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct List {
    #[command(flatten)]
    keys: KeysFile,
    #[command(flatten)]
    output: Output,
}

/// Remove a write key: its holder is shut out at once. Objects stay.
///
/// Example: templar bucket key remove miner-1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Remove {
    /// Name of the key
    access_key: String,
    #[command(flatten)]
    keys: KeysFile,
    #[command(flatten)]
    output: Output,
}

/// Where the write keys are.
#[derive(Debug, Args)]
struct KeysFile {
    /// File of the write keys; bucket-keys.json in the data folder where it is not given
    #[arg(long = "keys", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    data: DataFlag,
}

impl KeysFile {
    fn path(&self, config: &Config) -> PathBuf {
        let config = || config.clone().with(&self.data);
        self.file.clone().unwrap_or_else(|| config().data_folder().join("bucket-keys.json"))
    }
}

impl Bucket {
    /// Runs the server until it is asked to stop, or adds a key.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Some(Action::Key(KeyAction::Add(add))) => add.run(config),
            Some(Action::Key(KeyAction::List(list))) => list.run(config),
            Some(Action::Key(KeyAction::Remove(remove))) => remove.run(config),
            None => self.run.run(config),
        }
    }
}

impl Run {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let mut config = config.with(&self.keys.data);
        config.set(Setting::BucketListen, "--listen", self.listen.as_ref());
        let listen = listen(&config, Setting::BucketListen)?;
        let folder = config.data_folder().join("bucket");
        let keys_file = self.keys.path(&config);
        let keys = KeyRing::from_file(&keys_file)?;
        let (output, metrics) = (self.output, self.metrics.bind()?);
        let gigabytes: u64 = config.parsed(Setting::BucketQuota)?;
        let max_bucket_bytes = gigabytes.saturating_mul(1_000_000_000);
        let options = ServerOptions { max_bucket_bytes, ..ServerOptions::default() };
        interrupt::runtime(4)?.block_on(async {
            let asked_to_stop = interrupt::asked_to_stop()?;
            let server = BucketServer::bind_with(listen, &folder, keys, options).await?;
            let url = format!("http://{}", server.local_addr());
            let facts = json!({"event": "listening", "url": url, "folder": folder, "keys": keys_file});
            output.event(&facts, |paint| {
                let hint = "Anyone may read; `templar bucket key add NAME` creates a write key. Ctrl-C stops it.";
                let (url, folder, keys, hint) =
                    (paint.bold(&url), folder.display(), keys_file.display(), paint.dim(hint));
                format!("bucket   {url}\nfolder   {folder}\nkeys     {keys}\n\n{hint}")
            })?;
            let own = server.metrics();
            let _served = metrics::serve(metrics, output, move || own.text())?;
            asked_to_stop.await;
            server.shutdown().await;
            if output.is_json() { print(r#"{"event":"stopped"}"#) } else { print("stopped") }
        })
    }
}

impl Add {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.keys.data);
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint,
            None => format!("http://{}", listen(&config, Setting::BucketListen)?),
        };
        let location = BucketLocation::s3(&self.bucket, &endpoint, None)?;
        check_output().advise("print to a terminal or into a file: the secret is shown once")?;
        let mut secret = [0; 20];
        getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("the system's random source failed: {error}"))?;
        let access_key = self.access_key.unwrap_or_else(|| self.bucket.clone());
        let key = WriteKey::new(access_key, hex::encode(secret), &self.bucket);
        let keys_file = self.keys.path(&config);
        let ring = KeyRing::from_file(&keys_file)?;
        let registered = if self.overwrite { ring.replace(key.clone()) } else { ring.register(key.clone()) };
        if let Err(error @ ServerError::KeyExists { .. }) = registered {
            return Err(error).advise("its secret is in its writer's settings; --overwrite gives it a new one");
        }
        registered.with_context(|| format!("cannot register the key in {}", keys_file.display()))?;
        let warning = location.reach_warning();
        if let Some(warning) = &warning {
            eprintln!("warning: {warning}: in a network of several machines, give its public address with --endpoint");
        }
        let facts = json!({
            "bucket": location,
            "warning": warning,
            "bucket_access_key": key.access_key,
            "bucket_secret_key": key.secret_key,
            "keys": keys_file,
        });
        self.output.facts(&facts, |paint| {
            let title = paint.dim("# For the writer's templar.toml; the secret is not shown again.");
            let (key, secret) = (&key.access_key, &key.secret_key);
            format!("{title}\nbucket = \"{location}\"\nbucket_access_key = \"{key}\"\nbucket_secret_key = \"{secret}\"")
        })
    }
}

impl List {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let path = self.keys.path(&config);
        let keys = KeyRing::from_file(&path)?.list();
        let facts: Vec<_> = keys.iter().map(|(key, bucket)| json!({"access_key": key, "bucket": bucket})).collect();
        self.output.facts(&facts, |paint| match keys.is_empty() {
            true => format!("no keys in {}; create one with `templar bucket key add NAME`", path.display()),
            false => {
                let rows: Vec<_> = keys.iter().map(|(key, bucket)| vec![key.clone(), bucket.clone()]).collect();
                table(paint, Some(&["access key", "bucket"]), &rows)
            }
        })
    }
}

impl Remove {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let path = self.keys.path(&config);
        if !KeyRing::from_file(&path)?.remove(&self.access_key)? {
            let error = anyhow::anyhow!("there is no key {} in {}", self.access_key.escape_debug(), path.display());
            return Err(error).advise("see the keys with `templar bucket key list`");
        }
        let facts = json!({"removed": self.access_key, "keys": path});
        self.output.facts(&facts, |_| format!("removed the key {} from {}", self.access_key, path.display()))
    }
}
