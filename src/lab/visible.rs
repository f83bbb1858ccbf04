//! Text that others have written, made safe to show: a terminal would obey its control characters.
//!
//! What servers say and what result files hold passes through here before it becomes part of a report or a message.

use serde_json::Value;

/// Replace each control character by its escape in a Rust string, such as `\u{1b}`. XML may not hold them either.
#[must_use]
pub fn visible(text: &str) -> String {
    replaced(text, char::is_control)
}

/// The same for all strings of a document, its keys included. Line breaks and tabs stay: a command of several lines, which a
/// result holds to be run again, needs them.
#[must_use]
pub fn visible_json(value: Value) -> Value {
    let text = |text: String| replaced(&text, |c| c.is_control() && !matches!(c, '\n' | '\t'));
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(values) => values.into_iter().map(visible_json).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(key, value)| (text(key), visible_json(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
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

    proptest! {
        #[test]
        fn no_text_keeps_a_control_character(text in "(.|\\p{Cc}){0,40}") {
            let shown = visible(&text);
            prop_assert!(!shown.contains(char::is_control), "{shown:?}");
            prop_assert_eq!(visible(&shown), shown.clone(), "what is shown is shown as it is");
        }
    }
}
