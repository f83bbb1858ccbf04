//! Tables for a terminal of any width, and as Markdown.

use super::{columns, paint, wrap};
use crate::lab::units::UNKNOWN;
use anstyle::Style;

/// Between two columns.
const GAP: usize = 2;

/// A note that wraps wants so many columns beside its row. Otherwise it stands under it.
const NOTE_WIDTH: usize = 30;

/// What stands under a row is indented by that.
const INDENT: usize = 4;

/// Rows of a name, figures and a note. The figures that decide come first: on a narrow terminal the last ones move under
/// their row, each with its column's name, and none is left out.
#[derive(Debug)]
pub struct Table {
    head: Vec<&'static str>,
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
    pub fn new(head: &[&'static str], note: &'static str) -> Table {
        Table { head: head.to_vec(), note, rows: Vec::new() }
    }

    /// Add a row. One with fewer cells than the table has columns has no figures for the others.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>, note: impl Into<String>, style: Style) {
        self.rows.push(Row { cells: cells.into_iter().collect(), note: note.into(), style });
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For a terminal: no line is wider than `width`, except for words that are.
    #[must_use]
    pub fn stacked(&self, width: Option<usize>) -> String {
        let widths = self.widths();
        let beside = self.beside(&widths, width);
        let used = widths[..beside].iter().sum::<usize>() + GAP * (beside - 1);
        let note_beside = beside == widths.len() && self.has_room_for_notes(used + GAP, width);
        let mut text = String::new();
        if self.head.iter().any(|name| !name.is_empty()) {
            let head: Vec<_> = self.head.iter().map(|&name| name.to_owned()).collect();
            let note = if note_beside { self.note } else { "" };
            push_line(&mut text, &format!("{}  {note}", aligned(&head[..beside], &widths)));
        }
        for row in &self.rows {
            let cells = &row.cells[..beside.min(row.cells.len())];
            let line = aligned(cells, &widths);
            let note = |first, rest| paint(row.style, &wrap(&row.note, width, first, rest));
            if row.note.is_empty() {
                push_line(&mut text, &line);
            } else if note_beside && row.cells.len() == widths.len() {
                let first = used + GAP;
                push_line(&mut text, &format!("{line:<used$}  {}", note(first, first)));
            } else if row.cells.len() < widths.len() {
                // No figures: the note takes their place.
                let first = widths[0] + GAP;
                push_line(&mut text, &format!("{line:<name$}  {}", note(first, first), name = widths[0]));
            } else {
                push_line(&mut text, &line);
                push_line(&mut text, &format!("{:INDENT$}{}", "", note(INDENT, INDENT)));
            }
            let under: Vec<_> = self
                .head
                .iter()
                .zip(&row.cells)
                .skip(beside)
                .map(|(name, cell)| format!("{name} {cell}"))
                .collect();
            if !under.is_empty() {
                let under = wrap(&under.join(", "), width, INDENT, INDENT);
                push_line(&mut text, &format!("{:INDENT$}{under}", ""));
            }
        }
        text
    }

    /// For a file or another program: every column, as wide as it is.
    #[must_use]
    pub fn markdown(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let cells = row.cells.iter().map(String::as_str).chain(std::iter::repeat(UNKNOWN));
            cells.take(self.head.len()).chain([row.note.as_str()]).map(escaped).collect::<Vec<_>>()
        });
        let head = self.head.iter().chain([&self.note]).map(|name| escaped(name)).collect();
        let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
        let widest = |i: usize| lines.iter().map(|line| columns(&line[i])).max().unwrap_or_default();
        let widths: Vec<_> = (0..=self.head.len()).map(widest).collect();
        let last = self.head.len();
        let mut text = String::new();
        for (i, line) in lines.iter().enumerate() {
            for (i, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                text += &match i {
                    0 => format!("| {cell:<width$} |"),
                    _ if i == last => format!(" {cell:<width$} |"),
                    _ => format!(" {cell:>width$} |"),
                };
            }
            text.push('\n');
            if i == 0 {
                let rules = widths.iter().enumerate().map(|(i, width)| {
                    let right = i > 0 && i < last;
                    format!("{}{}|", "-".repeat(width + 1), if right { ":" } else { "-" })
                });
                text += &format!("|{}\n", rules.collect::<String>());
            }
        }
        text
    }

    /// The width of each column.
    fn widths(&self) -> Vec<usize> {
        let cell = |row: &Row, i: usize| row.cells.get(i).map_or(0, |cell| columns(cell));
        let widest = |i: usize| self.rows.iter().map(|row| cell(row, i)).max().unwrap_or_default();
        self.head.iter().enumerate().map(|(i, name)| widest(i).max(columns(name))).collect()
    }

    /// How many columns fit beside each other; at least the first.
    fn beside(&self, widths: &[usize], width: Option<usize>) -> usize {
        let ends = widths.iter().scan(0, |end, width| {
            *end += width + GAP;
            Some(*end - GAP)
        });
        ends.take_while(|&end| width.is_none_or(|width| end <= width)).count().max(1)
    }

    fn has_room_for_notes(&self, first: usize, width: Option<usize>) -> bool {
        let longest = self.rows.iter().map(|row| columns(&row.note)).max().unwrap_or_default();
        width.is_none_or(|width| first + longest.min(NOTE_WIDTH) <= width)
    }
}

/// Names to the left, figures to the right.
fn aligned(cells: &[String], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).enumerate().map(|(i, (cell, &width))| match i {
        0 => format!("{cell:<width$}"),
        _ => format!("{:GAP$}{cell:>width$}", ""),
    });
    cells.collect()
}

fn push_line(text: &mut String, line: &str) {
    *text += line.trim_end();
    text.push('\n');
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|")
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
        table.row(["a|b".to_owned()], "", Style::new());
        let expected = "\
| model    | requests/s |    p99 |  memory | note                                             |
|----------|-----------:|-------:|--------:|--------------------------------------------------|
| epoll    |    152,056 | 939 µs | 3.0 MiB | the baseline                                     |
| blocking |          – |      – |       – | skipped: one client at a time, and 64 are needed |
| a\\|b     |          – |      – |       – |                                                  |
";
        assert_eq!(table.markdown(), expected);
    }
}
