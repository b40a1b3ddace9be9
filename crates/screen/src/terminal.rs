//! The terminal while the page is shown; it is restored however the program ends, by a panic too.

use crate::page::paint;
use crate::streams::print_line;
use crate::table::is_colour_wanted;
use crate::text::Theme;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::crossterm::{QueueableCommand, execute};
use ratatui::prelude::CrosstermBackend;
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::error::Error;
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use templar_localnet::View;

/// A screen that cannot be shown; the terminal is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScreenError {
    /// There is no terminal, or it has no full screen.
    #[error("cannot open the screen")]
    Open(#[source] io::Error),
    /// The page cannot be written.
    #[error("cannot draw the screen")]
    Draw(#[source] io::Error),
    /// The keyboard cannot be read.
    #[error("cannot read the keyboard")]
    Keyboard(#[source] io::Error),
    /// A panic of this program closed the screen.
    #[error("the screen was closed by a failure of this program")]
    Closed,
}

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
    /// Takes the terminal, where a screen is wanted and standard output is a terminal that can show one.
    pub fn open_where_possible(is_wanted: bool) -> Option<Self> {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !is_wanted || is_dumb || !io::stdout().is_terminal() {
            return None;
        }
        let opened = Self::open(is_colour_wanted(true));
        if let Err(error) = &opened {
            let reason = error.source().map(|reason| format!(": {reason}")).unwrap_or_default();
            print_line(&format!("printing lines without a screen: {error}{reason}"));
        }
        opened.ok()
    }

    /// Takes the terminal; with colours if `paint_wanted`. Fails where there is no terminal to take.
    pub fn open(paint_wanted: bool) -> Result<Self, ScreenError> {
        PANIC_HOOK.call_once(|| {
            let inner = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                inner(panic);
            }));
        });
        terminal::enable_raw_mode().map_err(ScreenError::Open)?;
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
                Err(ScreenError::Open(error))
            }
        }
    }

    /// Draws the page; only what has changed is sent, in one piece where the terminal can do that.
    pub fn draw(&mut self, view: &View) -> Result<(), ScreenError> {
        if !IS_OPEN.load(Ordering::SeqCst) {
            return Err(ScreenError::Closed);
        }
        let theme = self.theme;
        io::stdout().queue(terminal::BeginSynchronizedUpdate).map_err(ScreenError::Draw)?;
        let drawn = self.terminal.draw(|frame| paint(view, theme, frame.area(), frame.buffer_mut())).map(|_| ());
        let ended = io::stdout().queue(terminal::EndSynchronizedUpdate).and_then(Write::flush);
        drawn.and(ended).map_err(ScreenError::Draw)
    }

    /// Waits for a key that means something, for at most `timeout`; with none it only looks.
    pub fn key(&mut self, timeout: Duration) -> Result<Option<Key>, ScreenError> {
        let mut left = timeout;
        while event::poll(left).map_err(ScreenError::Keyboard)? {
            match meaning(&event::read().map_err(ScreenError::Keyboard)?) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::KeyEvent;

    #[test]
    fn keys_that_stop() {
        let key = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        for (code, modifiers) in [
            (KeyCode::Char('q'), KeyModifiers::NONE),
            (KeyCode::Esc, KeyModifiers::NONE),
            (KeyCode::Char('c'), KeyModifiers::CONTROL),
        ] {
            assert_eq!(key(code, modifiers), Some(Key::Stop));
        }
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(meaning(&Event::Resize(80, 24)), Some(Key::Resized));
    }
}
