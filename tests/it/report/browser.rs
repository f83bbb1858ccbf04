//! The page in a real browser: headless Chromium.

use super::sample::{EVIL, gated, of, sample};
use super::traces::{lost_event, processes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use io_models::facts::{Fact, all};
use io_models::lab::facts::{Known, Map, Profile};
use io_models::lab::lang::Lang;
use io_models::lab::results::compare::{Comparison, Figures, Group};
use io_models::lab::show::html;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// For one start of the browser, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Windows of a telephone and of a large screen, in pixels.
const WIDTHS: [u32; 2] = [400, 1400];

/// Text that is drawn smaller than this is hard to read, in pixels.
const SMALLEST_TEXT: f64 = 9.5;

/// What [`probe.js`](probe.js) tells.
#[derive(Debug, Deserialize)]
struct Seen {
    width: u32,
    content: u32,
    requests: Vec<String>,
    charts: Vec<Chart>,
}

#[derive(Debug, Deserialize)]
struct Chart {
    title: String,
    lines: usize,
    vertices: usize,
    dots: usize,
    bars: usize,
    parts: usize,
    invisible: usize,
    cut: Vec<String>,
    overlapping: Vec<String>,
    smallest_text: f64,
}

/// The browser's name, if there is one. In CI there must be.
fn browser() -> Option<&'static str> {
    let starts =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|done| done.status.success());
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(starts);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs a browser: install chromium");
        eprintln!("skipped: no chromium is installed");
    }
    found
}

/// Open a file, and return what the document is once it is loaded, and the browser's messages.
fn open(browser: &str, folder: &Path, file: &str) -> (String, String) {
    let profile = TempDir::new().unwrap();
    let done = assert_cmd::Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
        .args(["--window-size=1500,3000", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", folder.join(file).display()))
        .timeout(LIMIT)
        .assert()
        .success();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&done.get_output().stdout), text(&done.get_output().stderr))
}

/// A page with the probe in it, and policies that allow no more than that.
fn probed(page: &str) -> String {
    let policy = "content=\"default-src 'none'; style-src 'unsafe-inline'";
    assert!(page.contains(policy), "the page has its policy");
    let page = page.replace(policy, &format!("{policy}; script-src 'unsafe-inline'"));
    page.replace("</body>", &format!("<script>{}</script></body>", include_str!("probe.js")))
}

/// What a browser makes of the page in each of [`WIDTHS`]. A window cannot be as narrow as a telephone, but a frame can.
fn seen(browser: &str, page: &str) -> Vec<Seen> {
    let folder = TempDir::new().unwrap();
    let frame = |width: &u32| {
        format!("<iframe src=page.html style=\"width:{width}px;height:3000px;border:0\"></iframe>")
    };
    let outer = format!(
        "<!DOCTYPE html><body><script>addEventListener('message', (told) => {{
            document.body.append(Object.assign(document.createElement('pre'), {{ textContent: told.data }}));
        }});</script>{}",
        WIDTHS.iter().map(frame).collect::<String>()
    );
    std::fs::write(folder.path().join("page.html"), probed(page)).unwrap();
    std::fs::write(folder.path().join("outer.html"), outer).unwrap();
    let (document, messages) = open(browser, folder.path(), "outer.html");
    let told = document.split("<pre>").skip(1).map(|rest| rest.split("</pre>").next().unwrap_or_default());
    let mut all: Vec<Seen> =
        told.map(|told| serde_json::from_slice(&BASE64.decode(told).unwrap()).unwrap()).collect();
    all.sort_by_key(|seen| seen.width);
    assert_eq!(all.iter().map(|seen| seen.width).collect::<Vec<_>>(), WIDTHS, "{document} {messages}");
    all
}

#[track_caller]
fn chart<'a>(seen: &'a Seen, title: &str) -> &'a Chart {
    seen.charts.iter().find(|chart| chart.title == title).unwrap_or_else(|| {
        panic!(
            "no chart {title:?} among {:?}",
            seen.charts.iter().map(|chart| &chart.title).collect::<Vec<_>>()
        )
    })
}

fn groups<'a>(result: &'a Comparison, workload: &'a str) -> impl Iterator<Item = &'a Group> {
    result.groups.iter().filter(move |group| group.workload == workload)
}

/// In how many rows of these groups a figure is known, with A/A or without.
fn known<'a>(groups: impl Iterator<Item = &'a Group>, with_control: bool, of: fn(&Figures) -> bool) -> usize {
    let rows = groups.flat_map(|group| &group.rows).filter(|row| with_control || !row.control);
    rows.filter(|row| row.figures.as_ref().is_some_and(of)).count()
}

#[test]
fn every_chart_draws_its_series_and_nothing_is_cut_off_on_any_screen() {
    let Some(browser) = browser() else { return };
    let result = sample(&["ping", "single", "idle", "churn", "open", "sweep"]);
    let result = gated(&result, "ping/poll cpu<=1000", "churn cpu<=0.0001");
    for seen in seen(browser, &html::page(&result)) {
        assert!(seen.content <= seen.width, "{} pixels in a window of {}", seen.content, seen.width);
        assert_eq!(seen.requests, Vec::<String>::new(), "the page needs nothing else");
        for chart in &seen.charts {
            let Chart { title, invisible, cut, overlapping, smallest_text, .. } = chart;
            assert_eq!(*invisible, 0, "{title} has parts without size at {}", seen.width);
            assert!(
                cut.is_empty() && overlapping.is_empty(),
                "{title} at {}: {cut:?} {overlapping:?}",
                seen.width
            );
            assert!(*smallest_text > SMALLEST_TEXT, "{title} at {}: {smallest_text} px", seen.width);
        }
        has_all(&seen, &result);
    }
}

/// Each chart has as many lines, points and bars as the result has figures.
fn has_all(seen: &Seen, result: &Comparison) {
    let of = |workload| groups(result, workload);
    let dots = [
        ("ping: CPU time per request", known(of("ping"), true, |f| f.cpu.is_some())),
        ("ping: Requests/s", known(of("ping"), true, |f| f.rate.is_some())),
        (
            "Kernel, per connection",
            known(of("idle").skip(3).take(1), false, |f| f.kernel_memory_per_connection.is_some()),
        ),
    ];
    for (title, count) in dots {
        assert_eq!(chart(seen, title).dots, count, "{title}");
    }
    let entrants = result.entrants.len();
    // Of one foreign server the CPU time is not known, and blocking has no group in which it serves many clients.
    let lines = [
        (
            "CPU time per request against idle connections: idle",
            entrants - 2,
            known(of("idle"), false, |f| f.cpu_us_per_request.is_some()),
        ),
        ("Rate against idle connections: idle", entrants - 1, known(of("idle"), false, |_| true)),
        ("Rate against requests per connection: churn", entrants - 1, known(of("churn"), false, |_| true)),
        (
            "Latency (p99) against offered load: sweep",
            entrants - 1,
            known(of("sweep"), false, |f| f.latency_us.p99.is_some()),
        ),
    ];
    for (title, lines, vertices) in lines {
        let chart = chart(seen, title);
        assert_eq!((chart.lines, chart.vertices), (lines, vertices), "{title}");
    }
    assert_eq!(chart(seen, "Latency by percentile: open@50%").lines, entrants - 1);
    let calls = chart(seen, "System calls per request: ping");
    assert_eq!(calls.bars, known(of("ping"), false, |_| true));
    assert!(calls.parts > known(of("ping"), false, |f| f.syscalls_per_request.is_some()));
}

/// A map of many kernels whose facts differ in the same way.
fn map() -> Map {
    let cell = |fact: &Fact| {
        format!(
            r#"{{"id": "{}", "outcome": "differs", "held": 0, "observed": [
            {{"step": "a wait", "expected": "IN", "observed": "{}"}}]}}"#,
            fact.id,
            "x".repeat(400)
        )
    };
    let facts: Vec<String> = all().step_by(3).map(cell).collect();
    let profile = |name: String| {
        let json = format!(
            r#"{{"schema": "io-models/facts", "schema_version": 2, "partial": false,
            "environment": {{"kernel": "6.12.1", "machine": "x86_64"}}, "facts": [{}]}}"#,
            facts.join(",")
        );
        Profile::read(&name, &json).expect("a profile")
    };
    let names = (0..22).map(|n| format!("x86_64-6.{n}.117-rt")).chain([EVIL.to_owned()]);
    Map::new(names.map(profile).collect(), Known::default()).expect("a map")
}

#[test]
fn the_map_of_the_facts_fits_any_screen_and_needs_nothing_else() {
    let Some(browser) = browser() else { return };
    let page = html::facts::page(&map());
    for seen in seen(browser, &page) {
        assert!(seen.content <= seen.width, "{} pixels in a window of {}", seen.content, seen.width);
        assert_eq!(seen.requests, Vec::<String>::new(), "the page needs nothing else");
    }
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("page.html"), &page).unwrap();
    let (document, messages) = open(browser, folder.path(), "page.html");
    assert!(!messages.contains("Content Security Policy"), "{messages}");
    assert!(document.contains("&lt;script&gt;alert(") && !document.contains("<script"), "the name is text");
}

#[test]
fn a_trace_fits_any_screen_needs_nothing_else_and_opens_an_event_without_a_script() {
    let Some(browser) = browser() else { return };
    let mut named = lost_event();
    named.servers[0].name = EVIL.to_owned();
    named.servers[1].clients[0] = "a-client-with-a-name-that-is-longer-than-a-column".to_owned();
    for (result, lang) in [(lost_event(), Lang::En), (processes(), Lang::Zh), (named, Lang::Zh)] {
        let page = html::trace::page(&result, lang);
        for seen in seen(browser, &page) {
            assert!(seen.content <= seen.width, "{} pixels in a window of {}", seen.content, seen.width);
            assert_eq!(seen.requests, Vec::<String>::new(), "the page needs nothing else");
        }
    }
    let folder = TempDir::new().unwrap();
    let page = html::trace::page(&lost_event(), Lang::En);
    std::fs::write(folder.path().join("page.html"), &page).unwrap();
    let (_, messages) = open(browser, folder.path(), "page.html");
    assert!(!messages.contains("Content Security Policy"), "{messages}");
    // The script is the test's: it clicks as a reader does.
    let click = "<script>addEventListener('load', () => {
        document.querySelector('[popovertarget=pa8]').click();
        document.body.dataset.opened = [...document.querySelectorAll(':popover-open')].map((one) => one.id);
    })</script></body>";
    let policy = "style-src 'unsafe-inline'";
    let page =
        page.replace(policy, &format!("{policy}; script-src 'unsafe-inline'")).replace("</body>", click);
    std::fs::write(folder.path().join("page.html"), page).unwrap();
    let (document, messages) = open(browser, folder.path(), "page.html");
    assert!(document.contains("data-opened=\"pa8\""), "{messages}");
}

#[test]
fn the_page_as_it_is_obeys_its_own_policy_and_runs_nothing() {
    let Some(browser) = browser() else { return };
    let folder = TempDir::new().unwrap();
    let page = html::page(&of(&["ping"], &["epoll-level", "poll", EVIL]));
    std::fs::write(folder.path().join("page.html"), &page).unwrap();
    let (document, messages) = open(browser, folder.path(), "page.html");
    assert!(!messages.contains("Content Security Policy"), "{messages}");
    assert!(document.contains("&lt;script&gt;alert("), "the name is text");
    assert!(!document.contains("<script"), "{document}");
}
