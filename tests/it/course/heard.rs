//! What a program says into a pipe.

use crate::support::DEADLINE;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

/// For people to compare.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What came out of a pipe. A thread takes it as it comes, so that the pipe never fills.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<(Mutex<Bytes>, Condvar)>);

#[derive(Debug, Default)]
struct Bytes {
    bytes: Vec<u8>,
    ended: bool,
}

impl Heard {
    pub(super) fn of(pipe: Option<impl Read + Send + 'static>) -> Heard {
        let mut pipe = pipe.expect("a pipe to hear the program");
        let heard = Heard::default();
        let ours = heard.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let n = pipe.read(&mut buffer).expect("a pipe of ours can be read");
                let mut heard = ours.heard();
                heard.bytes.extend_from_slice(&buffer[..n]);
                heard.ended = n == 0;
                ours.0.1.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        heard
    }

    /// Of a program whose output goes elsewhere.
    pub(super) fn nothing() -> Heard {
        let heard = Heard::default();
        heard.heard().ended = true;
        heard
    }

    /// All of it until now.
    pub(super) fn so_far(&self) -> Vec<u8> {
        self.heard().bytes.clone()
    }

    fn heard(&self) -> MutexGuard<'_, Bytes> {
        self.0.0.lock().expect("nobody panics while holding the bytes")
    }

    /// Wait until `enough`, or the end of the pipe.
    #[track_caller]
    pub(super) fn wait(&self, what: &str, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        self.wait_while(what, |heard| !heard.ended && !enough(&heard.bytes))
    }

    /// Wait until the end of the pipe.
    #[track_caller]
    pub(super) fn wait_for_end(&self, what: &str) -> Vec<u8> {
        self.wait_while(what, |heard| !heard.ended)
    }

    #[track_caller]
    fn wait_while(&self, what: &str, goes_on: impl Fn(&Bytes) -> bool) -> Vec<u8> {
        let until = Instant::now() + DEADLINE;
        let mut heard = self.heard();
        while goes_on(&heard) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let so_far = text(&heard.bytes);
                drop(heard);
                panic!("not within {DEADLINE:?}: {what}; so far it was {so_far:?}");
            }
            heard = self.0.1.wait_timeout(heard, left).expect("nobody panics while holding the bytes").0;
        }
        heard.bytes.clone()
    }
}
