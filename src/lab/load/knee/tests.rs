use super::*;
use crate::lab::load::record::Counts;

const LIMIT: Limit = Limit { percentile: 99.0, at_most_us: 1000.0 };
const MOST: f64 = 1e6;

/// A search in which the tries say what `verdict` says, with the number of the try.
fn search(first: f64, mut verdict: impl FnMut(f64, u32) -> Verdict) -> (Knee, u32) {
    let mut search = Search::new(LIMIT, (LIMIT.least(Duration::from_secs(1)), MOST));
    let mut tries = 0;
    while let Some(rate) = search.next_rate(first) {
        tries += 1;
        assert!(tries <= MOST_TRIES, "it does not end");
        search.note(rate, verdict(rate, tries));
    }
    (search.knee(), tries)
}

fn up_to(knee: f64) -> impl FnMut(f64, u32) -> Verdict {
    move |rate, _| if rate <= knee { Verdict::Holds } else { Verdict::Exceeds }
}

#[test]
fn a_clear_knee_is_found_from_below_and_from_above() {
    for first in [20.0, 1000.0, 500_000.0] {
        let (knee, tries) = search(first, up_to(18_000.0));
        let rate = knee.rate_per_s.expect("a knee");
        assert!((18_000.0 / FINE_ENOUGH..=18_000.0).contains(&rate), "{knee:?}");
        assert!(knee.exceeds.is_some_and(|high| high.exceeded >= LEAD && high.rate_per_s > 18_000.0));
        assert!(knee.holds.is_some_and(|low| low.held >= LEAD));
        assert!(tries < 30, "{tries}");
    }
}

#[test]
fn one_unlucky_try_anywhere_moves_the_knee_nowhere() {
    let (_, tries) = search(1000.0, up_to(18_000.0));
    for unlucky in 1..=tries {
        let mut honest = up_to(18_000.0);
        let (knee, _) =
            search(1000.0, |rate, n| if n == unlucky { Verdict::Exceeds } else { honest(rate, n) });
        let rate = knee.rate_per_s.expect("a knee");
        assert!((18_000.0 / FINE_ENOUGH..=18_000.0).contains(&rate), "unlucky in try {unlucky}: {knee:?}");
    }
}

#[test]
fn a_try_that_was_spoiled_counts_for_nothing() {
    let mut honest = up_to(18_000.0);
    let spoiled = |rate, n: u32| if n.is_multiple_of(3) { Verdict::GeneratorLate } else { honest(rate, n) };
    let (knee, _) = search(1000.0, spoiled);
    assert!(knee.rate_per_s.is_some_and(|rate| rate > 18_000.0 / FINE_ENOUGH), "{knee:?}");
}

#[test]
fn tries_that_decide_nothing_name_no_knee() {
    for (verdict, words) in [
        (Verdict::GeneratorLate, "the generator itself was late"),
        (Verdict::ProcessorTaken, "other programs, or the server, took the generator's processor"),
        (Verdict::NothingDue, "no request was due in 4 tries"),
    ] {
        let (knee, tries) = search(1000.0, |_, _| verdict);
        assert_eq!((knee.rate_per_s, tries), (None, MOST_UNDECIDED));
        assert!(knee.to_string().contains(words), "{knee}");
    }
}

#[test]
fn tries_that_contradict_each_other_name_no_knee() {
    // Two unlucky tries at the first rate; above it everything holds.
    let (knee, _) =
        search(
            1000.0,
            |rate, _| {
                if (900.0..1100.0).contains(&rate) { Verdict::Exceeds } else { Verdict::Holds }
            },
        );
    assert_eq!(knee.rate_per_s, None);
    assert!(knee.to_string().contains("contradict"), "{knee}");
}

#[test]
fn a_rate_that_holds_in_four_tries_of_seven_is_no_knee() {
    let (knee, _) = search(1000.0, |rate, n| match rate {
        ..15_000.0 => Verdict::Holds,
        ..30_000.0 if n.is_multiple_of(2) => Verdict::Holds,
        _ => Verdict::Exceeds,
    });
    assert_eq!(knee.rate_per_s, None, "{knee}");
    assert!(knee.to_string().contains("contradict each other"), "{knee}");
}

#[test]
fn noise_gives_the_knee_or_a_refusal_and_hardly_ever_another_rate() {
    let (mut refused, mut wrong) = (0, 0);
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        // One try of six fails by chance.
        let mut honest = up_to(18_000.0);
        let (knee, _) =
            search(1000.0, |rate, n| if random.u8(..6) == 0 { Verdict::Exceeds } else { honest(rate, n) });
        match knee.rate_per_s {
            Some(rate) => wrong += u32::from(!(12_000.0..=18_000.0).contains(&rate)),
            None => refused += 1,
        }
    }
    // The one: five tries at one rate of which four failed by chance, and then two of two at a higher one.
    assert!(wrong <= 1 && refused < 100, "of 500: {wrong} wrong, {refused} refused");
}

#[test]
fn a_server_that_never_keeps_the_limit_and_one_that_always_does() {
    let (never, _) = search(1000.0, |_, _| Verdict::Exceeds);
    assert_eq!(never.rate_per_s, None);
    assert!(never.to_string().contains("give --duration"), "{never}");
    let (always, _) = search(1000.0, |_, _| Verdict::Holds);
    assert_eq!((always.rate_per_s, always.exceeds), (Some(MOST), None));
    let words = always.to_string();
    assert!(
        words.starts_with("at least 1,000,000 requests/s keep p99 ≤ 1.00 ms: no higher rate was"),
        "{words}"
    );
}

#[test]
fn a_try_is_as_long_as_its_percentile_needs() {
    let second = Duration::from_secs(1);
    assert_eq!(LIMIT.time(1000.0, second), second);
    assert_eq!(LIMIT.time(100.0, second), 10 * second);
    assert_eq!(LIMIT.time(1.0, second), LONGEST_TRY);
    assert_eq!(LIMIT.time(1.0, 2 * LONGEST_TRY), 2 * LONGEST_TRY);
    let p99_9 = Limit { percentile: 99.9, ..LIMIT };
    assert_eq!(p99_9.time(1000.0, second).as_secs_f64().round(), 10.0);
    let max = Limit { percentile: 100.0, ..LIMIT };
    assert_eq!(max.time(1000.0, second), second);
}

fn record(fast: u64, slow: u64, counts: Counts) -> Record {
    let mut record = Record::default();
    record.response.record_n(500_000, fast).unwrap();
    record.response.record_n(5_000_000, slow).unwrap();
    for _ in 0..counts.unsent {
        record.not_answered(None, 1000);
    }
    let sent = fast + slow;
    let answered = sent - counts.answered_after;
    record.counts = Counts { sent, answered, completed: answered, elapsed_ns: 1_000_000_000, ..counts };
    record
}

#[test]
fn requests_without_answer_exceed_the_limit_however_short_they_waited() {
    let none = Counts::default();
    assert_eq!(LIMIT.judge(&record(990, 10, none), 0), Verdict::Holds);
    assert_eq!(LIMIT.judge(&record(989, 11, none), 0), Verdict::Exceeds);
    assert_eq!(LIMIT.judge(&record(990, 0, Counts { unsent: 11, ..none }), 0), Verdict::Exceeds);
    assert_eq!(
        LIMIT.judge(&record(1000, 0, Counts { answered_after: 20, ..none }), 9),
        Verdict::Exceeds,
        "a rate that is missed is not kept"
    );
    assert_eq!(LIMIT.judge(&Record::default(), 0), Verdict::NothingDue);
}

#[test]
fn what_the_generator_spoiled_is_told_from_what_the_server_did() {
    let late = |n| Counts { late_by_generator: n, ..Counts::default() };
    assert_eq!(LIMIT.judge(&record(900, 100, late(95)), 0), Verdict::GeneratorLate);
    assert_eq!(LIMIT.judge(&record(900, 100, late(80)), 0), Verdict::Exceeds, "20 of 1000 are the server's");
    let taken = Counts { kept_waiting_ns: 100_000_000, ..Counts::default() };
    assert_eq!(LIMIT.judge(&record(900, 100, taken), 0), Verdict::ProcessorTaken);
    assert_eq!(
        LIMIT.judge(&record(100, 900, taken), 0),
        Verdict::Exceeds,
        "most are late: the server is slow"
    );
}

#[test]
fn a_rate_that_the_server_missed_is_not_blamed_on_a_generator_that_was_hardly_late() {
    let limit = Limit { percentile: 90.0, ..LIMIT };
    let missed = |unsent, late_by_generator, kept_waiting_ns| {
        let counts = Counts { unsent, late_by_generator, kept_waiting_ns, ..Counts::default() };
        limit.judge(&record(1000 - unsent, 0, counts), 0)
    };
    assert_eq!(missed(20, 0, 0), Verdict::Exceeds, "2 % were never sent");
    assert_eq!(
        missed(20, 1, 0),
        Verdict::Exceeds,
        "one late request does not explain 20 that were never sent"
    );
    assert_eq!(missed(20, 30, 0), Verdict::GeneratorLate, "30 may explain them");
    assert_eq!(missed(80, 1, 30_000_000), Verdict::Exceeds, "3 % of the time do not explain 8 %");
    assert_eq!(missed(20, 1, 30_000_000), Verdict::ProcessorTaken, "they may explain 2 %");
    // Answers that come after the end are excused once, not twice, for what the generator sent late.
    let after = Counts { answered_after: 30, late_by_generator: 15, ..Counts::default() };
    assert_eq!(limit.judge(&record(1000, 0, after), 0), Verdict::Exceeds);
}
