use super::*;
use crate::lab::lang::Lang;
use roxmltree::{Document, Node};

fn axis(label: &str, values: &[f64], unit: Unit) -> Axis {
    Axis { label: label.to_owned(), scale: Scale::log(values.iter().copied()), unit }
}

fn lines(count: usize) -> Lines {
    let xs = [0.0, 100.0, 1000.0, 9000.0];
    let line = |i: usize| Line {
        name: format!("server-{i}"),
        look: if i == 0 {
            Look::Baseline
        } else if i <= COLOURS {
            Look::Colour(i - 1)
        } else {
            Look::Grey
        },
        points: xs
            .iter()
            .map(|&x| {
                let y = 4.0 + x * i as f64 / 100.0;
                // The second server cannot have the most connections.
                let y = (i != 1 || x < 9000.0).then_some(y);
                Point { x, y, interval: y.map(|y| (y * 0.9, y * 1.1)) }
            })
            .collect(),
    };
    Lines {
        title: "CPU time per request against idle connections".to_owned(),
        x: axis("idle connections", &xs, Unit::Count),
        y: axis("CPU time per request", &[4.0, 4.0 + 90.0 * count as f64], Unit::Micros),
        lines: (0..count).map(line).collect(),
    }
}

fn dots(names: &[&str]) -> Dots {
    let row = |(i, name): (usize, &&str)| {
        let value = 0.5 + i as f64 * 0.3;
        let dot = Dot {
            value,
            interval: Some((value * 0.95, value * 1.05)),
            tone: [Tone::Better, Tone::Worse, Tone::Same, Tone::Plain][i % 4],
            text: format!("{value:.2} [0.10–9.99]"),
            short: format!("{value:.2}"),
        };
        let dot = if i == 1 { Err("skipped") } else { Ok(dot) };
        DotRow { name: (*name).to_owned(), dot }
    };
    Dots {
        title: "ping".to_owned(),
        axis: axis("ratio to epoll-level; less is better", &[0.5, 2.2], Unit::Ratio),
        reference: Some(1.0),
        noise: Some((0.99, 1.01)),
        rows: names.iter().enumerate().map(row).collect(),
    }
}

fn bars() -> Bars {
    let bar = |name: &str, parts: &[f64]| Bar { name: name.to_owned(), parts: parts.to_vec() };
    Bars {
        title: "System calls per request".to_owned(),
        axis: Axis { label: "calls".to_owned(), scale: Scale::from_zero([3.0]), unit: Unit::Count },
        parts: ["recvfrom", "sendto", "epoll_wait"].map(str::to_owned).to_vec(),
        bars: vec![bar("epoll-level", &[1.0, 1.0, 0.1]), bar("uring", &[0.0, 0.0, 0.12]), bar("python", &[])],
    }
}

fn lanes() -> Lanes {
    let span = |from, to, look| Span { from, to, what: "epoll_wait".to_owned(), look };
    Lanes {
        title: "One request".to_owned(),
        axis: Axis { label: "time".to_owned(), scale: Scale::from_zero([100.0]), unit: Unit::Micros },
        lanes: vec![Lane {
            name: "server".to_owned(),
            spans: vec![span(0.0, 60.0, Look::Grey), span(60.0, 60.0, Look::Colour(0))],
        }],
    }
}

/// Each chart, wide and narrow, as a file.
fn files(chart: &dyn Chart) -> [String; 2] {
    [WIDE, NARROW].map(|width| standalone(chart, width))
}

fn class<'a>(document: &'a Document, class: &str) -> Vec<Node<'a, 'a>> {
    let has = |node: &Node| node.attribute("class").is_some_and(|all| all.split(' ').any(|one| one == class));
    document.descendants().filter(has).collect()
}

#[track_caller]
fn well_formed(file: &str) -> Document<'_> {
    let document = Document::parse(file).unwrap_or_else(|why| panic!("{why}: {file}"));
    for node in document.descendants() {
        for attribute in node.attributes() {
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
        }
    }
    let root = document.root_element();
    assert_eq!(root.attribute("role"), Some("img"));
    for name in ["title", "desc"] {
        let text = root.children().find(|node| node.has_tag_name(("http://www.w3.org/2000/svg", name)));
        assert!(text.and_then(|node| node.text()).is_some_and(|text| !text.is_empty()), "no {name}: {file}");
    }
    document
}

#[test]
fn a_line_has_a_vertex_for_each_point_that_was_measured() {
    for file in files(&lines(23)) {
        let document = well_formed(&file);
        let paths = class(&document, "line");
        assert_eq!(paths.len(), 23);
        for (i, line) in paths.iter().enumerate() {
            let path = line.children().find(|node| node.attribute("class") == Some("l")).unwrap();
            let data = path.attribute("d").unwrap();
            assert_eq!(data.matches(['M', 'l']).count(), if i == 1 { 3 } else { 4 }, "{data}");
        }
    }
}

#[test]
fn what_was_not_measured_leaves_a_gap() {
    let mut chart = lines(1);
    chart.lines[0].points[1].y = None;
    let file = standalone(&chart, WIDE);
    let document = well_formed(&file);
    let line = class(&document, "l")[0].attribute("d").unwrap();
    assert_eq!((line.matches('M').count(), line.matches('l').count()), (2, 1), "{line}");
}

#[test]
fn lines_differ_by_marker_and_by_colour() {
    let looks = (0..COLOURS).map(Look::Colour).chain([Look::Baseline]);
    let mut seen: Vec<_> = looks.map(|look| (look.class(), look.marker(0.0, 0.0))).collect();
    seen.sort();
    seen.dedup_by(|a, b| a.0 == b.0 || a.1 == b.1);
    assert_eq!(seen.len(), COLOURS + 1);
    for dashed in 2..=COLOURS {
        assert!(STYLE.contains(&format!(".chart .c{dashed} .l{{stroke-dasharray")), "{dashed}");
    }
}

#[test]
fn a_ranking_has_a_dot_for_each_server_and_says_why_one_has_none() {
    for file in files(&dots(&["epoll-level", "blocking", "poll"])) {
        let document = well_formed(&file);
        let marked = class(&document, "dots");
        let paths = marked.iter().filter_map(|tone| tone.last_element_child()?.attribute("d"));
        assert_eq!(paths.map(|data| data.matches('M').count()).sum::<usize>(), 2);
        let notes = class(&document, "note");
        assert_eq!(notes.iter().map(|note| note.text()).collect::<Vec<_>>(), [Some("skipped")]);
    }
}

#[test]
fn a_bar_has_a_part_for_each_number_above_0() {
    for file in files(&bars()) {
        let document = well_formed(&file);
        let bars = class(&document, "bar");
        let parts = bars
            .iter()
            .map(|bar| bar.descendants().filter(|node| node.attribute("class") == Some("s")).count());
        assert_eq!(parts.collect::<Vec<_>>(), [3, 1, 0]);
        assert!(file.contains("not measured"));
    }
}

#[test]
fn a_lane_has_its_spans_even_those_that_took_no_time() {
    for file in files(&lanes()) {
        assert_eq!(class(&well_formed(&file), "span").len(), 2);
    }
}

#[test]
fn a_chart_without_data_says_so() {
    let no_lines = Lines { lines: Vec::new(), ..lines(1) };
    let mut unmeasured = lines(1);
    unmeasured.lines[0].points.iter_mut().for_each(|point| point.y = None);
    let no_dots = dots(&[]);
    let no_bars = Bars { bars: Vec::new(), ..bars() };
    let no_lanes = Lanes { lanes: Vec::new(), ..lanes() };
    let charts: [&dyn Chart; 5] = [&no_lines, &unmeasured, &no_dots, &no_bars, &no_lanes];
    for chart in charts {
        for file in files(chart) {
            well_formed(&file);
            assert!(file.contains(">not measured</text>"), "{file}");
        }
    }
}

/// A box around each text, by the widths that the layout goes by.
fn boxes(document: &Document) -> Vec<(String, [f64; 4])> {
    let number = |node: &Node, name: &str| node.attribute(name).map_or(0.0, |value| value.parse().unwrap());
    let texts = document.descendants().filter(|node| node.tag_name().name() == "text");
    let of = |node: Node| {
        let words = node.text().unwrap_or_default().to_owned();
        let around = node.ancestors().filter_map(|node| node.attribute("class"));
        let classes: Vec<_> = around.flat_map(|classes| classes.split(' ')).collect();
        let wide = if classes.contains(&"n") { text::name_width(&words) } else { text::width(&words) };
        let (mut x, mut y) = (number(&node, "x"), number(&node, "y"));
        for around in node.ancestors().filter_map(|node| node.attribute("transform")) {
            let (dx, dy) = around["translate(".len()..around.len() - 1].split_once(' ').unwrap();
            (x, y) = (x + dx.parse::<f64>().unwrap(), y + dy.parse::<f64>().unwrap());
        }
        x -= if classes.contains(&"e") {
            wide
        } else if classes.contains(&"m") {
            wide / 2.0
        } else {
            0.0
        };
        (words, [x, y - 10.0, x + wide, y + 3.0])
    };
    texts.map(of).collect()
}

#[test]
fn no_text_is_cut_off_or_overlaps_another() {
    let names = ["a", "reuseport-processes", "a-server-whose-name-goes-on-and-on-for-ever", "回声服务器"];
    let mut named = lines(23);
    for (line, name) in named.lines.iter_mut().zip(names) {
        line.name = name.to_owned();
    }
    let in_course = [Lang::En, Lang::Zh].map(LevelEdge::new);
    let charts: [&dyn Chart; 8] =
        [&lines(1), &lines(23), &named, &dots(&names), &bars(), &lanes(), &in_course[0], &in_course[1]];
    for chart in charts {
        for width in [WIDE, NARROW] {
            let file = standalone(chart, width);
            let document = well_formed(&file);
            let all = boxes(&document);
            for (i, (words, [left, top, right, bottom])) in all.iter().enumerate() {
                assert!(
                    *left >= -0.1 && *right <= width + 0.1,
                    "{words:?} is cut off: {left} to {right} of {width}"
                );
                for (others, [l, t, r, b]) in &all[..i] {
                    let apart = right <= l || r <= left || bottom <= t || b <= top;
                    assert!(apart, "{words:?} and {others:?} overlap at {left},{top}: {file}");
                }
            }
        }
    }
}

#[test]
fn names_are_escaped_and_control_characters_replaced() {
    let evil = "<script>alert(\"1\" & '2')</script>\u{1}\u{8}";
    let mut chart = lines(2);
    chart.lines[0].name = evil.to_owned();
    for file in files(&chart).into_iter().chain(files(&dots(&[evil]))) {
        well_formed(&file);
        assert!(!file.contains("<script"), "{file}");
    }
}

#[test]
fn a_file_has_its_style_and_its_background() {
    let file = standalone(&lines(3), WIDE);
    assert!(file.contains("prefers-color-scheme:dark") && file.contains("class=\"paper\""));
    let embedded = embedded(&lines(3)).into_string();
    assert!(!embedded.contains("<style"));
    assert_eq!(embedded.matches("<svg").count(), 2, "one for wide screens, one for narrow ones");
}

#[test]
fn numbers_are_rounded() {
    assert_eq!([0.04, -0.04, 1.25, 100.0].map(n), ["0", "0", "1.3", "100"]);
}
