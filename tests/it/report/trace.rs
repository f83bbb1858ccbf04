//! A trace drawn again: the page, the text, the events for Perfetto, and what is refused.

use super::sample::EVIL;
use super::traces::{lost_event, processes};
use crate::load::program::Program;
use io_models::lab::env::Environment;
use io_models::lab::json;
use io_models::lab::lang::Lang;
use io_models::lab::results::trace::{On, Recording, Traced, What};
use io_models::lab::show::html;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fs;

/// What a page may have at most.
const MOST_BYTES: usize = 300_000;

const LANGS: [Lang; 2] = [Lang::En, Lang::Zh];

/// The values of an attribute, wherever it is.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let mark = format!(" {attribute}=\"");
    let rest = page.split(mark.as_str()).skip(1);
    rest.map(|rest| rest.split_once('"').expect("the attribute ends").0).collect()
}

#[test]
fn the_page_says_the_remark_first_and_leads_to_the_event() {
    let result = lost_event();
    let page = html::trace::page(&result, Lang::En);
    let said = "32 bytes of A lie unread in the receive buffer, and every thread waits";
    let at = page.find(said).expect("the remark");
    assert!(at < page.find("id=\"overview\"").expect("the table of the steps"), "it comes first");
    let lost = result.servers[1].remarks[0].event;
    assert!(values(&page, "href").contains(&format!("#b{lost}").as_str()), "a link leads to the event");
    assert!(page.contains("et-partial-read-silent"), "the fact behind it is there");
    let zh = html::trace::page(&result, Lang::Zh);
    assert!(zh.contains("<html lang=\"zh-CN\">") && zh.contains("接收缓冲区里还有 A 的 32 字节没有读"));
}

#[test]
fn each_link_has_a_target_and_each_id_is_there_once() {
    for result in [lost_event(), processes()] {
        for lang in LANGS {
            let page = html::trace::page(&result, lang);
            let ids = values(&page, "id");
            let unique: HashSet<&str> = ids.iter().copied().collect();
            assert_eq!(ids.len(), unique.len(), "{ids:?}");
            for link in values(&page, "href") {
                assert!(link.strip_prefix('#').is_some_and(|id| unique.contains(id)), "{link} leads nowhere");
            }
            let opened = values(&page, "popovertarget");
            assert!(opened.iter().all(|id| unique.contains(id)), "{opened:?}");
            assert!(!page.contains("<script") && !page.contains(" src="), "it needs nothing else");
        }
    }
}

#[test]
fn each_event_can_be_opened() {
    let result = lost_event();
    let page = html::trace::page(&result, Lang::En);
    let events: usize = result.servers.iter().map(|server| server.events.len()).sum();
    assert_eq!(values(&page, "popovertarget").len(), events);
    assert!(page.contains("epoll_ctl(4, EPOLL_CTL_ADD, 5, {events=EPOLLIN|EPOLLET}) = 0"), "a call in full");
}

#[test]
fn a_large_recording_is_a_small_page_that_says_what_is_left_out() {
    let mut result = lost_event();
    for server in &mut result.servers {
        let step = server.events.iter().position(|event| event.step == Some(1)).expect("a step");
        let remark = server.remarks.first().map(|remark| remark.event);
        let calls: Vec<_> = server.events[step..]
            .iter()
            .filter(|event| matches!(event.what, What::Call(_)))
            .cloned()
            .collect();
        let mut calls: Vec<_> = calls.into_iter().cycle().take(5000).collect();
        for event in &mut calls {
            event.step = Some(0);
            if let What::Call(call) = &mut event.what {
                (call.woken_by, call.arguments) = (None, "x".repeat(500));
            }
        }
        let more = calls.len();
        server.events.splice(step..step, calls);
        for event in &mut server.events[step + more..] {
            if let What::Call(call) = &mut event.what {
                call.woken_by = call.woken_by.map(|cause| cause + more);
            }
        }
        if let Some(event) = remark {
            server.remarks.iter_mut().for_each(|remark| remark.event = event + more);
        }
    }
    Traced::read(&json(&result)).expect("a result");
    for lang in LANGS {
        let page = html::trace::page(&result, lang);
        assert!(page.len() <= MOST_BYTES, "{} bytes", page.len());
        assert!(page.contains(lang.say(" left out here", "此处省略")), "it says so");
        let lost = result.servers[1].remarks[0].event;
        assert!(page.contains(&format!("id=\"b{lost}\"")), "the event of the remark is drawn");
    }
}

#[test]
fn names_from_a_file_are_text_and_nothing_else() {
    let mut result = lost_event();
    result.servers[0].name = EVIL.to_owned();
    result.servers[0].clients[0] = EVIL.to_owned();
    result.servers[1].tasks[0].name = EVIL.to_owned();
    result.script[0].name = "</style><script>".to_owned();
    for event in result.servers.iter_mut().flat_map(|server| &mut server.events) {
        if let What::Call(call) = &mut event.what {
            (call.arguments, call.on) = (EVIL.to_owned(), Some(On::Other(EVIL.to_owned())));
            call.fact = Some(EVIL.to_owned());
        }
    }
    let page = html::trace::page(&result, Lang::En);
    assert!(page.contains("&lt;script&gt;alert(") && !page.contains("<script"), "they are escaped");
}

#[test]
fn the_text_has_each_event_in_80_columns() {
    for result in [lost_event(), processes()] {
        let text = result.text(Some(80), Lang::En);
        let plain = anstream::adapter::strip_str(&text).to_string();
        for line in plain.lines() {
            let is_one_word = line.trim_start().split(' ').count() == 1;
            assert!(line.chars().count() <= 80 || is_one_word, "{line:?}");
        }
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let plain = words(&plain);
        for server in &result.servers {
            for event in &server.events {
                if let What::Call(call) = &event.what {
                    let said = format!("{}({})", call.name, call.arguments);
                    assert!(plain.contains(&words(&said)), "{said} is not in {plain}");
                }
            }
        }
    }
    let text = lost_event().text(None, Lang::En);
    let said = "32 bytes of A lie unread in the receive buffer, and every thread waits";
    assert_eq!(text.matches(said).count(), 2, "a remark comes first, and again at its event: {text}");
    assert!(text.contains("◆ only here"), "{text}");
    let zh = lost_event().text(None, Lang::Zh);
    assert!(zh.contains("接收缓冲区里还有 A 的 32 字节没有读") && zh.contains("仅此服务端"), "{zh}");
}

#[test]
fn the_trace_events_have_all_calls_balanced_flows_and_times_in_order() {
    for result in [lost_event(), processes()] {
        let document: Value = serde_json::from_str(&result.trace_events()).expect("JSON");
        let events = document["traceEvents"].as_array().expect("events");
        let of = |ph: &str| events.iter().filter(|event| event["ph"] == ph).collect::<Vec<_>>();
        let all = || result.servers.iter().flat_map(|server| &server.events);
        let done = all().filter(|event| matches!(event.what, What::Call(_))).count();
        let waiting = of("X")
            .iter()
            .filter(|event| !event["args"]["call"].as_str().expect("a call").contains(") = "))
            .count();
        assert_eq!(of("X").len(), done + waiting, "a call that returned is one event");
        let last = |server: &Recording, task: usize| {
            let of_thread = server.events.iter().rev().find_map(|event| match &event.what {
                What::Begins(call) if call.task == task => Some(true),
                What::Call(call) if call.task == task => Some(false),
                _ => None,
            });
            of_thread.unwrap_or(false)
        };
        let waits = |server: &Recording| (0..server.tasks.len()).filter(|&task| last(server, task)).count();
        assert_eq!(waiting, result.servers.iter().map(waits).sum::<usize>(), "so is one that never did");
        let actions = all().filter(|event| !matches!(event.what, What::Call(_) | What::Begins(_))).count();
        assert_eq!(of("i").len(), actions);
        let times: Vec<f64> = events.iter().filter_map(|event| event["ts"].as_f64()).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert!(of("X").iter().all(|event| event["dur"].as_f64().is_some_and(|dur| dur >= 0.0)));
        flows(events);
        let named: HashSet<_> = of("M")
            .iter()
            .map(|event| (&event["pid"], &event["tid"]))
            .map(|pair| format!("{pair:?}"))
            .collect();
        for event in events {
            let track = format!("{:?}", (&event["pid"], &event["tid"]));
            assert!(named.contains(&track), "{event} is on a track without a name");
        }
        assert!(!of("C").is_empty(), "the fills are counters");
    }
}

/// Each flow begins once, with what it comes from, and ends once, within the call that it goes to.
#[track_caller]
fn flows(events: &[Value]) {
    let mut ends: HashMap<u64, Vec<&Value>> = HashMap::new();
    for event in events.iter().filter(|event| event["ph"] == "s" || event["ph"] == "f") {
        ends.entry(event["id"].as_u64().expect("an id")).or_default().push(event);
    }
    assert!(!ends.is_empty(), "something was woken");
    for [start, end] in ends.values().map(|pair| <[&Value; 2]>::try_from(pair.as_slice()).expect("two ends"))
    {
        assert_eq!((&start["ph"], &end["ph"], &end["bp"]), (&json!("s"), &json!("f"), &json!("e")));
        let on_track = |of: &Value| {
            let of = of.clone();
            events.iter().filter(move |event| event["tid"] == of["tid"] && event["pid"] == of["pid"])
        };
        let ts = |event: &Value| event["ts"].as_f64().expect("a time");
        assert!(on_track(start).any(|event| event["ph"] == "i" && ts(event) == ts(start)), "{start}");
        let is_around = |event: &&Value| {
            event["ph"] == "X"
                && ts(event) <= ts(end)
                && ts(end) <= ts(event) + event["dur"].as_f64().expect("a length")
        };
        assert!(on_track(end).any(|event| is_around(&event)), "{end}");
    }
}

#[test]
fn the_schema_says_what_a_result_is_and_a_result_is_read_as_it_was_written() {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/schema/trace.json")).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("a JSON Schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    for result in [lost_event(), processes()] {
        let document = json!(result);
        let wrong: Vec<_> =
            validator.iter_errors(&document).map(|why| format!("{}: {why}", why.instance_path())).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let read = Traced::read(&json(&result)).expect("a result");
        assert_eq!(json!(read), document);
    }
}

#[test]
fn what_no_trace_can_have_written_is_refused() {
    let document = json!(lost_event());
    let refused = |at: &str, value: Value, said: &str| {
        let mut document = document.clone();
        *document.pointer_mut(at).unwrap_or_else(|| panic!("{at} is there")) = value;
        let why = Traced::read(&document.to_string()).expect_err(at);
        assert!(why.contains(said), "{at}: {why}");
    };
    refused("/servers/0/events/0/what/task", json!(1), "thread 1 is not one of 1");
    refused("/servers/0/events/6/what/client", json!(9), "client 9 is not one of 2");
    refused("/servers/0/events/7/what/woken_by", json!(7), "event 7 was woken by 7, which came later");
    refused("/servers/0/events/7/what/ready/0/on", json!({ "client": 2 }), "client 2 is not one of 2");
    refused("/servers/0/events/8/fills/0/client", json!(2), "client 2 is not one of 2");
    refused("/servers/0/events/8/step", json!(4), "event 8 is of a step that is not one of 4");
    refused("/servers/0/events/8/step", json!(null), "event 9 is of a step that was over");
    refused("/servers/0/events/8/step", json!(2), "event 9 is of a step that was over");
    refused("/servers/1/remarks/0/event", json!(9999), "event 9999 is not one of");
    refused("/servers/1/answers/0/client", json!(2), "client 2 is not one of 2");
    refused("/servers/1/calls/by_name/recv", json!("x"), "recv was called");
    refused("/servers", json!([]), "it has no server");
    let three: Vec<_> =
        document["servers"].as_array().expect("servers").iter().cycle().take(3).cloned().collect();
    refused("/servers", three.into(), "it has 3 servers, and at most 2 are read");
}

/// All numbers of a document, wherever they are.
fn numbers<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    match value {
        Value::Number(_) => found.push(value),
        Value::Array(all) => all.iter_mut().for_each(|one| numbers(one, found)),
        Value::Object(all) => all.values_mut().for_each(|one| numbers(one, found)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a number becomes, the file is refused, or drawn.
    #[test]
    fn no_number_makes_it_panic(
        which: prop::sample::Index,
        with in prop::sample::select(vec![json!(0), json!(1), json!(7), json!(1e300), json!(-1), json!(u64::MAX), json!(null)])
    ) {
        let mut document = json!(processes());
        document.as_object_mut().expect("an object").remove("environment");
        let mut all = Vec::new();
        numbers(&mut document, &mut all);
        let at = which.index(all.len());
        *all[at] = with;
        document["environment"] = json!(Environment::here());
        if let Ok(result) = Traced::read(&document.to_string()) {
            drop((result.text(Some(80), Lang::Zh), result.trace_events(), html::trace::page(&result, Lang::En)));
        }
    }
}

#[test]
fn a_saved_trace_is_drawn_again_as_text_and_as_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace.json");
    let result = lost_event();
    fs::write(&file, json(&result)).expect("a file");
    let report = |options: &str| Program::start(&format!("report {} {options}", file.display())).end();
    let text = report("--lang en");
    text.exits(0);
    assert_eq!(text.stdout, anstream::adapter::strip_str(&result.text(None, Lang::En)).to_string());
    let drawn = report("--lang zh --html -");
    drawn.exits(0);
    assert_eq!(drawn.stdout, html::trace::page(&result, Lang::Zh));
    report("--csv -").exits(2).says_one_line(&["a trace has no figures"]);
}
