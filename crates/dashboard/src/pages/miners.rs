//! All slots: a table that the server sorts and filters by its address, and a script without asking again.

use super::parts::{Cell, Page, key, section, table_of, trouble, uid_link, window_link};
use super::words::{self, UNKNOWN, or_unknown};
use crate::markup::Markup;
use crate::server::{Order, Sort};
use crate::state::{SlotView, Snapshot};
use std::cmp::Ordering;

/// The slots that have all words of the filter, in order.
pub(crate) fn ordered<'s>(slots: &'s [SlotView], order: &Order) -> Vec<&'s SlotView> {
    let is_shown = |slot: &&SlotView| {
        let text = searched(slot);
        order.filter.split_whitespace().all(|word| text.contains(word))
    };
    let mut shown: Vec<&SlotView> = slots.iter().filter(is_shown).collect();
    shown.sort_by(|a, b| compared(a, b, order).then(a.uid.cmp(&b.uid)));
    shown
}

/// What is searched for the words of a filter.
fn searched(slot: &SlotView) -> String {
    let text = format!("{} {} {} {} {}", slot.uid, slot.hotkey, slot.coldkey, role(slot), standing(slot));
    text.to_lowercase()
}

fn compared(a: &SlotView, b: &SlotView, order: &Order) -> Ordering {
    let ordering = match order.sort {
        Sort::Standing => standing(a).cmp(&standing(b)),
        sort => {
            // What is not known comes last, whatever the direction.
            let (a, b) = (number(a, sort), number(b, sort));
            match (a, b) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                (None, None) => Ordering::Equal,
                (None, Some(_)) => return Ordering::Greater,
                (Some(_), None) => return Ordering::Less,
            }
        }
    };
    if order.is_descending { ordering.reverse() } else { ordering }
}

/// What a slot is sorted by; none for words.
fn number(slot: &SlotView, sort: Sort) -> Option<f64> {
    match sort {
        Sort::Uid => Some(f64::from(slot.uid.get())),
        Sort::Standing => None,
        Sort::Contribution => slot.contribution.map(|own| own.mean),
        Sort::Rating => slot.rating.map(|own| own.mean),
        Sort::Selected => slot.selected_share,
        Sort::Pay => Some(slot.emission_rao.as_rao() as f64),
        Sort::Bytes => Some(slot.sealed_bytes as f64),
        Sort::Seen => slot.last_seen.map(|window| window.get() as f64),
        Sort::Stake => Some(slot.stake_rao.as_rao() as f64),
    }
}

/// What it did in the windows that were read.
pub(super) fn role(slot: &SlotView) -> &'static str {
    match (slot.is_miner, slot.is_validator) {
        (true, true) => "miner, validator",
        (true, false) => "miner",
        (false, true) => "validator",
        (false, false) => "not seen",
    }
}

/// Where it stands in words.
pub(super) fn standing(slot: &SlotView) -> String {
    match (&slot.standing, slot.mark) {
        (Some(standing), _) => standing.clone(),
        (None, Some(mark)) => words::mark(mark).to_owned(),
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// The page of all slots.
pub(crate) fn miners(snapshot: &Snapshot, order: &Order) -> Page {
    let slots = ordered(&snapshot.slots, order);
    let shown = Markup::tag(
        "p",
        &[("id", &"shown")],
        Markup::text(format!("{} of {} slots", slots.len(), snapshot.slots.len())),
    );
    let body = Markup::with_text("h1", "Miners and validators")
        .then(trouble(snapshot))
        .then(form(order))
        .then(section("slots", "Slots of the subnet", shown.then(slot_table(&slots, order))));
    Page::new("Miners", "/miners", body)
}

fn form(order: &Order) -> Markup {
    let label = Markup::tag("label", &[("for", &"filter")], Markup::text("Show only rows with"));
    let filter: [(&'static str, &dyn std::fmt::Display); 6] = [
        ("id", &"filter"),
        ("name", &"filter"),
        ("type", &"search"),
        ("maxlength", &64),
        ("placeholder", &"uid, key, miner, refused …"),
        ("value", &order.filter),
    ];
    let hidden = |name: &'static str, value: &'static str| {
        Markup::void("input", &[("type", &"hidden"), ("name", &name), ("value", &value)])
    };
    let sorted = hidden("sort", order.sort.name());
    let direction = hidden("order", if order.is_descending { "down" } else { "up" });
    let button = Markup::tag("button", &[("type", &"submit")], Markup::text("Filter"));
    let inside = label.then(Markup::void("input", &filter)).then(sorted).then(direction).then(button);
    Markup::tag("form", &[("method", &"get"), ("action", &"/miners"), ("role", &"search")], inside)
}

/// Columns with what they are sorted by.
const COLUMNS: [(&str, Sort); 9] = [
    ("uid", Sort::Uid),
    ("Standing", Sort::Standing),
    ("φ, mnat", Sort::Contribution),
    ("Rating", Sort::Rating),
    ("Merged", Sort::Selected),
    ("Pay, α an epoch", Sort::Pay),
    ("Stake, α", Sort::Stake),
    ("Sealed", Sort::Bytes),
    ("Last seen", Sort::Seen),
];

fn slot_table(slots: &[&SlotView], order: &Order) -> Markup {
    let head = |(title, sort): &(&'static str, Sort)| {
        let is_own = *sort == order.sort;
        // Numbers are looked at from the largest on.
        let is_word = matches!(sort, Sort::Uid | Sort::Standing);
        let next = if is_own { !order.is_descending } else { !is_word };
        let address = address(*sort, next, &order.filter);
        let link = Markup::tag("a", &[("href", &address), ("data-sort", &sort.name())], Markup::text(title));
        let state = match (is_own, order.is_descending) {
            (false, _) => "none",
            (true, true) => "descending",
            (true, false) => "ascending",
        };
        Markup::tag("th", &[("scope", &"col"), ("aria-sort", &state)], link)
    };
    let fixed = |title: &str| Markup::tag("th", &[("scope", &"col")], Markup::text(title));
    let mut heads: Markup = COLUMNS.iter().take(1).map(head).collect();
    heads.push(fixed("Key"));
    heads.push(fixed("Role"));
    heads.push(COLUMNS.iter().skip(1).map(head).collect());
    let mut titles = vec!["uid", "Key", "Role"];
    titles.extend(COLUMNS.iter().skip(1).map(|(title, _)| *title));
    let rows = slots.iter().map(|slot| row(slot)).collect();
    let caption = "Slots, what they did in the windows that were read, and what they are paid";
    Markup::tag("div", &[("id", &"table"), ("data-sorted", &"")], table_of(caption, &titles, heads, rows))
}

/// The address of a table in an order. A filter is at most 64 bytes, and each is written as its number.
fn address(sort: Sort, is_descending: bool, filter: &str) -> String {
    let direction = if is_descending { "down" } else { "up" };
    let filter: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let filter = if filter.is_empty() { filter } else { format!("&filter={filter}") };
    format!("/miners?sort={}&order={direction}{filter}", sort.name())
}

fn row(slot: &SlotView) -> Vec<Cell> {
    let merged = or_unknown(slot.selected_share, |share| {
        format!("{} ({}/{})", words::percent(share), slot.selected_windows, slot.sealed_windows)
    });
    let value = |sort| number(slot, sort);
    let seen = slot.last_seen.map_or(Markup::text(UNKNOWN), window_link);
    vec![
        Cell::of(uid_link(slot.uid)),
        Cell::of(key(&slot.hotkey)),
        Cell::text(role(slot)),
        Cell::text(standing(slot)),
        Cell::number(or_unknown(slot.contribution, words::millinats), value(Sort::Contribution)),
        Cell::number(or_unknown(slot.rating, words::share), value(Sort::Rating)),
        Cell::number(merged, value(Sort::Selected)),
        Cell::number(words::alpha(slot.emission_rao), value(Sort::Pay)),
        Cell::number(words::alpha(slot.stake_rao), value(Sort::Stake)),
        Cell::number(words::size(slot.sealed_bytes), value(Sort::Bytes)),
        Cell::of(seen),
    ]
}
