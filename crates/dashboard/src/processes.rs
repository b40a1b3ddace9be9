//! The metrics of the processes of a local network, which each writes into a file of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use templar_base::Exposition;
use tokio::sync::Mutex;

/// What the name of such a file ends in; before it is the name of the process.
pub const METRICS_SUFFIX: &str = ".prom";
/// The label with the name of the process.
const LABEL: &str = "process";
/// Processes that are shown, the first by name.
const MOST_PROCESSES: usize = 512;
/// The longest text of one process.
const MOST_BYTES: u64 = 1 << 20;
/// What is older than this is of a process that has ended, however it ended: each writes every two seconds.
const OLDEST: Duration = Duration::from_secs(15);
/// How long a reading is good for all readers.
const KEPT: Duration = Duration::from_secs(1);

/// A folder with a file of metrics for each process.
#[derive(Debug)]
pub struct ProcessMetrics {
    folder: PathBuf,
    read: Mutex<Option<(Instant, Arc<str>)>>,
}

impl ProcessMetrics {
    /// The files `<process>.prom` in `folder`, as `--metrics file:PATH` writes them.
    pub fn of(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self { folder, read: Mutex::default() })
    }

    /// The metrics of all processes as one text, with the label `process`.
    pub(crate) async fn text(&self) -> Arc<str> {
        let mut read = self.read.lock().await;
        if let Some((_, text)) = read.as_ref().filter(|(at, _)| at.elapsed() < KEPT) {
            return Arc::clone(text);
        }
        let folder = self.folder.clone();
        let text = tokio::task::spawn_blocking(move || read_all(&folder)).await.unwrap_or_default();
        let text: Arc<str> = text.into();
        *read = Some((Instant::now(), Arc::clone(&text)));
        text
    }
}

fn read_all(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of_process = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name.strip_suffix(METRICS_SUFFIX)?.to_owned(), entry.path()))
    };
    let mut files: Vec<(String, PathBuf)> = entries.filter_map(of_process).collect();
    files.sort();
    files.truncate(MOST_PROCESSES);
    let texts: Vec<(String, String)> =
        files.into_iter().filter_map(|(process, path)| Some((process, read_fresh(&path)?))).collect();
    Exposition::merged(LABEL, texts.iter().map(|(process, text)| (process.as_str(), text.as_str())))
}

fn read_fresh(path: &Path) -> Option<String> {
    let facts = fs::metadata(path).ok()?;
    let age = facts.modified().ok()?.elapsed().unwrap_or_default();
    if !facts.is_file() || facts.len() > MOST_BYTES || age > OLDEST {
        return None;
    }
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_files_are_shown_by_process_and_old_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, value: &str| {
            let text = format!("# HELP a Things.\n# TYPE a gauge\na {value}\n");
            fs::write(folder.path().join(name), text).unwrap();
        };
        write("miner-1.prom", "2");
        write("miner-0.prom", "1");
        write("miner-2.prom", "3");
        write("miner-3.prom.new", "4");
        let old = fs::File::options().write(true).open(folder.path().join("miner-2.prom")).unwrap();
        old.set_modified(std::time::SystemTime::now() - 2 * OLDEST).unwrap();
        let wanted = "# HELP a Things.\n# TYPE a gauge\na{process=\"miner-0\"} 1\na{process=\"miner-1\"} 2\n";
        assert_eq!(read_all(folder.path()), wanted);
        assert_eq!(read_all(&folder.path().join("nowhere")), "");
    }
}
