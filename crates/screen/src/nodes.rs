//! The table of nodes: a row for each, with as many columns as the terminal has room for.

use crate::text::{Theme, fit, pad, width};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::collections::BTreeMap;
use templar_base::{RAO_PER_TAO, StateHash, Window};
use templar_localnet::{NodeView, View};

/// So long after the start of the command a node that does not write is down rather than about to come up.
const STARTING_SECONDS: f64 = 15.0;
/// From so many columns on the table has two spaces between columns, not one.
const WIDE: usize = 110;

/// The most columns that a name or a number takes.
const MOST: usize = 16;

/// A column of the table, in the order of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Uid,
    Node,
    Doing,
    At,
    Loss,
    Contribution,
    Rating,
    Verdict,
    Speed,
    Busy,
    Stake,
}

use Column::{At, Busy, Contribution, Doing, Loss, Node, Rating, Speed, Stake, Uid, Verdict};

const COLUMNS: [Column; 11] = [Uid, Node, Doing, At, Loss, Contribution, Rating, Verdict, Speed, Busy, Stake];
/// Which columns leave a narrow screen, the first one first; the node and what it does stay.
const LEAVE: [Column; 9] = [Busy, Rating, Speed, Stake, Loss, Contribution, Verdict, At, Uid];

impl Column {
    fn is_right(self) -> bool {
        !matches!(self, Node | Doing | Verdict)
    }

    /// Columns that its usual contents take, so that the table does not move as numbers change.
    fn least(self) -> usize {
        match self {
            Uid => 3,
            Node => 7,
            Doing | Verdict => 12,
            At | Loss | Speed => 5,
            Contribution => 10,
            Rating => 6,
            Busy => 4,
            Stake => 7,
        }
    }
}

/// How a node's parameters compare with what most nodes have at the same window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agreement {
    Agreed,
    Differs,
    Unknown,
}

/// The state that counts as the agreed one, by the window whose start it is.
fn agreed_states(view: &View) -> BTreeMap<Window, StateHash> {
    let mut counts: BTreeMap<Window, BTreeMap<StateHash, usize>> = BTreeMap::new();
    for status in view.nodes.iter().filter(|node| node.is_alive).filter_map(|node| node.status.as_ref()) {
        *counts.entry(status.next).or_default().entry(status.state).or_default() += 1;
    }
    // One node alone at a window agrees with nobody yet.
    let mut agreed: BTreeMap<Window, StateHash> = counts
        .into_iter()
        .filter_map(|(window, states)| {
            let all: usize = states.values().sum();
            states.into_iter().find(|(_, count)| count * 2 > all && *count > 1).map(|(state, _)| (window, state))
        })
        .collect();
    if let Some(last) = &view.last {
        agreed.extend(last.state_hash.map(|state| (last.window.next(), state)));
    }
    agreed
}

/// The unit in which the contributions read well: its name and its size in nats.
fn contribution_unit(view: &View) -> (&'static str, f64) {
    let values = view.nodes.iter().filter_map(|node| node.verdict.as_ref()?.contribution);
    let greatest = values.filter(|value| value.is_finite()).fold(0.0, |most: f64, value| most.max(value.abs()));
    match greatest {
        1.0.. => ("nat", 1.0),
        1e-3..1.0 => ("mnat", 1e-3),
        value if value > 0.0 => ("µnat", 1e-6),
        _ => ("mnat", 1e-3),
    }
}

/// A rate in few columns: `840`, `12.3k`, `1.2M`.
fn rate(value: f64) -> String {
    match value {
        0.0..999.5 => format!("{value:.0}"),
        999.5..999_950.0 => format!("{:.1}k", value / 1e3),
        999_950.0..1e12 => format!("{:.1}M", value / 1e6),
        _ => "?".to_owned(),
    }
}

/// `refused` of `refused: the payload is of another run`, `admitted` of `admitted, not selected`.
fn verdict_head(standing: &str) -> &str {
    standing.split([':', ',']).next().unwrap_or(standing)
}

/// A verdict in `columns` columns: whole, or its first word.
fn verdict_text(standing: &str, columns: usize) -> String {
    if width(standing) <= columns { fit(standing, columns) } else { fit(verdict_head(standing), columns) }
}

/// Whether a verdict rejections the miner with something.
fn is_rejection(standing: &str) -> bool {
    matches!(verdict_head(standing), "refused" | "harmful")
}

/// The table of one moment.
pub struct NodeTable<'a> {
    view: &'a View,
    theme: Theme,
    agreed: BTreeMap<Window, StateHash>,
    unit: (&'static str, f64),
    columns: Vec<(Column, usize)>,
    gap: usize,
}

impl<'a> NodeTable<'a> {
    /// A table of at most `columns` columns on the terminal.
    pub fn new(view: &'a View, theme: Theme, columns: usize) -> Self {
        let mut table = Self {
            view,
            theme,
            agreed: agreed_states(view),
            unit: contribution_unit(view),
            columns: Vec::new(),
            gap: 1,
        };
        table.gap = if columns >= WIDE { 2 } else { 1 };
        let mut widths: Vec<(Column, usize)> =
            COLUMNS.into_iter().map(|column| (column, table.needed(column))).collect();
        let taken = |widths: &[(Column, usize)], gap: usize| {
            widths.iter().map(|(_, width)| width + gap).sum::<usize>().saturating_sub(gap)
        };
        for leaving in LEAVE {
            if taken(&widths, table.gap) > columns {
                widths.retain(|(column, _)| *column != leaving);
            }
        }
        let too_wide = taken(&widths, table.gap).saturating_sub(columns);
        if let Some((_, width)) = widths.last_mut() {
            *width = width.saturating_sub(too_wide);
        }
        let mut left = columns.saturating_sub(taken(&widths, table.gap));
        for (wanted, most) in [(Doing, 17_usize), (Verdict, 48), (Doing, 24)] {
            if let Some((_, width)) = widths.iter_mut().find(|(column, _)| *column == wanted) {
                let more = most.saturating_sub(*width).min(left);
                *width += more;
                left -= more;
            }
        }
        table.columns = widths;
        table
    }

    /// The head of the table.
    pub fn head(&self) -> Line<'static> {
        let cells: Vec<String> =
            self.columns.iter().map(|(column, width)| pad(&self.title(*column), *width, column.is_right())).collect();
        Line::styled(cells.join(&" ".repeat(self.gap)).trim_end().to_owned(), self.theme.dim())
    }

    /// The rows of the nodes that find room in `most` lines; a last line tells of those that do not.
    pub fn rows(&self, most: usize) -> Vec<Line<'static>> {
        let all = self.view.nodes.len();
        if all <= most {
            return self.view.nodes.iter().map(|node| self.row(node)).collect();
        }
        // Who is down or refused is seen first where not all can be seen.
        let mut order: Vec<&NodeView> = self.view.nodes.iter().collect();
        order.sort_by_key(|node| (self.is_well(node), node.is_alive));
        let is_one_troubled = most == 1 && !self.is_well(order[0]);
        let shown = if is_one_troubled { 1 } else { most.saturating_sub(1) };
        let mut lines: Vec<Line<'static>> = order.into_iter().take(shown).map(|node| self.row(node)).collect();
        if shown < most {
            let rest = if shown > 0 { format!("and {} more nodes", all - shown) } else { format!("{all} nodes") };
            lines.push(Line::styled(rest, self.theme.dim()));
        }
        lines
    }

    /// Why miners were rejected, for those whose cell is too narrow for the reason.
    pub fn rejections(&self) -> Vec<String> {
        let columns = self.columns.iter().find(|(column, _)| *column == Verdict).map_or(0, |(_, width)| *width);
        let standings = self.view.nodes.iter().filter_map(|node| Some((node, &node.verdict.as_ref()?.standing)));
        standings
            .filter(|(_, standing)| is_rejection(standing) && width(standing) > columns)
            .map(|(node, standing)| format!("{}: {standing}", node.name))
            .collect()
    }

    fn is_well(&self, node: &NodeView) -> bool {
        let is_rejected = node.verdict.as_ref().is_some_and(|line| is_rejection(&line.standing));
        node.is_alive && !is_rejected && self.agreement(node) != Agreement::Differs
    }

    fn needed(&self, column: Column) -> usize {
        if matches!(column, Doing | Verdict) {
            return column.least();
        }
        let cells = self.view.nodes.iter().map(|node| width(&self.cell(node, column).0));
        let widest = cells.chain([width(&self.title(column)), column.least()]).max().unwrap_or(0);
        // A number out of all proportion is cut; it must not push the others off the screen.
        widest.min(MOST)
    }

    fn title(&self, column: Column) -> String {
        let title = match column {
            Uid => "uid",
            Node => "node",
            Doing => "doing",
            At => "at",
            Loss => "loss",
            Contribution => return format!("φ {}", self.unit.0),
            Rating => "rating",
            Verdict => "verdict",
            Speed => "tok/s",
            Busy => "busy",
            Stake => "stake α",
        };
        // The mark behind the window has a column of its own.
        if column == At { format!("{title}  ") } else { title.to_owned() }
    }

    fn row(&self, node: &NodeView) -> Line<'static> {
        let mut spans = Vec::new();
        for (column, columns) in &self.columns {
            if !spans.is_empty() {
                spans.push(Span::raw(" ".repeat(self.gap)));
            }
            let (text, style) = match (column, &node.verdict) {
                (Verdict, Some(line)) => (verdict_text(&line.standing, *columns), self.cell(node, Verdict).1),
                _ => self.cell(node, *column),
            };
            spans.push(Span::styled(pad(&text, *columns, column.is_right()), style));
        }
        Line::from(spans)
    }

    fn agreement(&self, node: &NodeView) -> Agreement {
        let Some(status) = &node.status else { return Agreement::Unknown };
        match self.agreed.get(&status.next) {
            Some(agreed) if *agreed == status.state => Agreement::Agreed,
            Some(_) => Agreement::Differs,
            None => Agreement::Unknown,
        }
    }

    fn cell(&self, node: &NodeView, column: Column) -> (String, Style) {
        let plain = Style::new();
        let none = || (String::new(), plain);
        let status = node.status.as_ref();
        match column {
            Uid => (status.map_or("?".to_owned(), |status| status.uid.to_string()), plain),
            Node => (node.name.clone(), plain),
            Doing if node.is_alive => match status {
                Some(status) => (status.activity.replace(" the ", " ").replace("waits for", "awaits"), plain),
                None => none(),
            },
            Doing if self.view.seconds < STARTING_SECONDS => ("starts".to_owned(), self.theme.dim()),
            Doing => ("down".to_owned(), self.theme.bad()),
            At => self.at_cell(node),
            Loss => status.and_then(|status| status.loss).map_or_else(none, |loss| (format!("{loss:.3}"), plain)),
            Contribution => node
                .verdict
                .as_ref()
                .and_then(|line| line.contribution.map(|value| (value, line)))
                .map_or_else(none, |(value, line)| {
                    let error =
                        line.standard_error.map_or(String::new(), |error| format!(" ±{:.1}", error / self.unit.1));
                    (format!("{:.1}{error}", value / self.unit.1), plain)
                }),
            Rating => {
                let rating = node.verdict.as_ref().and_then(|line| line.rating);
                rating.map_or_else(none, |rating| (format!("{rating:.2}"), plain))
            }
            Verdict => node.verdict.as_ref().map_or_else(none, |line| {
                let style = match verdict_head(&line.standing) {
                    "selected" => self.theme.good(),
                    "admitted" => plain,
                    head if is_rejection(head) => self.theme.bad(),
                    _ => self.theme.doubtful(),
                };
                (line.standing.clone(), style)
            }),
            Speed => match status {
                Some(status) if status.wall_seconds > 0.0 => (rate(status.tokens as f64 / status.wall_seconds), plain),
                _ => none(),
            },
            Busy => match status {
                Some(status) if status.wall_seconds > 0.0 => {
                    (format!("{:.0}%", status.training_seconds / status.wall_seconds * 100.0), plain)
                }
                _ => none(),
            },
            Stake => node.stake.map_or_else(none, |stake| {
                let tao = stake.as_rao() as f64 / RAO_PER_TAO as f64;
                (if tao < 100.0 { format!("{tao:.3}") } else { format!("{tao:.2}") }, plain)
            }),
        }
    }

    fn at_cell(&self, node: &NodeView) -> (String, Style) {
        let Some(status) = &node.status else { return ("  ".to_owned(), Style::new()) };
        let (mark, style) = match self.agreement(node) {
            Agreement::Agreed => ("✓", Style::new()),
            Agreement::Differs => ("≠", self.theme.bad()),
            Agreement::Unknown => (" ", Style::new()),
        };
        (format!("{} {mark}", status.next), style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_verdicts_are_short() {
        assert_eq!([0.0, 840.2, 999.7, 12_345.0, 1_234_567.0].map(rate), ["0", "840", "1.0k", "12.3k", "1.2M"]);
        assert_eq!([f64::NAN, f64::INFINITY, -1.0].map(rate), ["?", "?", "?"]);
        let refused = "refused: the payload is of another run";
        assert_eq!([verdict_text(refused, 40).as_str(), &verdict_text(refused, 12)], [refused, "refused"]);
        assert_eq!(verdict_text("admitted, not selected", 12), "admitted");
        assert!(is_rejection(refused) && !is_rejection("selected") && !is_rejection("not admitted: too small"));
    }
}
