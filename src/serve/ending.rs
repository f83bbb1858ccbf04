//! The end of a server: nothing that was answered is lost.
//!
//! What surprised us: close(2) can destroy bytes that send(2) has taken. When something that the client sent was not read, or
//! arrives later, Linux answers with a reset (RST) and drops what still waits in the send queue (RFC 2525, section 2.17). It
//! does the same after shutdown(2) of both sides, and the blocking models shut the reading side to end a recv(2) that waits. So
//! a server that ends keeps its sending side open, receives and discards what still comes, and says that it ends (FIN) only
//! when the client's kernel has acknowledged every answer. A reset after that destroys nothing.

use super::Totals;
use crate::Result;
use crate::echo::{Conn, Pump, Until, Want};
use crate::observer::Observer;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::{Received, Shutdown, recv, shutdown};
use crate::sys::sockopt::unsent;
use std::time::{Duration, Instant};

/// How long clients may take to receive their answers after the server was told to stop.
pub const FLUSH_GRACE: Duration = Duration::from_secs(1);

/// How long what arrives is still answered, while there is no pause in it.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// How often to ask whether the client's kernel has acknowledged everything: no event tells of that.
const LOOK: Duration = Duration::from_millis(10);

/// Bytes that are discarded before it is the turn of the next client, at most.
const DISCARD_BYTES: usize = 256 * 1024;

/// End a server, whose listener accepts nobody any more: answer what has arrived, give the clients [`FLUSH_GRACE`] to receive
/// their answers, close their connections, and add what the pump has done to `totals`. The sockets are non-blocking.
///
/// # Errors
///
/// `ENOMEM`.
pub fn finish<O: Observer>(
    mut pump: Pump<O>,
    conns: impl IntoIterator<Item = Conn>,
    mut totals: Totals,
) -> Result<Totals> {
    pump.handler.observer.stopping();
    let started = Instant::now();
    let mut leaving: Vec<_> =
        conns.into_iter().map(|conn| Leaving { conn, wants: Want::Read, is_answered: false }).collect();
    loop {
        let must_end = started.elapsed() >= ANSWER_GRACE;
        leaving = leaving.into_iter().filter_map(|client| client.turn(&mut pump, must_end)).collect();
        let left = FLUSH_GRACE.saturating_sub(started.elapsed());
        if leaving.is_empty() || left.is_zero() {
            break;
        }
        wait(&leaving, left)?;
    }
    leaving.into_iter().for_each(|client| client.conn.close());
    totals += pump.handler.totals();
    Ok(totals)
}

/// A client of a server that ends.
struct Leaving {
    conn: Conn,
    wants: Want,
    /// Whether nothing more is answered.
    is_answered: bool,
}

impl Leaving {
    /// Do for the client what can be done now. `None` when it could be closed.
    fn turn<O: Observer>(mut self, pump: &mut Pump<O>, must_end: bool) -> Option<Leaving> {
        if !self.is_answered {
            // With something unsent, `OneRead` only sends.
            self.wants = pump.pump(&mut self.conn, if must_end { Until::OneRead } else { Until::Dry });
            match self.wants {
                Want::Write => return Some(self),
                Want::ReadMore if !must_end => return Some(self),
                Want::ReadMore | Want::Read | Want::Close => self.is_answered = true,
            }
        }
        // Only a connection that has been reset cannot be shut down; SIOCOUTQ may still count its bytes.
        let lives = shutdown(&self.conn, Shutdown::Read).is_ok() && discard(&self.conn) == Rest::Discarded;
        if lives && unsent(&self.conn).unwrap_or(0) > 0 {
            return Some(self);
        }
        // FIN goes first, because close(2) sends a reset instead when more has arrived meanwhile.
        shutdown(&self.conn, Shutdown::Write).ok();
        self.conn.close();
        None
    }
}

#[derive(PartialEq, Eq)]
enum Rest {
    Discarded,
    Failed,
}

/// Receive what has arrived, for nobody.
fn discard(conn: &Conn) -> Rest {
    let mut buffer = [0; 4096];
    for _ in 0..DISCARD_BYTES / buffer.len() {
        match recv(conn, &mut buffer) {
            Ok(Received::Bytes(_)) => {}
            Ok(Received::End | Received::NotNow) => return Rest::Discarded,
            Err(_) => return Rest::Failed,
        }
    }
    Rest::Discarded
}

fn wait(leaving: &[Leaving], left: Duration) -> Result<()> {
    let mut set = PollSet::new();
    let mut limit = left;
    for client in leaving {
        let events = match client.wants {
            // An end of the stream would be reported again at once.
            _ if client.is_answered => PollFlags::empty(),
            Want::Write => PollFlags::POLLOUT,
            Want::Read | Want::ReadMore | Want::Close => PollFlags::POLLIN,
        };
        if client.is_answered {
            limit = limit.min(LOOK);
        }
        set.push(&client.conn, events);
    }
    set.wait(Some(limit)).map(drop)
}
