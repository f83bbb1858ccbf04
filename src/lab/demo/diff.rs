//! How two programs differ, line by line.

use super::Sources;

/// Unchanged lines before and behind changed ones.
const AROUND: usize = 2;

/// The lines of both programs, those of the broken one alone with `-`, those of the mended one alone with `+`. Of what is the same in both,
/// only the lines beside a change are there. A line that differs in its indentation alone is the same.
#[must_use]
pub fn diff(sources: &Sources) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (sources.broken.lines().collect(), sources.mended.lines().collect());
    let is_same = |i: usize, j: usize| old[i].trim() == new[j].trim();
    // The length of the longest common subsequence of what is left from line i and line j on.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match is_same(i, j) {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && is_same(i, j) {
            lines.push((' ', new[j]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    let is_near = |at: usize| {
        let near = at.saturating_sub(AROUND)..lines.len().min(at + AROUND + 1);
        lines[near].iter().any(|(sign, _)| *sign != ' ')
    };
    let mut text = String::new();
    let mut is_left_out = false;
    for (at, (sign, line)) in lines.iter().enumerate() {
        if is_near(at) {
            if is_left_out && !text.is_empty() {
                text += "  …\n";
            }
            text += format!("{sign} {line}").trim_end();
            text.push('\n');
        }
        is_left_out = !is_near(at);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_program_are_marked_and_distant_ones_left_out() {
        let broken = "a\nb\nc\nd\nold\ne\nf\ng\nh\ni\nj\n";
        let mended = "a\nb\nc\nd\nnew\nnewer\n  e\nf\ng\nh\ni\nlast\n";
        let expected = "  c\n  d\n- old\n+ new\n+ newer\n    e\n  f\n  …\n  h\n  i\n- j\n+ last\n";
        assert_eq!(diff(&Sources { broken, mended }), expected);
    }
}
