//! The terminal screen of `templar up`: one calm page that is drawn anew a few times a second.
//!
//! [`Screen`] owns the terminal while it is shown, and gives it back however the command ends, by a panic too. What is
//! on the page is a function of the [`View`] alone.

use super::screen_chart as chart;
use super::screen_nodes::NodeTable;
use super::screen_text::{Theme, fit, join, width};
use crate::output::{count, duration};
use anyhow::Context;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::crossterm::{QueueableCommand, execute};
use ratatui::layout::Rect;
use ratatui::prelude::CrosstermBackend;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::io::{self, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use templar_base::{Alpha, RAO_PER_TAO};
use templar_localnet::View;
use templar_node::NodeStatus;
use templar_round::Role;

/// Lines about what an operator should know: why miners were refused, and the newest notes.
const NOTES: usize = 3;
/// Miners of whom is told why they were refused.
const REPROACHES: usize = 2;
/// From so many rows on there is room for an empty line under the title.
const ROOMY: usize = 30;
const HELP: &str = "q or Ctrl-C stops; the same command goes on from here";

/// Whether a screen is open, for whoever gives the terminal back.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
static PANIC_HOOK: Once = Once::new();

/// What the operator asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// To stop: `q`, Esc or Ctrl-C, which raises no signal while the screen is open.
    Stop,
    /// The terminal has another size; the next drawing fits it.
    Resized,
}

/// The terminal while the screen is shown.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    theme: Theme,
}

/// Gives the terminal back. Best effort: the terminal may be gone.
fn restore() {
    if IS_OPEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = terminal::disable_raw_mode();
    }
}

impl Screen {
    /// Takes the terminal; with colours if `paint_wanted`. Fails where there is no terminal to take.
    pub fn open(paint_wanted: bool) -> anyhow::Result<Self> {
        PANIC_HOOK.call_once(|| {
            let inner = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                inner(panic);
            }));
        });
        terminal::enable_raw_mode().context("cannot take the terminal")?;
        IS_OPEN.store(true, Ordering::SeqCst);
        let opened = execute!(io::stdout(), EnterAlternateScreen).and_then(|()| {
            let options = TerminalOptions { viewport: Viewport::Fullscreen };
            let mut terminal = Terminal::with_options(CrosstermBackend::new(io::stdout()), options)?;
            terminal.clear()?;
            Ok(terminal)
        });
        match opened {
            Ok(terminal) => Ok(Self { terminal, theme: Theme::new(paint_wanted) }),
            Err(error) => {
                restore();
                Err(error).context("cannot open the screen")
            }
        }
    }

    /// Draws the page; only what has changed is sent, in one piece where the terminal can do that.
    pub fn draw(&mut self, view: &View) -> anyhow::Result<()> {
        anyhow::ensure!(IS_OPEN.load(Ordering::SeqCst), "the screen was closed by a failure of this program");
        let theme = self.theme;
        io::stdout().queue(terminal::BeginSynchronizedUpdate).context("cannot draw the screen")?;
        let drawn = self.terminal.draw(|frame| paint(view, theme, frame.area(), frame.buffer_mut())).map(|_| ());
        let ended = io::stdout().queue(terminal::EndSynchronizedUpdate).and_then(Write::flush);
        drawn.and(ended).context("cannot draw the screen")
    }

    /// Waits for a key that means something, for at most `timeout`; with none it only looks.
    pub fn key(&mut self, timeout: Duration) -> anyhow::Result<Option<Key>> {
        let mut left = timeout;
        while event::poll(left).context("cannot read the keyboard")? {
            match meaning(&event::read().context("cannot read the keyboard")?) {
                Some(key) => return Ok(Some(key)),
                // Somebody leans on another key: what has come is read, without waiting on.
                None => left = Duration::ZERO,
            }
        }
        Ok(None)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn meaning(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Resized),
        Event::Key(key) if key.kind == KeyEventKind::Release => None,
        Event::Key(key) => match key.code {
            KeyCode::Esc | KeyCode::Char('q' | 'Q') => Some(Key::Stop),
            KeyCode::Char('c' | 'C') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Stop),
            _ => None,
        },
        _ => None,
    }
}

/// How the rows of the terminal are shared out. The curve gets what the rest leaves.
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
    reproaches: usize,
    notes: usize,
    remarks: usize,
    help: usize,
}

impl Rows {
    /// Shares out `rows` rows: what matters most comes first.
    fn share(rows: usize, nodes: usize, reproaches: usize, notes: usize, has_remarks: bool) -> Self {
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
        let reproaches = take(reproaches.min(REPROACHES));
        let first_notes = take(notes.min(1));
        let remarks = take(usize::from(has_remarks));
        let gap = take(2) / 2;
        let title_gap = if rows >= ROOMY { take(1) } else { 0 };
        let least_chart = take(usize::from(chart::LEAST_ROWS) + 2);
        let nodes = first_nodes + take(nodes - first_nodes);
        let notes = first_notes + take(notes.min(NOTES - reproaches) - first_notes);
        let chart = least_chart + take(usize::MAX);
        Self { title_gap, gap, chart, nodes, head, totals, reproaches, notes, remarks, help }
    }
}

/// Writes the whole page.
fn paint(view: &View, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let table = NodeTable::new(view, theme, columns);
    let reproaches = table.reproaches();
    let rows = Rows::share(
        usize::from(area.height),
        view.nodes.len(),
        reproaches.len(),
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
    for text in reproaches.iter().take(rows.reproaches) {
        page.line(Line::styled(fit(text, columns), theme.bad()));
    }
    for note in view.notes.iter().skip(view.notes.len() - rows.notes) {
        page.line(Line::styled(fit(note, columns), theme.dim()));
    }
    if rows.remarks > 0 {
        page.line(Line::styled(fit(&view.remarks.join(" · "), columns), theme.dim()));
    }
    if rows.help > 0 {
        page.line(Line::styled(fit(if columns < width(HELP) { "q stops" } else { HELP }, columns), theme.dim()));
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

/// What all nodes together came to.
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
    pieces.push((format!("{} tokens", count(view.tokens)), plain));
    pieces.push((format!("{} null window{plural}", view.null_windows), nulls));
    if let Some(share) = view.utilisation {
        pieces.push((format!("utilisation {:.1} %", share * 100.0), plain));
    }
    let is_miner = |status: &NodeStatus| status.role == Role::Miner;
    let miners = view.nodes.iter().filter(|node| node.status.as_ref().is_some_and(is_miner));
    let earned = miners.filter_map(|node| node.stake).fold(Alpha(0), |sum, stake| Alpha(sum.0.saturating_add(stake.0)));
    if earned > Alpha(0) {
        pieces.push((format!("miners earned {:.3} α", earned.0 as f64 / RAO_PER_TAO as f64), plain));
    }
    join(pieces, " · ", columns)
}

#[cfg(test)]
mod tests;
