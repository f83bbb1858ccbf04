//! Each experiment in a process of its own: this program, started again with a hidden argument.
//!
//! Experiments lower limits, block signals, leave descriptors open and threads asleep; on a wrong kernel
//! they hang or die. None of that may reach the next one, so nothing is ever cleaned up: the process
//! ends.

use super::kernel::{Kernel, Linux};
use super::support::help_if_asked;
use super::{Fact, Mutant, Outcome, Since, find};
use crate::remedy;
use crate::stop::Stop;
use crate::sys::Errno;
use crate::sys::fork::exit_child;
use crate::sys::limits::Nofile;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::raw;
use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// The hidden argument: an id, and perhaps the name of a mutant, follow.
const ONE: &str = "--run-one-fact";
/// What the process of an experiment finds in its environment when it was started through a launcher:
/// an experiment that starts a program starts it through the same.
pub(super) const LAUNCHER: &str = "IO_MODELS_FACTS_LAUNCHER";
/// The first byte of a report; what was said before it is none.
const START: u8 = 2;
/// The last byte of a report; one that lacks it is cut off.
const END: u8 = 3;
/// Between the fields of a report.
const FIELD: char = '\u{1f}';

/// How much of what an experiment says is kept.
const MOST_SAID: usize = 64 * 1024;
/// How many characters of that are told when there is no report.
const MOST_TOLD: usize = 400;

/// What became of one fact.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Run {
    /// Which.
    pub fact: &'static Fact,
    /// What was found.
    pub outcome: Outcome,
    /// Whether the experiment came to its own end. If not, it hung, was killed or crashed, and `outcome`
    /// is a difference that tells so.
    pub ended: bool,
    /// How long it took.
    pub took: Duration,
}

/// How facts are run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Runner {
    /// The program that calls [`run_one_if_asked`] first: this one, unless told otherwise.
    pub program: OsString,
    /// A command and its arguments that start the program: an emulator, `unshare -n`. None by default.
    pub launcher: Vec<String>,
    /// A wrong kernel instead of the real one.
    pub under: Option<&'static Mutant>,
    /// How long one experiment may take.
    pub deadline: Duration,
    /// How many run at once.
    pub jobs: usize,
}

impl Default for Runner {
    fn default() -> Self {
        // Each experiment is two descriptors here, and two more while it is started.
        let room =
            Nofile::current().map_or(1, |nofile| usize::try_from(nofile.soft / 8).unwrap_or(usize::MAX));
        Runner {
            program: crate::startup::this_program().into(),
            launcher: Vec::new(),
            under: None,
            deadline: Duration::from_secs(15),
            jobs: available_parallelism().map_or(1, usize::from).min(room).max(1),
        }
    }
}

impl Runner {
    /// Run `facts`, several at once. `each` is called with each result as it comes. The results are returned in the
    /// order in which the facts were given, without those that had not ended when `stop` told to stop.
    pub fn run_all(&self, facts: &[&'static Fact], stop: &Stop, mut each: impl FnMut(&Run)) -> Vec<Run> {
        let mut runs: Vec<Option<Run>> = facts.iter().map(|_| None).collect();
        let next = Mutex::new(0..facts.len());
        let run_next = || {
            let index = next.lock().ok()?.next()?;
            Some((index, self.run_until(facts[index], Some(stop))?))
        };
        let (done, results) = channel();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let (done, run_next) = (done.clone(), &run_next);
                let work = move || std::iter::from_fn(run_next).for_each(|run| drop(done.send(run)));
                // With fewer threads than asked for, those that there are run them all.
                std::thread::Builder::new().spawn_scoped(scope, work).ok();
            }
            drop(done);
            // This thread runs what is left where no thread can be started.
            for (index, run) in results.into_iter().chain(std::iter::from_fn(run_next)) {
                each(&run);
                runs[index] = Some(run);
            }
        });
        runs.into_iter().flatten().collect()
    }

    /// Run one.
    ///
    /// # Panics
    ///
    /// Never: only a stop, of which there is none here, leaves an experiment without a result.
    #[must_use]
    pub fn run(&self, fact: &'static Fact) -> Run {
        self.run_until(fact, None).expect("only a stop leaves an experiment without a result")
    }

    /// Run one; `None` if `stop` came first.
    fn run_until(&self, fact: &'static Fact, stop: Option<&Stop>) -> Option<Run> {
        let started = Instant::now();
        let (outcome, ended) = match self.start(fact.id) {
            Err(why) => {
                let program = self.program.display().to_string();
                let start = self.launcher.first().unwrap_or(&program);
                let remedy = why.raw_os_error().and_then(|errno| remedy::of(None, Errno::from_raw(errno)));
                let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
                (
                    Outcome::Skipped {
                        why: format!("its process could not be started ({start}): {why}{remedy}"),
                    },
                    true,
                )
            }
            Ok(mut experiment) => match experiment.watch(self.deadline, stop) {
                End::Report(outcome) => (outcome, true),
                End::Broke(observed) => {
                    let expected = "the experiment comes to its end".to_owned();
                    (Outcome::Differs { expected, observed }, false)
                }
                End::Stopped => return None,
            },
        };
        Some(Run { fact, outcome, ended, took: started.elapsed() })
    }

    /// Start the launcher once, without an experiment.
    ///
    /// # Errors
    ///
    /// Those of execve(2), such as ENOENT and EACCES, and of fork(2).
    pub fn try_launcher(&self) -> io::Result<()> {
        // No fact has this name, and the process that is asked for it ends at once.
        self.start("no fact").map(drop)
    }

    fn start(&self, id: &str) -> io::Result<Experiment> {
        let mut command = match self.launcher.split_first() {
            Some((launcher, arguments)) => {
                let mut command = Command::new(launcher);
                // A launcher would read the link as its own program.
                let program = std::fs::read_link(&self.program).unwrap_or((&self.program).into());
                command.args(arguments).arg(program).env(LAUNCHER, self.launcher.join("\n"));
                command
            }
            None => Command::new(&self.program),
        };
        command.args([ONE, id]).args(self.under.map(|mutant| mutant.name));
        // Of a panic the message is told; a backtrace would push it out.
        command.env("RUST_BACKTRACE", "0");
        let (output, input) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
        // A group of its own: what an experiment forked ends with it.
        command.process_group(0);
        Ok(Experiment { process: command.spawn()?, output, collected: false })
    }
}

/// How an experiment ended.
enum End {
    /// With a report.
    Report(Outcome),
    /// Without: it hung or crashed.
    Broke(String),
    /// Before its end: nobody wants to know any more.
    Stopped,
}

/// The process of an experiment. It does not outlive the runner's interest.
struct Experiment {
    process: Child,
    /// What it says, errors included.
    output: PipeReader,
    /// Whether it has been waited for: its number may be another's then.
    collected: bool,
}

impl Drop for Experiment {
    fn drop(&mut self) {
        self.end().ok();
    }
}

impl Experiment {
    /// End it and what it forked, if it has not ended, and collect it.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if !self.collected {
            self.collected = true;
            if let Ok(group) = i32::try_from(self.process.id()) {
                // Our own child leads this group, and has not been waited for: the number is still its.
                raw::kill(-group, libc::SIGKILL).ok();
            }
        }
        self.process.wait()
    }

    /// Read its report, or find out why there is none.
    fn watch(&mut self, limit: Duration, stop: Option<&Stop>) -> End {
        let deadline = Instant::now() + limit;
        let mut set = PollSet::new();
        set.push(&self.output, PollFlags::POLLIN);
        let stop = stop.map(|stop| set.push(stop, PollFlags::POLLIN));
        let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
        let in_time = loop {
            if let Some(outcome) = decode(&said) {
                return End::Report(outcome);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match set.wait(Some(left)) {
                // Somebody who talks without end is out of time as well.
                Ok(_) if left.is_zero() => break false,
                Ok(0) => break false,
                Ok(_) if stop.is_some_and(|slot| !set.revents(slot).is_empty()) => return End::Stopped,
                Ok(_) => {}
                Err(why) => return End::Broke(why.to_string()),
            }
            match self.output.read(&mut chunk) {
                Ok(0) => break true,
                Ok(n) => said.extend_from_slice(&chunk[..n]),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return End::Broke(why.to_string()),
            }
            said.drain(..said.len().saturating_sub(MOST_SAID));
        };
        // One that ended by itself keeps the status that it had: SIGKILL finds nobody.
        let how = match self.end() {
            Ok(status) => match (status.signal(), in_time) {
                (Some(libc::SIGKILL), false) => format!("it did not end within {} s", limit.as_secs_f64()),
                (Some(libc::SIGKILL), true) => "it closed its output without a report".to_owned(),
                (Some(signal), _) => format!("it was killed by signal {signal}"),
                (None, _) => format!("it ended without a report, {status}"),
            },
            Err(why) => why.to_string(),
        };
        End::Broke(format!("{how}{}", last_words(&said)))
    }
}

/// The end of what it said, for a report: a panic's message, say.
fn last_words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.retain(|line| !line.starts_with("note: run with `RUST_BACKTRACE"));
    let words = lines[lines.len().saturating_sub(4)..].join(" ").replace(|c: char| c.is_control(), " ");
    let skipped = words.chars().count().saturating_sub(MOST_TOLD);
    let words: String = words.chars().skip(skipped).collect();
    if words.is_empty() { words } else { format!("; it said: {words}") }
}

/// Be the process of an experiment if this process was started to be one; it does not return then.
///
/// The first thing in the `main` of a program that a [`Runner`] starts.
pub fn run_one_if_asked() {
    help_if_asked();
    let mut arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    if arguments.next().as_deref() != Some(ONE) {
        return;
    }
    let (id, under) = (arguments.next().unwrap_or_default(), arguments.next());
    let outcome = match (find(&id), under.as_deref().map(Mutant::find)) {
        (None, _) => Outcome::Skipped { why: format!("this program has no fact {id:?}") },
        (_, Some(None)) => Outcome::Skipped { why: format!("this program has no mutant {under:?}") },
        (Some(fact), None) => experiment(fact, &Linux),
        (Some(fact), Some(Some(mutant))) => experiment(fact, mutant.kernel),
    };
    let mut stdout = io::stdout();
    let written = stdout.write_all(encode(&outcome).as_bytes()).and_then(|()| stdout.flush());
    // No destructors and no exit handlers: threads may be asleep in calls that nothing will wake.
    exit_child(i32::from(written.is_err()));
}

fn experiment(fact: &Fact, kernel: &'static dyn Kernel) -> Outcome {
    // What a shell, a service manager or the standard library left to us must not decide an outcome.
    raw::reset();
    // A runner that was killed takes its experiments with it.
    raw::die_with_parent();
    match Outcome::from((fact.run)(kernel)) {
        Outcome::Differs { expected, observed } if older_than(fact.since) => Outcome::Skipped {
            why: format!(
                "{} has it, this kernel is older (expected {expected}; observed {observed})",
                fact.since
            ),
        },
        outcome => outcome,
    }
}

/// Whether the running kernel says that it is older than `since`.
fn older_than(since: Since) -> bool {
    let Ok(release) = std::fs::read_to_string("/proc/sys/kernel/osrelease") else { return false };
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    matches!((parts.next(), parts.next()), (Some(major), Some(minor)) if Since(major, minor) < since)
}

pub(super) fn encode(outcome: &Outcome) -> String {
    let (first, second) = match outcome {
        Outcome::Holds => ("", ""),
        Outcome::Differs { expected, observed } => (expected.as_str(), observed.as_str()),
        Outcome::Skipped { why } => (why.as_str(), ""),
    };
    let clean = |text: &str| text.replace(|c: char| c.is_control(), " ");
    let (start, end) = (char::from(START), char::from(END));
    format!("{start}{}{FIELD}{}{FIELD}{}{end}", outcome.name(), clean(first), clean(second))
}

pub(super) fn decode(said: &[u8]) -> Option<Outcome> {
    let text = String::from_utf8_lossy(said);
    let (_, rest) = text.rsplit_once(char::from(START))?;
    let (report, _) = rest.split_once(char::from(END))?;
    let mut fields = report.split(FIELD).map(str::to_owned);
    let (name, first, second) = (fields.next()?, fields.next()?, fields.next()?);
    match name.as_str() {
        "holds" => Some(Outcome::Holds),
        "differs" => Some(Outcome::Differs { expected: first, observed: second }),
        "skipped" => Some(Outcome::Skipped { why: first }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_pipe_and_what_was_said_before_it() {
        for outcome in [
            Outcome::Holds,
            Outcome::Differs { expected: "revents: HUP".to_owned(), observed: "revents: IN+HUP".to_owned() },
            Outcome::Skipped { why: "no network".to_owned() },
        ] {
            let said = format!("warning: something\n{}", encode(&outcome));
            assert_eq!(decode(said.as_bytes()), Some(outcome));
        }
    }

    #[test]
    fn a_report_that_is_cut_off_is_none() {
        let whole = encode(&Outcome::Skipped { why: "no network".to_owned() });
        assert!((0..whole.len()).all(|n| decode(&whole.as_bytes()[..n]).is_none()));
        assert_eq!(decode(b""), None);
    }

    #[test]
    fn what_a_launcher_says_around_a_report_is_none_of_it() {
        let said = format!("\u{3}hello\n{}bye\n", encode(&Outcome::Holds));
        assert_eq!(decode(said.as_bytes()), Some(Outcome::Holds));
    }
}
