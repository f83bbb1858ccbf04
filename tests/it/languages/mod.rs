//! The Chinese pages in docs/zh say what the English ones say: they have the same headings, tables, commands, links and numbers.

use io_models::lab::lang::Lang;
use io_models::lab::show::svg::{self, LevelEdge};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Each page, and its translation.
const PAGES: [(&str, &str); 3] = [
    ("README.md", "docs/zh/README.md"),
    ("docs/models.md", "docs/zh/models.md"),
    ("docs/course.md", "docs/zh/course.md"),
];

#[test]
fn a_chinese_page_has_what_the_english_one_has() {
    for (page, translation) in PAGES {
        let (english, chinese) = (sections(page), sections(translation));
        let levels = |sections: &[Section]| sections.iter().map(|section| section.level).collect::<Vec<_>>();
        for (ours, theirs) in english.iter().zip(&chinese) {
            let place = format!("{page}, {:?}, against {translation}, {:?}", ours.heading, theirs.heading);
            assert_eq!(ours.level, theirs.level, "the headings: {place}");
            assert_eq!(ours.columns, theirs.columns, "the columns of each row of a table: {place}");
            assert_eq!(ours.blocks, theirs.blocks, "the lines of code without comments: {place}");
            assert_eq!(ours.links, theirs.links, "the links: {place}");
            assert_eq!(ours.code, theirs.code, "the code in sentences: {place}");
            assert_eq!(ours.numbers, theirs.numbers, "the numbers: {place}");
        }
        assert_eq!(levels(&english), levels(&chinese), "{page} against {translation}");
    }
}

#[test]
fn the_links_of_a_chinese_page_lead_somewhere() {
    for (_, translation) in PAGES {
        let sections = sections(translation);
        let anchors: Vec<_> = sections.iter().map(|section| anchor(&section.heading)).collect();
        for link in sections.iter().flat_map(|section| &section.links).filter(|link| !link.contains("://")) {
            let found = match link.strip_prefix('#') {
                Some(wanted) => anchors.iter().any(|anchor| anchor == wanted),
                None => root().join(link.split('#').next().unwrap_or_default()).exists(),
            };
            assert!(found, "{translation}: {link}");
        }
    }
}

/// A part of a page, from one heading to the next. What another language may order in another way is sorted.
#[derive(Debug, Default)]
struct Section {
    heading: String,
    level: usize,
    /// How many columns each row of a table has.
    columns: Vec<usize>,
    /// The lines of blocks of code, without comments. A line that a program printed is empty, because its explanation stands beside it.
    blocks: Vec<String>,
    /// Where links and pictures are, seen from the root; a translation counts as its original.
    links: Vec<String>,
    code: Vec<String>,
    numbers: Vec<String>,
}

fn sections(page: &str) -> Vec<Section> {
    let text = fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let mut sections = vec![(Section::default(), String::new())];
    let mut language = None;
    for line in text.lines() {
        if let Some(after) = line.trim_start().strip_prefix("```") {
            language = if language.is_some() { None } else { Some(after) };
            continue;
        }
        if language.is_none() && line.starts_with('#') {
            let level = line.chars().take_while(|&char| char == '#').count();
            let heading = line[level..].trim().to_owned();
            sections.push((Section { heading, level, ..Section::default() }, String::new()));
        }
        let (section, prose) = sections.last_mut().expect("it has one from the start");
        match language {
            None => {
                if line.starts_with('|') {
                    section.columns.push(line.replace("\\|", "").matches('|').count());
                }
                prose.push_str(line);
                prose.push('\n');
            }
            Some("text") => section.blocks.push(String::new()),
            Some(language) => {
                let comment = if language == "sh" { " #" } else { "//" };
                let code = line.split(comment).next().unwrap_or_default();
                section.blocks.push(code.trim_end().to_owned());
            }
        }
    }
    sections.into_iter().map(|(section, prose)| with_prose(section, &prose, page)).collect()
}

/// A section with what is in its sentences.
fn with_prose(mut section: Section, prose: &str, page: &str) -> Section {
    let mut rest = prose;
    let mut said = String::new();
    while let Some((before, after)) = rest.split_once("](") {
        let (target, behind) = after.split_once(')').expect("a link has an end");
        said.push_str(before);
        section.links.push(from_the_root(target, page));
        rest = behind;
    }
    said.push_str(rest);
    let spans = said.split('`').skip(1).step_by(2);
    section.code = spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let digits = said.split(|char: char| !char.is_ascii_digit() && !matches!(char, '.' | ','));
    let numbers = digits.map(|number| number.trim_matches(['.', ',']).to_owned());
    section.numbers = numbers.filter(|number| !number.is_empty()).collect();
    section.links.sort();
    section.code.sort();
    section.numbers.sort();
    section
}

fn from_the_root(link: &str, page: &str) -> String {
    if link.contains("://") || link.starts_with('#') {
        return link.to_owned();
    }
    let mut path = PathBuf::from(page);
    path.pop();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => assert!(path.pop(), "{page}: {link} leaves the project"),
            component => path.push(component),
        }
    }
    let path = path.display().to_string();
    // The translation of docs/NAME is docs/zh/NAME.
    path.replacen("docs/zh/README.md", "README.md", 1).replacen("docs/zh/", "docs/", 1)
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the picture of level against edge is. `IO_MODELS_DRAW=1 cargo test --test it languages::` draws the files again.
const PICTURES: [(&str, Lang); 2] = [("docs/level-edge.svg", Lang::En), ("docs/zh/level-edge.svg", Lang::Zh)];

#[test]
fn the_picture_of_level_against_edge_is_what_the_program_draws() {
    for (file, lang) in PICTURES {
        // As wide as a telephone: a page makes a picture narrower where it has to, and not wider.
        let drawn = svg::standalone(&LevelEdge::new(lang), svg::NARROW) + "\n";
        if std::env::var_os("IO_MODELS_DRAW").is_some() {
            fs::write(root().join(file), &drawn).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        let kept = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(kept == drawn, "{file} is out of date: IO_MODELS_DRAW=1 cargo test --test it languages::");
    }
}
