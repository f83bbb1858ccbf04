//! The conversation of a check, for people to read when it failed.

/// Lines that are kept from the beginning, and from the end.
const FIRST: usize = 6;
const LAST: usize = 10;

/// What was said, in order. Of a long conversation the middle is left out.
#[derive(Debug, Default)]
pub(super) struct Log {
    first: Vec<String>,
    last: std::collections::VecDeque<String>,
    left_out: usize,
}

impl Log {
    pub(super) fn push(&mut self, line: String) {
        if self.first.len() < FIRST {
            return self.first.push(line);
        }
        self.last.push_back(line);
        if self.last.len() > LAST {
            self.last.pop_front();
            self.left_out += 1;
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        let mut lines = self.first;
        if self.left_out > 0 {
            lines.push(format!("({} more)", self.left_out));
        }
        lines.extend(self.last);
        lines
    }
}

/// Bytes as people read them: the first of them, quoted, and how many there are.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 24;
    let quoted = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    match bytes.len() {
        ..=SHOWN => format!("\"{quoted}\""),
        n => format!("{n} bytes \"{quoted}...\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_conversation_the_beginning_and_the_end_are_kept() {
        let mut log = Log::default();
        (0..100).for_each(|i| log.push(i.to_string()));
        let lines = log.into_lines();
        assert_eq!(lines.len(), FIRST + 1 + LAST);
        assert_eq!((lines[0].as_str(), lines[FIRST].as_str()), ("0", "(84 more)"));
        assert_eq!(lines.last().map(String::as_str), Some("99"));
    }

    #[test]
    fn bytes_are_quoted_and_cut() {
        assert_eq!(shown(b"a\0\xff\n"), r#""a\x00\xff\n""#);
        assert_eq!(shown(&[b'a'; 100]), "100 bytes \"aaaaaaaaaaaaaaaaaaaaaaaa...\"");
    }
}
