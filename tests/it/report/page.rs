//! The page and the list of values: what they say, and what they must not contain.

use super::sample::{BASELINE, EVIL, gated, of, sample};
use io_models::lab::results::compare::Comparison;
use io_models::lab::show::{csv, html};

/// Every workload of the program.
const ALL: [&str; 8] = ["ping", "single", "idle", "churn", "bulk", "depth", "open", "sweep"];

/// Most that the page of a full run may have.
const MOST_BYTES: usize = 500_000;

/// What a reader sees of a page or a part of it: no tags, and the characters that stand for themselves.
fn words(page: &str) -> String {
    let mut words = String::new();
    for part in page.split('<') {
        words += part.split_once('>').map_or(part, |(_, text)| text);
    }
    words.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// What a reader sees of a section.
#[track_caller]
fn section(page: &str, id: &str) -> String {
    let (_, rest) = page.split_once(&format!("<section id=\"{id}\">")).expect(id);
    words(rest.split_once("</section>").expect("it ends").0)
}

#[track_caller]
fn says(text: &str, what: &str) {
    assert!(text.contains(what), "{what:?} is not in: {text}");
}

#[test]
fn the_page_of_all_models_under_all_workloads_is_small() {
    let page = html::page(&sample(&ALL));
    assert!(page.len() < MOST_BYTES, "{} bytes", page.len());
}

#[test]
fn nothing_in_the_page_leaves_it_or_runs() {
    let page = html::page(&sample(&ALL));
    says(
        &page,
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
    );
    for forbidden in
        ["<script", "<link", "<img", "<iframe", "http://", "https://", " src=", "url(", "@import", " onload"]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let links = page.split(" href=\"").skip(1);
    links.for_each(|link| assert!(link.starts_with('#'), "{}", &link[..20]));
}

#[test]
fn names_from_the_file_are_text_and_nothing_else() {
    let mut result = of(&["ping", "idle"], &[BASELINE, EVIL, "go"]);
    result.not_known.push("<img src=x onerror=alert(1)>".to_owned());
    result.groups[0].rows[3].reason = Some("</section><script>".to_owned());
    result.groups[0].rows[3].figures = None;
    let page = html::page(&result);
    for tag in ["<script", "<img", EVIL] {
        assert!(!page.contains(tag), "{tag}");
    }
    says(&words(&page), EVIL);
    says(&section(&page, "ranking"), "</section><script>");
    let quoted = format!(",\"{}\",", EVIL.replace('"', "\"\""));
    assert!(csv::text_of(&result).contains(&quoted), "quotes are doubled");
}

#[test]
fn the_findings_say_who_is_best_and_whose_difference_was_not_shown() {
    let findings =
        section(&html::page(&of(&["ping", "open"], &[BASELINE, "uring", "fork", "epoll-edge"])), "findings");
    says(&findings, "Most requests/s: uring, 1.04 [1.03–1.06] times the baseline's.");
    says(&findings, "Least CPU time per request: uring, 0.96 [0.95–0.97] times the baseline's.");
    says(&findings, "Shortest p99 latency: uring, 0.96 [0.95–0.97] times the baseline's.");
    says(&findings, "No difference to the baseline was shown for epoll-edge.");
    says(&findings, "All intervals of the baseline against itself (A/A) lie between");
    let findings = section(&html::page(&of(&["ping"], &[BASELINE, "fork"])), "findings");
    says(
        &findings,
        "No server is shown to be better than the baseline in requests/s or in CPU time per request.",
    );
}

#[test]
fn the_findings_say_with_how_many_idle_connections_a_server_falls_behind() {
    let page = html::page(&of(&["idle"], &[BASELINE, "select", "poll", "fork", "epoll-edge"]));
    let findings = section(&page, "findings");
    says(
        &findings,
        "poll is behind from 100 idle connections on (with 0 that is not shown): with 9,000 it needs 271 [",
    );
    says(
        &findings,
        "select is behind from 100 idle connections on (with 0 that is not shown): with 1,000 it needs 13.0 [",
    );
    says(&findings, "times the CPU time per request of the baseline. It was not compared with more.");
    assert!(!findings.contains("fork is behind"), "its cost does not grow");
    let page = html::page(&of(&["idle"], &[BASELINE, "epoll-edge"]));
    says(
        &section(&page, "findings"),
        "No server is shown to cost more than the baseline because of silent connections.",
    );
}

#[test]
fn a_difference_of_the_baseline_to_itself_is_a_warning() {
    let mut result = of(&["ping"], &[BASELINE, "poll"]);
    let wrong = result.groups[0].rows[3 - 1].figures.as_ref().and_then(|figures| figures.cpu);
    result.groups[0].rows[1].figures.as_mut().unwrap().cpu = wrong;
    let findings = section(&html::page(&result), "findings");
    says(&findings, "Under ping that is shown as a difference where there is none");
}

#[test]
fn a_row_that_was_not_measured_or_is_not_comparable_has_its_reason() {
    let page = html::page(&of(&["ping", "idle", "depth"], &[BASELINE, "blocking", "fork", "go"]));
    for id in ["ranking", "figures"] {
        let section = section(&page, id);
        says(
            &section,
            "not comparable: takes at most 1 connection (one client at a time), and 64 are needed",
        );
        says(&section, "failed: ended with status 2; its last words: panic: runtime error");
        says(&section, "had 1000 idle connections instead of 9000");
    }
    says(&section(&page, "ranking"), "fork not comparable");
}

#[test]
fn what_was_not_measured_is_a_dash_and_never_0() {
    let mut result = of(&["ping"], &[BASELINE, "go"]);
    let page = html::page(&result);
    let (_, row) = page.rsplit_once("<th>go").expect("the last table has the row");
    let cells: Vec<_> = row.split("<td>").skip(1).take(4).map(words).collect();
    assert_eq!(cells[2..], ["–", "–"], "neither CPU time nor its ratio: {cells:?}");
    let latency = &mut result.groups[0].rows[2].figures.as_mut().unwrap().latency_us;
    (latency.p99, latency.max) = (None, None);
    let csv = csv::text_of(&result);
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| lines[0].iter().position(|one| *one == name).expect("a column");
    for name in ["cpu_us_per_request", "cpu_ratio", "cpu_verdict", "p99_us", "syscalls_per_request", "reason"]
    {
        assert_eq!(lines[3][column(name)], "", "{name}");
    }
    assert_eq!(lines[3][column("server")], "go");
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "each line has every column");
}

#[test]
fn a_chart_without_data_is_left_out_and_says_which_workload_would_fill_it() {
    let page = html::page(&of(&["ping"], &[BASELINE, "poll"]));
    says(&section(&page, "connections"), "With --workloads idle this chart is filled.");
    says(&section(&page, "latency"), "The workload open offers all servers the same rate.");
    says(&section(&page, "offered"), "With --workloads sweep this chart is filled.");
    let empty = |mut result: Comparison| {
        result.groups.clear();
        html::page(&result)
    };
    let page = empty(of(&["ping"], &[BASELINE]));
    says(&section(&page, "findings"), "Nothing was measured.");
    says(&section(&page, "memory"), "No memory was measured.");
    assert!(!page.contains("<svg"), "no empty chart");
}

#[test]
fn what_the_run_did_not_do_is_said_at_the_top() {
    let mut result = of(&["ping"], &[BASELINE, "poll"]);
    (result.partial, result.plan.quick) = (true, true);
    result.not_known.push("the kernel's memory is not known".to_owned());
    let page = words(html::page(&result).split_once("<nav").expect("a list of sections").0);
    says(&page, "This result is partial");
    says(&page, "This was a quick run");
    says(&page, "The kernel's memory is not known.");
}

#[test]
fn gates_and_an_earlier_result_have_sections_of_their_own() {
    let result = of(&["ping"], &[BASELINE, "poll"]);
    let page = html::page(&gated(&result, "ping/poll cpu<=1000", "ping/poll cpu<=0.5x"));
    let gates = section(&page, "gates");
    says(&gates, "ping/poll cpu<=1000met: ping/poll: CPU ratio is ");
    says(&gates, "ping/poll cpu<=0.5xnot met: ping/poll: CPU ratio over that of old.json is 1.00 [");
    let earlier = section(&page, "earlier");
    says(&earlier, "no change shown");
    says(&earlier, "seed is 1 here and was 2 there");
    let without = html::page(&result);
    assert!(!without.contains("id=\"gates\"") && !without.contains("id=\"earlier\""));
}
