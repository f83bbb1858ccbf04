//! The command line, the document, the picture.

use super::{demo, has_compiler};
use crate::load::program::{Program, io_models};
use crate::support::{children, process, wait_until};
use io_models::lab::demo::ALL;
use io_models::lab::results::demo::Demonstration;
use io_models::sys::signal::Signal;
use roxmltree::Document;
use serde_json::Value;

const ONE: &str = "one-read-per-edge";

#[test]
fn the_list_has_each_demo_in_both_languages() {
    for lang in ["en", "zh"] {
        let ended = demo(&format!("--list --lang {lang}"));
        ended.exits(0);
        let names: Vec<_> = ended.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ALL.iter().map(|demo| demo.id).collect::<Vec<_>>(), "{ended}");
    }
}

#[test]
fn a_name_that_is_not_known_gets_the_nearest_ones() {
    demo("one-read").exits(2).says_one_line(&["one-read-per-edge", "--list"]);
    demo("").exits(2);
}

#[test]
fn the_document_is_what_its_schema_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/demo.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).expect(file)).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("a JSON Schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    // A bar, a line over time, a line, and pieces of a stream.
    for id in [ONE, "epollout-left-on", "two-threads-one-client", "message-boundaries"] {
        let document = demo(&format!("{id} --json")).json();
        let wrong: Vec<_> =
            validator.iter_errors(&document).map(|why| format!("{}: {why}", why.instance_path())).collect();
        assert!(wrong.is_empty(), "{id}: {wrong:#?}");
        serde_json::from_value::<Demonstration>(document.clone()).expect("it is read as it was written");
        let mut other = document;
        other["broken"]["other"] = 1.into();
        assert!(!validator.is_valid(&other));
    }
}

#[test]
fn the_report_has_the_number_why_and_the_difference() {
    let ended = demo(ONE);
    ended.exits(0);
    for part in ["1,024", "8,192", "An edge-triggered descriptor", "+++ mended.rs", "facts --explain et-"] {
        assert!(ended.stdout.contains(part), "{part:?} is missing: {ended}");
    }
    let ended = demo(&format!("{ONE} --lang zh"));
    assert!(ended.stdout.contains("边缘触发"), "{ended}");
}

#[test]
fn the_picture_is_a_file_of_its_own_in_the_language_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    for (lang, label) in [("en", "answered"), ("zh", "已应答")] {
        let file = folder.path().join(format!("{lang}.svg"));
        demo(&format!("{ONE} --lang {lang} -o {}", file.display())).exits(0);
        let svg = std::fs::read_to_string(&file).expect("the picture");
        Document::parse(&svg).expect("well-formed");
        assert!(svg.contains(label), "{svg}");
    }
}

#[test]
fn a_program_can_be_printed() {
    let rust = demo(&format!("{ONE} --source broken"));
    assert!(rust.exits(0).stdout.contains("pub fn serve(port: u16)"), "{rust}");
    let cpp = demo(&format!("{ONE} --source mended --cpp"));
    assert!(cpp.exits(0).stdout.contains("int main("), "{cpp}");
}

#[test]
fn programs_in_cpp_need_a_compiler_and_say_so() {
    let mut command = io_models(&format!("demo {ONE} --cpp"));
    command.env("PATH", "/nowhere");
    let ended = Program::spawn(command).end_within(1);
    ended.exits(1).says_one_line(&["c++", "g++ or clang"]);
    if has_compiler() {
        demo(&format!("{ONE} --cpp")).exits(0);
    }
}

#[test]
fn ctrl_c_ends_it_with_130() {
    let program = Program::spawn(io_models("demo epollout-left-on"));
    let ours = process(program.pid());
    // By then it handles signals.
    wait_until("a program of the demo is started", || !children(&ours).is_empty());
    program.signal(Signal::SIGINT);
    program.end_within(1).exits(130);
}
