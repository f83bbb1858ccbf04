//! What can go wrong with a connection: what was seen, and the usual cause.

use super::plan::Expect;
use super::stream::Wrong;
use crate::lab::units::of;
use crate::remedy;
use crate::sys::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A connection that could not be used to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// Its number, from 0, in the order of opening.
    pub connection: usize,
    /// What the server did.
    pub kind: Kind,
    /// What was seen.
    pub reason: String,
    /// The usual cause, as a question to the author of the server, or what to do about it.
    pub hint: Option<String>,
    /// Complete answers that it had since it was opened.
    pub answers: u64,
}

/// What a server did to a connection. The most important comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It answered something else: `ok`, or another protocol.
    WrongAnswer,
    /// It sent the bytes of another connection.
    Foreign,
    /// It sent an answer twice.
    Repeated,
    /// It left out bytes.
    Dropped,
    /// It changed bytes.
    Corrupted,
    /// It sent more than was asked for.
    Unasked,
    /// It sent a part of an answer, and then nothing.
    Partial,
    /// It ended the connection.
    Closed,
    /// It reset the connection.
    Reset,
    /// A system call failed.
    Failed,
    /// It sent nothing.
    Silent,
    /// It sent, but did not finish in time.
    Slow,
    /// It refused the connection.
    Refused,
    /// The connection could not be opened for another reason, most often one on this machine.
    NotConnected,
    /// It did not answer connect(2), although it had answered it on other connections.
    NotAccepted,
    /// The connection was not used, because others had no answer.
    NotOpened,
}

/// What a connection had seen when it was lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Complete answers since it was opened.
    pub(super) answers: u64,
    /// The oldest answer that is not complete, if a request was under way.
    pub(super) answer: Option<Unfinished>,
    pub(super) expect: Expect,
}

/// An answer of which a part came, or nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unfinished {
    /// Bytes that came.
    pub(super) came: u64,
    /// Bytes that it has.
    pub(super) size: u64,
    /// The last byte that came.
    pub(super) last: Option<u8>,
    /// The first byte that did not come.
    pub(super) next: u8,
    /// Whether no zero byte is among those that came.
    pub(super) first_zero: bool,
}

/// Why a connection is lost.
#[derive(Debug)]
pub(super) enum Trouble {
    NotConnected(crate::Error),
    NotAccepted {
        waited: Duration,
    },
    Closed,
    Failed(crate::Error),
    Wrong {
        wrong: Wrong,
        source: Source,
    },
    TooMuch {
        bytes: usize,
        source: Source,
    },
    /// Whether bytes of the answer still came in the second half of the time.
    Silent {
        waited: Duration,
        growing: bool,
    },
    Slow {
        limit: Duration,
    },
    NotOpened,
}

/// Where bytes come from that are wrong.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// The same stream, so many bytes earlier (below 0) or later.
    Displaced(i64),
    /// The stream of that connection, or of one that cannot be told for certain.
    Foreign(Option<usize>),
    /// The server answered `ok`.
    Ok,
    /// The server answered these words of its own.
    Words(String),
    /// They are all 0x00.
    Zeros,
    /// Nothing that was sent.
    Unknown,
}

impl Trouble {
    /// Bytes that came back and were not those that had been sent.
    pub(super) fn wrong_bytes(&self) -> u64 {
        match self {
            Trouble::Wrong { wrong, .. } => wrong.bytes,
            Trouble::TooMuch { bytes, .. } => *bytes as u64,
            _ => 0,
        }
    }

    /// The connection with this number is lost.
    pub(super) fn of(&self, connection: usize, had: &Seen) -> Lost {
        Lost {
            connection,
            kind: self.kind(had),
            reason: self.reason(had),
            hint: self.hint(had),
            answers: had.answers,
        }
    }

    fn kind(&self, had: &Seen) -> Kind {
        let some_came = had.answer.is_some_and(|answer| answer.came > 0);
        match self {
            Trouble::NotConnected(error) => match error.errno() {
                Some(Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::EPIPE) => Kind::Refused,
                _ => Kind::NotConnected,
            },
            Trouble::NotAccepted { .. } => Kind::NotAccepted,
            Trouble::Closed => Kind::Closed,
            Trouble::Failed(error) if matches!(error.errno(), Some(Errno::ECONNRESET | Errno::EPIPE)) => {
                Kind::Reset
            }
            Trouble::Failed(_) => Kind::Failed,
            Trouble::Wrong { .. } if had.expect == Expect::Ok => Kind::WrongAnswer,
            Trouble::Wrong { source, .. } => match source {
                Source::Displaced(..=-1) => Kind::Repeated,
                Source::Displaced(_) => Kind::Dropped,
                Source::Foreign(_) => Kind::Foreign,
                Source::Ok | Source::Words(_) => Kind::WrongAnswer,
                Source::Zeros | Source::Unknown => Kind::Corrupted,
            },
            Trouble::TooMuch { source: Source::Displaced(_), .. } => Kind::Repeated,
            Trouble::TooMuch { source: Source::Foreign(_), .. } => Kind::Foreign,
            Trouble::TooMuch { .. } => Kind::Unasked,
            Trouble::Silent { .. } if some_came => Kind::Partial,
            Trouble::Silent { .. } => Kind::Silent,
            Trouble::Slow { .. } => Kind::Slow,
            Trouble::NotOpened => Kind::NotOpened,
        }
    }

    fn reason(&self, had: &Seen) -> String {
        let after = had.after();
        match self {
            Trouble::NotConnected(error) => error.to_string(),
            Trouble::NotAccepted { waited } => {
                format!("connect(2) was not answered for {}", time(*waited))
            }
            Trouble::Closed => match had.answer {
                None => format!("the server closed it {after}"),
                Some(Unfinished { came: 0, .. }) => {
                    format!("the server closed it {after}, and left a request without answer")
                }
                Some(Unfinished { came, size, .. }) => {
                    format!("the server closed it {after} and {came} of {size} bytes of the next")
                }
            },
            Trouble::Failed(error) => format!("{error}, {after}"),
            Trouble::Wrong { wrong: Wrong { position, expected, got, bytes }, source } => {
                let expected = match had.expect {
                    Expect::Echo => format!("0x{expected:02x} was sent"),
                    Expect::Ok => format!("0x{expected:02x} was expected"),
                };
                let seen = format!(
                    "byte {position} came back as 0x{got:02x}, {expected} ({bytes} wrong in this piece)"
                );
                format!("{seen}{source}")
            }
            Trouble::TooMuch { bytes, source } => {
                let seen = format!("{} came back that had not been sent", of(*bytes as u64, "byte"));
                match source {
                    Source::Displaced(_) => format!("{seen}: an answer was repeated"),
                    _ => format!("{seen}{source}"),
                }
            }
            Trouble::Silent { waited, growing } => {
                let waited = time(*waited);
                match had.answer {
                    Some(Unfinished { came: 0, next, first_zero, .. }) => {
                        let begins =
                            if next == 0 && first_zero { "; the request begins with 0x00" } else { "" };
                        match had.answers {
                            0 => format!("no byte came back for {waited}{begins}"),
                            _ => format!("no byte came back for {waited} {after}{begins}"),
                        }
                    }
                    Some(Unfinished { came, size, next, .. }) => {
                        let then = if *growing {
                            format!("in {waited}")
                        } else {
                            format!("then nothing for {waited}")
                        };
                        let comma = if *growing { "" } else { "," };
                        format!(
                            "{came} of {size} bytes came back{comma} {then}; the next byte is 0x{next:02x}"
                        )
                    }
                    None => format!("nothing for {waited}"),
                }
            }
            Trouble::Slow { limit } => match had.answer {
                Some(Unfinished { came, size, .. }) => {
                    format!("not answered in full after {}: {came} of {size} bytes came back", time(*limit))
                }
                None => format!("not answered in full after {}", time(*limit)),
            },
            Trouble::NotOpened => "not used, because others had no answer".to_owned(),
        }
    }

    fn hint(&self, had: &Seen) -> Option<String> {
        let hint = match self {
            Trouble::NotConnected(error) => match error.errno()? {
                Errno::ECONNREFUSED => "nobody listens there: is the server running? Is the port right?",
                Errno::EINVAL => "a link-local address needs its interface: write it as [fe80::1%eth0]:5005",
                // A limit of this machine, not the server.
                errno => return remedy::of(error.call(), errno),
            },
            Trouble::NotAccepted { .. } => {
                "is the address right? Or is the queue of listen(2) full: does the server go on calling accept while it \
                 serves its clients?"
            }
            Trouble::Closed => return Some(closed(had)),
            Trouble::Failed(_) if self.kind(had) == Kind::Reset => {
                "the server closed the socket with unread bytes in it, or its process ended: see its own output"
            }
            Trouble::Failed(_) => return None,
            Trouble::Wrong { wrong, source } => return Some(wrong_bytes(wrong, source, had)),
            Trouble::TooMuch { .. } if had.expect == Expect::Ok => {
                "the server answered more than once: did a request reach it in several pieces? Make --size smaller \
                 than its buffer"
            }
            Trouble::TooMuch { .. } => {
                "does the server send more than recv returned (its whole buffer, old bytes in it), or the same answer \
                 twice? Send as many bytes as recv returned, once"
            }
            Trouble::Silent { growing, .. } => silent(had.answer?, had.answers, *growing),
            Trouble::Slow { .. } => "the server sends too slowly: is it blocked by another client?",
            Trouble::NotOpened => return None,
        };
        Some(hint.to_owned())
    }
}

const REPEATED: &str =
    "after a send that took only a part, does the server send all of it again? Send only the rest";

/// The hint for an answer that stops before its first zero byte.
pub(super) const ZERO: &str = "does the server use strlen, printf or %s? They stop at a zero byte: send as many bytes as \
                               recv returned (--payload text sends no zero bytes)";

/// The usual cause of an answer that does not come, or not to its end.
fn silent(answer: Unfinished, answers: u64, growing: bool) -> &'static str {
    match answer {
        Unfinished { next: 0, first_zero: true, .. } => ZERO,
        Unfinished { came: 1.., .. } if growing => {
            "the server sends slowly, or has stopped in the middle: is it blocked by another client? With EPOLLET, recv until \
             EAGAIN"
        }
        Unfinished { last: Some(b'\n'), .. } => {
            "the last byte that came is a newline: does the server read lines? Use recv, and send as many bytes as it \
             returned (--payload text sends no newlines)"
        }
        Unfinished { came: 1.., .. } => {
            "does the server call recv or send only once for each event? With EPOLLET, recv until EAGAIN; when send took \
             only a part, send the rest later"
        }
        _ if answers == 0 => {
            "does the server send what it received? Does it wait for a newline, or for more bytes? Does it serve another \
             client first?"
        }
        _ => {
            "does the server miss an event? With EPOLLET, recv until EAGAIN; with EPOLLONESHOT, arm it again. Or is it \
             slower than --timeout?"
        }
    }
}

fn closed(had: &Seen) -> String {
    match (had.answers, had.answer) {
        (_, Some(Unfinished { came: 1.., .. })) => {
            "does the server close the socket before send has taken all bytes?".to_owned()
        }
        (0, _) => "does the server close clients at once: too many of them, or no descriptor left (EMFILE)? See its own \
                   output"
            .to_owned(),
        (answers, _) => {
            format!(
                "if the server means to close after {}, use --requests-per-conn {answers}",
                of(answers, "request")
            )
        }
    }
}

fn wrong_bytes(wrong: &Wrong, source: &Source, had: &Seen) -> String {
    let hint = match source {
        _ if had.expect == Expect::Ok => {
            "the answer is not `ok`: does the server send back what it received? Then leave out --expect ok"
        }
        Source::Displaced(..=-1) => REPEATED,
        Source::Displaced(_) => {
            "does the server ignore how many bytes send took, or that it failed with EAGAIN? Send the rest later"
        }
        Source::Foreign(_) => {
            "do several clients share one buffer in the server, or does it send to the wrong descriptor?"
        }
        Source::Ok => "for servers that answer `ok` to each request, use --expect ok",
        Source::Words(_) => "this is no echo server: is the port right?",
        Source::Zeros | Source::Unknown if wrong.got == 0 => {
            "does the server copy or print strings (strcpy, sprintf, %s)? They end at a zero byte, or write one"
        }
        Source::Zeros | Source::Unknown => {
            "an echo server sends back the same bytes: does it change its buffer, or does another thread?"
        }
    };
    hint.to_owned()
}

impl Seen {
    /// `after 12 answers`.
    fn after(&self) -> String {
        match self.answers {
            0 => "before its first answer".to_owned(),
            n => format!("after {}", of(n, "answer")),
        }
    }
}

/// What follows the bytes that were seen.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Displaced(by @ ..=-1) => {
                write!(f, "; they had come {} earlier: an answer was repeated", of(by.unsigned_abs(), "byte"))
            }
            Source::Displaced(1) => write!(f, "; they belong 1 byte later: 1 byte was dropped"),
            Source::Displaced(by) => write!(f, "; they belong {by} bytes later: {by} bytes were dropped"),
            Source::Foreign(Some(other)) => write!(f, "; these are bytes of connection {other}"),
            Source::Foreign(None) => {
                write!(f, "; these are bytes of another connection, or much older ones of this one")
            }
            Source::Ok => write!(f, "; the server answered `ok`"),
            Source::Words(words) => write!(f, "; the server answered {words:?}"),
            Source::Zeros => write!(f, "; all bytes are 0x00"),
            Source::Unknown => Ok(()),
        }
    }
}

/// `10 s`, `300 ms`.
fn time(time: Duration) -> String {
    match time.as_millis() {
        ms if ms < 1000 => format!("{ms} ms"),
        ms if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        ms => format!("{:.1} s", ms as f64 / 1000.0),
    }
}

/// For people: `wrong_answer`, as in JSON.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
