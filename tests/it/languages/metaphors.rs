//! Words for mechanisms that are no words of the field, and those to write instead.

/// What the house style does not allow, as a word or as words in this order; and what to write.
const INSTEAD: [(&[&str], &str); 22] = [
    (&["door"], "acceptor, or accepting"),
    (&["doors"], "acceptor, or accepting"),
    (&["company"], "hostile clients"),
    (&["farewell"], "the end of the connection"),
    (&["sip"], "read a few bytes"),
    (&["sips"], "reads a few bytes"),
    (&["owe"], "unsent, or unfinished"),
    (&["owes"], "unsent, or unfinished"),
    (&["owed"], "unsent, or unfinished"),
    (&["patience"], "idle timeout"),
    (&["patient"], "with a long timeout"),
    (&["to", "be", "had"], "free, or available"),
    (&["as", "life"], "as long as the process runs"),
    (&["until", "dry"], "until EAGAIN"),
    (&["were", "dry"], "were drained"),
    (&["runs", "hot"], "uses a whole processor"),
    (&["burns"], "uses"),
    (&["dearer"], "costs more"),
    (&["hungry"], "needs much"),
    (&["under", "the", "hood"], "in the kernel, or in the library"),
    (&["magic"], "say what it does"),
    (&["the", "like", "system", "call"], "the equivalent system call"),
];

/// What is in a text that should not be, each with what to write instead.
pub(super) fn metaphors(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '-' | '_' | '/' | '`'))
        .filter(|word| !word.is_empty())
        .collect();
    let is_there = |wanted: &[&str]| words.windows(wanted.len()).any(|window| window == wanted);
    let found = INSTEAD.iter().filter(|(wanted, _)| is_there(wanted));
    found.map(|(wanted, instead)| format!("{:?}: write {instead:?}", wanted.join(" "))).collect()
}

#[test]
fn a_metaphor_is_found_with_what_to_write_instead() {
    let found = metaphors("How often the Door was shut because no descriptor was\nto be had.");
    assert_eq!(
        found,
        ["\"door\": write \"acceptor, or accepting\"", "\"to be had\": write \"free, or available\""]
    );
    assert_eq!(
        metaphors("The edge-triggered loop reads until the clients were dry."),
        ["\"were dry\": write \"were drained\""]
    );
    for fine in [
        "How often accepting was paused for lack of a descriptor.",
        "indoor",
        "`company` is called `hostile`",
    ] {
        assert_eq!(metaphors(fine), Vec::<String>::new(), "{fine}");
    }
}
