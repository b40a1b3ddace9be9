//! A run by one address: its genesis document, its corpus and its questions in a bucket that everybody can read, and fetched from there.

use crate::nodes::new_key;
use crate::{Settings, SetupError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use templar_base::{ContentHash, Genesis, GenesisError, RunId};
use templar_bucket::{Bucket, BucketError, BucketLocation, KeyRing};
use templar_corpus::{Corpus, CorpusError, MANIFEST_FILE, Manifest, ManifestError};
use templar_disk::{DiskError, Existing, FolderDraft, SystemDisk, Writers};

/// The bucket of a shared run, on the network's bucket server.
const BUCKET: &str = "templar-run";
const RUN_FILE: &str = "run.json";
const GENESIS_FILE: &str = "genesis.json";
const VERSION: u32 = 1;
/// Of `run.json`, and of a genesis document.
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;
const MAX_MANIFEST_BYTES: u64 = 64 << 20;
const MAX_TOKENIZER_BYTES: u64 = 64 << 20;

/// Where a run is shared: `http://host:port`, and after a `#` the run's name, which is then checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAddress {
    endpoint: String,
    run: Option<RunId>,
}

/// What stands at a run's address.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SharedRun {
    version: u32,
    run: RunId,
    /// Address of its ledger.
    ledger: String,
}

/// A run that was fetched.
#[derive(Debug, Clone, Serialize)]
pub struct FetchedRun {
    /// Its name.
    pub run: RunId,
    /// Address of its ledger.
    pub ledger: String,
    /// Its genesis document.
    pub genesis: PathBuf,
    /// Its corpus.
    pub corpus: PathBuf,
}

/// Why a run cannot be fetched from an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The address has another form; the caller is at fault.
    #[error("{0:?} is not the address of a run; it looks like http://192.168.1.5:9000")]
    Address(String),
    /// Nothing is shared there, or it cannot be read.
    #[error("cannot read the run at {address}")]
    Bucket {
        /// The address.
        address: String,
        /// What the server says.
        source: BucketError,
    },
    /// What is there is not what its hash says, or of another version; whoever runs the address is at fault.
    #[error("what is shared at {address} cannot be used: {what}")]
    Wrong {
        /// The address.
        address: String,
        /// What is wrong.
        what: String,
    },
    /// The genesis document is not valid.
    #[error("the genesis document cannot be used")]
    Genesis(#[from] GenesisError),
    /// The manifest of the corpus is not valid.
    #[error("the corpus cannot be used")]
    Manifest(#[from] ManifestError),
    /// The corpus is not whole.
    #[error("the corpus cannot be used")]
    Corpus(#[from] CorpusError),
    /// The disk cannot hold it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl fmt::Display for RunAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint)?;
        self.run.map_or(Ok(()), |run| write!(f, "#{run}"))
    }
}

impl FromStr for RunAddress {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let wrong = || ShareError::Address(text.escape_debug().to_string());
        let (endpoint, run) = match text.split_once('#') {
            Some((endpoint, run)) => (endpoint, Some(run.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        BucketLocation::s3(BUCKET, &endpoint, None).map_err(|_| wrong())?;
        Ok(Self { endpoint, run })
    }
}

impl Settings {
    /// Where others find the run of this network, if it listens for them.
    pub fn run_address(&self) -> Option<RunAddress> {
        self.listen.map(|_| RunAddress { endpoint: self.bucket_url(), run: self.run })
    }
}

/// Puts the run in `root` into its bucket; what is there already stays.
pub(crate) async fn share(root: &Path, settings: &Settings, genesis: &Genesis) -> Result<(), SetupError> {
    let key = KeyRing::from_file(root.join("bucket-keys.json"))?.find_or_register(new_key(BUCKET)?)?;
    let location = BucketLocation::s3(BUCKET, &settings.bucket_url(), None)?;
    let bucket = Bucket::open_writer(&location, Some(key.credentials()))?;
    let corpus = root.join("corpus");
    let manifest = std::fs::read(corpus.join(MANIFEST_FILE)).map_err(|error| unreadable(MANIFEST_FILE, error))?;
    let objects = Manifest::parse(&manifest).map_err(CorpusError::from)?.objects();
    for object in objects {
        let name = format!("corpus/{}", object.file_name);
        if bucket.head(&name).await.is_err() {
            let bytes = std::fs::read(corpus.join(&object.file_name)).map_err(|error| unreadable(&name, error))?;
            bucket.put(&name, Bytes::from(bytes)).await?;
        }
    }
    for task in genesis.evaluation.iter().flat_map(|rule| &rule.tasks) {
        let (name, file_name) = (format!("corpus/{}", task.file_name()), task.file_name());
        let bytes = std::fs::read(corpus.join(&file_name)).map_err(|error| unreadable(&file_name, error))?;
        bucket.put(&name, Bytes::from(bytes)).await?;
    }
    bucket.put(&format!("corpus/{MANIFEST_FILE}"), Bytes::from(manifest)).await?;
    bucket.put(GENESIS_FILE, Bytes::from(genesis.to_json())).await?;
    let shared = SharedRun { version: VERSION, run: genesis.run_id(), ledger: settings.ledger_url() };
    // Last, since whoever finds it fetches the others.
    bucket.put(RUN_FILE, Bytes::from(serde_json::to_vec(&shared).unwrap_or_default())).await?;
    Ok(())
}

fn unreadable(name: &str, source: std::io::Error) -> CorpusError {
    CorpusError::Unreadable { file_name: name.to_owned(), source }
}

impl RunAddress {
    fn wrong(&self, what: impl Into<String>) -> ShareError {
        ShareError::Wrong { address: self.to_string(), what: what.into() }
    }

    async fn get(&self, bucket: &Bucket, key: &str, limit: u64) -> Result<Bytes, ShareError> {
        bucket.get(key, limit).await.map_err(|source| ShareError::Bucket { address: self.to_string(), source })
    }

    /// Fetches the run into a folder below `runs` that bears its name. Every byte is checked by a hash: the documents by
    /// the run's name, the corpus by the document. What was fetched before is not fetched again.
    pub async fn fetch(&self, runs: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<FetchedRun, ShareError> {
        let location =
            BucketLocation::s3(BUCKET, &self.endpoint, None).map_err(|_| ShareError::Address(self.endpoint.clone()))?;
        let bucket = Bucket::open_reader(&location)
            .map_err(|source| ShareError::Bucket { address: self.to_string(), source })?;
        let shared = self.get(&bucket, RUN_FILE, MAX_DOCUMENT_BYTES).await?;
        let shared: SharedRun =
            serde_json::from_slice(&shared).map_err(|error| self.wrong(format!("{RUN_FILE}: {error}")))?;
        if shared.version != VERSION {
            return Err(self.wrong(format!("it is of version {}, this program reads {VERSION}", shared.version)));
        }
        if let Some(wanted) = self.run.filter(|wanted| *wanted != shared.run) {
            return Err(self.wrong(format!("it is run {}, not {wanted}", shared.run)));
        }
        if shared.ledger.len() > 200
            || shared.ledger.chars().any(|letter| letter.is_control() || letter.is_whitespace())
        {
            return Err(self.wrong("its ledger's address has letters that no address has"));
        }
        let document = self.get(&bucket, GENESIS_FILE, MAX_DOCUMENT_BYTES).await?;
        let genesis = Genesis::from_json(&document)?;
        if genesis.run_id() != shared.run {
            return Err(self.wrong(format!("its genesis document is that of run {}", genesis.run_id())));
        }
        let folder = runs.join(shared.run.to_string());
        let fetched = FetchedRun {
            run: shared.run,
            ledger: shared.ledger,
            genesis: folder.join(GENESIS_FILE),
            corpus: folder.join("corpus"),
        };
        let is_whole = |corpus: Corpus| corpus.check_names(genesis.data.manifest, genesis.data.tokenizer).is_ok();
        if !(fetched.genesis.is_file() && Corpus::open(&fetched.corpus).is_ok_and(is_whole)) {
            let draft = FolderDraft::beside(Arc::new(SystemDisk), &folder, Writers::Many)?;
            draft.folder().write(GENESIS_FILE, &[&document])?;
            self.fetch_corpus(&bucket, &genesis, &draft.folder().folder("corpus"), progress).await?;
            draft.put_in_place(Existing::Replace)?;
        }
        Ok(fetched)
    }

    async fn fetch_corpus(
        &self,
        bucket: &Bucket,
        genesis: &Genesis,
        folder: &templar_disk::Folder,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), ShareError> {
        let checked = |name: &str, bytes: &Bytes, hash: ContentHash| match ContentHash::of(bytes) == hash {
            true => Ok(()),
            false => Err(self.wrong(format!("{name} is not what its hash says"))),
        };
        folder.create()?;
        let manifest = self.get(bucket, &format!("corpus/{MANIFEST_FILE}"), MAX_MANIFEST_BYTES).await?;
        checked(MANIFEST_FILE, &manifest, genesis.data.manifest)?;
        let objects = Manifest::parse(&manifest)?.objects();
        for (done, object) in objects.iter().enumerate() {
            progress(done, objects.len());
            let limit = object.length_bytes.unwrap_or(MAX_TOKENIZER_BYTES);
            let bytes = self.get(bucket, &format!("corpus/{}", object.file_name), limit).await?;
            checked(&object.file_name, &bytes, object.hash)?;
            folder.write(&object.file_name, &[&bytes])?;
        }
        for task in genesis.evaluation.iter().flat_map(|rule| &rule.tasks) {
            let name = task.file_name();
            let bytes = self.get(bucket, &format!("corpus/{name}"), task.bytes).await?;
            checked(&name, &bytes, task.questions)?;
            folder.write(&name, &[&bytes])?;
        }
        folder.write(MANIFEST_FILE, &[&manifest])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_server_and_perhaps_a_run() {
        let run = RunId::new([0xab; 32]);
        for text in ["http://192.168.1.5:9000".to_owned(), format!("http://host:9000#{run}")] {
            assert_eq!(text.parse::<RunAddress>().unwrap().to_string(), text);
        }
        assert_eq!("http://host:9000/".parse::<RunAddress>().unwrap().to_string(), "http://host:9000");
        for text in
            ["", "192.168.1.5:9000", "ws://host:9944", "http://host:9000#x", "http://host:9000/a/b", "http://\u{1b}"]
        {
            let error = text.parse::<RunAddress>().unwrap_err().to_string();
            assert!(error.contains("looks like") && !error.contains('\u{1b}'), "{error}");
        }
    }
}
