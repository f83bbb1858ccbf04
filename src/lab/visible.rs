//! Text that others have written, made safe to show: a terminal would obey its control characters, and a terminal or a page would
//! draw text in another order where Unicode's bidirectional characters say so.
//!
//! What servers say and what result files hold passes through here before it becomes part of a report or a message.

use serde_json::Value;

/// Replace each control character and each character without a shape by its escape in a Rust string, such as `\u{1b}`. XML may not hold
/// control characters either.
#[must_use]
pub fn visible(text: &str) -> String {
    replaced(text, |c| c.is_control() || is_invisible(c))
}

/// The same for all strings of a document, its keys included. Line breaks and tabs stay: a command of several lines, which a
/// result holds to be run again, needs them.
#[must_use]
pub fn visible_json(value: Value) -> Value {
    let is_replaced = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || is_invisible(c);
    let text = |text: String| replaced(&text, is_replaced);
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(values) => values.into_iter().map(visible_json).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(key, value)| (text(key), visible_json(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Characters that change the order of others, that nobody sees, or that end a line: the format characters of Unicode that are not part of a
/// script (bidirectional controls of Standard Annex 9, spaces without a width, joiners, the byte order mark, tags, annotations), its line
/// and paragraph separators, and fillers.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn replaced(text: &str, is_replaced: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_replaced(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn control_characters_are_escaped_and_other_characters_stay() {
        assert_eq!(visible("\x1b[31mred\x07\u{9b}é\x7f"), r"\u{1b}[31mred\u{7}\u{9b}é\u{7f}");
        assert_eq!(visible("a\r\n\tb"), r"a\r\n\tb");
        let document = json!({ "a\x1b": ["\x1b[2J", { "b": "two\n\tlines\r" }, 1, null, true] });
        let shown = json!({ r"a\u{1b}": [r"\u{1b}[2J", { "b": "two\n\tlines\\r" }, 1, null, true] });
        assert_eq!(visible_json(document), shown);
    }

    #[test]
    fn what_changes_the_order_of_text_and_what_nobody_sees_is_escaped() {
        assert_eq!(visible("a\u{202e}cba\u{2069}"), r"a\u{202e}cba\u{2069}");
        assert_eq!(visible("\u{feff}zero\u{200b}width"), r"\u{feff}zero\u{200b}width");
        // A soft hyphen, separators of lines and paragraphs, fillers and a tag.
        for unseen in
            "\u{ad}\u{34f}\u{115f}\u{17b4}\u{180e}\u{2028}\u{2029}\u{3164}\u{ffa0}\u{fff9}\u{e0041}".chars()
        {
            assert_eq!(visible(&format!("a{unseen}b")), format!("a{}b", unseen.escape_default()));
        }
        // Letters that are written from right to left stay, and so do accents that are characters of their own.
        assert_eq!(visible("שלום مرحبا e\u{301}"), "שלום مرحبا e\u{301}");
        assert_eq!(
            visible_json(json!({ "\u{200f}": "\u{2066}a\n" })),
            json!({ r"\u{200f}": "\\u{2066}a\n" })
        );
    }

    proptest! {
        #[test]
        fn no_text_keeps_a_character_that_a_terminal_obeys(text in "(.|\\p{Cc}|\\p{Cf}){0,40}") {
            let shown = visible(&text);
            prop_assert!(!shown.contains(char::is_control), "{shown:?}");
            prop_assert_eq!(visible(&shown), shown.clone(), "what is shown is shown as it is");
        }

        /// Those that are left out stand before or over numbers and letters of their script, and are seen.
        #[test]
        fn no_format_character_of_unicode_stays(
            text in r"[\p{Cf}--[\x{600}-\x{605}\x{6dd}\x{70f}\x{890}\x{891}\x{8e2}\x{110bd}\x{110cd}\x{13430}-\x{1343f}]]{1,40}"
        ) {
            let shown = visible(&text);
            prop_assert!(shown.is_ascii(), "{shown:?}");
        }
    }
}
