//! The terminal of the live view: alternate screen, keys, and restoring it.

use std::io::{self, Stdout};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use runtime::{CancellationToken, Clock, Meters};

use super::draw::{Picture, draw};
use super::rates::Rates;
use super::{Border, Preview};
use crate::out;

/// Whether the live view has the terminal.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Restores the terminal. Does nothing if there is no live view; may be called twice.
pub fn leave() {
    if ENTERED.swap(false, SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
    }
}

/// The terminal of the live view. `ratatui::init` is not used, because its panic hook would end the view when
/// any task panics, although the others go on.
struct Screen(Terminal<CrosstermBackend<Stdout>>);
impl Screen {
    fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        ENTERED.store(true, SeqCst);
        let terminal = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        if terminal.is_err() {
            leave();
        }
        terminal.map(Self)
    }
}
impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// What a key requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Quit,
    /// Scroll down by this many lines.
    Scroll(isize),
}

fn asked(key: KeyEvent) -> Option<Asked> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        _ if key.kind != KeyEventKind::Press => None,
        KeyCode::Char('c') if control => Some(Asked::Quit),
        KeyCode::Char('q') => Some(Asked::Quit),
        KeyCode::Down | KeyCode::Char('j') => Some(Asked::Scroll(1)),
        KeyCode::Up | KeyCode::Char('k') => Some(Asked::Scroll(-1)),
        KeyCode::PageDown | KeyCode::Char(' ') => Some(Asked::Scroll(10)),
        KeyCode::PageUp => Some(Asked::Scroll(-10)),
        KeyCode::Home => Some(Asked::Scroll(isize::MIN)),
        KeyCode::End => Some(Asked::Scroll(isize::MAX)),
        _ => None,
    }
}

/// Draws until `stop`. Ctrl-C or `q` cancels `quit`; the second time the process ends at once.
pub fn show(
    frame: &Border,
    meters: &Meters,
    clock: &dyn Clock,
    stop: &CancellationToken,
    quit: &CancellationToken,
    preview: &Preview,
) -> io::Result<()> {
    // Dropped after the screen, so that the log is printed to the normal screen.
    let log = out::hold();
    let mut screen = Screen::enter()?;
    let mut rates = Rates::default();
    let mut all = rates.look(meters, clock.now().0);
    let mut from = 0_usize;
    while !stop.is_cancelled() {
        if clock.now().0 - rates.at >= 1_000 {
            all = rates.look(meters, clock.now().0);
        }
        let (preview, (logged, last)) = (preview.text(), log.last(3));
        let stopping = quit.is_cancelled();
        let picture = Picture { frame, all: &all, preview: &preview, logged, log: &last, from, stopping };
        let mut most = 0;
        screen.0.draw(|canvas| most = draw(canvas, &picture))?;
        from = from.min(most);
        if !event::poll(Duration::from_millis(200))? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        match asked(key) {
            Some(Asked::Scroll(by)) => from = from.saturating_add_signed(by).min(most),
            Some(Asked::Quit) if quit.is_cancelled() => {
                leave();
                std::process::exit(130);
            }
            Some(Asked::Quit) => quit.cancel(),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stop_and_scroll() {
        let key = |code, modifiers| asked(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Asked::Quit));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(key(KeyCode::Down, KeyModifiers::NONE), Some(Asked::Scroll(1)));
    }
}
