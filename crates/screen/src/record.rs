//! A record file: what is in it, what is not, and whether its ratings follow from its votes.

use crate::Progress;
use crate::printable::printable;
use crate::table::{Paint, count, facts_table, size};
use serde_json::{Value, json};
use std::path::Path;
use templar_record::{Gap, PackStage, PackedRecord, RecomputedWindow};

/// Missing things that are listed.
const SHOWN_GAPS: usize = 20;

/// How far packing is.
pub fn show(progress: &mut Progress, stage: PackStage) {
    match stage {
        PackStage::Ledger => progress.say("reading the ledger"),
        PackStage::Windows(read) => progress.say(&format!("reading windows: {}", count(read as u64))),
        PackStage::Objects(done, all) => {
            progress.show(done as f64 / all.max(1) as f64, "fetching objects from buckets");
        }
    }
}

/// What a file that cannot be used is called.
pub fn unusable(file: &Path) -> String {
    format!("{} is not a record that can be opened", file.display())
}

/// A packed record, for programs.
pub fn facts(file: &Path, bytes: u64, packed: &PackedRecord) -> Value {
    let own = packed.facts();
    let (objects, object_bytes) = packed.objects();
    json!({
        "file": file,
        "bytes": bytes,
        "record": packed.root(),
        "run": own.run,
        "block": own.head,
        "first_window": own.first,
        "last_window": own.last,
        "windows": packed.windows(),
        "objects": objects,
        "object_bytes": object_bytes,
        "gaps": own.gaps,
    })
}

fn windows(packed: &PackedRecord) -> String {
    match (packed.facts().first, packed.facts().last) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    }
}

/// Gaps are words of buckets and of whoever made the file.
fn missing(paint: Paint, gaps: &[Gap]) -> String {
    let line = |gap: &Gap| format!("{} {}: {}\n", paint.yellow("missing"), printable(&gap.what), printable(&gap.why));
    let more = gaps.len().saturating_sub(SHOWN_GAPS);
    let rest =
        if more > 0 { format!("{} and {more} more; see --json\n", paint.yellow("missing")) } else { String::new() };
    gaps.iter().take(SHOWN_GAPS).map(line).collect::<String>() + &rest
}

/// A record that was packed.
pub fn text(paint: Paint, file: &Path, bytes: u64, packed: &PackedRecord) -> String {
    let (objects, object_bytes) = packed.objects();
    let rows = [
        ("file", format!("{}, {}", file.display(), size(bytes))),
        ("record", packed.root().to_string()),
        ("run", format!("{} at block {}", packed.run().id, packed.facts().head)),
        ("windows", windows(packed)),
        ("objects", format!("{} of buckets, {}", count(objects as u64), size(object_bytes))),
    ];
    let table = facts_table(&rows);
    let gaps = missing(paint, &packed.facts().gaps);
    format!("{table}{gaps}Look at it with: templar record open {}", file.display())
}

/// How many windows were recomputed, how many of them had an agreed root of the ratings, and how many of those agree.
pub fn sums(recomputed: &[RecomputedWindow]) -> Value {
    let with_root = recomputed.iter().filter(|own| own.agreed.is_some()).count();
    let agreeing = recomputed.iter().filter(|own| own.agrees() == Some(true)).count();
    json!({"windows": recomputed.len(), "reported": with_root, "agree": agreeing})
}

/// A record whose page is served.
pub fn opened(paint: Paint, url: &str, packed: &PackedRecord, recomputed: &[RecomputedWindow]) -> String {
    let agreed: Vec<bool> = recomputed.iter().filter_map(RecomputedWindow::agrees).collect();
    let wrong = agreed.iter().filter(|agrees| !**agrees).count();
    let ratings = match (recomputed.len(), wrong) {
        (0, _) => {
            "cannot be recomputed: the record has neither the run's first window nor a checkpoint's ratings".to_owned()
        }
        (_, 0) => format!("recomputed from the votes of {} windows, as reported", agreed.len()),
        _ => paint.red(&format!("differ from what was reported in {wrong} of {} windows", agreed.len())),
    };
    let rows = [
        ("page", paint.bold(url)),
        ("run", packed.run().id.to_string()),
        ("record", packed.root().to_string()),
        ("windows", format!("{}, packed at block {}", windows(packed), packed.facts().head)),
        ("ratings", ratings),
    ];
    let table = facts_table(&rows);
    format!("{table}{}\n{}", missing(paint, &packed.facts().gaps), paint.dim("Ctrl-C stops it."))
}
