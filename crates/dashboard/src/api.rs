//! The record as JSON. The schema is `openapi.json`; a test compares both.

use crate::pages::ordered;
use crate::server::Order;
use crate::state::{HeadView, RunFacts, Snapshot};
use serde_json::{Value, json};
use templar_base::{Uid, Window};
use templar_chain::EventRecord;
use templar_record::WindowRecord;

/// The schema, served as it is.
pub(crate) const OPENAPI: &str = include_str!("assets/openapi.json");

/// The newest block.
pub(crate) fn head_event(head: &HeadView) -> Value {
    json!({"block": head.block, "time_ms": head.time_ms, "window": head.window})
}

/// A finished window in a line.
pub(crate) fn window_event(view: &WindowRecord) -> Value {
    let (in_sync, reports) = view.in_sync();
    json!({
        "window": view.window,
        "stage": view.stage,
        "is_null": view.is_null,
        "null_reason": view.null_reason,
        "selected": view.selected,
        "tokens": view.tokens,
        "seconds": view.seconds,
        "tokens_per_second": view.tokens_per_second(),
        "loss_before": view.loss_before,
        "loss_after": view.loss_after,
        "sealed_bytes": view.sealed_bytes,
        "in_sync": in_sync,
        "reports": reports,
        "state": view.agreed.as_ref().map(|agreed| agreed.state),
    })
}

/// The run: what it is, how far, and its sums.
pub(crate) fn run(facts: &RunFacts, snapshot: &Snapshot) -> Value {
    json!({
        "facts": facts,
        "head": snapshot.head,
        "totals": snapshot.totals(),
        "unread_windows": snapshot.unread,
        "unreadable_windows": snapshot.unreadable,
        "problem": snapshot.problem,
    })
}

/// All windows that were read, a line each, the newest first.
pub(crate) fn windows(snapshot: &Snapshot) -> Value {
    let open = snapshot.open.iter().rev().filter(|view| !snapshot.finished.contains_key(&view.window));
    let lines: Vec<Value> = open.chain(snapshot.finished.values().rev()).map(|view| window_event(view)).collect();
    json!({"windows": lines})
}

/// All of one window.
pub(crate) fn window(snapshot: &Snapshot, window: Window) -> Option<Value> {
    let view: &WindowRecord = snapshot.window(window)?;
    serde_json::to_value(view).ok()
}

/// The slots.
pub(crate) fn miners(snapshot: &Snapshot, order: &Order) -> Value {
    json!({"slots": ordered(&snapshot.slots, order)})
}

/// A slot, its windows and what happened to its key.
pub(crate) fn miner(snapshot: &Snapshot, uid: Uid, history: Option<&[EventRecord]>) -> Option<Value> {
    let slot = snapshot.slot(uid)?;
    let of = |view: &WindowRecord| {
        let own = view.miner(uid).filter(|own| own.hotkey == Some(slot.hotkey))?;
        Some(json!({"window": view.window, "is_selected": view.selected.contains(&uid), "miner": own}))
    };
    let windows: Vec<Value> = snapshot.finished.values().rev().filter_map(|view| of(view)).collect();
    Some(json!({"slot": slot, "windows": windows, "events": history}))
}

/// The market; null where the ledger has none.
pub(crate) fn market(snapshot: &Snapshot) -> Value {
    json!({"market": snapshot.market.as_deref()})
}

/// Proposals and settings; null where the ledger has none.
pub(crate) fn governance(snapshot: &Snapshot) -> Value {
    json!({"governance": snapshot.governance.as_deref()})
}

/// What auditors published.
pub(crate) fn evidence(snapshot: &Snapshot) -> Value {
    json!({"evidence": snapshot.evidence.as_ref()})
}

/// What validators found when they put the run's tasks to the model, the newest window first.
pub(crate) fn evaluations(snapshot: &Snapshot) -> Value {
    let evaluated = snapshot.finished.values().rev().filter(|view| !view.evaluations.is_empty());
    let windows: Vec<Value> =
        evaluated.map(|view| json!({"window": view.window, "evaluations": view.evaluations})).collect();
    json!({"windows": windows})
}
