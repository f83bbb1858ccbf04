//! Text for people: lines with a label, lists and tables that fit a terminal, and the colour of what is wrong.
//!
//! Lines wrap at words to the width that they are given. Off a terminal there is no width, and each line stays whole:
//! programs such as grep(1) read lines. Colours are escape sequences, which `anstream` removes where the output is no terminal.

pub mod csv;
pub mod html;
pub mod junit;
mod load;
mod merged;
pub mod svg;
pub mod check;
pub mod compare;
pub mod demo;
mod doctor;
mod trace;
mod table;

pub use table::{Table, code, name, plain};

use anstyle::{AnsiColor, Style};
use unicode_linebreak::linebreaks;
use unicode_width::UnicodeWidthChar;

/// For what is wrong: a fact that differs, a lost connection, an exceeded limit.
pub const WRONG: Style = AnsiColor::Red.on_default();

/// For what was not measured or checked, and for warnings.
pub const DOUBTFUL: Style = AnsiColor::Yellow.on_default();

/// Where the text of a [`Page::line`] begins.
const LABEL_WIDTH: usize = 17;

/// A space that stays within its line.
const HARD_SPACE: char = '\u{a0}';

/// Units, which stay in the line of their number.
const UNITS: [&str; 9] = ["µs", "ms", "s", "B", "KiB", "MiB", "GiB", "%", "bytes"];

/// `text` in that colour.
#[must_use]
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// `text` in that colour if `condition`, else as it is.
#[must_use]
pub fn paint_if(condition: bool, style: Style, text: String) -> String {
    if condition { paint(style, &text) } else { text }
}

/// How many columns of a terminal `text` takes: a Chinese character takes two.
#[must_use]
pub fn columns(text: &str) -> usize {
    let mut columns = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            // A colour: up to its final letter.
            '\x1b' => drop(chars.find(char::is_ascii_alphabetic)),
            _ => columns += c.width().unwrap_or(1),
        }
    }
    columns
}

/// `text` wrapped at words, without a newline at its end. The first line begins after `first` columns, which are not
/// written; the others are indented by `rest`. A word that is longer than a line is not broken, so that paths and
/// commands can be copied; Chinese, which has no spaces, is broken between characters where its rules allow that. A
/// `HARD_SPACE` is written as a space, and no line ends there.
#[must_use]
pub fn wrap(text: &str, width: Option<usize>, first: usize, rest: usize) -> String {
    let mut wrapped = String::new();
    let mut column = first;
    for word in words(text) {
        for (i, piece) in pieces(&word).into_iter().enumerate() {
            let gap = if i == 0 { " " } else { "" };
            let long = columns(piece);
            if wrapped.is_empty() {
                // The first word stays where it is.
            } else if width.is_some_and(|width| column + gap.len() + long > width) {
                wrapped = wrapped + "\n" + &" ".repeat(rest);
                column = rest;
            } else {
                wrapped += gap;
                column += gap.len();
            }
            wrapped += piece;
            column += long;
        }
    }
    wrapped.replace(HARD_SPACE, " ")
}

/// The parts of a word between which a line may end: beside Chinese characters, except before a comma, for example.
fn pieces(word: &str) -> Vec<&str> {
    let is_wide = |c: Option<char>| c.and_then(char::width).is_some_and(|columns| columns > 1);
    if !word.chars().any(|c| is_wide(Some(c))) {
        return vec![word];
    }
    let ends = linebreaks(word).map(|(end, _)| end);
    let mut ends: Vec<_> = ends
        .filter(|&end| is_wide(word[..end].chars().next_back()) || is_wide(word[end..].chars().next()))
        .collect();
    ends.push(word.len());
    ends.dedup();
    let begins = [0].into_iter().chain(ends.iter().copied());
    begins.zip(&ends).map(|(begin, &end)| &word[begin..end]).collect()
}

/// The words of `text`; a number and its unit are one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split([' ', '\n']).filter(|word| !word.is_empty()) {
        let before_chinese = word.split(|c: char| c.width() > Some(1)).next().unwrap_or_default();
        let is_unit = UNITS.contains(&before_chinese.trim_end_matches([',', ';', ':', '.', ')', ']']));
        match words.last_mut() {
            Some(number) if is_unit && number.ends_with(|c: char| c.is_ascii_digit() || c == '–') => {
                *number = format!("{number}{HARD_SPACE}{word}");
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// A report, written from its first line to its last, each within a width.
#[derive(Debug)]
pub struct Page {
    width: Option<usize>,
    text: String,
}

impl Page {
    /// An empty page. Without a width its lines do not wrap.
    #[must_use]
    pub fn new(width: Option<usize>) -> Page {
        Page { width, text: String::new() }
    }

    /// What was written.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    /// A sentence at the margin.
    pub fn paragraph(&mut self, text: &str) {
        self.indented(0, 0, text);
    }

    /// A sentence that begins after `first` columns and goes on after `rest`.
    pub fn indented(&mut self, first: usize, rest: usize, text: &str) {
        self.text += &" ".repeat(first);
        self.text += &wrap(text, self.width, first, rest);
        self.text.push('\n');
    }

    /// A label, and beside it the text: `  requests       9,000 sent, 9,000 answered`.
    pub fn line(&mut self, label: &str, text: impl AsRef<str>) {
        let label = format!("  {label}{} ", " ".repeat((LABEL_WIDTH - 3).saturating_sub(columns(label))));
        self.text += &label;
        self.text += &wrap(text.as_ref(), self.width, columns(&label), LABEL_WIDTH);
        self.text.push('\n');
    }

    /// A line that belongs to the one before.
    pub fn more(&mut self, text: impl AsRef<str>) {
        self.line("", text);
    }

    /// An entry of a list.
    pub fn item(&mut self, text: &str) {
        self.indented(4, 6, text);
    }

    /// A table, whose columns that have no room stand under their row.
    pub fn table(&mut self, table: &Table) {
        self.text += &table.stacked(self.width);
    }

    /// An empty line.
    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Text that is already laid out.
    pub fn push(&mut self, text: &str) {
        self.text += text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wrap_at_words_under_their_own_beginning() {
        let mut page = Page::new(Some(40));
        page.line("requests", "9,000 sent, 9,000 answered, 12 without an answer");
        let expected = "  requests       9,000 sent, 9,000\n                 answered, 12 without an\n                 answer\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn a_line_may_be_exactly_as_wide_as_the_terminal() {
        assert_eq!(wrap("1234 6789", Some(9), 0, 0), "1234 6789");
        assert_eq!(wrap("1234 6789", Some(8), 0, 2), "1234\n  6789");
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        assert_eq!(wrap("p50 1.20 ms, p99 3 s", Some(11), 0, 0), "p50\n1.20 ms,\np99 3 s");
    }

    #[test]
    fn a_word_longer_than_the_line_is_not_broken() {
        assert_eq!(wrap("see /a/very/long/path now", Some(8), 0, 2), "see\n  /a/very/long/path\n  now");
    }

    #[test]
    fn without_a_width_nothing_wraps() {
        assert_eq!(wrap(&"word ".repeat(100), None, 0, 0), "word ".repeat(100).trim_end());
    }

    #[test]
    fn chinese_wraps_between_characters_and_not_before_its_punctuation() {
        assert_eq!(columns("服务端 a"), 8);
        assert_eq!(wrap("客户端连接，得到应答。", Some(10), 0, 0), "客户端连\n接，得到应\n答。");
        assert_eq!(wrap("客户端连接，得到应答。", None, 0, 0), "客户端连接，得到应答。");
        // Names stay whole, and a number with its unit.
        assert_eq!(wrap("在epoll_wait中等待", Some(11), 0, 2), "在\n  epoll_wait\n  中等待");
        assert_eq!(wrap("等待 100 ms，再读", Some(9), 0, 0), "等待\n100 ms，\n再读");
        let mut page = Page::new(Some(30));
        page.line("要求", "客户端收到每一个字节。");
        assert_eq!(page.into_text(), "  要求           客户端收到每\n                 一个字节。\n");
    }

    #[test]
    fn colours_take_no_room() {
        let text = paint(WRONG, "3 lost");
        assert_eq!(columns(&text), 6);
        assert_eq!(wrap(&format!("12 {text}"), Some(9), 0, 0), format!("12 {text}"));
    }
}
