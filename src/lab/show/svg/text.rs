//! How much room text takes, and where labels go that must not overlap.
//!
//! Which font a reader has is not known. The widths are those of DejaVu Sans, which is wider than most, so that what fits
//! here fits everywhere.

use super::WIDE;

/// The size of the text, in pixels.
pub(super) const SIZE: f64 = 13.0;

/// The size of a title.
pub(super) const TITLE_SIZE: f64 = 15.0;

/// Bold text is so much wider.
pub(super) const BOLD: f64 = 1.15;

/// From one line to the next.
pub(super) const LINE: f64 = 18.0;

/// Names in a chart of [`WIDE`](super::WIDE) are not longer. The tables have the whole name.
const LONGEST_NAME: usize = 26;

/// Names in a narrower chart.
const SHORT_NAME: usize = 19;

/// The width of `text` in the font of sentences.
pub(super) fn width(text: &str) -> f64 {
    text.chars().map(|c| wide(c).unwrap_or_else(|| narrow(c))).sum::<f64>() * SIZE
}

/// The width of `text` in the font of names, in which all letters are as wide.
pub(super) fn name_width(text: &str) -> f64 {
    text.chars().map(|c| wide(c).unwrap_or(0.61)).sum::<f64>() * SIZE
}

/// The width of letters that take the room of two, such as Chinese ones.
fn wide(c: char) -> Option<f64> {
    (c >= '\u{1100}' && !('\u{2000}'..'\u{2e80}').contains(&c)).then_some(1.05)
}

fn narrow(c: char) -> f64 {
    match c {
        ' ' | '.' | ',' | ':' | ';' | '|' | '\'' | 'i' | 'l' | 'j' | 'I' | '!' => 0.36,
        'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '/' | '-' => 0.42,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.98,
        'A'..='Z' | '×' | '–' => 0.74,
        _ => 0.64,
    }
}

/// A name that is not too long for a chart of this width.
pub(super) fn name(name: &str, chart: f64) -> String {
    let most = if chart < WIDE { SHORT_NAME } else { LONGEST_NAME };
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most - 1).chain(['…']).collect()
}

/// `text` in lines that are not wider than `limit`, at `size` pixels. A word that is wider is broken.
pub(super) fn lines(text: &str, limit: f64, size: f64) -> Vec<String> {
    let width = |text: &str| width(text) * size / SIZE;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}")) <= limit => *line = format!("{line} {word}"),
            _ => lines.push(String::new()),
        }
        if lines.last().is_some_and(String::is_empty) {
            for c in word.chars() {
                if lines.last().is_some_and(|line| !line.is_empty() && width(&format!("{line}{c}")) > limit) {
                    lines.push(String::new());
                }
                lines.last_mut().expect("a line was begun").push(c);
            }
        }
    }
    lines
}

/// Move places apart, so that any two are at least `gap` apart and all lie from `low` to `high` if they fit; each moves as
/// little as that allows. They stay in the order in which they were.
pub(super) fn spread(places: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|&a, &b| places[a].total_cmp(&places[b]));
    let mut blocks: Vec<Block> = Vec::new();
    for &i in &order {
        blocks.push(Block { first: places[i].clamp(low, high), count: 1.0 });
        // Neighbours that would overlap move as one, around the middle of where they want to be.
        while let Some(last) = blocks.last_mut() {
            last.first = last.first.min(high - (last.count - 1.0) * gap).max(low);
            let [.., before, last] = &blocks[..] else { break };
            if before.first + before.count * gap <= last.first {
                break;
            }
            let merged = before.with(last, gap);
            blocks.truncate(blocks.len() - 2);
            blocks.push(merged);
        }
    }
    let mut placed = vec![0.0; places.len()];
    let mut next = low;
    let all = blocks.iter().flat_map(|block| (0..block.count as usize).map(|i| block.first + i as f64 * gap));
    for (&i, place) in order.iter().zip(all) {
        placed[i] = place.max(next);
        next = placed[i] + gap;
    }
    placed
}

struct Block {
    first: f64,
    count: f64,
}

impl Block {
    fn with(&self, other: &Block, gap: f64) -> Block {
        // The middle of a member's wish, if the block began where that member would be first.
        let count = self.count + other.count;
        let wishes = self.first * self.count + (other.first - self.count * gap) * other.count;
        Block { first: wishes / count, count }
    }
}

#[cfg(test)]
mod tests {
    use super::super::NARROW;
    use super::*;

    #[test]
    fn labels_that_have_room_stay_where_they_are() {
        assert_eq!(spread(&[10.0, 90.0, 50.0], 14.0, 0.0, 100.0), [10.0, 90.0, 50.0]);
    }

    #[test]
    fn labels_are_moved_apart_around_where_they_would_be() {
        assert_eq!(spread(&[50.0, 50.0], 10.0, 0.0, 100.0), [45.0, 55.0]);
        assert_eq!(spread(&[0.0, 1.0, 2.0], 10.0, 0.0, 100.0), [0.0, 10.0, 20.0]);
        assert_eq!(spread(&[99.0, 100.0, 98.0], 10.0, 0.0, 100.0), [90.0, 100.0, 80.0]);
    }

    #[test]
    fn labels_never_overlap() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let places: Vec<f64> = (0..random.usize(1..24)).map(|_| random.f64() * 400.0).collect();
            let mut placed = spread(&places, 15.0, 0.0, 400.0);
            placed.sort_by(f64::total_cmp);
            assert!(placed.windows(2).all(|pair| pair[1] - pair[0] > 14.999), "{places:?} {placed:?}");
            assert!(placed[0] >= 0.0 && placed[placed.len() - 1] <= 400.001, "{places:?} {placed:?}");
        }
    }

    #[test]
    fn a_long_text_has_lines_that_fit() {
        let text = "CPU time per request against idle connections, with averyveryverylongwordthatdoesnotfit";
        for line in lines(text, 120.0, SIZE) {
            assert!(width(&line) <= 120.0, "{line}");
        }
        assert_eq!(lines(text, 120.0, SIZE).join("").replace(' ', ""), text.replace(' ', ""));
    }

    #[test]
    fn a_long_name_is_shortened() {
        assert_eq!(name("reuseport-processes", NARROW), "reuseport-processes");
        assert_eq!(name(&"x".repeat(100), WIDE).chars().count(), LONGEST_NAME);
        assert_eq!(name(&"é".repeat(100), NARROW).chars().count(), SHORT_NAME);
    }
}
