//! Each experiment in a process of its own: this program, started again with a hidden argument.
//!
//! Experiments lower limits, block signals, leave descriptors open and threads asleep; on a wrong kernel
//! they hang or die. None of that may reach the next one, so nothing is ever cleaned up: the process
//! ends.

use super::check::{SCOPE, noted};
use super::found::{Found, Record, Step, Why, tell};
use super::kernel::Linux;
use super::perturb::{Alteration, Altered, Perturbed};
use super::support::{K, Wait, calls_of, help_if_asked, set_bound};
use super::{Fact, Mutant, Outcome, Release, Since, find};
use crate::remedy;
use crate::stop::Stop;
use crate::sys::Errno;
use crate::sys::fork::exit_child;
use crate::sys::limits::Nofile;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::raw;
use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// The hidden argument: an id, the name of a [`Wait`], and perhaps the name of a mutant or an [`Alteration`], follow.
const ONE: &str = "--run-one-fact";
/// What the process of an experiment finds in its environment when it was started through a launcher:
/// an experiment that starts a program starts it through the same.
pub(super) const LAUNCHER: &str = "IO_MODELS_FACTS_LAUNCHER";
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
    /// What was found, in the order in which it was looked at.
    pub steps: Vec<Step>,
    /// The release of the kernel that the experiment ran on, if it told.
    pub kernel: Option<String>,
    /// What became of the alteration, if the runner asked for one and the experiment came to its own end.
    pub altered: Option<Altered>,
    /// The siblings of epoll_wait over which it could not be looked at, because they are missing here.
    pub lacks: Vec<Wait>,
    /// Whether the experiment came to its own end. If not, it hung, was killed or crashed, and the last step
    /// is a difference that tells so.
    pub ended: bool,
    /// How long it took.
    pub took: Duration,
}

impl Run {
    /// One that found these steps and came to its end, on no particular kernel.
    #[must_use]
    pub fn with(fact: &'static Fact, steps: Vec<Step>) -> Run {
        Run { fact, steps, kernel: None, altered: None, lacks: Vec::new(), ended: true, took: Duration::ZERO }
    }

    /// What the steps come to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome::of(&self.steps)
    }

    /// The steps that do not hold.
    pub fn not_held(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.found != Found::Holds)
    }

    /// What is known of kernels of this release, if they are known to differ.
    #[must_use]
    pub fn known(&self) -> Option<&'static str> {
        let release = Release::parse(self.kernel.as_deref()?)?;
        self.fact.known(release)
    }
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
    /// One call altered, on the real kernel.
    pub altered: Option<Alteration>,
    /// Judge the kernel as this version of Linux, whatever it says it is: nothing that it should have is excused.
    pub judge_as: Option<Since>,
    /// The calls over which a fact about epoll is looked at: all three unless told otherwise.
    pub waits: &'static [Wait],
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
            altered: None,
            judge_as: None,
            waits: Wait::ALL,
            deadline: Duration::from_secs(15),
            // Most of them sleep most of the time.
            jobs: available_parallelism().map_or(1, |n| 4 * n.get()).min(room).max(1),
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
        let mut run = Run::with(fact, Vec::new());
        for (nth, wait) in self.waits.iter().enumerate() {
            let said = self.run_over(fact, *wait, stop)?;
            if nth > 0 && said.lacks(*wait) {
                run.lacks.push(*wait);
                continue;
            }
            let prefix = if nth == 0 { String::new() } else { format!("over {}: ", wait.name()) };
            run.steps.extend(
                said.steps.into_iter().map(|step| Step { what: format!("{prefix}{}", step.what), ..step }),
            );
            run.kernel = run.kernel.or(said.kernel);
            run.altered = run.altered.or(said.altered);
            run.ended &= said.ended;
            // The others are the same experiment to a fact that has no such wait.
            if !said.waited {
                break;
            }
        }
        let claims = run.kernel.as_deref().and_then(Release::parse);
        let claims = self.judge_as.map_or(claims, |Since(major, minor)| Some(Release(major, minor, 0)));
        for step in &mut run.steps {
            excuse(&mut step.found, fact, claims);
        }
        run.took = started.elapsed();
        Some(run)
    }

    /// Run one over one of the waits.
    fn run_over(&self, fact: &'static Fact, wait: Wait, stop: Option<&Stop>) -> Option<Said> {
        match self.start(fact.id, wait) {
            Ok(mut experiment) => experiment.watch(self.deadline, stop),
            Err(why) => {
                let program = self.program.display().to_string();
                let start = self.launcher.first().unwrap_or(&program);
                let remedy = why.raw_os_error().and_then(|errno| remedy::of(None, Errno::from_raw(errno)));
                let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
                let detail = format!("its process could not be started ({start}): {why}{remedy}");
                let found = Found::Skipped { why: Why::Start, detail };
                Some(Said {
                    steps: vec![Step { what: String::new(), found }],
                    ended: true,
                    ..Said::default()
                })
            }
        }
    }

    /// Start the launcher once, without an experiment.
    ///
    /// # Errors
    ///
    /// Those of execve(2), such as ENOENT and EACCES, and of fork(2).
    pub fn try_launcher(&self) -> io::Result<()> {
        // No fact has this name, and the process that is asked for it ends at once.
        self.start("no fact", Wait::Epoll).map(drop)
    }

    /// How long an experiment may wait for one thing. One with an altered call often waits for what no longer comes.
    fn bound(&self) -> Duration {
        if self.altered.is_some() { Duration::from_millis(300) } else { self.deadline / 3 }
    }

    fn start(&self, id: &str, wait: Wait) -> io::Result<Experiment> {
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
        let instead = self.altered.map(|alteration| alteration.to_string());
        let instead = instead.or(self.under.map(|mutant| mutant.name.to_owned()));
        command.args([ONE, id, wait.name(), &self.bound().as_millis().to_string()]).args(instead);
        // Of a panic the message is told; a backtrace would push it out.
        command.env("RUST_BACKTRACE", "0");
        let (output, input) = io::pipe()?;
        // Nothing to read: a pipe without a writer, because a bare root has no /dev/null.
        let (nothing, _) = io::pipe()?;
        command.stdin(nothing).stdout(input.try_clone()?).stderr(input);
        // A group of its own: what an experiment forked ends with it.
        command.process_group(0);
        Ok(Experiment { process: command.spawn()?, output, collected: false })
    }
}

/// What the process of an experiment said.
#[derive(Debug, Default)]
struct Said {
    steps: Vec<Step>,
    kernel: Option<String>,
    altered: Option<Altered>,
    waited: bool,
    ended: bool,
}

impl Said {
    /// Take one record more.
    fn take(&mut self, record: Record) {
        match record {
            Record::Kernel(release) => self.kernel = Some(release),
            Record::Step(step) => self.steps.push(step),
            Record::Altered(altered) => self.altered = Some(altered),
            Record::End { waited } => (self.waited, self.ended) = (waited, true),
        }
    }

    /// Whether it ended because that call is missing or denied here.
    fn lacks(&self, wait: Wait) -> bool {
        let of_it = |detail: &str| detail.starts_with(wait.name());
        self.steps.iter().any(|step| {
            matches!(&step.found, Found::Skipped { why: Why::Missing | Why::Denied, detail } if of_it(detail))
        })
    }

    /// It ended without a report; `how` tells why.
    fn broke(mut self, how: &str) -> Said {
        let observed = match self.steps.last() {
            Some(Step { what, .. }) if !what.is_empty() => format!("{how}; the last step before it: {what}"),
            _ => how.to_owned(),
        };
        let found = Found::Differs { expected: "it does".to_owned(), observed, since: Since::ALWAYS };
        self.steps.push(Step { what: "the experiment comes to its end".to_owned(), found });
        self
    }
}

/// A difference in what is newer than the kernel says it is.
fn excuse(found: &mut Found, fact: &Fact, claims: Option<Release>) {
    if let Found::Differs { expected, observed, since } = found
        && let Some(claims) = claims
        && claims.is_before(*since)
        && !(*since == fact.since && fact.should_hold_on(claims))
    {
        let (expected, observed) = (std::mem::take(expected), std::mem::take(observed));
        *found = Found::ClaimsOlder { expected, observed, since: *since };
    }
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

    /// Read its report, or find out why there is none; `None` if `stop` came first.
    fn watch(&mut self, limit: Duration, stop: Option<&Stop>) -> Option<Said> {
        let deadline = Instant::now() + limit;
        let mut set = PollSet::new();
        set.push(&self.output, PollFlags::POLLIN);
        let stop = stop.map(|stop| set.push(stop, PollFlags::POLLIN));
        let (mut said, mut rest, mut chunk) = (Said::default(), Vec::new(), [0; 4096]);
        let in_time = loop {
            Record::take(&mut rest).into_iter().for_each(|record| said.take(record));
            if said.ended {
                return Some(said);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match set.wait(Some(left)) {
                // Somebody who talks without end is out of time as well.
                Ok(_) if left.is_zero() => break false,
                Ok(0) => break false,
                Ok(_) if stop.is_some_and(|slot| !set.revents(slot).is_empty()) => return None,
                Ok(_) => {}
                Err(why) => return Some(said.broke(&why.to_string())),
            }
            match self.output.read(&mut chunk) {
                Ok(0) => break true,
                Ok(n) => rest.extend_from_slice(&chunk[..n]),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Some(said.broke(&why.to_string())),
            }
            rest.drain(..rest.len().saturating_sub(MOST_SAID));
        };
        let sleeps = if in_time { String::new() } else { asleep(self.process.id()) };
        // One that ended by itself keeps the status that it had: SIGKILL finds nobody.
        let how = match self.end() {
            Ok(status) => match (status.signal(), in_time) {
                (Some(libc::SIGKILL), false) => {
                    format!("it did not end within {} s{sleeps}", limit.as_secs_f64())
                }
                (Some(libc::SIGKILL), true) => "it closed its output without a report".to_owned(),
                (Some(signal), _) => format!("it was killed by signal {signal}"),
                (None, _) => format!("it ended without a report, {status}"),
            },
            Err(why) => why.to_string(),
        };
        Some(said.broke(&format!("{how}{}", last_words(&rest))))
    }
}

/// The calls that the threads of a process sleep in, for a report; nothing where /proc does not tell.
fn asleep(process: u32) -> String {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return String::new() };
    let calls = threads.filter_map(|thread| calls_of(&thread.ok()?.path().to_string_lossy()));
    let calls: Vec<String> = calls.collect();
    if calls.is_empty() { String::new() } else { format!(", asleep in {}", calls.join(", ")) }
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
    let mut next = || arguments.next().unwrap_or_default();
    let (id, wait, bound) = (next(), next(), next());
    let instead = arguments.next();
    // The report is complete with its last record; a process that cannot write it has nobody to tell.
    tell(&Record::Kernel(release()));
    let altered = instead
        .as_deref()
        .and_then(Alteration::parse)
        .map(|alteration| &*Box::leak(Box::new(Perturbed::new(alteration))));
    let kernel: Option<K> = match (instead.as_deref(), altered) {
        (None, _) => Some(&Linux),
        (_, Some(altered)) => Some(altered),
        (Some(name), None) => Mutant::find(name).map(|mutant| mutant.kernel),
    };
    let waited = match (find(&id), Wait::find(&wait), bound.parse(), kernel) {
        (Some(fact), Some(wait), Ok(bound), Some(kernel)) => {
            set_bound(bound);
            experiment(fact, wait, kernel)
        }
        _ => {
            let detail = format!("this program knows no such experiment: {id} {wait} {bound} {instead:?}");
            let found = Found::Skipped { why: Why::Start, detail };
            tell(&Record::Step(Step { what: String::new(), found }));
            false
        }
    };
    if let Some(altered) = altered {
        tell(&Record::Altered(altered.altered()));
    }
    tell(&Record::End { waited });
    // No destructors and no exit handlers: threads may be asleep in calls that nothing will wake.
    exit_child(0);
}

/// Make an experiment; whether it waited by a call that has siblings.
fn experiment(fact: &Fact, wait: Wait, kernel: K) -> bool {
    // What a shell, a service manager or the standard library left to us must not decide an outcome.
    raw::reset();
    // A runner that was killed takes its experiments with it.
    raw::die_with_parent();
    SCOPE.replace_since(fact.since);
    noted(wait.choose().and_then(|()| (fact.run)(kernel)));
    Wait::was_used()
}

/// What the kernel says it is: uname(2), which needs no /proc.
fn release() -> String {
    nix::sys::utsname::uname()
        .map_or_else(|_| String::new(), |name| name.release().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_excused_only_by_a_kernel_that_says_it_is_older() {
        let differs = |since| Found::Differs { expected: "HUP".to_owned(), observed: "IN".to_owned(), since };
        for (since, release, excused) in [
            (Since(6, 9), Some(Release(6, 8, 12)), true),
            (Since(6, 9), Some(Release(6, 9, 0)), false),
            (Since(6, 9), Some(Release(6, 1, 8)), true),
            (Since(6, 9), Some(Release(6, 1, 9)), false),
            (Since(6, 9), None, false),
            (Since::ALWAYS, Some(Release(4, 4, 0)), false),
        ] {
            let mut found = differs(since);
            excuse(&mut found, &Fact { since, backports: &[Release(6, 1, 9)], ..Fact::ALWAYS }, release);
            assert_eq!(matches!(found, Found::ClaimsOlder { .. }), excused, "{since} on {release:?}");
        }
    }

    #[test]
    fn an_experiment_that_breaks_keeps_its_steps_and_names_the_last() {
        let mut said = Said::default();
        said.take(Record::Step(Step { what: "the first".to_owned(), found: Found::Holds }));
        let said = said.broke("it was killed by signal 11");
        assert_eq!((said.steps.len(), said.ended), (2, false));
        let Found::Differs { observed, .. } = &said.steps[1].found else { panic!("{said:?}") };
        assert_eq!(observed, "it was killed by signal 11; the last step before it: the first");
    }
}
