//! Draws the live view for a terminal of any size.
//!
//! If space is short, it leaves out in this order: the sample of gold, addresses, columns (see [`columns`]),
//! and last the rows that scroll. The title and the foot always show what is halted, quarantined or warned
//! of.

use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

use super::Border;
use super::rates::{Doing, Shown};

/// Everything to show.
pub struct Picture<'a> {
    pub frame: &'a Border,
    pub all: &'a [Shown],
    /// Some rows of gold. May be empty.
    pub preview: &'a str,
    /// The number of logged lines, and the last of them.
    pub logged: u64,
    pub log: &'a [String],
    /// The first row shown, if not all fit.
    pub from: usize,
    pub stopping: bool,
}

/// Below this height addresses share a line.
const TALL: u16 = 34;

/// A column: header, width, text. A width of 0 takes the remaining space.
struct Column {
    name: &'static str,
    width: usize,
    text: fn(&Shown) -> String,
}
const fn column(name: &'static str, width: usize, text: fn(&Shown) -> String) -> Column {
    Column { name, width, text }
}
const STAGE: Column = column("stage", 7, |shown| shown.stage.to_owned());
const TABLE: Column = column("table", 0, |shown| shown.table.clone());
/// The name without the schema, which is the stage's name.
const SHORT: Column = column("table", 0, |shown| {
    let rest = shown.table.strip_prefix(shown.stage).and_then(|rest| rest.strip_prefix('.'));
    rest.unwrap_or(&shown.table).to_owned()
});
const STATE: Column = column("state", 8, |shown| shown.doing.name().to_owned());
const RATE: Column = column("events/s", 8, |shown| thousands(shown.per_second.round() as u64));
const ROWS: Column = column("rows", 11, |shown| thousands(shown.rows));
const VERSION: Column = column("version", 8, |shown| shown.version.to_string());
const LAG: Column = column("lag", 9, |shown| thousands(shown.lag.max(0).cast_unsigned()));
const FRESH: Column = column("freshness", 9, |shown| span(shown.freshness));
const BAD: Column = column("quarantined", 11, |shown| thousands(shown.quarantined));

/// The columns that fit beside a table's name.
fn columns(width: u16) -> Vec<Column> {
    match width {
        118.. => vec![STAGE, TABLE, STATE, RATE, ROWS, VERSION, LAG, FRESH, BAD],
        100.. => vec![STAGE, SHORT, STATE, RATE, ROWS, LAG, FRESH, BAD],
        76.. => vec![STAGE, SHORT, STATE, RATE, ROWS, LAG, FRESH],
        60.. => vec![STAGE, SHORT, STATE, RATE, ROWS, LAG],
        _ => vec![STAGE, SHORT, STATE, RATE],
    }
}

/// Draws, and returns the largest row that [`Picture::from`] may be.
pub fn draw(canvas: &mut ratatui::Frame<'_>, picture: &Picture<'_>) -> usize {
    let area = canvas.area();
    let (bold, dim) = (Style::new().add_modifier(Modifier::BOLD), Style::new().fg(Color::DarkGray));
    let mut head = vec![title(picture)];
    let width = usize::from(area.width);
    if area.height >= TALL {
        head.extend(picture.frame.addresses.iter().map(|address| format!("  {address}").into()));
        head.push(Line::default());
    } else {
        head.extend(together(&picture.frame.addresses, width).into_iter().map(Line::from));
    }
    head.iter_mut().skip(1).for_each(|line| line.style = dim);
    let log: Vec<Line<'_>> = picture
        .log
        .iter()
        .map(|line| Line::styled(cut(line, width), Style::new().fg(Color::Yellow)))
        .collect();
    let length = |lines: usize| u16::try_from(lines).unwrap_or(u16::MAX);
    let fixed = length(head.len()) + length(log.len()) + 1;
    // The header is a line of the table.
    let room = area.height.saturating_sub(fixed);
    let rows = usize::from(room.saturating_sub(1));
    let (most, from) = (picture.all.len().saturating_sub(rows), picture.from);
    let from = from.min(most);
    let left = rows.saturating_sub(picture.all.len());
    let sample = picture.preview.lines().count() + 1;
    let sample = if picture.preview.is_empty() || sample > left { 0 } else { sample };
    let heights = [
        Constraint::Length(length(head.len())),
        Constraint::Min(1),
        Constraint::Length(length(sample)),
        Constraint::Length(length(log.len())),
        Constraint::Length(1),
    ];
    let [top, middle, below, said, bottom] = Layout::vertical(heights).areas(area);
    canvas.render_widget(Paragraph::new(head), top);
    canvas.render_widget(table(&picture.all[from..], area.width).style(Style::new()), middle);
    if sample > 0 {
        let lines = picture.preview.lines().map(|line| Line::raw(line.to_owned()));
        canvas.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), below);
    }
    canvas.render_widget(Paragraph::new(log), said);
    let foot = foot(picture, from, rows, most);
    canvas.render_widget(Paragraph::new(Line::styled(cut(&foot, width), bold.patch(dim))), bottom);
    most
}

/// The title, with everything that needs a person's attention.
fn title<'a>(picture: &Picture<'a>) -> Line<'a> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut spans = vec![Span::styled(picture.frame.title.clone(), bold)];
    let halted: Vec<&str> =
        picture.all.iter().filter(|s| s.doing == Doing::Halted).map(|s| s.table.as_str()).collect();
    if let [first, rest @ ..] = halted.as_slice() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        spans.push(Span::styled(format!("  HALTED: {first}{more}"), bold.fg(Color::Red)));
    }
    let quarantined: u64 = picture.all.iter().map(|shown| shown.quarantined).sum();
    if quarantined > 0 {
        spans.push(Span::raw(format!("  {} quarantined", thousands(quarantined))));
    }
    Line::from(spans)
}

fn foot(picture: &Picture<'_>, from: usize, rows: usize, most: usize) -> String {
    let mut foot = if picture.stopping { "stopping … (again: at once)" } else { "Ctrl-C stops" }.to_owned();
    if most > 0 {
        let (first, last) = (from + 1, (from + rows).min(picture.all.len()));
        foot += &format!(" · ↑↓ lines {first}–{last} of {}", picture.all.len());
    }
    if picture.logged > 0 {
        foot += &format!(" · {} lines logged, printed at the end", picture.logged);
    }
    foot
}

fn table(all: &[Shown], width: u16) -> Table<'static> {
    let columns = columns(width);
    let taken: usize = columns.iter().map(|column| column.width + 1).sum();
    let longest = all.iter().map(|shown| shown.table.chars().count()).max().unwrap_or(0).max(20);
    let name = usize::from(width).saturating_sub(taken).clamp(8, longest);
    let width_of = |column: &Column| if column.width == 0 { name } else { column.width };
    // Align words to the left, numbers to the right.
    let cell = |column: &Column, text: String| {
        let (text, width) = (cut(&text, width_of(column)), width_of(column));
        if ["stage", "table", "state"].contains(&column.name) { text } else { format!("{text:>width$}") }
    };
    let rows: Vec<Row<'static>> = all
        .iter()
        .map(|shown| {
            let style = match shown.doing {
                Doing::Halted => Style::new().fg(Color::Red),
                Doing::Running => Style::new(),
                _ => Style::new().fg(Color::DarkGray),
            };
            Row::new(columns.iter().map(|column| cell(column, (column.text)(shown))).collect::<Vec<_>>())
                .style(style)
        })
        .collect();
    let header: Vec<String> = columns.iter().map(|column| cell(column, column.name.to_owned())).collect();
    let widths =
        columns.iter().map(|column| Constraint::Length(u16::try_from(width_of(column)).unwrap_or(u16::MAX)));
    Table::new(rows, widths.collect::<Vec<_>>())
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::BOLD)))
}

/// Addresses side by side, on as many lines as necessary.
fn together(addresses: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for address in addresses {
        let address = address.split_whitespace().collect::<Vec<_>>().join(" ");
        match lines.last_mut() {
            Some(line) if line.chars().count() + 3 + address.chars().count() <= width => {
                *line += " · ";
                *line += &address;
            }
            _ => lines.push(cut(&format!("  {address}"), width)),
        }
    }
    lines
}

/// Shortens `text` to `width` characters. Cuts the middle, because names differ at both ends.
fn cut(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - tail..]).take(width).collect()
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "–".to_owned(),
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6_000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3_600.0),
    }
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
    use rstest::rstest;

    use super::*;

    fn shown(stage: &'static str, table: &str) -> Shown {
        Shown {
            stage,
            table: table.to_owned(),
            doing: Doing::Running,
            per_second: 12_345.0,
            rows: 1_234_567,
            version: 9,
            lag: 401,
            freshness: 1.5,
            quarantined: 0,
        }
    }
    /// A project of typical size.
    fn many() -> Vec<Shown> {
        let mut all = vec![shown("source", "10 streams")];
        for i in 0..12 {
            all.push(shown("bronze", &format!("bronze.cdc_customer_transactions_{i}")));
            all.push(shown("silver", &format!("silver.customer_transactions_{i}")));
        }
        all.push(shown("gold", "gold.daily_sales_metrics"));
        all
    }
    fn screen(width: u16, height: u16, all: &[Shown], log: &[String], from: usize) -> (Vec<String>, usize) {
        let frame = Border {
            title: "LakePulse · wwi on embedded".into(),
            addresses: vec![
                "kafka    127.0.0.1:26913".into(),
                "registry http://127.0.0.1:26914".into(),
                "lake     file:///a/rather/long/path/of/some/project/.lakepulse/lake/".into(),
                "metrics  http://127.0.0.1:37757/metrics".into(),
            ],
        };
        let preview = "gold.daily\n+---+\n| 1 |\n+---+";
        let logged = log.len() as u64;
        let picture = Picture { frame: &frame, all, preview, logged, log, from, stopping: false };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("in memory");
        let mut most = 0;
        terminal.draw(|canvas| most = draw(canvas, &picture)).expect("in memory");
        let screen = format!("{}", terminal.backend());
        (screen.lines().map(|line| line.trim_matches('"').to_owned()).collect(), most)
    }

    #[rstest]
    #[case::usual(80, 24)]
    #[case::wide(200, 50)]
    #[case::narrow(60, 20)]
    #[case::tiny(20, 5)]
    fn every_size_has_title_states_rates_and_foot(#[case] width: u16, #[case] height: u16) {
        let (lines, _) = screen(width, height, &many(), &["a warning".to_owned()], 0);
        assert!(lines[0].starts_with("LakePulse"), "{lines:#?}");
        assert!(lines.last().expect("lines").contains("Ctrl-C"), "{lines:#?}");
        if height > 10 {
            let bronze = lines.iter().find(|line| line.contains("bronze")).expect("a table");
            assert!(bronze.contains("running") && bronze.contains("12,345"), "{lines:#?}");
            assert!(lines[lines.len() - 2].contains("a warning"), "{lines:#?}");
        }
    }

    #[test]
    fn at_80_by_24_no_number_is_cut_and_every_table_can_be_scrolled_to() {
        let all = many();
        let (first, most) = screen(80, 24, &all, &[], 0);
        assert!(most > 0);
        assert!(first.iter().any(|line| line.contains("1,234,567") && line.contains("1.5 s")), "{first:#?}");
        let (last, _) = screen(80, 24, &all, &[], most);
        assert!(last.iter().any(|line| line.contains("daily_sales_metrics")), "{last:#?}");
    }

    #[test]
    fn a_halted_table_is_in_the_title_wherever_it_stands_in_the_list() {
        let mut all = many();
        let last = all.last_mut().expect("tables");
        (last.doing, last.quarantined) = (Doing::Halted, 3);
        let (lines, _) = screen(80, 24, &all, &[], 0);
        assert!(lines[0].contains("HALTED: gold.daily_sales_metrics"), "{lines:#?}");
        assert!(lines[0].contains("3 quarantined"), "{lines:#?}");
    }

    #[test]
    fn where_there_is_room_gold_is_sampled_below_and_otherwise_left_out() {
        let sampled = |width, height| {
            screen(width, height, &many(), &[], 0).0.iter().any(|line| line.trim() == "gold.daily")
        };
        assert!(sampled(200, 50) && !sampled(80, 24));
    }

    #[test]
    fn a_long_name_is_cut_in_its_middle() {
        assert_eq!(cut("cdc_customer_transactions", 11), "cdc_c…tions");
        assert_eq!(cut("short", 11), "short");
        assert_eq!(cut("short", 0), "");
    }
}
