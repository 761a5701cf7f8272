//! What a person sees while `up` runs: a live table on a terminal, plain lines elsewhere.
//!
//! Everything shown is read from the process's meters, the same that are scraped.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};
use runtime::meters::{Metric, State};
use runtime::{CancellationToken, Clock, Meter, Meters};

/// Which view a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A table that is redrawn in place.
    Live,
    /// A line a pipeline, every few seconds.
    Plain,
}
impl View {
    /// Live when standard output is a terminal and nobody asked for plain lines.
    pub fn choose(plain: bool) -> Self {
        if !plain && std::io::stdout().is_terminal() { Self::Live } else { Self::Plain }
    }
}

/// What stands above and below the table.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// First line: project, target.
    pub title: String,
    /// Addresses other programs can connect to.
    pub addresses: Vec<String>,
}

/// A text that somebody renews: a few rows of what all this is for. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Preview(Arc<Mutex<String>>);
impl Preview {
    /// Shows another text.
    pub fn show(&self, text: String) {
        *self.0.lock() = text;
    }
    fn text(&self) -> String {
        self.0.lock().clone()
    }
}

/// One pipeline as shown.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    stage: &'static str,
    table: String,
    state: i64,
    per_second: f64,
    rows: u64,
    version: i64,
    lag: i64,
    freshness: f64,
    quarantined: u64,
}

/// Turns totals into rates between two looks.
#[derive(Default)]
struct Rates {
    last: BTreeMap<(&'static str, String), u64>,
    at: i64,
}
impl Rates {
    fn look(&mut self, meters: &Meters, now: i64) -> Vec<Shown> {
        let seconds = ((now - self.at).max(1) as f64) / 1e3;
        self.at = now;
        let shown = meters.pipelines().into_iter().map(|meter| self.shown(&meter, seconds));
        let (streams, mut all): (Vec<Shown>, Vec<Shown>) = shown.partition(|shown| shown.stage == "source");
        all.extend(together(&streams));
        all.sort_by_key(|shown| (order(shown.stage), shown.table.clone()));
        all
    }
    fn shown(&mut self, meter: &Meter, seconds: f64) -> Shown {
        let total = meter.total(Metric::RecordsIn);
        let last = self.last.insert((meter.stage(), meter.table().to_owned()), total).unwrap_or(total);
        Shown {
            stage: meter.stage(),
            table: meter.table().to_owned(),
            state: meter.gauge(Metric::State),
            per_second: total.saturating_sub(last) as f64 / seconds,
            rows: meter.total(Metric::RecordsOut),
            version: meter.gauge(Metric::TableVersion),
            lag: meter.gauge(Metric::Lag),
            freshness: meter.freshness_seconds(),
            quarantined: meter.total(Metric::Quarantined),
        }
    }
}

/// The streams of the sources as one line: what matters is below them.
fn together(streams: &[Shown]) -> Option<Shown> {
    let mut all = streams.iter().max_by_key(|stream| stream.state == State::Running as i64)?.clone();
    all.table = format!("{} streams", streams.len());
    all.per_second = streams.iter().map(|stream| stream.per_second).sum();
    all.rows = streams.iter().map(|stream| stream.rows).sum();
    Some(all)
}

/// Data flows from the top of the screen to its bottom.
fn order(stage: &str) -> usize {
    ["source", "ingest", "bronze", "silver", "gold", "publish"].iter().position(|s| *s == stage).unwrap_or(9)
}

fn state_name(state: i64) -> &'static str {
    match state {
        s if s == State::Running as i64 => "running",
        s if s == State::Idle as i64 => "idle",
        s if s == State::Drained as i64 => "drained",
        s if s == State::Halted as i64 => "HALTED",
        _ => "starting",
    }
}

/// Shows until `stop`. Ctrl-C or `q` on the live view cancels `quit`.
pub async fn show(
    view: View,
    frame: Frame,
    meters: Meters,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    quit: CancellationToken,
    preview: Preview,
) -> std::io::Result<()> {
    match view {
        View::Plain => plain(frame, meters, clock, stop, preview).await,
        View::Live => {
            // A thread of its own: it lives as long as the process, and a core's permit is for work.
            tokio::task::block_in_place(|| live(&frame, &meters, &*clock, &stop, &quit, &preview))
        }
    }
}

#[allow(clippy::print_stdout, reason = "this is the process's output")]
async fn plain(
    frame: Frame,
    meters: Meters,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    preview: Preview,
) -> std::io::Result<()> {
    println!("{}", frame.title);
    for address in &frame.addresses {
        println!("  {address}");
    }
    let mut rates = Rates::default();
    rates.look(&meters, clock.now().0);
    let (mut before, mut shown) = (Vec::new(), false);
    loop {
        let stopped = tokio::time::timeout(Duration::from_secs(5), stop.cancelled()).await.is_ok();
        let all = rates.look(&meters, clock.now().0);
        for shown in &all {
            // A pipeline that did not move says nothing.
            if before
                .iter()
                .any(|b: &Shown| b.table == shown.table && b.stage == shown.stage && b.rows == shown.rows)
            {
                continue;
            }
            println!(
                "{:<8} {:<34} {:<8} {:>9.0}/s {:>10} rows  v{:<5} lag {:<8} fresh {:>6.1}s  quarantined {}",
                shown.stage,
                shown.table,
                state_name(shown.state),
                shown.per_second,
                shown.rows,
                shown.version,
                shown.lag,
                shown.freshness,
                shown.quarantined
            );
        }
        before = all;
        // Once: a log is no place for a picture that changes.
        if !shown && !preview.text().is_empty() {
            println!("{}", preview.text());
            shown = true;
        }
        if stopped {
            return Ok(());
        }
    }
}

fn live(
    frame: &Frame,
    meters: &Meters,
    clock: &dyn Clock,
    stop: &CancellationToken,
    quit: &CancellationToken,
    preview: &Preview,
) -> std::io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let mut rates = Rates::default();
    let mut all = rates.look(meters, clock.now().0);
    let result = loop {
        if stop.is_cancelled() {
            break Ok(());
        }
        if clock.now().0 - rates.at >= 1_000 {
            all = rates.look(meters, clock.now().0);
        }
        if let Err(error) =
            terminal.draw(|canvas| draw(canvas, frame, &all, &preview.text(), quit.is_cancelled()))
        {
            break Err(error);
        }
        match event::poll(Duration::from_millis(200))
            .and_then(|ready| if ready { event::read().map(Some) } else { Ok(None) })
        {
            Ok(Some(Event::Key(key))) if key.kind == KeyEventKind::Press => {
                let interrupt =
                    key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
                if interrupt || key.code == KeyCode::Char('q') {
                    quit.cancel();
                }
            }
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    ratatui::restore();
    result
}

fn draw(canvas: &mut ratatui::Frame<'_>, frame: &Frame, all: &[Shown], preview: &str, stopping: bool) {
    let head = u16::try_from(frame.addresses.len() + 2).unwrap_or(6);
    let sample =
        if preview.is_empty() { 0 } else { u16::try_from(preview.lines().count() + 1).unwrap_or(10) };
    let heights =
        [Constraint::Length(head), Constraint::Min(6), Constraint::Length(sample), Constraint::Length(1)];
    let [top, middle, below, bottom] = Layout::vertical(heights).areas(canvas.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let dim = Style::new().fg(Color::DarkGray);
    let mut lines = vec![Line::styled(frame.title.clone(), bold)];
    lines.extend(frame.addresses.iter().map(|address| Line::styled(format!("  {address}"), dim)));
    canvas.render_widget(Paragraph::new(lines), top);
    let rows = all.iter().map(|shown| {
        let style = match state_name(shown.state) {
            "HALTED" => Style::new().fg(Color::Red),
            "running" => Style::new(),
            _ => dim,
        };
        Row::new([
            shown.stage.to_owned(),
            shown.table.clone(),
            state_name(shown.state).to_owned(),
            right(format!("{:.0}", shown.per_second), 10),
            right(thousands(shown.rows), 13),
            right(shown.version.to_string(), 8),
            right(thousands(shown.lag.max(0).cast_unsigned()), 11),
            right(if shown.freshness > 0.0 { format!("{:.1} s", shown.freshness) } else { "–".into() }, 10),
            right(shown.quarantined.to_string(), 12),
        ])
        .style(style)
    });
    let widths = [8, 34, 9, 10, 13, 8, 11, 10, 12].map(Constraint::Length);
    let header = [
        "stage",
        "table",
        "state",
        "  events/s",
        "         rows",
        " version",
        "        lag",
        " freshness",
        " quarantined",
    ];
    canvas.render_widget(Table::new(rows, widths).header(Row::new(header).style(bold)), middle);
    canvas.render_widget(
        Paragraph::new(preview.lines().map(|line| Line::raw(line.to_owned())).collect::<Vec<_>>()),
        below,
    );
    let foot = if stopping { "stopping …" } else { "Ctrl-C stops" };
    canvas.render_widget(Paragraph::new(Line::styled(foot, dim)), bottom);
}

fn right(text: String, width: usize) -> String {
    format!("{text:>width$}")
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn the_live_view_shows_each_pipeline_from_source_to_gold() {
        let meters = Meters::new();
        meters.stage("gold", "gold.daily").records_out(1_234_567);
        meters.stage("bronze", "bronze.cdc_orders").state(State::Halted);
        let all = Rates::default().look(&meters, 0);
        let mut terminal = Terminal::new(TestBackend::new(130, 10)).expect("in memory");
        let frame = Frame { title: "wwi on embedded".into(), addresses: vec!["kafka 127.0.0.1:1".into()] };
        terminal.draw(|canvas| draw(canvas, &frame, &all, "", false)).expect("in memory");
        let screen = format!("{}", terminal.backend());
        let (bronze, gold) = (screen.find("bronze.cdc_orders"), screen.find("gold.daily"));
        assert!(bronze.is_some() && bronze < gold, "{screen}");
        assert!(screen.contains("HALTED") && screen.contains("1,234,567"), "{screen}");
    }

    #[test]
    fn a_rate_is_the_difference_between_two_looks() {
        let (meters, mut rates) = (Meters::new(), Rates::default());
        let meter = meters.stage("bronze", "t");
        meter.records_in(100);
        rates.look(&meters, 1_000);
        meter.records_in(500);
        assert!((rates.look(&meters, 3_000)[0].per_second - 250.0).abs() < 1e-9);
    }
}
