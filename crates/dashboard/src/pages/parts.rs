//! What all pages are made of: the frame, tables, facts, links.

use super::words::{self, UNKNOWN};
use crate::markup::Markup;
use crate::state::{RunFacts, Snapshot};
use templar_base::{PublicKey, Uid, Window};

/// The views that the menu leads to.
const MENU: [(&str, &str); 7] = [
    ("/", "Run"),
    ("/miners", "Miners"),
    ("/windows", "Windows"),
    ("/market", "Market"),
    ("/governance", "Governance"),
    ("/evidence", "Evidence"),
    ("/try", "Try it"),
];

/// A page before its frame.
pub(crate) struct Page {
    /// Its title.
    pub(super) title: String,
    /// The entry of the menu that it belongs to.
    pub(super) menu: &'static str,
    /// What is on it.
    pub(super) body: Markup,
}

impl Page {
    pub(super) fn new(title: impl Into<String>, menu: &'static str, body: Markup) -> Self {
        Self { title: title.into(), menu, body }
    }

    /// The whole page.
    pub(crate) fn into_string(self, facts: &RunFacts, snapshot: &Snapshot) -> String {
        let title = format!("{} · {} · templar", self.title, facts.run.short());
        document(&title, Some(self.menu), self.body, foot(facts, snapshot))
    }
}

/// The frame of every page.
pub(super) fn document(title: &str, menu: Option<&'static str>, body: Markup, foot: Markup) -> String {
    let head = Markup::fixed(
        "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"stylesheet\" href=\"/style.css\">\
         <link rel=\"icon\" href=\"/favicon.svg\" type=\"image/svg+xml\"><script src=\"/page.js\" defer></script>",
    );
    let head = Markup::tag("head", &[], head.then(Markup::with_text("title", title)));
    let skip = Markup::tag("a", &[("class", &"skip"), ("href", &"#main")], Markup::text("Skip to the content"));
    let entry = |(address, name): (&'static str, &'static str)| {
        let link = match menu == Some(address) {
            true => Markup::tag("a", &[("href", &address), ("aria-current", &"page")], Markup::text(name)),
            false => Markup::link(address, name),
        };
        Markup::tag("li", &[], link)
    };
    let list = Markup::tag("ul", &[], MENU.into_iter().map(entry).collect());
    let brand = Markup::tag("a", &[("class", &"brand"), ("href", &"/")], Markup::text("templar"));
    let nav = Markup::tag("nav", &[("aria-label", &"Views")], list);
    let header = Markup::tag("header", &[], brand.then(nav));
    let main = Markup::tag("main", &[("id", &"main"), ("tabindex", &"-1")], body);
    let body = Markup::tag("body", &[], skip.then(header).then(main).then(Markup::tag("footer", &[], foot)));
    let html = Markup::tag("html", &[("lang", &"en")], head.then(body));
    format!("<!doctype html>{}", html.into_string())
}

fn foot(facts: &RunFacts, snapshot: &Snapshot) -> Markup {
    let at = match &snapshot.head {
        Some(head) => format!("As of block {}, {}.", words::count(head.block.get()), words::time(head.time_ms)),
        None => "The ledger has not answered yet.".to_owned(),
    };
    let mut foot = live("as-of", Markup::with_text("p", at));
    foot.push(Markup::tag("p", &[("id", &"live"), ("role", &"status")], Markup::default()));
    let api = Markup::text(format!("Run {} · Everything here is read from the public record: ", facts.run))
        .then(Markup::link("/api/v1/run", "JSON"))
        .then(Markup::text(", "))
        .then(Markup::link("/api/v1/openapi.json", "its schema"))
        .then(Markup::text(", "))
        .then(Markup::link("/metrics", "metrics"))
        .then(Markup::text("."));
    foot.then(Markup::tag("p", &[], api))
}

/// A part that a script replaces when there is news.
pub(super) fn live(id: &'static str, inside: Markup) -> Markup {
    Markup::tag("div", &[("id", &id), ("data-live", &"")], inside)
}

/// A part of a page with a heading.
pub(super) fn section(id: &'static str, title: &str, inside: Markup) -> Markup {
    let heading = format!("{id}-title");
    let title = Markup::tag("h2", &[("id", &heading)], Markup::text(title));
    Markup::tag("section", &[("id", &id), ("aria-labelledby", &heading), ("data-live", &"")], title.then(inside))
}

/// A sentence.
pub(super) fn note(text: &str) -> Markup {
    Markup::tag("p", &[("class", &"note")], Markup::text(text))
}

/// What could not be read, at the top of a page; nothing where all was.
pub(super) fn trouble(snapshot: &Snapshot) -> Markup {
    let mut all = Markup::default();
    let warn = |text: String| Markup::tag("p", &[("class", &"warning"), ("role", &"alert")], Markup::text(text));
    if let Some(problem) = &snapshot.problem {
        all.push(warn(format!("The ledger could not be read: {problem}. What is shown is the last that was read.")));
    }
    if snapshot.unread > 0 {
        all.push(warn(format!("{} older windows are still being read.", words::count(snapshot.unread as u64))));
    }
    if snapshot.unreadable > 0 {
        all.push(warn(format!("{} windows could not be read.", snapshot.unreadable)));
    }
    live("trouble", all)
}

/// Facts side by side.
pub(super) fn facts(rows: Vec<(&'static str, Markup)>) -> Markup {
    let row = |(name, value): (&'static str, Markup)| {
        let pair = Markup::with_text("dt", name).then(Markup::tag("dd", &[], value));
        Markup::tag("div", &[], pair)
    };
    Markup::tag("dl", &[("class", &"facts")], rows.into_iter().map(row).collect())
}

/// A cell of a table: what it shows, and what it is sorted by where that is something else.
pub(super) struct Cell {
    inside: Markup,
    key: Option<f64>,
    is_number: bool,
}

impl Cell {
    /// Markup.
    pub(super) fn of(inside: Markup) -> Self {
        Self { inside, key: None, is_number: false }
    }

    /// Text.
    pub(super) fn text(text: impl std::fmt::Display) -> Self {
        Self::of(Markup::text(text))
    }

    /// A number in words, with the number that it is sorted by.
    pub(super) fn number(text: impl std::fmt::Display, key: Option<f64>) -> Self {
        Self { inside: Markup::text(text), key, is_number: true }
    }

    fn draw(self, title: &str) -> Markup {
        let class = if self.is_number { "number" } else { "words" };
        // One element, beside which its title stands where the screen is narrow.
        let inside = Markup::tag("div", &[], self.inside);
        match self.key {
            Some(key) => Markup::tag("td", &[("class", &class), ("data-key", &key), ("data-title", &title)], inside),
            None => Markup::tag("td", &[("class", &class), ("data-title", &title)], inside),
        }
    }
}

/// A table with a caption for who cannot see it, and heads that are texts.
pub(super) fn table(caption: &str, heads: &[&str], rows: Vec<Vec<Cell>>) -> Markup {
    let head = |head: &&str| Markup::tag("th", &[("scope", &"col")], Markup::text(head));
    table_of(caption, heads, heads.iter().map(head).collect(), rows)
}

/// A table whose heads are made elsewhere; `titles` stand before the values where the screen is narrow.
pub(super) fn table_of(caption: &str, titles: &[&str], heads: Markup, rows: Vec<Vec<Cell>>) -> Markup {
    let row = |cells: Vec<Cell>| {
        let cells = cells.into_iter().zip(titles).map(|(cell, title)| cell.draw(title));
        Markup::tag("tr", &[], cells.collect())
    };
    let said = Markup::tag("caption", &[], Markup::text(caption));
    let head = Markup::tag("thead", &[], Markup::tag("tr", &[], heads));
    let body = Markup::tag("tbody", &[], rows.into_iter().map(row).collect());
    let table = Markup::tag("table", &[], said.then(head).then(body));
    // What is wider than the screen is moved with the keyboard, too.
    let frame: [(&str, &dyn std::fmt::Display); 4] =
        [("class", &"scroll"), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &caption)];
    Markup::tag("div", &frame, table)
}

/// A link to a window.
pub(super) fn window_link(window: Window) -> Markup {
    Markup::link(format!("/windows/{window}"), window)
}

/// A link to a slot.
pub(super) fn uid_link(uid: Uid) -> Markup {
    Markup::link(format!("/miners/{uid}"), uid)
}

/// Slots as links.
pub(super) fn uid_links(uids: &[Uid]) -> Markup {
    if uids.is_empty() {
        return Markup::text(UNKNOWN);
    }
    let link = |(at, uid): (usize, &Uid)| {
        let gap = if at == 0 { Markup::default() } else { Markup::text(" ") };
        gap.then(uid_link(*uid))
    };
    uids.iter().enumerate().map(link).collect()
}

/// A key, whole for who points at it.
pub(super) fn key(key: &PublicKey) -> Markup {
    Markup::tag("code", &[("title", &key)], Markup::text(key.short()))
}

/// A hash, short and with its whole in the title; a link where its object can be fetched.
pub(super) fn hash(whole: &impl std::fmt::Display, url: Option<&String>) -> Markup {
    let whole = whole.to_string();
    let short: String = whole.chars().take(8).collect();
    let code = Markup::tag("code", &[("title", &whole)], Markup::text(short));
    linked(code, url)
}

/// A hash in full; a link where its object can be fetched.
pub(super) fn full_hash(whole: &impl std::fmt::Display, url: Option<&String>) -> Markup {
    linked(Markup::tag("code", &[("class", &"whole")], Markup::text(whole)), url)
}

/// A bucket is somebody else's server: its link says nothing of where it was found, and only leads to the web.
fn linked(code: Markup, url: Option<&String>) -> Markup {
    match url.filter(|url| url.starts_with("http://") || url.starts_with("https://")) {
        Some(url) => Markup::tag("a", &[("href", url), ("rel", &"noreferrer noopener nofollow external")], code),
        None => code,
    }
}
