//! Traces as `trace` writes them, made up: what a level-triggered and an edge-triggered server do, one that forks and one with threads.

use io_models::lab::SystemCalls;
use io_models::lab::env::Environment;
use io_models::lab::results::trace::{
    Action, Answer, Call, Event, Fill, On, Ready, Recording, Remark, Remarkable, SCHEMA, SCHEMA_VERSION,
    Step, Task, Traced, Verb, What,
};

/// A recording that is being made. Each method returns the index of its event.
#[derive(Debug)]
pub(crate) struct Maker {
    recording: Recording,
    at_us: f64,
    step: Option<usize>,
}

impl Maker {
    pub(crate) fn new(name: &str, tasks: &[(i32, i32, &str)], clients: &[&str]) -> Maker {
        let task =
            |&(process, thread, name): &(i32, i32, &str)| Task { process, thread, name: name.to_owned() };
        let recording = Recording {
            name: name.to_owned(),
            server: format!("io-models serve {name} --port 0"),
            tasks: tasks.iter().map(task).collect(),
            clients: clients.iter().map(|&client| client.to_owned()).collect(),
            events: Vec::new(),
            remarks: Vec::new(),
            answers: Vec::new(),
            calls: SystemCalls { total: 0, by_name: serde_json::Map::new() },
            left_out: 0,
            notes: Vec::new(),
        };
        Maker { recording, at_us: 180.0, step: None }
    }

    /// From here on the events are of that step.
    pub(crate) fn step(&mut self, step: Option<usize>) {
        self.step = step;
        self.at_us += 2000.0;
    }

    fn event(&mut self, what: What) -> usize {
        self.at_us += 37.3;
        let (at_us, step) = (self.at_us, self.step);
        self.recording.events.push(Event {
            at_us,
            step,
            what,
            fills: Vec::new(),
            accept_queue: None,
            only_here: false,
        });
        self.recording.events.len() - 1
    }

    /// The event that was made last.
    pub(crate) fn last(&mut self) -> &mut Event {
        self.recording.events.last_mut().expect("an event")
    }

    /// The call of the last event.
    pub(crate) fn last_call(&mut self) -> &mut Call {
        match &mut self.last().what {
            What::Call(call) | What::Begins(call) => call,
            other => panic!("{other:?} is no call"),
        }
    }

    pub(crate) fn client(&mut self, client: usize, verb: Verb, bytes: Option<u64>) -> usize {
        self.event(What::Client(Action { client, verb, bytes }))
    }

    fn plain_call(task: usize, name: &str, on: Option<On>, arguments: &str) -> Call {
        Call {
            task,
            name: name.to_owned(),
            on,
            arguments: arguments.to_owned(),
            result: None,
            errno: None,
            took_us: None,
            ready: Vec::new(),
            accepted: None,
            woken_by: None,
            times: 1,
            fact: None,
        }
    }

    pub(crate) fn call(
        &mut self,
        task: usize,
        name: &str,
        on: Option<On>,
        arguments: &str,
        result: i64,
    ) -> usize {
        let call =
            Call { result: Some(result), took_us: Some(4.2), ..Maker::plain_call(task, name, on, arguments) };
        self.event(What::Call(call))
    }

    pub(crate) fn fails(
        &mut self,
        task: usize,
        name: &str,
        on: Option<On>,
        arguments: &str,
        errno: &str,
    ) -> usize {
        let event = self.call(task, name, on, arguments, -1);
        self.last_call().errno = Some(errno.to_owned());
        event
    }

    pub(crate) fn begins(&mut self, task: usize, name: &str, on: Option<On>, arguments: &str) -> usize {
        self.event(What::Begins(Maker::plain_call(task, name, on, arguments)))
    }

    /// A wait that began before returns.
    pub(crate) fn wakes(
        &mut self,
        task: usize,
        name: &str,
        on: Option<On>,
        ready: &[(On, &str)],
        woken_by: usize,
    ) -> usize {
        let event = self.call(task, name, on, "4, [{EPOLLIN, {u64=7}}], 64, -1", ready.len() as i64);
        let call = self.last_call();
        call.took_us = Some(1987.0);
        let told = |(on, events): &(On, &str)| Ready { on: on.clone(), events: (*events).to_owned() };
        call.ready = ready.iter().map(told).collect();
        call.woken_by = Some(woken_by);
        event
    }

    pub(crate) fn happens(&mut self, what: What) -> usize {
        self.event(what)
    }

    /// What lies in the buffers after the last event: of each client received, unsent, unread.
    pub(crate) fn fills(&mut self, fills: &[[u64; 3]]) {
        let fill = |(client, &[received, unsent, unread]): (usize, &[u64; 3])| Fill {
            client,
            received: Some(received),
            unsent: Some(unsent),
            unread: Some(unread),
        };
        self.last().fills = fills.iter().enumerate().map(fill).collect();
    }

    pub(crate) fn remark(&mut self, event: usize, what: Remarkable, client: Option<usize>, count: u64) {
        self.recording.remarks.push(Remark { event, what, client, count });
    }

    pub(crate) fn answer(&mut self, client: usize, sent: u64, right: u64) {
        self.recording.answers.push(Answer { client, sent, right, is_wrong: false });
    }

    /// The recording, with its calls counted.
    pub(crate) fn done(mut self) -> Recording {
        let mut by_name = serde_json::Map::new();
        for event in &self.recording.events {
            if let What::Call(call) = &event.what {
                let n = by_name.get(&call.name).and_then(serde_json::Value::as_u64).unwrap_or(0);
                by_name.insert(call.name.clone(), (n + call.times).into());
                self.recording.calls.total += call.times;
            }
        }
        self.recording.calls.by_name = by_name;
        self.recording
    }
}

/// These recordings as one result.
pub(crate) fn traced(servers: Vec<Recording>, script: &[(&str, &str)]) -> Traced {
    let step = |&(name, actions): &(&str, &str)| Step {
        name: name.to_owned(),
        actions: actions.split(", ").map(str::to_owned).collect(),
    };
    Traced {
        expect: io_models::lab::results::check::Expect::Echo,
        schema: SCHEMA.to_owned(),
        schema_version: SCHEMA_VERSION,
        environment: Environment::here(),
        script: script.iter().map(step).collect(),
        seconds: 0.21,
        partial: false,
        servers,
    }
}

/// How a server asks epoll, and how it reads.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Level,
    /// It reads 32 bytes once, though 64 may be there.
    EdgeOnce,
}

/// A level-triggered server, and an edge-triggered one that reads 32 bytes of each event, which loses an event.
pub(crate) fn lost_event() -> Traced {
    let script = [
        ("connect", "A connect, B connect"),
        ("ask", "A send 32"),
        ("ask again", "A send 64"),
        ("leave", "A close, B close"),
    ];
    traced(vec![epoll("epoll-level", Way::Level), epoll("buggy-et", Way::EdgeOnce)], &script)
}

fn epoll(name: &str, way: Way) -> Recording {
    let mut made = Maker::new(name, &[(4711, 4711, "process 1")], &["A", "B"]);
    let [a, b] = [On::Client(0), On::Client(1)];
    let epoll = || Some(On::Epoll);
    let listener = || Some(On::Listener);
    made.call(0, "socket", None, "AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_IP", 3);
    made.call(0, "bind", listener(), "3, {sa_family=AF_INET, sin_port=htons(5005)}, 16", 0);
    made.call(0, "listen", listener(), "3, 1024", 0);
    made.call(0, "epoll_create1", None, "EPOLL_CLOEXEC", 4);
    made.call(0, "epoll_ctl", epoll(), "4, EPOLL_CTL_ADD, 3, {events=EPOLLIN, data={u64=3}}", 0);
    made.begins(0, "epoll_wait", epoll(), "4, 0x7ffd, 64, -1");
    let wait = |made: &mut Maker| made.begins(0, "epoll_wait", epoll(), "4, 0x7ffd, 64, -1");
    let flags = if way == Way::Level { "EPOLLIN" } else { "EPOLLIN|EPOLLET" };
    made.step(Some(0));
    for (client, fd) in [(0, 5), (1, 6)] {
        let connects = made.client(client, Verb::Connects, None);
        made.last().accept_queue = Some(1);
        made.wakes(0, "epoll_wait", epoll(), &[(On::Listener, "EPOLLIN")], connects);
        made.call(0, "accept4", listener(), "3, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC", fd);
        made.last().accept_queue = Some(0);
        made.fills(&[[0; 3], [0; 3]][..=client]);
        let on = Some(On::Client(client));
        made.call(0, "epoll_ctl", on, &format!("4, EPOLL_CTL_ADD, {fd}, {{events={flags}}}"), 0);
        if way == Way::Level {
            made.fails(0, "accept4", listener(), "3, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC", "EAGAIN");
            made.last().only_here = true;
        }
        wait(&mut made);
    }
    let answer = |made: &mut Maker, n: u64, left: u64| {
        let text = format!("5, \"\\1\\2\\3\\4\\5\\6\\7\\10\"..., {n}, 0");
        made.call(0, "recv", Some(a.clone()), &text, n as i64);
        made.fills(&[[left, 0, 0], [0; 3]]);
        made.call(0, "send", Some(a.clone()), &text, n as i64);
        made.fills(&[[left, 0, n], [0; 3]]);
        made.client(0, Verb::Reads, Some(n));
        made.fills(&[[left, 0, 0], [0; 3]]);
    };
    made.step(Some(1));
    let sends = made.client(0, Verb::Sends, Some(32));
    made.fills(&[[32, 0, 0], [0; 3]]);
    made.wakes(0, "epoll_wait", epoll(), &[(a.clone(), "EPOLLIN")], sends);
    answer(&mut made, 32, 0);
    wait(&mut made);
    made.step(Some(2));
    let sends = made.client(0, Verb::Sends, Some(64));
    made.fills(&[[64, 0, 0], [0; 3]]);
    made.wakes(0, "epoll_wait", epoll(), &[(a.clone(), "EPOLLIN")], sends);
    answer(&mut made, 32, 32);
    if way == Way::Level {
        made.call(0, "epoll_wait", epoll(), "4, [{EPOLLIN, {u64=5}}], 64, -1", 1);
        made.last_call().ready = vec![Ready { on: a.clone(), events: "EPOLLIN".to_owned() }];
        made.last_call().fact = Some("et-lt-repeats-until-drained".to_owned());
        made.last().only_here = true;
        answer(&mut made, 32, 0);
        for event in made.recording.events.iter_mut().rev().take(3) {
            event.only_here = true;
        }
        wait(&mut made);
    } else {
        let lost = wait(&mut made);
        made.last_call().fact = Some("et-partial-read-silent".to_owned());
        made.remark(lost, Remarkable::UnreadWhileWaiting, Some(0), 32);
        made.remark(lost, Remarkable::AnswerMissing, Some(0), 32);
    }
    made.step(Some(3));
    for (client, on, fd) in [(0, a, "5"), (1, b, "6")] {
        let closes = made.client(client, Verb::Closes, None);
        let left = if way == Way::EdgeOnce && client == 0 { 32 } else { 0 };
        made.wakes(0, "epoll_wait", epoll(), &[(on.clone(), "EPOLLIN|EPOLLRDHUP")], closes);
        if left > 0 {
            made.call(0, "recv", Some(on.clone()), "5, \"\\1\\2\"..., 32, 0", 32);
            made.fills(&[[0; 3], [0; 3]]);
            made.fails(0, "send", Some(on.clone()), "5, \"\\1\\2\"..., 32, MSG_NOSIGNAL", "EPIPE");
            made.last().only_here = true;
        } else {
            made.call(0, "recv", Some(on.clone()), &format!("{fd}, \"\", 32, 0"), 0);
        }
        made.call(0, "close", Some(on), fd, 0);
        wait(&mut made);
    }
    made.step(None);
    made.happens(What::Signal { task: 0, name: "SIGTERM".to_owned() });
    made.fails(0, "epoll_wait", epoll(), "4, 0x7ffd, 64, -1", "EINTR");
    made.happens(What::Ended { task: 0, how: "exit 0".to_owned() });
    made.answer(0, 96, if way == Way::Level { 96 } else { 64 });
    made.answer(1, 0, 0);
    made.done()
}

/// A server that forks for each client, and one with four workers.
pub(crate) fn processes() -> Traced {
    let script = [("connect", "A connect"), ("ask", "A send 64"), ("leave", "A close")];
    traced(vec![fork(), threads()], &script)
}

fn fork() -> Recording {
    let mut made = Maker::new("fork", &[(500, 500, "process 1"), (501, 501, "process 2")], &["A"]);
    let a = || Some(On::Client(0));
    made.call(0, "socket", None, "AF_INET, SOCK_STREAM, IPPROTO_IP", 3);
    made.call(0, "listen", Some(On::Listener), "3, 1024", 0);
    made.begins(0, "accept", Some(On::Listener), "3, NULL, NULL");
    made.step(Some(0));
    let connects = made.client(0, Verb::Connects, None);
    made.wakes(0, "accept", Some(On::Listener), &[], connects);
    made.last_call().arguments = "3, NULL, NULL".to_owned();
    made.fills(&[[0; 3]]);
    made.call(
        0,
        "clone",
        None,
        "child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD",
        501,
    );
    made.happens(What::Started { task: 1 });
    made.begins(1, "recv", a(), "4, 0x7ffd, 65536, 0");
    made.call(0, "close", a(), "4", 0);
    made.begins(0, "accept", Some(On::Listener), "3, NULL, NULL");
    made.step(Some(1));
    let sends = made.client(0, Verb::Sends, Some(64));
    made.fills(&[[64, 0, 0]]);
    made.wakes(1, "recv", a(), &[], sends);
    made.last_call().result = Some(64);
    made.fills(&[[0; 3]]);
    made.call(1, "send", a(), "4, \"\\1\\2\"..., 64, MSG_NOSIGNAL", 64);
    made.fills(&[[0, 0, 64]]);
    made.client(0, Verb::Reads, Some(64));
    made.fills(&[[0; 3]]);
    made.begins(1, "recv", a(), "4, 0x7ffd, 65536, 0");
    made.step(Some(2));
    let closes = made.client(0, Verb::Closes, None);
    made.wakes(1, "recv", a(), &[], closes);
    let ends = made.happens(What::Ended { task: 1, how: "exit 0".to_owned() });
    made.happens(What::Signal { task: 0, name: "SIGCHLD".to_owned() });
    made.fails(0, "accept", Some(On::Listener), "3, NULL, NULL", "EINTR");
    made.last_call().woken_by = Some(ends);
    made.call(0, "wait4", None, "-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], WNOHANG, NULL", 501);
    made.fails(0, "wait4", None, "-1, 0x7ffd, WNOHANG, NULL", "ECHILD");
    made.begins(0, "accept", Some(On::Listener), "3, NULL, NULL");
    made.answer(0, 64, 64);
    made.done()
}

fn threads() -> Recording {
    let tasks = [
        (600, 600, "process 1"),
        (600, 601, "process 1, thread 2"),
        (600, 602, "process 1, thread 3"),
        (600, 603, "process 1, thread 4"),
        (600, 604, "process 1, thread 5"),
    ];
    let mut made = Maker::new("prethread", &tasks, &["A"]);
    let a = || Some(On::Client(0));
    let listener = || Some(On::Listener);
    made.call(0, "socket", None, "AF_INET, SOCK_STREAM, IPPROTO_IP", 3);
    made.call(0, "listen", listener(), "3, 1024", 0);
    for worker in 1..5 {
        made.call(
            0,
            "clone3",
            None,
            "{flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_THREAD}",
            600 + worker as i64,
        );
        made.happens(What::Started { task: worker });
        made.begins(worker, "accept4", listener(), "3, NULL, NULL, SOCK_CLOEXEC");
    }
    made.begins(0, "futex", None, "0x7f, FUTEX_WAIT, 601, NULL");
    made.step(Some(0));
    let connects = made.client(0, Verb::Connects, None);
    made.last().accept_queue = Some(1);
    made.wakes(1, "accept4", listener(), &[], connects);
    made.last().accept_queue = Some(0);
    made.fills(&[[0; 3]]);
    made.begins(1, "recv", a(), "4, 0x7f, 65536, 0");
    made.step(Some(1));
    let sends = made.client(0, Verb::Sends, Some(64));
    made.fills(&[[64, 0, 0]]);
    made.wakes(1, "recv", a(), &[], sends);
    made.last_call().result = Some(64);
    made.fills(&[[0; 3]]);
    made.call(1, "send", a(), "4, \"\\1\\2\"..., 64, MSG_NOSIGNAL", 64);
    made.fills(&[[0, 0, 64]]);
    made.client(0, Verb::Reads, Some(64));
    made.fills(&[[0; 3]]);
    made.begins(1, "recv", a(), "4, 0x7f, 65536, 0");
    made.step(Some(2));
    let closes = made.client(0, Verb::Closes, None);
    made.wakes(1, "recv", a(), &[], closes);
    made.call(1, "close", a(), "4", 0);
    made.last().only_here = true;
    made.begins(1, "accept4", listener(), "3, NULL, NULL, SOCK_CLOEXEC");
    made.answer(0, 64, 64);
    made.done()
}
