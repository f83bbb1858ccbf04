//! English that was left in Chinese.

/// More words than that in a row are a sentence, unless they are a name.
const MOST_WORDS: usize = 3;

/// Names that are longer, and messages of the system.
const NAMES: [&str; 4] = [
    "UNIX Network Programming",
    "Level-triggered and edge-triggered",
    "Interruption of system calls and library functions by stop signals",
    "Address already in use",
];

/// What is left in English in a text without code and links.
pub(super) fn leftovers(text: &str) -> Vec<String> {
    let text = NAMES.iter().fold(text.to_owned(), |text, name| text.replace(name, "`"));
    // Only blanks and commas are between the words of a part of a sentence.
    let parts = text.split(|c: char| !c.is_ascii_alphabetic() && !matches!(c, ' ' | ',' | '\'' | '-'));
    let words = |part: &str| part.split([' ', ',']).filter(|word| is_word(word)).count();
    let mut found: Vec<_> = parts
        .filter(|part| words(part) > MOST_WORDS)
        .map(|part| format!("{:?}", part.trim_matches([' ', ','])))
        .collect();
    let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    let words = text.split_whitespace().filter(|word| is_word(word.trim_end_matches(['.', ',', ':', ';'])));
    if found.is_empty() && words.count() > 2 && !text.chars().any(is_chinese) {
        found.push(format!("no Chinese in {text:?}"));
    }
    found
}

/// Whether it is a word and not the name of a call, a constant or an abbreviation.
fn is_word(word: &str) -> bool {
    let is_lower = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '\'');
    is_lower(word)
        || word.starts_with(|c: char| c.is_ascii_uppercase()) && (word.len() == 1 || is_lower(&word[1..]))
}

#[test]
fn a_sentence_that_was_left_in_english_is_found() {
    for fine in [
        "服务端没有调用 accept 和 recv，也没有 SO_REUSEADDR。",
        "见 UNIX Network Programming 第 3 版。",
        "select、poll 和 epoll",
        "epoll-level",
        "Linux 6.18 x86_64, Intel(R) Xeon(R)",
        "1.00",
    ] {
        assert_eq!(leftovers(fine), Vec::<String>::new(), "{fine}");
    }
    assert_eq!(
        leftovers("服务端 waits until the client reads，然后继续。"),
        ["\"waits until the client reads\""]
    );
    assert_eq!(leftovers("The server waits."), ["no Chinese in \"The server waits.\""]);
}

#[test]
fn english_is_found_in_a_paragraph_a_list_a_table_and_a_heading_and_not_in_code_and_links() {
    let english = "it was left in English";
    let found = |text: &str| {
        let page = super::Page::of("docs/zh/page.md", text);
        let paragraphs = page.sections.iter().flat_map(|section| &section.paragraphs);
        paragraphs.flat_map(|text| leftovers(text)).count()
    };
    for (text, count) in [
        (format!("# 标题\n\n中文，{english}。\n"), 1),
        (format!("- 中文\n- 中文 {english}\n"), 1),
        (format!("| 中 | 文 |\n|---|---|\n| 中 | {english} |\n"), 1),
        (format!("## {english}\n"), 1),
        (format!("中文 `{english}`，[{english}](page.md)。\n\n```text\n{english}\n```\n"), 0),
    ] {
        assert_eq!(found(&text), count, "{text}");
    }
}
