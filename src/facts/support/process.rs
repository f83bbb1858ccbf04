//! Children of an experiment.

use super::super::found::{Found, Record, tell, tell_to};
use super::super::runner::LAUNCHER;
use super::waiter::{In, asleep_in, sleep_is_told};
use super::{Errno, Held, Instant, Not, Reply, Why, bound, raw, skip, until};
use crate::sys::fork::exit_child;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

/// A forked child, which is killed when this is dropped, at the latest when the experiment ends.
///
/// It must be forked before the experiment has threads.
#[derive(Debug)]
pub(in crate::facts) struct Forked {
    /// Its number.
    pub(in crate::facts) pid: i32,
    report: i32,
}

impl Forked {
    /// A child that does `work`, reports what it found, and ends.
    pub(in crate::facts) fn start(work: impl FnOnce() -> Held) -> Held<Forked> {
        let [report, write_end] = raw::pipe2(libc::O_CLOEXEC)?;
        let pid = raw::fork()?;
        if pid == 0 {
            raw::die_with_parent();
            tell_to(write_end);
            told(work);
        }
        raw::close(write_end)?;
        Ok(Forked { pid, report })
    }

    /// A child that does `work`, then becomes the helper `name` (execve(2) of this program, through the same launcher as
    /// the experiment), which reports.
    pub(in crate::facts) fn exec(name: &str, arguments: &[i32], work: impl FnOnce() -> Held) -> Held<Forked> {
        let [report, write_end] = raw::pipe2(0)?;
        let mut words = vec![HELPER.to_owned(), name.to_owned(), write_end.to_string()];
        words.extend(arguments.iter().map(i32::to_string));
        let child = Forked::start(|| {
            tell_to(write_end);
            work()?;
            exec_this_program(words)
        })?;
        raw::close(write_end)?;
        Ok(Forked { pid: child.into_pid(), report })
    }

    /// Its number, with the duty to wait for it.
    fn into_pid(self) -> i32 {
        std::mem::ManuallyDrop::new(self).pid
    }

    /// What the child found is told here too, within the bound; what it could not go on with ends this experiment as well.
    pub(in crate::facts) fn join(&self) -> Held {
        let deadline = Instant::now() + bound();
        raw::fcntl(self.report, libc::F_SETFL, libc::O_NONBLOCK)?;
        let (mut said, mut chunk) = (Vec::new(), [0; 1024]);
        loop {
            match raw::read(self.report, &mut chunk) {
                Ok(0) => break,
                Ok(n) => said.extend_from_slice(&chunk[..n]),
                Err(refusal) if refusal.errno == Errno::EAGAIN => {
                    if Instant::now() > deadline {
                        return super::differs("a forked child comes to its end", "it does", "it did not");
                    }
                    super::between_looks();
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let records = Record::take(&mut said);
        let ended = records.iter().any(|record| matches!(record, Record::End { .. }));
        let steps = records.iter().filter(|record| matches!(record, Record::Step(_)));
        steps.for_each(tell);
        let held = |record: &Record| !matches!(record, Record::Step(step) if step.found != Found::Holds);
        match ended {
            true if records.iter().all(held) => Ok(()),
            true => Err(Not::Told),
            false if std::env::var_os(LAUNCHER).is_some() => skip(
                Why::Start,
                "a child of the experiment ended without a report: its launcher may not start another one",
            ),
            false => super::differs("a forked child reports", "it does", "it ended without a report"),
        }
    }

    /// Wait until the child is asleep in `call`.
    pub(in crate::facts) fn until_asleep(&self, call: In) -> Held {
        sleep_is_told()?;
        let directory = format!("/proc/{}", self.pid);
        until("the child is asleep in its call", || Ok(asleep_in(&directory, call).then_some(())))
    }

    /// Kill it, and wait until it is gone.
    pub(in crate::facts) fn kill(&self) -> Reply<()> {
        raw::kill(self.pid, libc::SIGKILL)?;
        raw::waitpid(self.pid, 0).map(drop)
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        // A child of ours, or gone and its number not used again yet: it was never waited for elsewhere
        // without the experiment knowing.
        if raw::waitpid(self.pid, libc::WNOHANG).is_ok_and(|(pid, _)| pid == 0) {
            self.kill().ok();
        }
    }
}

/// Do `work`, tell what it finds, and end this process.
fn told(work: impl FnOnce() -> Held) -> ! {
    if let Err(not) = work() {
        not.told();
    }
    tell(&Record::End { waited: false });
    exit_child(0)
}

/// The hidden argument of a process that an experiment became through execve(2).
const HELPER: &str = "--help-one-fact";

/// What such a process does: a name, and a function of the numbers that it was given.
type Helper = (&'static str, fn(&[i32]) -> Held);
const HELPERS: &[Helper] = &[
    ("what-exec-keeps", crate::facts::signals::what_exec_keeps),
    ("epoll-after-exec", crate::facts::epoll::help_after_exec),
];

/// Be the helper of an experiment if this process was started to be one; it does not return then.
pub(in crate::facts) fn help_if_asked() {
    let mut arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    if arguments.next().as_deref() != Some(HELPER) {
        return;
    }
    let name = arguments.next().unwrap_or_default();
    let numbers: Vec<i32> = arguments.filter_map(|argument| argument.parse().ok()).collect();
    let helper = HELPERS.iter().find(|helper| helper.0 == name);
    let (Some((_, help)), Some((&report, numbers))) = (helper, numbers.split_first()) else { exit_child(2) };
    tell_to(report);
    told(|| help(numbers))
}

/// Be another user, or skip what needs that. A user namespace may have one user only.
pub(in crate::facts) fn be_user(user: u32) -> Held {
    raw::setuid(user).or_else(|_| skip(Why::Denied, "only root can be another user"))
}

/// Become this program again, with other arguments.
fn exec_this_program(arguments: Vec<String>) -> Held {
    let launcher = std::env::var_os(LAUNCHER).unwrap_or_default().into_vec();
    let words = launcher.split(|&byte| byte == b'\n').filter(|word| !word.is_empty());
    let mut words: Vec<Vec<u8>> = words.map(<[u8]>::to_vec).collect();
    let program = crate::startup::this_program();
    // A launcher would take the link for itself.
    let program = if words.is_empty() { program } else { std::fs::read_link(&program).unwrap_or(program) };
    words.push(program.into_os_string().into_vec());
    words.extend(arguments.into_iter().map(String::into_bytes));
    let words: Vec<CString> = words.into_iter().filter_map(|word| CString::new(word).ok()).collect();
    Ok(raw::exec(&words)?)
}
