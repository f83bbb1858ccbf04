//! The published schema of a result, `docs/schema/compare.json`: it has all that the program writes, and nothing else.

use super::stopped::in_the_middle;
use super::{compare, group, row};
use crate::load::program::{Ended, Program, io_models};
use crate::support::Server;
use io_models::lab::results::compare::Comparison;
use jsonschema::Validator;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/compare.json");
    let text = std::fs::read_to_string(file).expect("the schema that is published");
    serde_json::from_str(&text).expect("one JSON document")
});

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).expect("a schema"));

const SHORT: &str = "--starts 2 --slices 2 --slice 60ms --json --quiet";

/// A result is what the schema says, and is read again as it was written.
#[track_caller]
fn is_valid(ended: &Ended) -> Value {
    let result = ended.json();
    let wrong: Vec<_> =
        VALIDATOR.iter_errors(&result).map(|why| format!("{}: {why}", why.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{ended}");
    let read = Comparison::read(&ended.stdout).unwrap_or_else(|why| panic!("{why}: {ended}"));
    assert_eq!(json!(read), result, "it is written as it was read");
    assert!(!read.text(Some(80), true).is_empty());
    result
}

#[test]
fn the_schema_is_one_and_says_what_each_field_is() {
    jsonschema::draft202012::meta::validate(&SCHEMA).expect("a JSON Schema");
    let mut structs = vec![&*SCHEMA];
    let of_def = |def: &'static Value| match def["anyOf"].as_array() {
        Some(kinds) => kinds.iter().collect(),
        None => vec![def],
    };
    structs.extend(SCHEMA["$defs"].as_object().expect("definitions").values().flat_map(of_def));
    for one in structs.into_iter().filter(|one| one.get("properties").is_some()) {
        assert_eq!(one["additionalProperties"], false, "{one:#}");
        for (name, field) in one["properties"].as_object().expect("fields") {
            assert!(field["description"].is_string(), "{name} has no description: {one:#}");
        }
    }
}

#[test]
fn closed_loops_are_valid_with_gates_an_earlier_result_and_a_row_that_was_skipped() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("old.json").display().to_string();
    let line = format!("{SHORT} --workloads ping --models poll,blocking,reuseport");
    compare(&format!("{line} -o {old}")).exits(0);
    let mut command = io_models(&format!("compare {line} --seed 3 --baseline {old}"));
    command.args([
        "--gate",
        "ping/poll cpu<=1e9x",
        "--gate",
        "ping/blocking calls<=3",
        "--gate",
        "ping/poll memory>=1",
    ]);
    let result = is_valid(Program::spawn(command).end().exits(3));
    assert_eq!(row(&result, "ping", "blocking", false)["status"], "skipped");
    assert!(result["earlier"]["figures"].as_array().is_some_and(|all| !all.is_empty()), "{result:#}");
    assert!(result["gates"][0]["interval"].is_object(), "{result:#}");
}

#[test]
fn open_loops_and_connections_that_come_and_go_are_valid() {
    let line = format!("{SHORT} --workloads open,churn --models poll --no-pin");
    let result = is_valid(Program::start(&format!("compare {line}")).end_within(2).exits(0));
    assert!(group(&result, "open@50%")["load"]["rate_per_s"].is_number(), "{result:#}");
    assert_eq!(group(&result, "churn@1")["load"]["requests_per_connection"], 1, "{result:#}");
}

#[test]
fn foreign_servers_are_valid_also_one_that_fails() {
    let server = Server::start(io_models::model::find("epoll-edge").expect("a model"));
    let mut command = io_models(&format!("compare {SHORT} --workloads single --models poll"));
    let mine =
        format!("mine={} serve epoll-edge --listen 127.0.0.1:{{port}}", env!("CARGO_BIN_EXE_io-models"));
    let known = format!("known={},pid={}", server.addr(), server.process().pid);
    let servers = [mine, known, format!("unknown={}", server.addr()), "broken=exit 3 # {port}".to_owned()];
    command.args(servers.iter().flat_map(|server| ["--server", server]));
    let result = is_valid(Program::spawn(command).end().exits(1));
    let status = |name| row(&result, "single", name, false)["status"].clone();
    assert_eq!(
        ["mine", "known", "unknown", "broken"].map(status),
        ["measured", "measured", "measured", "failed"]
    );
    server.stop();
}

#[test]
fn a_load_that_all_can_take_is_valid() {
    let line = format!("{SHORT} --workloads idle --idle 0,1200 --models select");
    let result = is_valid(compare(&line).exits(0));
    assert_eq!(group(&result, "idle@951")["common"], true, "{result:#}");
}

#[test]
fn an_interrupted_result_is_valid() {
    let (family, program) = in_the_middle("--json --quiet --gate memory<=1000MiB");
    program.signal(Signal::SIGINT);
    let result = is_valid(program.end().exits(130));
    assert_eq!((&result["partial"], &result["gates"][0]["outcome"]), (&json!(true), &json!("not_judged")));
    family.ends();
}

/// The places of all objects in a document, one of each kind: the first of a list stands for the others.
fn objects(value: &Value, at: String, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            found.insert(at.clone(), value.clone());
            fields.iter().for_each(|(name, field)| objects(field, format!("{at}/{name}"), found));
        }
        Value::Array(all) => {
            if let Some(first) = all.first() {
                objects(first, format!("{at}/0"), found);
            }
        }
        _ => {}
    }
}

/// What is there only where it is so.
const OPTIONAL: [&str; 10] = [
    "reason",
    "figures",
    "starts",
    "histogram",
    "not_judged",
    "imprecise",
    "extended",
    "missed",
    "interval",
    "rate",
];

#[test]
fn a_field_too_many_or_too_few_is_not_valid() {
    let args = format!("{SHORT} --workloads single --models poll --gate calls<=1000");
    let result = is_valid(compare(&args).exits(0));
    let mut places = BTreeMap::new();
    objects(&result, String::new(), &mut places);
    // Whatever settings and calls there are.
    places.retain(|place, _| place != "/environment/sysctls" && !place.ends_with("/by_name"));
    assert!(places.len() > 20, "{places:?}");
    for (place, object) in places {
        let mut other = result.clone();
        let fields = object.as_object().expect("an object").keys();
        // `starts` of a row may be absent; the number of them may not.
        let is_optional = |field: &str| {
            OPTIONAL.contains(&field) && !(place.ends_with("figures") || place.ends_with("plan"))
        };
        for field in fields.filter(|field| !is_optional(field)) {
            let mut less = object.clone();
            less.as_object_mut().expect("an object").remove(field);
            *other.pointer_mut(&place).expect("a place") = less;
            assert!(!VALIDATOR.is_valid(&other), "without {field} at {place:?}");
        }
        let mut more = object.clone();
        more["of_another_version"] = json!(1);
        *other.pointer_mut(&place).expect("a place") = more;
        assert!(!VALIDATOR.is_valid(&other), "one field more at {place:?}");
    }
}
