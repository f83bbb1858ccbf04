//! Files for other tools: what Python's `hdrh` reads in them is what was measured.
//!
//! Nothing of that reader is ours, nor of the crate's authors, so a mistake in the format shows.

use hdrhistogram::Histogram;
use io_models::lab::load::{hgrm, hlog};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

/// A Python that can `import hdrh`: the one that `IO_MODELS_PYTHON` names, or else `python3`.
pub(crate) fn python() -> PathBuf {
    let python = std::env::var_os("IO_MODELS_PYTHON").unwrap_or_else(|| "python3".into());
    let import = Command::new(&python).args(["-c", "import hdrh"]).output().expect("Python is installed");
    let why = String::from_utf8_lossy(&import.stderr);
    let remedy = "`pip install hdrhistogram`, and IO_MODELS_PYTHON=/path/to/that/python";
    assert!(import.status.success(), "this Python cannot read our files: {remedy}: {why}");
    python.into()
}

/// What `read_with_hdrh.py` prints.
fn hdrh(python: &Path, args: &[&OsStr], input: &str) -> Value {
    let mut child = Command::new(python)
        .args(["-c", include_str!("read_with_hdrh.py")])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    // A script that fails does not read it, and says why.
    let _ = child.stdin.take().expect("it is a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("a child can be waited for");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {args:?}: {stderr}", python.display());
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// The intervals of a log as `hdrh` reads them: `tag`, `start_ms`, `end_ms`, `count`, `p50`, `p99`, `max`
/// in nanoseconds, and `recorded`, a value and its count for each bin.
pub(crate) fn intervals(python: &Path, hlog: &Path) -> Vec<Value> {
    let read = hdrh(python, &["log".as_ref(), hlog.as_os_str()], "");
    read.as_array().expect("a list of intervals").clone()
}

/// That an interval that `hdrh` read is this histogram, bin for bin.
#[track_caller]
pub(crate) fn is_the_same(interval: &Value, histogram: &Histogram<u64>) {
    let bins = histogram.iter_recorded().map(|bin| json!([bin.value_iterated_to(), bin.count_at_value()]));
    assert_eq!(interval["recorded"], bins.collect::<Value>());
    assert_eq!(interval["count"], histogram.len());
    assert_eq!(interval["max"], histogram.max());
}

/// That a percentile distribution is what `hdrh` would print of this histogram, and what Java would where
/// `hdrh` differs.
#[track_caller]
pub(crate) fn is_its_distribution(python: &Path, hgrm: &str, histogram: &Histogram<u64>, unit_ns: f64) {
    let unit = unit_ns.to_string();
    let read = hdrh(python, &["distribution".as_ref(), unit.as_ref()], &hlog::encoded(histogram));
    let theirs = read["text"].as_str().expect("a text");
    let (our_rows, our_foot) = rows_and_foot(hgrm);
    let (their_rows, their_foot) = rows_and_foot(theirs);
    assert_eq!(our_rows.len(), their_rows.len(), "{hgrm}{theirs}");
    for (ours, theirs) in our_rows.iter().zip(&their_rows) {
        assert!(are_alike(ours, theirs), "{ours:?}\n{theirs:?}");
    }
    let deviation = read["deviation"].as_f64().expect("a number");
    // A different order of the same sum may change the last digit.
    assert!((our_foot[1] - deviation).abs() < 0.002, "{deviation}: {hgrm}");
    assert!((our_foot[0] - their_foot[0]).abs() < 0.002, "{hgrm}{theirs}");
    assert_eq!(our_foot[2..], their_foot[2..], "{hgrm}{theirs}");
}

/// A line of the table, or a row with its last digit rounded another way: half up as in Java, and half
/// to even as in C and Python.
fn are_alike(ours: &str, theirs: &str) -> bool {
    let columns = |row: &str| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (ours_split, theirs_split) = (columns(ours), columns(theirs));
    let percentile = |row: &[String]| row.get(1).and_then(|column| column.parse::<f64>().ok());
    let but_percentile = |row: &[String]| {
        row.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, c)| c.clone()).collect::<Vec<_>>()
    };
    ours == theirs
        || ours.len() == theirs.len()
            && but_percentile(&ours_split) == but_percentile(&theirs_split)
            && percentile(&ours_split)
                .zip(percentile(&theirs_split))
                .is_some_and(|(ours, theirs)| (ours - theirs).abs() < 1.5e-12)
}

/// The head and the rows as they are, and of the foot its six numbers.
fn rows_and_foot(distribution: &str) -> (Vec<&str>, Vec<f64>) {
    let (foot, rows): (Vec<&str>, Vec<&str>) = distribution.lines().partition(|line| line.starts_with("#["));
    let numbers = foot.iter().flat_map(|line| line.split(['=', ',', ']']));
    (rows, numbers.filter_map(|number| number.trim().parse().ok()).collect())
}

/// So many latencies: most of them short, a few long.
fn latencies(count: u64, seed: u64) -> Histogram<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).expect("bounds are right");
    for _ in 0..count {
        let stretch = 1 << random.u32(0..16);
        histogram.record(random.u64(10_000..20_000) * stretch).expect("a value within the bounds");
    }
    histogram
}

#[test]
#[ignore = "needs a Python that can import hdrh"]
fn python_reads_every_interval_of_a_log() {
    let python = python();
    let second = Duration::from_secs(1);
    let written = [
        (None, latencies(1000, 1)),
        (Some("sent"), latencies(500, 2)),
        (None, latencies(0, 0)),
        (None, latencies(100, 3)),
    ];
    let folder = tempfile::tempdir().expect("a folder for the log");
    let path = folder.path().join("run.hlog");
    let file = std::fs::File::create(&path).expect("a file in it");
    let started = UNIX_EPOCH + second * 1_700_000_000;
    let mut log = hlog::Log::create(file, &json!({"rate": 1000}), started).expect("the head is written");
    for (start, (tag, histogram)) in (0..).zip(&written) {
        log.write(*tag, second * start, second, histogram).expect("the interval is written");
    }
    let read = intervals(&python, &path);
    assert_eq!(read.len(), written.len());
    for (start, (interval, (tag, histogram))) in (1_700_000_000_u64..).zip(read.iter().zip(&written)) {
        assert_eq!(interval["tag"], json!(tag));
        assert_eq!(interval["start_ms"], json!(start as f64 * 1e3));
        assert_eq!(interval["end_ms"], json!((start + 1) as f64 * 1e3));
        assert_eq!(interval["p50"], histogram.value_at_quantile(0.5));
        assert_eq!(interval["p99"], histogram.value_at_quantile(0.99));
        is_the_same(interval, histogram);
    }
    let ours = hlog::read(&std::fs::read(&path).expect("the log is there")).expect("we read it too");
    let untagged = ours.histograms[0].1.len();
    assert_eq!(untagged, 1100, "three intervals without a tag");
}

#[test]
#[ignore = "needs a Python that can import hdrh"]
fn python_prints_the_same_distribution() {
    let python = python();
    for (count, unit_ns) in [(1, 1e3), (10, 1e3), (12_345, 1e3), (200_000, 1e6)] {
        let histogram = latencies(count, count);
        is_its_distribution(&python, &hgrm::text(&histogram, unit_ns), &histogram, unit_ns);
    }
}
