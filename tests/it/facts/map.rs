//! Many systems side by side, two of them, and where a fact began.

use super::{ONE, WRONG, facts, page};
use crate::cli::fails;
use io_models::facts::{all, find};
use io_models::lab::facts::{Map, Pair, Profile};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Profiles in files.
struct Systems {
    folder: TempDir,
    files: Vec<PathBuf>,
}

impl Systems {
    fn new() -> Systems {
        Systems { folder: tempfile::tempdir().expect("a folder"), files: Vec::new() }
    }

    fn write(&mut self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        fs::write(&file, text).expect("the folder is ours");
        self.files.push(file);
    }

    /// A kernel with these facts.
    fn kernel(mut self, name: &str, kernel: &str, facts: &[&str]) -> Systems {
        let text = format!(
            r#"{{"schema": "io-models/facts", "schema_version": 2, "partial": false,
            "environment": {{"kernel": "{kernel}", "machine": "x86_64"}}, "facts": [{}]}}"#,
            facts.join(",")
        );
        self.write(&format!("{name}.json"), &text);
        self
    }

    fn missing(mut self, name: &str) -> Systems {
        let why = "the archive does not have it";
        let text = format!(
            r#"{{"schema": "io-models/facts", "schema_version": 2, "name": "{name}", "missing": "{why}"}}"#
        );
        self.write(&format!("{name}.json"), &text);
        self
    }

    /// The text that `facts map` writes of them in that form.
    #[track_caller]
    fn map(&self, form: &str, more: &[&str], code: i32) -> String {
        let files: Vec<&str> = self.files.iter().map(|file| text(file)).collect();
        page(&[&["map", form, "-"], more, &files].concat(), code)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}

fn holds(id: &str) -> String {
    format!(r#"{{"id": "{id}", "outcome": "holds", "held": 3}}"#)
}

fn differs(id: &str, observed: &str) -> String {
    format!(
        r#"{{"id": "{id}", "outcome": "differs", "held": 2, "observed": [
        {{"step": "the second wait", "expected": "IN", "observed": "{observed}"}}]}}"#
    )
}

const OLDER: &str = r#"{"id": "poll-pidfd-exit-then-hup", "outcome": "claims-older", "held": 2, "observed": [
    {"step": "collected", "expected": "IN+HUP", "observed": "IN", "since": "Linux 6.9"}]}"#;

const IN_PART: &str = r#"{"id": "ep-create-args", "outcome": "in-part", "held": 2, "observed": [
    {"step": "epoll_create1", "why": "denied", "detail": "epoll_create1 gives EPERM: not permitted here"}]}"#;

/// Two kernels, one that differs, one of another kind, and one that could not be had.
fn some() -> Systems {
    let id = "fd-accept-emfile-keeps-connection";
    Systems::new()
        .kernel("new", "6.12.5", &[&holds(id), &holds("poll-pidfd-exit-then-hup"), &holds("ep-create-args")])
        .kernel("gvisor", "4.4.0", &[&differs(id, "nothing")])
        .kernel("old", "5.10.0-32-cloud", &[&differs(id, "HUP"), OLDER, IN_PART])
        .missing("x86_64-6.16")
}

const KNOWN: &str = r#"
[other]
gvisor = "gVisor, a kernel of its own"

[[note]]
facts = ["fd-accept-emfile-keeps-connection"]
systems = "gvisor"
note = "a discussion"
"#;

#[test]
fn markdown_has_the_systems_what_differs_and_since_when() {
    let mut systems = some();
    systems.write("known.toml", KNOWN);
    let known = systems.files.pop().expect("it was written");
    let markdown = systems.map("--markdown", &["--known", text(&known)], 3);
    // The last columns are claims, which are the program's own and change with it.
    let lines: Vec<String> = markdown
        .lines()
        .map(|line| match line.split(" | ").collect::<Vec<_>>().as_slice() {
            [fact, cells @ .., claim] if claim.contains("EMFILE") => {
                format!("{fact} | {} | …", cells.join(" | "))
            }
            _ if line.starts_with("| fact ") || line.starts_with("|--") => "…".to_owned(),
            _ => line.trim_end_matches([' ', '|']).to_owned(),
        })
        .collect();
    let claim = find("fd-accept-emfile-keeps-connection").expect("it is a fact").claim;
    let expected = format!(
        "\
# Kernel facts by system

| system      | holds | in part | differs | claims older | skipped | what it is
…
| old         |     0 |       1 |       1 |            1 |       0 | Linux 5.10.0-32-cloud, x86_64
| new         |     3 |       0 |       0 |            0 |       0 | Linux 6.12.5, x86_64
| x86_64-6.16 |     – |       – |       – |            – |       – | missing: the archive does not have it
| gvisor      |     0 |       0 |       1 |            0 |       0 | Linux 4.4.0, x86_64, gVisor, a kernel of its own

## What differs

…
…
| `fd-accept-emfile-keeps-connection` | **differs** | **differs** | …

### `fd-accept-emfile-keeps-connection`

{claim}

- old: differs (new)
  - `the second wait`: expected `IN`, observed `HUP`
- gvisor: differs (a discussion)
  - `the second wait`: expected `IN`, observed `nothing`

## Since which kernel

…
…
| `poll-pidfd-exit-then-hup` | Linux 6.9 | old (5.10.0)     | new (6.12.5) | shown
"
    );
    let lines = lines.join("\n");
    // A step that is newer has a row of its own if the row of the fact is older.
    let lines = lines.replace(", `collected`", "");
    assert!(lines.trim_end().starts_with(expected.trim_end()), "{lines}\nexpected:\n{expected}");
}

#[test]
fn the_page_has_each_cell_and_what_does_not_hold_in_full() {
    let page = some().map("--html", &[], 3);
    for said in [
        "<td class=\"differs\" title=\"differs: the second wait: expected IN; observed HUP (new)\">\
         <a href=\"#fd-accept-emfile-keeps-connection\">differs</a>",
        "id=\"fd-accept-emfile-keeps-connection\"",
        ">part: denied<",
        ">older<",
        "<td class=\"gone\">",
        "missing: the archive does not have it",
        "observed <code>nothing</code>",
        "id=\"poll-pidfd-exit-then-hup\"",
        "epoll_create1 gives EPERM: not permitted here",
        "shown",
    ] {
        assert!(page.contains(said), "no {said:?} in {page}");
    }
    assert_eq!(page, some().map("--html", &[], 3), "it is the same when it is drawn again");
}

#[test]
fn what_holds_everywhere_is_folded_and_ends_with_0() {
    let systems = Systems::new().kernel("a", "6.1.1", &[&holds("ep-create-args")]).kernel(
        "b",
        "6.2.1",
        &[&holds("ep-create-args")],
    );
    let page = systems.map("--html", &[], 0);
    assert!(
        page.contains("1 fact holds on every system") && !page.contains("<table class=\"map\""),
        "{page}"
    );
    assert!(systems.map("--markdown", &[], 0).contains("## What differs\n\nNothing.\n"));
}

#[test]
fn a_map_of_24_systems_and_all_facts_is_a_small_page() {
    let cells: Vec<String> = all()
        .enumerate()
        .map(|(n, fact)| match n % 5 {
            0 => differs(fact.id, "something of about the length that such texts have"),
            _ => holds(fact.id),
        })
        .collect();
    let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
    let systems = (0..24)
        .fold(Systems::new(), |systems, n| systems.kernel(&format!("s{n}"), &format!("6.{n}.0"), &cells));
    let page = systems.map("--html", &[], 3);
    assert!(page.len() < 500_000, "{} bytes", page.len());
}

#[test]
fn what_files_hold_is_text_and_nothing_else() {
    const SCRIPT: &str = r"<script>alert(1)</script>\u001b[31m\u202e";
    let unknown = format!(r#"{{"id": "{SCRIPT}", "outcome": "holds", "held": 1}}"#);
    let systems = Systems::new()
        .kernel(
            "<b>`evil`|x",
            SCRIPT,
            &[&differs("ep-create-args", &format!("{SCRIPT}|`a`\\n# b")), &unknown],
        )
        .kernel("javascript:", "6.1.1", &[&differs("ep-create-args", &"x".repeat(70_000))]);
    for form in ["--html", "--markdown", "--json"] {
        let drawn = systems.map(form, &[], 3);
        assert!(!drawn.contains(['\x1b', '\u{202e}']), "{form}: {drawn}");
        assert!(!drawn.contains("\n# b"), "{form}: {drawn}");
    }
    let page = systems.map("--html", &[], 3);
    assert!(!page.contains("<script") && !page.contains("<b>`"), "{page}");
    assert!(page.contains("does not know 1 fact of the profiles"), "{page}");
    let markdown = systems.map("--markdown", &[], 3);
    // In Markdown a tag begins a code span, or is escaped.
    let is_text = |(at, _): (usize, &str)| markdown[..at].ends_with(['\\', '`']);
    assert!(markdown.match_indices("<script").all(is_text), "{markdown}");
    let shown = facts(&["map", text(&systems.files[0])]).assert().code(3).get_output().stdout.clone();
    assert!(!shown.contains(&0x1b), "{}", String::from_utf8_lossy(&shown));
}

#[test]
fn what_is_no_profile_is_refused_with_its_name() {
    let cases = [
        ("{}", "it is no profile of facts: missing field `schema`"),
        (r#"{"schema": "io-models/facts", "schema_version": 1}"#, "its schema is io-models/facts 1"),
        (r#"{"schema": "io-models/check", "schema_version": 1}"#, "its schema is io-models/check 1"),
    ];
    for (json, said) in cases {
        let mut systems = Systems::new();
        systems.write("mine.json", json);
        let complaint = fails(&["facts", "map", text(&systems.files[0])], 2);
        assert!(complaint.contains("mine.json") && complaint.contains(said), "{complaint}");
    }
    let bare = r#"{"id": "ep-create-args", "outcome": "differs", "held": 1}"#;
    let reason = r#"{"id": "ep-create-args", "outcome": "skipped", "held": 0, "observed": [
        {"step": "", "why": "weather", "detail": "rain"}]}"#;
    for fact in [bare, reason] {
        let systems = Systems::new().kernel("mine", "6.1.1", &[fact]);
        let complaint = fails(&["facts", "map", text(&systems.files[0])], 2);
        assert!(complaint.contains("the steps of ep-create-args do not come to its outcome"), "{complaint}");
    }
    let systems = some();
    let complaint = fails(&["facts", "map", text(&systems.files[0]), text(&systems.files[0])], 2);
    assert!(complaint.contains("two of the files are called new"), "{complaint}");
}

#[test]
fn two_systems_are_compared_and_a_difference_ends_with_3() {
    let systems = some();
    let [new, old, missing] = [0, 2, 3].map(|n| text(&systems.files[n]));
    let differ = page(&["--differs", old, new], 3);
    for said in [
        "ep-create-args\n  A              in part: epoll_create1: denied: epoll_create1 gives EPERM",
        "  B              holds\n",
        "Of 3 facts, 3 differ between A and B",
    ] {
        assert!(differ.contains(said), "no {said:?} in {differ}");
    }
    assert!(page(&["--differs", old, old], 0).contains("Of 3 facts, 0 differ between"));
    let ended = facts(&["--differs", new, missing]).assert().code(1).get_output().clone();
    let said = String::from_utf8(ended.stderr).expect("text");
    assert!(
        said.contains("nothing was compared: ") && said.contains("the archive does not have it"),
        "{said}"
    );
    let complaint = fails(&["facts", "--differs", old, "nowhere"], 2);
    assert!(complaint.contains("nowhere is no file and no system of the map"), "{complaint}");
}

#[test]
fn where_a_fact_began_is_told_without_running_it() {
    let told = page(&["--first-kernel", "poll-pidfd-exit-then-hup"], 0);
    assert!(told.contains("since Linux 6.9"), "{told}");
    let complaint = fails(&["facts", "--first-kernel", "poll-pidfd"], 2);
    assert!(complaint.contains("poll-pidfd-exit-then-hup"), "{complaint}");
}

#[test]
fn a_kernel_is_judged_as_the_version_that_was_asked_for() {
    let (id, wrong) = ("poll-pidfd-exit-then-hup", "pidfd-no-hup");
    let older = page(&[id, "--under", wrong, "--judge-as", "5.0"], 0);
    assert!(older.contains(", judged as Linux 5.0"), "{older}");
    assert!(older.contains(&format!("DIFFERS, CLAIMS TO BE OLDER: {id}")), "{older}");
    let newer = page(&[id, "--under", wrong, "--judge-as", "7.0"], 3);
    assert!(newer.contains(&format!("DIFFERS: {id}")), "{newer}");
    // What has always been so differs on each.
    page(&[ONE, "--under", WRONG, "--judge-as", "3.0"], 3);
    let complaint = fails(&["facts", "--judge-as", "7"], 2);
    assert!(complaint.contains("no version of Linux such as 6.12"), "{complaint}");
}

/// Those of docs/facts/, by their names.
fn recorded() -> Vec<(String, Profile)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/facts");
    let files = fs::read_dir(folder).expect("docs/facts/").map(|file| file.expect("a file").path());
    let profiles = files.filter(|file| file.extension().is_some_and(|ending| ending == "json"));
    let profile = |file: PathBuf| {
        let name = file.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let profile = Profile::read(&name, &fs::read_to_string(&file).expect("it is text"));
        (name, profile.unwrap_or_else(|why| panic!("{}: {why}", file.display())))
    };
    profiles.map(profile).collect()
}

#[test]
fn the_map_of_this_program_is_that_of_the_profiles() {
    const AGAIN: &str = "draw it again with scripts/facts-map.sh";
    let map = Map::recorded();
    let mut names: Vec<&str> = map.all_names().collect();
    names.sort_unstable();
    let mut profiles = recorded();
    profiles.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(names, profiles.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "{AGAIN}");
    for (name, profile) in &profiles {
        let recorded = map.profile(name).expect("its name is there");
        let pair = Pair::of(&recorded, profile);
        assert!(!pair.is_remarkable(), "{AGAIN}: {}", pair.page(None));
    }
    let size = map.json().len();
    assert!(size < 100_000, "each program carries it, and it has {size} bytes");
}
