//! The page: title, curve, table of nodes, totals, notes. It is a function of the [`View`] alone.

use crate::chart;
use crate::nodes::NodeTable;
use crate::text::{Theme, duration, fit, join, width};
use indicatif::HumanCount;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use templar_base::{Alpha, RAO_PER_TAO};
use templar_localnet::{NodeView, Role, View, ViewSource};

/// Lines about what an operator should know: why miners were rejected, and the newest notes.
const NOTES: usize = 3;
/// Miners whose rejection is shown.
const SHOWN_REJECTIONS: usize = 2;
/// From this number of rows on there is room for an empty line under the title.
const ROOMY: usize = 30;

/// How to leave the screen, and what that means.
fn help(view: &View) -> &'static str {
    match view.source {
        ViewSource::Own => "q or Ctrl-C stops; the same command resumes",
        ViewSource::Journals | ViewSource::Record => "q or Ctrl-C leaves; the network continues",
    }
}

/// How the rows of the terminal are distributed. The curve gets what is left.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    /// Empty lines under the title.
    title_gap: usize,
    /// Empty lines above and under the table.
    gap: usize,
    chart: usize,
    /// Lines of the table without its head.
    nodes: usize,
    head: usize,
    totals: usize,
    rejections: usize,
    notes: usize,
    remarks: usize,
    help: usize,
}

impl Rows {
    /// Distributes `rows` rows: what matters most comes first.
    fn share(rows: usize, nodes: usize, rejections: usize, notes: usize, has_remarks: bool) -> Self {
        // The title and the caption of the curve are always there.
        let mut left = rows.saturating_sub(2);
        let mut take = |wanted: usize| {
            let taken = wanted.min(left);
            left -= taken;
            taken
        };
        let totals = take(1);
        let help = take(1);
        let first_nodes = take(nodes.min(6));
        let head = take(usize::from(first_nodes > 1));
        let rejections = take(rejections.min(SHOWN_REJECTIONS));
        let first_notes = take(notes.min(1));
        let remarks = take(usize::from(has_remarks));
        let gap = take(2) / 2;
        let title_gap = if rows >= ROOMY { take(1) } else { 0 };
        let least_chart = take(usize::from(chart::LEAST_ROWS) + 2);
        let nodes = first_nodes + take(nodes - first_nodes);
        let notes = first_notes + take(notes.min(NOTES - rejections) - first_notes);
        let chart = least_chart + take(usize::MAX);
        Self { title_gap, gap, chart, nodes, head, totals, rejections, notes, remarks, help }
    }
}

/// Writes the whole page.
pub(crate) fn paint(view: &View, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let table = NodeTable::new(view, theme, columns);
    let rejections = table.rejections();
    let rows = Rows::share(
        usize::from(area.height),
        view.nodes.len(),
        rejections.len(),
        view.notes.len(),
        !view.remarks.is_empty(),
    );
    let mut page = Page { area, row: 0, buffer };
    page.line(title(view, theme, columns));
    page.skip(rows.title_gap);
    page.line(chart::caption(view, theme, columns));
    page.chart(view, theme, rows.chart);
    page.skip(rows.gap);
    if rows.head > 0 {
        page.line(table.head());
    }
    for line in table.rows(rows.nodes) {
        page.line(line);
    }
    page.skip(rows.gap);
    if rows.totals > 0 {
        page.line(totals(view, theme, columns));
    }
    for text in rejections.iter().take(rows.rejections) {
        page.line(Line::styled(fit(text, columns), theme.bad()));
    }
    for note in view.notes.iter().skip(view.notes.len() - rows.notes) {
        page.line(Line::styled(fit(note, columns), theme.dim()));
    }
    if rows.remarks > 0 {
        page.line(Line::styled(fit(&view.remarks.join(" · "), columns), theme.dim()));
    }
    if rows.help > 0 {
        let help = Some(help(view)).filter(|help| width(help) <= columns).unwrap_or("q stops");
        page.line(Line::styled(fit(help, columns), theme.dim()));
    }
}

/// Where the next line goes; what is below the terminal is not written.
struct Page<'a> {
    area: Rect,
    row: usize,
    buffer: &'a mut Buffer,
}

impl Page<'_> {
    fn line(&mut self, line: Line<'_>) {
        if self.row < usize::from(self.area.height) {
            self.buffer.set_line(self.area.x, self.area.y + self.row as u16, &line, self.area.width);
        }
        self.row += 1;
    }

    fn skip(&mut self, rows: usize) {
        self.row += rows;
    }

    fn chart(&mut self, view: &View, theme: Theme, rows: usize) {
        let area = Rect { y: self.area.y + self.row as u16, height: rows as u16, ..self.area };
        chart::draw(view, theme, area.intersection(self.area), self.buffer);
        self.row += rows;
    }
}

/// Name, window with its gauge, time and block.
fn title(view: &View, theme: Theme, columns: usize) -> Line<'static> {
    let Some(window) = view.window else {
        let pieces = vec![
            ("templar".to_owned(), theme.strong()),
            ("before window 0".to_owned(), Style::new()),
            (duration(view.seconds), Style::new()),
            (format!("block {}", view.block), Style::new()),
        ];
        return join(pieces, "  ", columns);
    };
    let share = if view.window_share.is_finite() { view.window_share.clamp(0.0, 1.0) } else { 0.0 };
    let percent = format!("{:>3.0} %", share * 100.0);
    let mut pieces = vec![
        ("templar".to_owned(), theme.strong()),
        (format!("window {window}"), theme.strong()),
        (percent, Style::new()),
        (duration(view.seconds), Style::new()),
        (format!("block {}", view.block), Style::new()),
    ];
    let separators = 2 * pieces.len();
    let taken = pieces.iter().map(|(text, _)| width(text)).sum::<usize>() + separators;
    let gauge = columns.saturating_sub(taken).min(40);
    if gauge < 8 {
        if columns < 24 {
            // The window says more than the name.
            pieces.remove(0);
        }
        return join(pieces, "  ", columns);
    }
    let done = (share * gauge as f64).round() as usize;
    let mut line = join(pieces, "  ", columns);
    // Behind the window and before the share: name, gap, window, gap.
    line.spans.splice(
        4..4,
        [
            Span::styled("━".repeat(done), theme.line()),
            Span::styled("─".repeat(gauge - done), theme.dim()),
            Span::raw(" "),
        ],
    );
    line
}

/// The totals of all nodes.
fn totals(view: &View, theme: Theme, columns: usize) -> Line<'static> {
    let plain = Style::new();
    let mut pieces = Vec::new();
    let alive = view.nodes.iter().filter(|node| node.is_alive).count();
    if let Some(last) = &view.last {
        let style = if last.nodes_in_sync == last.nodes { theme.good() } else { theme.doubtful() };
        pieces.push((format!("{}/{} nodes in sync", last.nodes_in_sync, last.nodes), style));
    } else {
        pieces.push((format!("{alive}/{} nodes up", view.nodes.len()), plain));
    }
    let nulls = if view.null_windows > 0 { theme.doubtful() } else { plain };
    let plural = if view.null_windows == 1 { "" } else { "s" };
    pieces.push((format!("{} tokens", HumanCount(view.tokens)), plain));
    pieces.push((format!("{} null window{plural}", view.null_windows), nulls));
    if let Some(share) = view.utilisation {
        pieces.push((format!("utilisation {:.1} %", share * 100.0), plain));
    }
    let is_miner = |node: &&NodeView| node.status.as_ref().is_some_and(|status| status.role == Role::Miner);
    let miners = view.nodes.iter().filter(is_miner);
    let earned = miners.filter_map(|node| node.stake).fold(Alpha::ZERO, Alpha::saturating_add);
    if earned > Alpha::ZERO {
        pieces.push((format!("miners earned {:.3} α", earned.as_rao() as f64 / RAO_PER_TAO as f64), plain));
    }
    join(pieces, " · ", columns)
}

#[cfg(test)]
mod tests;
