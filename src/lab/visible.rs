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

/// Characters that change the order of others, or that nobody sees: Unicode's bidirectional controls (Standard Annex 9), spaces without a
/// width, joiners, and the byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
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
            prop_assert!(!shown.contains(|c: char| c.is_control() || is_invisible(c)), "{shown:?}");
            prop_assert!(!shown.contains(['\u{200e}', '\u{202d}', '\u{2067}', '\u{61c}', '\u{2060}']), "{shown:?}");
            prop_assert_eq!(visible(&shown), shown.clone(), "what is shown is shown as it is");
        }
    }
}
