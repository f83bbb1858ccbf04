//! A page as what another language may not change, and what it must.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::path::{Component, Path, PathBuf};

/// A page of Markdown.
#[derive(Debug)]
pub(super) struct Page {
    /// What is before the first heading, and then a section for each.
    pub(super) sections: Vec<Section>,
    /// Where its links and pictures lead, as they are written.
    pub(super) targets: Vec<String>,
}

/// A part of a page, from one heading to the next. What another language may put in another order is sorted.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) heading: String,
    pub(super) level: usize,
    /// How many columns each row of a table has.
    pub(super) columns: Vec<String>,
    /// The lines of blocks of code, without comments. A line that a program printed is empty, because its explanation stands beside it.
    pub(super) blocks: Vec<String>,
    pub(super) code_blocks: Vec<Block>,
    /// Where links and pictures lead, seen from the root; a translation counts as its original.
    pub(super) links: Vec<String>,
    pub(super) code: Vec<String>,
    pub(super) numbers: Vec<String>,
    /// The tags of HTML.
    pub(super) tags: Vec<String>,
    /// What people read, without the text of links, and with a mark in the place of code: paragraphs, headings and cells of tables.
    pub(super) paragraphs: Vec<String>,
}

/// A block of code.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) language: String,
    pub(super) lines: Vec<String>,
}

impl Page {
    /// The page at that place, to which its links are relative.
    pub(super) fn of(place: &str, text: &str) -> Page {
        let mut page = Page { sections: vec![Section::default()], targets: Vec::new() };
        let (mut block, mut in_heading, mut links) = (None, false, 0);
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            if let Event::Start(Tag::Heading { level, .. }) = event {
                page.sections.push(Section { level: level as usize, ..Section::default() });
                in_heading = true;
            }
            let section = page.sections.last_mut().expect("it has one from the start");
            match event {
                Event::End(TagEnd::Heading(_)) => in_heading = false,
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    block = Some(Block { language, ..Block::default() });
                }
                Event::End(TagEnd::CodeBlock) => {
                    let block = block.take().expect("it was begun");
                    section.blocks.extend(block.lines.iter().map(|line| command(line, &block.language)));
                    section.code_blocks.push(block);
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    links += 1;
                    section.links.push(from_the_root(&dest_url, place));
                    page.targets.push(dest_url.into_string());
                }
                Event::End(TagEnd::Link | TagEnd::Image) => links -= 1,
                Event::Start(Tag::TableHead | Tag::TableRow) => section.columns.push(String::new()),
                Event::Text(text) => match &mut block {
                    Some(block) => block.lines.extend(text.lines().map(str::to_owned)),
                    None => section.read(&text, in_heading, links > 0),
                },
                Event::Code(text) => {
                    section.code.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
                    section.paragraphs.last_mut().expect("code is in a paragraph").push('`');
                    if in_heading {
                        section.heading.push_str(&text);
                    }
                }
                Event::SoftBreak | Event::HardBreak => section.read(" ", false, false),
                Event::Html(html) | Event::InlineHtml(html) => section.tags.extend(tags(&html)),
                Event::Start(tag) => {
                    if matches!(tag, Tag::TableCell) {
                        section.columns.last_mut().expect("a cell is in a row").push('|');
                    }
                    section.paragraphs.push(String::new());
                }
                _ => {}
            }
            if in_heading && section.paragraphs.is_empty() {
                section.paragraphs.push(String::new());
            }
        }
        for section in &mut page.sections {
            section.links.sort();
            section.code.sort();
            section.numbers.sort();
        }
        page
    }
}

impl Section {
    fn read(&mut self, text: &str, in_heading: bool, in_link: bool) {
        self.numbers.extend(numbers(text));
        if in_heading {
            self.heading.push_str(text);
        }
        if !in_link {
            self.paragraphs.last_mut().expect("text is in a paragraph").push_str(text);
        }
    }
}

/// A line of a block of code without its comment.
fn command(line: &str, language: &str) -> String {
    let comment = match language {
        "sh" | "toml" => " #",
        "text" => return String::new(),
        _ => "//",
    };
    line.split(comment).next().unwrap_or_default().trim_end().to_owned()
}

/// The numbers in a text, with their points and commas.
pub(super) fn numbers(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ','));
    let numbers = parts.map(|part| part.trim_matches(['.', ',']).to_owned());
    let mut numbers: Vec<_> = numbers.filter(|number| !number.is_empty()).collect();
    numbers.sort();
    numbers
}

/// The tags of HTML without what is between them.
fn tags(html: &str) -> Vec<String> {
    html.split('<').skip(1).filter_map(|tag| tag.split_once('>')).map(|(tag, _)| tag.to_owned()).collect()
}

/// A link of a page, seen from the root; the translation of docs/NAME is docs/zh/NAME.
fn from_the_root(link: &str, place: &str) -> String {
    if link.contains("://") || link.starts_with('#') {
        return link.to_owned();
    }
    let mut path = PathBuf::from(place);
    path.pop();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => assert!(path.pop(), "{place}: {link} leaves the project"),
            component => path.push(component),
        }
    }
    let path = path.display().to_string();
    path.replacen("docs/zh/README.md", "README.md", 1).replacen("docs/zh/", "docs/", 1)
}

/// The anchor that GitHub gives a heading.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
