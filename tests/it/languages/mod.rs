//! What is written in English and in Chinese says the same: the pages in docs/zh, the texts of the demos, and the picture of level against
//! edge. The English has the words of the field and no metaphors; nothing is left in English where Chinese belongs.

mod leftovers;
mod markdown;
mod metaphors;

use io_models::lab::check;
use io_models::lab::lang::Lang;
use io_models::lab::show::svg::{self, LevelEdge};
use leftovers::leftovers;
use markdown::{Page, Section, anchor};
use metaphors::metaphors;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each page that has a translation, which is in docs/zh.
const PAGES: [&str; 4] = ["README.md", "docs/models.md", "docs/course.md", "docs/rust-for-cpp.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Where the translation of a page is.
fn translation(page: &str) -> String {
    let name = page.rsplit('/').next().unwrap_or(page);
    format!("docs/zh/{name}")
}

/// The names in a folder that end so.
fn names(folder: &str, end: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.map(|entry| entry.expect(folder).file_name().into_string().expect("names are text"));
    names.filter(|name| name.ends_with(end)).collect()
}

#[test]
fn each_page_has_its_translation_and_no_translation_is_without_a_page() {
    let expected: BTreeSet<_> =
        PAGES.iter().map(|page| translation(page).rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(names("docs/zh", ".md"), expected);
}

#[test]
fn a_chinese_page_has_what_the_english_one_has() {
    for page in PAGES {
        let differences = differences(
            &Page::of(page, &read(page)),
            &Page::of(&translation(page), &read(&translation(page))),
        );
        assert!(differences.is_empty(), "{page} and its translation:\n{}", differences.join("\n"));
    }
}

/// What one page has and the other one has not.
fn differences(ours: &Page, theirs: &Page) -> Vec<String> {
    let mut found = Vec::new();
    for (english, chinese) in ours.sections.iter().zip(&theirs.sections) {
        let mut compare = |what: &str, one: &dyn Fn(&Section) -> Vec<String>| {
            let (one, other) = (one(english), one(chinese));
            if one != other {
                let (heading, translated) = (&english.heading, &chinese.heading);
                found.push(format!("{what} of {heading:?} and {translated:?}: {one:?} and {other:?}"));
            }
        };
        compare("the level", &|section| vec![section.level.to_string()]);
        compare("the columns in each row of the tables", &|section| section.columns.clone());
        compare("the lines of code", &|section| section.blocks.clone());
        compare("the links and pictures", &|section| section.links.clone());
        compare("the code in sentences", &|section| section.code.clone());
        compare("the numbers", &|section| section.numbers.clone());
        compare("the HTML", &|section| section.tags.clone());
    }
    if ours.sections.len() != theirs.sections.len() {
        found.push(format!("{} and {} headings", ours.sections.len(), theirs.sections.len()));
    }
    found
}

#[test]
fn a_difference_between_two_pages_is_found() {
    let english = "# A\n\nOne `b` and 12 of [c](d.md).\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nmake   # it\n```\n\n## E\n";
    let chinese = "# 甲\n\n[丙](d.md) 的 12 个和一个 `b`。\n\n| 甲 | 乙 |\n|---|---|\n| 1 | 2 |\n\n```sh\nmake   # 它\n```\n\n## 戊\n";
    let page = |text: &str| Page::of("docs/page.md", text);
    assert_eq!(differences(&page(english), &page(chinese)), Vec::<String>::new());
    for (right, wrong, what) in [
        ("## 戊", "### 戊", "the level"),
        ("## 戊\n", "", "headings"),
        ("| 1 | 2 |\n", "", "the columns"),
        ("make ", "cmake ", "the lines of code"),
        ("(d.md)", "(e.md)", "the links"),
        ("`b`", "`c`", "the code"),
        ("12", "21", "the numbers"),
        ("一个", "<b>一个</b>", "the HTML"),
    ] {
        let found = differences(&page(english), &page(&chinese.replace(right, wrong)));
        assert!(found.iter().any(|one| one.contains(what)), "{wrong:?} in the place of {right:?}: {found:?}");
    }
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let translated = PAGES.map(translation);
    for page in
        PAGES.iter().map(|page| (*page).to_owned()).chain(translated).chain(["docs/glossary.md".to_owned()])
    {
        let text = Page::of(&page, &read(&page));
        for link in text.targets.iter().filter(|link| !link.contains("://")) {
            assert!(leads_somewhere(&page, link), "{page}: {link}");
        }
    }
    assert!(leads_somewhere("docs/models.md", "course.md") && !leads_somewhere("docs/models.md", "no.md"));
    assert!(
        leads_somewhere("docs/models.md", "#epoll-level") && !leads_somewhere("docs/models.md", "#epoll-no")
    );
}

fn leads_somewhere(page: &str, link: &str) -> bool {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => PathBuf::from(page),
        file => Path::new(page).parent().expect("a page is in a folder").join(file),
    };
    if heading.is_empty() || target.extension().is_none_or(|end| end != "md") {
        return root().join(target).exists();
    }
    let target = target.to_str().expect("names are text");
    Page::of(target, &read(target)).sections.iter().any(|section| anchor(&section.heading) == heading)
}

/// Each text of a demo: where it is, and what it says in both languages.
fn demo_texts() -> Vec<(String, String, String)> {
    fn collect(
        at: &str,
        english: &toml::Value,
        chinese: &toml::Value,
        texts: &mut Vec<(String, String, String)>,
    ) {
        match (english, chinese) {
            (toml::Value::String(english), toml::Value::String(chinese)) => {
                texts.push((at.to_owned(), english.clone(), chinese.clone()));
            }
            (toml::Value::Array(english), toml::Value::Array(chinese)) => {
                assert_eq!(english.len(), chinese.len(), "{at}");
                for (i, (english, chinese)) in english.iter().zip(chinese).enumerate() {
                    collect(&format!("{at}[{i}]"), english, chinese, texts);
                }
            }
            (toml::Value::Table(english), toml::Value::Table(chinese)) => {
                let keys = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<_>>();
                assert_eq!(keys(english), keys(chinese), "{at}");
                for (key, english) in english {
                    collect(&format!("{at}.{key}"), english, &chinese[key], texts);
                }
            }
            _ => panic!("{at} is something else in the other language"),
        }
    }
    let mut texts = Vec::new();
    for name in names("demos", "").into_iter().filter(|name| root().join("demos").join(name).is_dir()) {
        let file = format!("demos/{name}/text.toml");
        let both: toml::Table =
            toml::from_str(&read(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        collect(&file, &both["en"], &both["zh"], &mut texts);
    }
    texts
}

#[test]
fn the_texts_of_a_demo_have_the_same_numbers_in_both_languages() {
    for (at, english, chinese) in demo_texts() {
        assert_eq!(
            markdown::numbers(&english),
            markdown::numbers(&chinese),
            "{at}: {english:?}, {chinese:?}"
        );
    }
}

#[test]
fn nothing_is_left_in_english_in_the_chinese() {
    let mut found = Vec::new();
    for page in PAGES.map(translation) {
        let sections = Page::of(&page, &read(&page)).sections;
        let paragraphs = sections.iter().flat_map(|section| &section.paragraphs);
        found.extend(paragraphs.flat_map(|text| leftovers(text)).map(|left| format!("{page}: {left}")));
    }
    for (at, _, chinese) in demo_texts() {
        found.extend(leftovers(&chinese).into_iter().map(|left| format!("{at}: {left}")));
    }
    for check in check::all() {
        for text in [check.claim, check.does, check.matters, check.cause] {
            let chinese = check::said(text, Lang::Zh);
            found.extend(leftovers(chinese).into_iter().map(|left| format!("{}: {left}", check.id)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_english_has_no_metaphors() {
    let mut texts: Vec<(String, String)> = vec![("README.md".to_owned(), read("README.md"))];
    let pages = names("docs", ".md").into_iter().map(|name| format!("docs/{name}"));
    texts.extend(pages.map(|page| (page.clone(), read(&page))));
    texts.extend(demo_texts().into_iter().map(|(at, english, _)| (at, english)));
    for check in check::all() {
        let said = [check.claim, check.does, check.matters, check.cause];
        texts.extend(said.map(|text| (check.id.to_owned(), text.to_owned())));
    }
    // All help texts.
    let manuals = tempfile::TempDir::new().expect("a folder");
    let folder = manuals.path().to_str().expect("names are text");
    crate::cli::io_models().args(["man", folder]).assert().code(0);
    for page in fs::read_dir(folder).expect(folder) {
        let page = page.expect(folder).path();
        texts.push((page.display().to_string(), fs::read_to_string(&page).expect("a manual page")));
    }
    let found: Vec<_> = texts
        .iter()
        .flat_map(|(at, text)| metaphors(text).into_iter().map(move |found| format!("{at}: {found}")))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Each block of code in docs/rust-for-cpp.md names a file, whose lines it has.
#[test]
fn the_rust_that_is_shown_to_readers_of_cpp_is_in_the_file_that_is_named() {
    let page = Page::of("docs/rust-for-cpp.md", &read("docs/rust-for-cpp.md"));
    let mut quoted = 0;
    for section in &page.sections {
        for block in section.code_blocks.iter().filter(|block| block.language == "rust") {
            let name = &block.lines[0];
            let file = name.strip_prefix("// ").unwrap_or_else(|| panic!("{name:?} names no file"));
            assert!(
                not_in(&read(file), &block.lines[1..]).is_empty(),
                "{file} has no {:?}",
                not_in(&read(file), &block.lines[1..])
            );
            quoted += 1;
        }
    }
    assert!(quoted >= 12, "{quoted} blocks");
    let lines = ["    let a = 1;", "…", "}"].map(str::to_owned);
    assert_eq!(not_in("let a = 1;\n}\n", &lines), Vec::<String>::new());
    assert_eq!(not_in("let a = 2;\n}\n", &lines), ["    let a = 1;"]);
}

/// Which of these lines a file has not, wherever they begin. `…` stands for lines that are left out.
fn not_in(file: &str, lines: &[String]) -> Vec<String> {
    let known: BTreeSet<_> = file.lines().map(str::trim).collect();
    lines.iter().filter(|line| line.trim() != "…" && !known.contains(line.trim())).cloned().collect()
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
        assert!(
            read(file) == drawn,
            "{file} is out of date: IO_MODELS_DRAW=1 cargo test --test it languages::"
        );
    }
}
