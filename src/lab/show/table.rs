//! Tables for a terminal of any width, and as Markdown.

use super::{HARD_SPACE, columns, paint, wrap};
use crate::lab::units::UNKNOWN;
use crate::lab::visible::visible;
use anstyle::Style;

/// Between two columns.
const GAP: &str = "  ";

/// A note that wraps wants so many columns beside its row. Otherwise it stands under it.
const NOTE_WIDTH: usize = 30;

/// What stands under a row is indented by that.
const INDENT: usize = 4;

/// A column is made no wider than that for a cell of it: with wide cells in many rows, the text would grow with the square of what it shows.
const WIDEST: usize = 200;

/// A table whose rows have a name, figures and a note. The most important figures come first. On a narrow terminal the
/// last columns move under their row, each with its name, and none is left out.
#[derive(Debug)]
pub struct Table {
    head: Vec<String>,
    note: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    note: String,
    style: Style,
}

impl Table {
    /// A table without rows: the names of its columns and of the notes. Without any name it has no head.
    #[must_use]
    pub fn new(head: &[&str], note: &'static str) -> Table {
        Table { head: head.iter().map(|&name| name.to_owned()).collect(), note, rows: Vec::new() }
    }

    /// Add a row. One with fewer cells than the table has columns has no figures for the others. A line break in a cell is shown as `\n`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>, note: impl Into<String>, style: Style) {
        let cells = cells.into_iter().map(|cell| visible(&cell)).collect();
        self.rows.push(Row { cells, note: note.into(), style });
    }

    /// The same table, in which no text of others means something in Markdown: see [`plain`].
    #[must_use]
    pub fn plain(&self) -> Table {
        let all = |cells: &[String]| cells.iter().map(|cell| plain(cell)).collect();
        let row = |row: &Row| Row { cells: all(&row.cells), note: plain(&row.note), style: row.style };
        Table { head: all(&self.head), note: self.note, rows: self.rows.iter().map(row).collect() }
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For a terminal: no line is wider than `width`, except for words that are.
    #[must_use]
    pub fn stacked(&self, width: Option<usize>) -> String {
        let layout = self.columns();
        let beside = beside(&layout, width);
        let used = layout[..beside].iter().map(|column| column.width + GAP.len()).sum::<usize>();
        let note_beside = beside == layout.len() && self.has_room_for_notes(used, width);
        let mut text = String::new();
        if self.head.iter().any(|name| !name.is_empty()) {
            let note = if note_beside { self.note } else { "" };
            push_line(&mut text, 0, &(padded(&aligned(&self.head[..beside], &layout), used) + note));
        }
        for row in &self.rows {
            let has_figures = row.cells.len() == layout.len();
            let line = aligned(&row.cells[..beside.min(row.cells.len())], &layout);
            let note = |at| paint(row.style, &wrap(&row.note, width, at, at));
            // In a row without figures the note takes their place.
            let at = if has_figures { used } else { layout[0].width + GAP.len() };
            if row.note.is_empty() {
                push_line(&mut text, 0, &line);
            } else if note_beside || !has_figures {
                push_line(&mut text, 0, &(padded(&line, at) + &note(at)));
            } else {
                push_line(&mut text, 0, &line);
                push_line(&mut text, INDENT, &note(INDENT));
            }
            let under = self.head.iter().zip(&row.cells).skip(beside);
            let under: Vec<_> = under.map(|(name, cell)| together(&format!("{name} {cell}"))).collect();
            if !under.is_empty() {
                push_line(&mut text, INDENT, &wrap(&under.join(", "), width, INDENT, INDENT));
            }
        }
        text
    }

    /// For a file or another program: every column, as wide as it is.
    #[must_use]
    pub fn markdown(&self) -> String {
        let figures = self.columns();
        let note = self.rows.iter().map(|row| columns(&escaped(&row.note))).max().unwrap_or_default();
        let note = Column { width: note.max(columns(self.note)).min(WIDEST), of_numbers: false };
        let layout: Vec<_> = figures.into_iter().chain([note]).collect();
        let line = |cells: Vec<String>| {
            let cells =
                cells.iter().zip(&layout).map(|(cell, column)| format!(" {} |", column.aligned(cell)));
            format!("|{}\n", cells.collect::<String>())
        };
        let rules = layout.iter().map(|column| {
            let end = if column.of_numbers { ":" } else { "-" };
            format!("-{}{end}|", "-".repeat(column.width))
        });
        let head = self.head.iter().map(String::as_str).chain([self.note]);
        let mut text = line(head.map(escaped).collect());
        text += &format!("|{}\n", rules.collect::<String>());
        for row in &self.rows {
            let cells = row.cells.iter().map(String::as_str).chain(std::iter::repeat(UNKNOWN));
            text += &line(cells.take(self.head.len()).chain([row.note.as_str()]).map(escaped).collect());
        }
        text
    }

    fn columns(&self) -> Vec<Column> {
        let column = |(i, name): (usize, &String)| {
            let cells = || self.rows.iter().filter_map(|row| row.cells.get(i));
            let width =
                cells().map(|cell| columns(&escaped(cell))).max().unwrap_or_default().max(columns(name));
            let is_number = |cell: &String| {
                let unsigned = cell.strip_prefix('-').or(cell.strip_prefix("< ")).unwrap_or(cell);
                cell == UNKNOWN || unsigned.starts_with(|c: char| c.is_ascii_digit())
            };
            Column { width: width.min(WIDEST), of_numbers: cells().all(is_number) }
        };
        self.head.iter().enumerate().map(column).collect()
    }

    fn has_room_for_notes(&self, at: usize, width: Option<usize>) -> bool {
        let longest = self.rows.iter().map(|row| columns(&row.note)).max().unwrap_or_default();
        width.is_none_or(|width| at + longest.min(NOTE_WIDTH) <= width)
    }
}

/// A column, as it is drawn.
#[derive(Debug, Clone, Copy)]
struct Column {
    width: usize,
    of_numbers: bool,
}

impl Column {
    /// Words to the left, numbers to the right.
    fn aligned(self, cell: &str) -> String {
        if self.of_numbers { gap(cell, self.width) + cell } else { padded(cell, self.width) }
    }
}

/// With spaces behind it, until it is so wide. (A format string pads to 65,535 columns at most, and panics at more.)
fn padded(text: &str, width: usize) -> String {
    text.to_owned() + &gap(text, width)
}

fn gap(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(columns(text)))
}

/// How many columns fit beside each other; at least the first.
fn beside(layout: &[Column], width: Option<usize>) -> usize {
    let ends = layout.iter().scan(0, |end, column| {
        *end += column.width + GAP.len();
        Some(*end - GAP.len())
    });
    ends.take_while(|&end| width.is_none_or(|width| end <= width)).count().max(1)
}

fn aligned(cells: &[String], layout: &[Column]) -> String {
    let cells: Vec<_> = cells.iter().zip(layout).map(|(cell, column)| column.aligned(cell)).collect();
    cells.join(GAP)
}

fn push_line(text: &mut String, indent: usize, line: &str) {
    *text += &" ".repeat(indent);
    *text += line.trim_end();
    text.push('\n');
}

/// A column's name and its figure, in one line.
fn together(text: &str) -> String {
    text.replace(' ', &HARD_SPACE.to_string())
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|").replace('\n', " ")
}

/// Text that others have written as a code span of Markdown, in which no character means anything: it is shown as it is.
#[must_use]
pub fn code(text: &str) -> String {
    let text = visible(text);
    // The span ends at as many backticks as it began with, and not at fewer or more.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let ticks = "`".repeat(longest + 1);
    // One space at each end belongs to the marks.
    let gap = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{ticks}{gap}{text}{gap}{ticks}")
}

/// Text of others within a sentence or a cell of Markdown, where it is no code: what would begin a tag of HTML, a link, an image or a code
/// span means itself. Text without such characters stays as it is.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = None;
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let is_mark = match c {
            '`' => true,
            '<' => next.is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?')),
            '(' | '[' => before == Some(']'),
            '\\' => next.is_some_and(|next| next.is_ascii_punctuation()),
            _ => false,
        };
        if is_mark {
            plain.push('\\');
        }
        plain.push(c);
        before = Some(c);
    }
    plain
}

/// A name in Markdown: as it is, unless it has characters that may mean something.
#[must_use]
pub fn name(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '/');
    let ends = text.starts_with(char::is_alphanumeric) && text.ends_with(char::is_alphanumeric);
    if ends && text.chars().all(is_plain) { text.to_owned() } else { code(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["model", "requests/s", "p99", "memory"], "note");
        let cells = ["epoll", "152,056", "939 µs", "3.0 MiB"];
        table.row(cells.map(str::to_owned), "the baseline", Style::new());
        table.row(["blocking".to_owned()], "skipped: one client at a time, and 64 are needed", Style::new());
        table
    }

    #[test]
    fn all_columns_stand_beside_each_other_where_they_fit() {
        let expected = "\
model     requests/s     p99   memory  note
epoll        152,056  939 µs  3.0 MiB  the baseline
blocking  skipped: one client at a time, and 64 are needed
";
        assert_eq!(table().stacked(None), expected);
        assert_eq!(table().stacked(Some(80)), expected);
    }

    #[test]
    fn columns_without_room_stand_under_their_row_with_their_names() {
        let expected = "\
model     requests/s     p99
epoll        152,056  939 µs
    the baseline
    memory 3.0 MiB
blocking  skipped: one client
          at a time, and 64
          are needed
";
        assert_eq!(table().stacked(Some(30)), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_nothing_is_left_out() {
        for width in 20..100 {
            let text = table().stacked(Some(width));
            assert!(text.lines().all(|line| columns(line) <= width), "{width}: {text}");
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in ["152,056", "939 µs", "3.0 MiB", "the baseline", "are needed"] {
                assert!(words.contains(part), "{width}: {part} in {text}");
            }
        }
    }

    #[test]
    fn a_long_note_wraps_beside_its_row() {
        let mut table = Table::new(&[""], "");
        table.row(["id".to_owned()], "a claim of several words that is longer than a line", Style::new());
        assert_eq!(table.stacked(Some(36)), "id  a claim of several words that is\n    longer than a line\n");
    }

    #[test]
    fn markdown_has_all_columns_and_escapes_bars() {
        let mut table = table();
        table.row(["a|b".to_owned()], "two\nlines", Style::new());
        let expected = "\
| model    | requests/s |    p99 |  memory | note                                             |
|----------|-----------:|-------:|--------:|--------------------------------------------------|
| epoll    |    152,056 | 939 µs | 3.0 MiB | the baseline                                     |
| blocking |          – |      – |       – | skipped: one client at a time, and 64 are needed |
| a\\|b     |          – |      – |       – | two lines                                        |
";
        assert_eq!(table.markdown(), expected);
    }

    #[test]
    fn cells_of_any_length_are_drawn_and_widen_a_table_no_further_than_a_page() {
        let mut table = table();
        table.row(["x".repeat(70_000), "1".repeat(70_000)], "y".repeat(70_000), Style::new());
        for text in [table.stacked(None), table.stacked(Some(80)), table.markdown()] {
            assert!(text.contains(&"x".repeat(70_000)) && text.contains(&"y".repeat(70_000)));
            assert!(text.lines().filter(|line| line.len() > 2000).count() <= 3, "only what is long is long");
        }
    }

    #[test]
    fn a_cell_cannot_begin_a_line() {
        let mut table = table();
        table.row(["mine\nEverything is as it should be.\t".to_owned()], "", Style::new());
        for text in [table.stacked(Some(80)), table.markdown()] {
            assert!(text.contains(r"mine\nEverything is as it should be.\t"), "{text}");
        }
    }

    #[test]
    fn text_of_others_means_nothing_in_a_sentence_of_markdown() {
        let is_shown_as_it_is =
            ["epoll-level (A/A)", "0.98 [0.97–0.99]", "< 2 %", "a*b_c", r"\u{1b}[2J", "1 < 2", "f(x)[0]"];
        for text in is_shown_as_it_is {
            assert_eq!(plain(text), text);
        }
        assert_eq!(plain("[x](javascript:y) ![x][y]"), r"[x]\(javascript:y) ![x]\[y]");
        assert_eq!(plain("<img src=x> </td> <!-- <?"), r"\<img src=x> \</td> \<!-- \<?");
        assert_eq!(plain(r"`a` \<b> \"), r"\`a\` \\\<b> \");
    }

    #[test]
    fn text_of_others_is_code_that_does_not_end_early() {
        assert_eq!(code("a *b* <i> \\ |"), r"`a *b* <i> \ |`");
        assert_eq!(code("`a` and ``"), "``` `a` and `` ```");
        assert_eq!(code("two\n\nlines\x1b"), r"`two\n\nlines\u{1b}`");
        assert_eq!(name("go-1.22_x"), "go-1.22_x");
        assert_eq!(name("_mine_"), "`_mine_`");
        assert_eq!(name("<b>"), "`<b>`");
    }
}
