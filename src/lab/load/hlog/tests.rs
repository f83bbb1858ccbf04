use super::*;
use base64::Engine;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};
use proptest::prelude::*;
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

fn with_bounds(low: u64, high: u64, digits: u8, values: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::<u64>::new_with_bounds(low, high, digits).unwrap();
    values.iter().for_each(|&value| histogram.record(value).unwrap());
    histogram
}

/// As the load generator makes them.
fn histogram(values: &[u64]) -> Histogram<u64> {
    with_bounds(1, 60_000_000_000, 3, values)
}

/// A log of one interval a second.
fn log(intervals: &[(Option<&str>, &Histogram<u64>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let started = UNIX_EPOCH + Duration::from_millis(1_500_000_000_250);
    let mut log = Log::create(&mut bytes, &json!({"rate": 1000, "by": "a\nb"}), started).unwrap();
    for (start, (tag, histogram)) in (0..).zip(intervals) {
        log.write(*tag, SECOND * start, SECOND, histogram).unwrap();
    }
    bytes
}

/// What is said of a log that cannot be read.
#[track_caller]
fn refused(bytes: &[u8]) -> String {
    let error = format!("{:#}", read(bytes).unwrap_err());
    assert!(!error.contains('\n'), "one line: {error}");
    assert!(error.starts_with("line "), "{error}");
    error
}

#[test]
fn what_was_written_is_read() {
    let (a, b, c) = (histogram(&[100, 200]), histogram(&[300]), histogram(&[7_000_000_000]));
    let logged = read(&log(&[(None, &a), (Some("sent"), &b), (None, &c)])).unwrap();
    assert_eq!(logged.plan, Some(json!({"rate": 1000, "by": "a\nb"})));
    assert_eq!(logged.started, Some(1_500_000_000.25));
    assert_eq!((logged.from, logged.to), (Duration::ZERO, SECOND * 3));
    let expected = [(None, histogram(&[100, 200, 7_000_000_000])), (Some("sent".to_owned()), b)];
    assert_eq!(logged.histograms, expected);
}

#[test]
fn the_log_is_the_one_that_the_crates_parser_reads() {
    let (a, b) = (histogram(&[100, 2_000_000]), histogram(&[300]));
    let bytes = log(&[(None, &a), (Some("sent"), &b)]);
    let entries: Vec<LogEntry> = IntervalLogIterator::new(&bytes).map(Result::unwrap).collect();
    let started = Duration::from_millis(1_500_000_000_250);
    let [LogEntry::StartTime(start), LogEntry::BaseTime(base), intervals @ ..] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    let [LogEntry::Interval(first), LogEntry::Interval(second)] = intervals else {
        panic!("{entries:?}");
    };
    assert_eq!((*start, *base), (started, started));
    assert_eq!((first.tag(), second.tag()), (None, Tag::new("sent")));
    assert_eq!((second.start_timestamp(), second.duration()), (SECOND, SECOND));
    assert_eq!(first.max(), 2.001, "milliseconds");
    assert_eq!(decoded(first.encoded_histogram()).unwrap(), a);
}

#[test]
fn each_interval_is_written_whole_and_at_once() {
    struct Writes(Vec<(Vec<u8>, bool)>);
    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push((bytes.to_vec(), false));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.last_mut().unwrap().1 = true;
            Ok(())
        }
    }
    let mut writes = Writes(Vec::new());
    let mut log = Log::create(&mut writes, &json!({}), UNIX_EPOCH).unwrap();
    log.write(None, SECOND, SECOND, &histogram(&[1])).unwrap();
    log.write(None, SECOND, SECOND, &histogram(&[2])).unwrap();
    assert_eq!(writes.0.len(), 3, "a write for the head and for each interval");
    assert!(writes.0.iter().all(|(bytes, flushed)| bytes.ends_with(b"\n") && *flushed));
}

#[test]
fn a_tag_that_would_break_the_line_is_refused() {
    for tag in ["", "a,b", "a b", "a\nb"] {
        let mut log = Log::create(Vec::new(), &json!({}), UNIX_EPOCH).unwrap();
        let error = log.write(Some(tag), SECOND, SECOND, &histogram(&[])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(&format!("{tag:?} cannot be a tag")), "{error}");
    }
}

#[test]
fn what_is_no_log_is_refused() {
    let no_logs: [&[u8]; 5] =
        [b"", b"\x7fELF\x02\x01\xff\0", b"# A title\n\nSome text.\n", b"{\"rate\": 1}", b"\n\n"];
    for bytes in no_logs {
        let error = refused(bytes);
        assert!(error.contains("this is no HdrHistogram interval log: give"), "{error}");
    }
    assert!(refused(b"# A title\n\nSome text.\n").starts_with("line 3: "));
}

#[test]
fn a_log_without_intervals_is_refused() {
    assert_eq!(
        refused(&log(&[])),
        "line 6 is the last: the log has no interval: its run ended before the first; run it again, \
         for longer"
    );
}

#[test]
fn a_log_cut_anywhere_in_its_last_line_is_refused_with_that_line() {
    let whole = log(&[(None, &histogram(&[1, 10, 100])), (Some("sent"), &histogram(&[5]))]);
    let begin = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    for end in begin + 1..whole.len() - 1 {
        let error = refused(&whole[..end]);
        assert!(error.starts_with("line 8: "), "{error}");
        assert!(error.ends_with("delete the line to read the rest"), "{error}");
    }
    assert!(read(&whole[..begin]).is_ok(), "without the line");
    assert!(read(&whole[..whole.len() - 1]).is_ok(), "only the line break is missing");
}

#[test]
fn intervals_of_different_precision_are_refused() {
    let (fine, coarse) = (histogram(&[1]), with_bounds(1, 1000, 2, &[1]));
    let error = refused(&log(&[(None, &fine), (None, &coarse)]));
    assert_eq!(
        error,
        "line 8: this interval has a precision of 2 digits, and those before it of 3: they cannot be added; \
         give a log of one precision"
    );
    assert!(read(&log(&[(None, &fine), (Some("coarse"), &coarse)])).is_ok(), "they are not added");
}

#[test]
fn a_damaged_plan_is_refused() {
    let bytes = String::from_utf8(log(&[(None, &histogram(&[1]))])).unwrap().replace("{\"rate\"", "{rate");
    let error = refused(bytes.as_bytes());
    assert!(error.starts_with("line 2: the plan of the run is damaged (key must be a string"), "{error}");
}

#[test]
fn intervals_of_different_bounds_are_added() {
    let (short, long) = (with_bounds(1, 5000, 3, &[10, 4000]), with_bounds(1, 60_000_000_000, 3, &[1 << 35]));
    for intervals in [[&short, &long], [&long, &short]] {
        let logged = read(&log(&intervals.map(|interval| (None, interval)))).unwrap();
        let sum = &logged.histograms[0].1;
        assert_eq!((sum.len(), sum.min()), (3, 10));
        assert_eq!(sum.max(), long.max());
    }
}

#[test]
fn a_log_with_line_ends_of_windows_is_read() {
    let bytes = String::from_utf8(log(&[(None, &histogram(&[1]))])).unwrap().replace('\n', "\r\n");
    assert_eq!(read(bytes.as_bytes()).unwrap().histograms, [(None, histogram(&[1]))]);
}

#[test]
fn times_before_1970_are_written_as_1970() {
    let mut bytes = Vec::new();
    Log::create(&mut bytes, &json!({}), UNIX_EPOCH - SECOND).unwrap();
    assert!(String::from_utf8(bytes).unwrap().contains("#[StartTime: 0.000 (seconds since epoch)]\n"));
}

#[test]
fn units_above_one_keep_their_percentiles() {
    let coarse =
        with_bounds(1000, 60_000_000_000, 3, &[0, 700, 70_000, 1_000_000, 123_456_789, 59_999_999_999]);
    let decoded = decoded(&encoded(&coarse)).unwrap();
    assert_eq!(decoded.len(), coarse.len());
    assert_eq!(decoded.max(), coarse.max());
    for percent in 1..=100 {
        let quantile = f64::from(percent) / 100.0;
        let (ours, theirs) = (decoded.value_at_quantile(quantile), coarse.value_at_quantile(quantile));
        assert_eq!(ours, coarse.highest_equivalent(theirs), "{percent} %");
    }
}

#[test]
fn unknown_encodings_are_refused() {
    // How a later version might begin.
    let v3 = "HISTBQAAAAA=";
    assert!(format!("{:#}", decoded(v3).unwrap_err()).contains("begins with 0x1c849305"));
    assert!(format!("{:#}", decoded("%%%").unwrap_err()).starts_with("not base64"));
    assert!(format!("{:#}", decoded("").unwrap_err()).starts_with("its header is cut off"));
}

/// A histogram of any precision and bounds, with some values. Narrow bounds if the precision is high:
/// a hundred megabytes of bins a case would be slow, and show nothing more. Values up to 2^63, which Java
/// has; beyond, the crate's own minimum and maximum depend on which value of a bin was recorded.
fn any_histogram() -> impl Strategy<Value = Histogram<u64>> {
    let bounds = (0..=5_u8, 1..=63_u32);
    let values = proptest::collection::vec((any::<u64>(), 0..64_u32, 1..1_u64 << 40), 0..40);
    (bounds, values).prop_map(|((digits, bits), values)| {
        let high = u64::MAX >> if digits < 4 { 64 - bits } else { 64 - bits / 3 - 1 };
        let mut histogram = Histogram::<u64>::new_with_bounds(1, high.max(2), digits).unwrap();
        for (value, shift, count) in values {
            histogram.record_n((value >> shift).min(high), count).unwrap();
        }
        histogram
    })
}

/// What [`encoded`] does after the counts have been laid out.
fn deflated(counts: &[u8]) -> String {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(counts).unwrap();
    let packed = packed.finish().unwrap();
    let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
    base64::engine::general_purpose::STANDARD
        .encode([&[0x1c, 0x84, 0x93, 0x14], &length[..], &packed].concat())
}

#[test]
fn a_histogram_of_fractions_is_refused() {
    let mut counts = Vec::new();
    V2Serializer::new().serialize(&histogram(&[1, 2]), &mut counts).unwrap();
    assert_eq!(decoded(&deflated(&counts)).unwrap(), histogram(&[1, 2]));
    counts[32..40].copy_from_slice(&0.5_f64.to_be_bytes());
    let error = format!("{:#}", decoded(&deflated(&counts)).unwrap_err());
    assert_eq!(error, "it is shifted or of fractions, and only whole numbers are known here");
}

/// The counts of an encoding V2, from 1 to 1000 with 3 digits, with a header that says that so many bytes follow.
fn packed(length: u32, counts: &[u8]) -> Vec<u8> {
    let bounds = [&3_u32.to_be_bytes()[..], &1_u64.to_be_bytes(), &1000_u64.to_be_bytes()].concat();
    let kind = [0x1c, 0x84, 0x93, 0x13];
    [&kind[..], &length.to_be_bytes(), &[0; 4], &bounds, &1.0_f64.to_be_bytes(), counts].concat()
}

/// Why an encoding V2 with these counts is refused.
#[track_caller]
fn refused_counts(length: u32, counts: &[u8]) -> String {
    format!("{:#}", decoded(&deflated(&packed(length, counts))).unwrap_err())
}

#[test]
fn a_header_that_promises_more_than_there_is_costs_no_memory() {
    assert_eq!(decoded(&deflated(&packed(2, &[0, 2]))).unwrap(), with_bounds(1, 1000, 3, &[1]));
    for length in [1, 3, u32::MAX] {
        assert_eq!(refused_counts(length, &[0, 2]), "its counts are cut off");
    }
}

#[test]
fn counts_that_cannot_be_are_refused() {
    let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let skips = [[0xff; 9], [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]];
    for skip in skips {
        assert_eq!(refused_counts(10, &[&skip[..], &[2]].concat()), "it has counts beyond its bounds");
        // The crate reads the last bytes in another way.
        let long = [&[0; 20], &skip[..], &[2], &[0; 20]].concat();
        assert_eq!(refused_counts(50, &long), "it has counts beyond its bounds");
    }
    assert_eq!(refused_counts(18, &[most, most].concat()), "its counts are more than can be");
    assert_eq!(refused_counts(1, &[0x80]), "its last count is cut off");
}

#[test]
fn what_inflates_without_end_is_refused() {
    let zeros = vec![0; 60 << 20];
    assert_eq!(refused_counts(60 << 20, &zeros), "it has more counts than fit between its bounds");
}

#[test]
fn a_log_whose_tags_need_too_much_memory_is_refused() {
    let large = with_bounds(1, u64::MAX, 5, &[1]);
    let tags: Vec<_> = (0..12).map(|tag| format!("tag{tag}")).collect();
    let intervals: Vec<_> = tags.iter().map(|tag| (Some(tag.as_str()), &large)).collect();
    let error = refused(&log(&intervals));
    assert!(
        error.ends_with("the histograms of its tags need too much memory; split the log by tag"),
        "{error}"
    );
}

/// Six bins in an encoding before V2, where counts have `width` bytes each.
fn of_fixed_width(version: u8, width: u8) -> Vec<u8> {
    let kind = |low: u8| [0x1c, 0x84, 0x93, width << 4 | low];
    let words =
        [0_u64, 1, 0, 0, 0, 300].map(|count| count.to_be_bytes()[8 - usize::from(width)..].to_vec()).concat();
    let bounds = [&3_u32.to_be_bytes()[..], &1_u64.to_be_bytes(), &1000_u64.to_be_bytes()].concat();
    match version {
        0 => [&kind(8)[..], &bounds, &301_u64.to_be_bytes(), &words].concat(),
        _ => {
            let length = u32::try_from(words.len()).unwrap().to_be_bytes();
            [&kind(1)[..], &length, &[0; 4], &bounds, &1.0_f64.to_be_bytes(), &words].concat()
        }
    }
}

#[test]
fn histograms_of_older_tools_are_read() {
    let mut expected = with_bounds(1, 1000, 3, &[1]);
    expected.record_n(5, 300).unwrap();
    for version in [0, 1] {
        for width in [2, 4, 8] {
            let counts = of_fixed_width(version, width);
            assert_eq!(decoded(&deflated(&counts)).unwrap(), expected, "V{version}, {width} bytes a count");
            // Cut off within a count.
            decoded(&deflated(&counts[..counts.len() - 1])).unwrap_err();
        }
    }
    let error = format!("{:#}", decoded(&deflated(&of_fixed_width(1, 6))).unwrap_err());
    assert_eq!(error, "its counts have 6 bytes each, which cannot be");
}

proptest! {
    #[test]
    fn any_histogram_comes_back_as_the_crate_decodes_it(histogram in any_histogram()) {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
        let theirs: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        let ours = decoded(&encoded(&histogram)).unwrap();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(&ours, &histogram);
        prop_assert_eq!((ours.high(), ours.buckets()), (theirs.high(), theirs.buckets()));
        prop_assert_eq!((ours.min(), ours.max()), (theirs.min(), theirs.max()));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, text in "[ -~\n]{0,200}") {
        let _ = read(&bytes);
        let _ = decoded(&text);
        let _ = read(text.as_bytes());
        let _ = read(format!("#[StartTime: {text}\nTag={text},{text},0.1,{text}\n").as_bytes());
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        histograms in proptest::collection::vec(any_histogram(), 1..4),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end: prop::sample::Index,
    ) {
        let intervals: Vec<_> = histograms.iter().map(|histogram| (None, histogram)).collect();
        let mut bytes = log(&intervals);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] ^= byte;
        }
        if let Ok(logged) = read(&bytes) {
            for (_, sum) in &logged.histograms {
                drop((encoded(sum), crate::lab::load::hgrm::text(sum, 1e3)));
            }
        }
        bytes.truncate(end.index(bytes.len()));
        let _ = read(&bytes);
    }

    #[test]
    fn no_damage_below_the_deflated_layer_makes_the_decoder_panic(
        histogram in any_histogram(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut counts = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut counts).unwrap();
        for (place, byte) in damage {
            let place = place.index(counts.len());
            counts[place] ^= byte;
        }
        if let Ok(decoded) = decoded(&deflated(&counts)) {
            drop((encoded(&decoded), crate::lab::load::hgrm::text(&decoded, 1e3)));
        }
    }

    #[test]
    fn no_damage_of_an_older_histogram_makes_the_decoder_panic(
        version in 0_u8..2,
        width in prop::sample::select(&[2_u8, 4, 8]),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut counts = of_fixed_width(version, width);
        for (place, byte) in damage {
            let place = place.index(counts.len());
            counts[place] ^= byte;
        }
        if let Ok(decoded) = decoded(&deflated(&counts)) {
            drop((encoded(&decoded), crate::lab::load::hgrm::text(&decoded, 1e3)));
        }
    }
}
