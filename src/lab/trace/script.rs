//! What the clients do: a script of one step a line.
//!
//! ```text
//! # A comment.
//! ask again: A send 64
//! burst:     B connect, C connect, D connect
//! ```
//!
//! The actions of a line are done at once. Then the clients wait until the server sleeps, read what has come back, and wait again.

use crate::lab::results::trace::{self as results, Step};
use crate::lab::units::parse;

/// What is done if nobody has written a script.
pub const USUAL: &str = "\
connect: A connect
ask: A send 64
ask again: A send 64
three at once: B connect, C connect, D connect
all ask at once: A send 64, B send 64, C send 64, D send 64
a large answer: A send 128KiB
half close: A half-close
leave: B close
reset: C reset
the last one leaves: D close
";

/// A script has no more clients than that.
const MOST_CLIENTS: usize = 64;
/// And no more steps.
const MOST_STEPS: usize = results::MOST;
/// And no more actions.
const MOST_ACTIONS: usize = 1000;
/// And no client sends more in one action: the clients keep what they have sent, to compare it with what comes back.
const MOST_BYTES: usize = 16 << 20;

/// What the clients do.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) steps: Vec<Step>,
    /// The actions of each step.
    pub(super) actions: Vec<Vec<Act>>,
    /// The names of the clients.
    pub(super) clients: Vec<String>,
}

/// An action of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Act {
    /// Which client, as an index.
    pub(super) client: usize,
    pub(super) what: Doing,
}

/// What it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doing {
    Connect,
    /// Bytes that are chosen by the client, or these.
    Send(Bytes),
    HalfClose,
    Close,
    Reset,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bytes {
    Some(usize),
    These(Vec<u8>),
}

impl Script {
    /// The usual one.
    ///
    /// # Panics
    ///
    /// Never: a test parses it.
    #[must_use]
    pub fn usual() -> Script {
        Script::parse(USUAL).expect("the script of the program is right")
    }

    /// The script that this text is.
    ///
    /// # Errors
    ///
    /// The first line that is none, and what it should be.
    pub fn parse(text: &str) -> Result<Script, String> {
        let mut script = Script { steps: Vec::new(), actions: Vec::new(), clients: Vec::new() };
        let mut states = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            script.line(line, &mut states).map_err(|why| format!("line {}: {why}", i + 1))?;
        }
        if script.steps.is_empty() {
            return Err("it has no step: write one a line, such as `ask: A send 64`".to_owned());
        }
        if script.steps.len() > MOST_STEPS {
            return Err(format!("it has more than {MOST_STEPS} steps"));
        }
        if script.actions.iter().map(Vec::len).sum::<usize>() > MOST_ACTIONS {
            return Err(format!("it has more than {MOST_ACTIONS} actions"));
        }
        Ok(script)
    }

    fn line(&mut self, line: &str, states: &mut Vec<State>) -> Result<(), String> {
        let (name, actions) =
            line.split_once(':').filter(|(name, _)| !name.contains('"')).ok_or_else(|| {
                format!("{line:?} has no name: write `NAME: CLIENT ACTION, …`, such as `ask: A send 64`")
            })?;
        let mut step = Step { name: name.trim().to_owned(), actions: Vec::new() };
        let mut acts = Vec::new();
        for text in split_at_commas(actions) {
            let act = self.action(text.trim(), states)?;
            acts.push(act);
            step.actions.push(text.trim().to_owned());
        }
        self.steps.push(step);
        self.actions.push(acts);
        Ok(())
    }

    fn action(&mut self, text: &str, states: &mut Vec<State>) -> Result<Act, String> {
        let mut words = text.splitn(3, char::is_whitespace).filter(|word| !word.is_empty());
        let (name, verb) = words.next().zip(words.next()).ok_or_else(|| {
            format!(
                "{text:?} is no action: write a client and what it does, such as `A connect` or `A send 64`"
            )
        })?;
        if !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("{name:?} is no name of a client: letters and digits"));
        }
        let argument = words.next().map(str::trim);
        let client = self.client(name, states)?;
        let state = &mut states[client];
        let what = match (verb, argument) {
            ("connect", None) => Doing::Connect,
            ("send", Some(bytes)) => Doing::Send(self::bytes(bytes)?),
            ("send", None) => {
                return Err("send what? Write a number of bytes, or a text in \"quotes\"".to_owned());
            }
            ("half-close", None) => Doing::HalfClose,
            ("close", None) => Doing::Close,
            ("reset", None) => Doing::Reset,
            ("connect" | "half-close" | "close" | "reset", Some(more)) => {
                return Err(format!("{verb} takes nothing behind it: {more:?}"));
            }
            _ => {
                return Err(format!(
                    "there is no action {verb:?}: connect, send, half-close, close, reset (answers are read when the server sleeps)"
                ));
            }
        };
        *state = match (&what, *state) {
            (Doing::Connect, State::New) => State::Open,
            (Doing::Connect, _) => return Err(format!("{name} has connected already: use another client")),
            (_, State::New) => {
                return Err(format!("{name} has not connected yet: `{name} connect` comes first"));
            }
            (_, State::Gone) => return Err(format!("{name} has left already")),
            (Doing::Send(_) | Doing::HalfClose, State::HalfClosed) => {
                return Err(format!("{name} has half-closed: it sends no more"));
            }
            (Doing::HalfClose, _) => State::HalfClosed,
            (Doing::Close | Doing::Reset, _) => State::Gone,
            (Doing::Send(_), State::Open) => State::Open,
        };
        Ok(Act { client, what })
    }

    fn client(&mut self, name: &str, states: &mut Vec<State>) -> Result<usize, String> {
        if let Some(i) = self.clients.iter().position(|known| known == name) {
            return Ok(i);
        }
        if self.clients.len() == MOST_CLIENTS {
            return Err(format!("more than {MOST_CLIENTS} clients"));
        }
        self.clients.push(name.to_owned());
        states.push(State::New);
        Ok(self.clients.len() - 1)
    }
}

/// What a client has done so far.
#[derive(Debug, Clone, Copy)]
enum State {
    New,
    Open,
    HalfClosed,
    Gone,
}

/// At the commas that are in no quotes.
fn split_at_commas(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut is_quoted) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                parts.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn bytes(text: &str) -> Result<Bytes, String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let text = quoted.strip_suffix('"').filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| format!("{quoted:?} is no text in quotes"))?;
        return Ok(Bytes::These(text.replace("\\n", "\n").into_bytes()));
    }
    match parse::size(text)? as usize {
        n if n <= MOST_BYTES => Ok(Bytes::Some(n)),
        _ => Err(format!("{text}: at most 16 MiB at once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_script_has_what_every_server_must_do() {
        let script = Script::usual();
        assert_eq!(script.steps.len(), script.actions.len());
        assert_eq!(script.clients, ["A", "B", "C", "D"]);
        assert_eq!(
            script.steps[2],
            Step { name: "ask again".to_owned(), actions: vec!["A send 64".to_owned()] }
        );
        assert_eq!(script.actions[3].len(), 3);
    }

    #[test]
    fn comments_quotes_and_sizes() {
        let script =
            Script::parse("# hello\n\nfirst: x connect\nsay: x send \"a, b:\\n\", x send 4KiB\n").unwrap();
        let sends: Vec<_> = script.actions[1].iter().map(|act| act.what.clone()).collect();
        let these = Bytes::These(b"a, b:\n".to_vec());
        assert_eq!(sends, [Doing::Send(these), Doing::Send(Bytes::Some(4096))]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, why) in [
            ("", "no step"),
            ("A connect", "line 1: \"A connect\" has no name"),
            ("a: A", "is no action"),
            ("a: A-B connect", "no name of a client"),
            ("a: A connect\nb: A sing", "line 2: there is no action \"sing\""),
            ("a: A connect now", "takes nothing behind it"),
            ("a: A connect, A connect", "has connected already"),
            ("a: A send 64", "has not connected yet"),
            ("a: A connect, A send", "send what?"),
            ("a: A connect, A send many", "number of bytes"),
            ("a: A connect, A send 17MiB", "at most 16 MiB"),
            ("a: A connect, A send \"", "no text in quotes"),
            ("a: A connect, A half-close, A send 1", "sends no more"),
            ("a: A connect, A close, A close", "has left already"),
        ] {
            let error = Script::parse(text).expect_err(text);
            assert!(error.contains(why), "{text:?}: {error}");
        }
        let many = "A send 1, ".repeat(1000);
        let why = Script::parse(&format!("c: A connect, {many} A close")).unwrap_err();
        assert!(why.contains("more than 1000 actions"), "{why}");
        let many = "a: A send 1\n".repeat(101);
        let why = Script::parse(&format!("c: A connect\n{many}")).unwrap_err();
        assert!(why.contains("more than 100 steps"), "{why}");
        let many: String = (0..65).map(|i| format!("c: A{i} connect\n")).collect();
        assert!(Script::parse(&many).unwrap_err().contains("line 65: more than 64 clients"));
    }
}
