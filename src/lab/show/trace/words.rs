//! What a trace says, in English and in Chinese, all in one place.
//!
//! The terms are those of docs/glossary.md. Names of calls, flags and errors stay as they are in C.

use super::BUFFERS;
use super::score::{State, Unlike};
use crate::lab::lang::Lang;
use crate::lab::results::check::Expect;
use crate::lab::results::trace::{
    Action, Answer, Call, Event, On, Ready, Recording, Remark, Remarkable, Verb, What,
};
use crate::lab::show::HARD_SPACE;
use crate::lab::units::{UNKNOWN, count, micros, of};
use crate::lab::visible::visible;
use std::collections::BTreeMap;

/// An argument list is cut after so many characters on the page and in the text. The JSON document has all of it.
pub(in crate::lab::show) const LONGEST_ARGUMENTS: usize = 300;

/// Other text of programs and files, such as names, is cut after so many.
const LONGEST_NAME: usize = 120;

/// `text` in one line, with a note where characters of it are left out.
pub(in crate::lab::show) fn cut(lang: Lang, text: &str, most: usize) -> String {
    let text = visible(text);
    let all = text.chars().count();
    if all <= most {
        return text;
    }
    let more = count((all - most) as u64);
    let note = lang.say(format!("… ({more} more characters)"), format!("……（另有 {more} 个字符）"));
    text.chars().take(most).collect::<String>() + &note
}

/// A name that a program or a file gave.
pub(in crate::lab::show) fn name(lang: Lang, text: &str) -> String {
    cut(lang, text, LONGEST_NAME)
}

/// `3 bytes`.
pub(in crate::lab::show) fn bytes(lang: Lang, n: u64) -> String {
    lang.say(of(n, "byte"), format!("{} 字节", count(n)))
}

/// `3 calls`.
pub(in crate::lab::show) fn calls(lang: Lang, n: u64) -> String {
    lang.say(of(n, "call"), format!("{} 次调用", count(n)))
}

/// `3 events`.
pub(in crate::lab::show) fn events(lang: Lang, n: u64) -> String {
    lang.say(of(n, "event"), format!("{} 个事件", count(n)))
}

/// The name of a client: `A`.
pub(in crate::lab::show) fn client(lang: Lang, recording: &Recording, index: usize) -> String {
    name(lang, recording.clients.get(index).map_or("?", String::as_str))
}

/// The name of a thread: `process 1`.
pub(in crate::lab::show) fn task(lang: Lang, recording: &Recording, index: usize) -> String {
    let named = recording.tasks.get(index).map_or("?", |task| task.name.as_str());
    let named = name(lang, named);
    lang.say(named.clone(), named.replace("process ", "进程 ").replace(", thread ", "，线程 "))
}

/// What a client did, short: `A sends 64`.
pub(in crate::lab::show) fn action(lang: Lang, recording: &Recording, action: &Action) -> String {
    let who = client(lang, recording, action.client);
    let n = action.bytes.map(|n| format!(" {}", count(n))).unwrap_or_default();
    let does = match action.verb {
        Verb::Connects => lang.say("connects", "建立连接"),
        Verb::Sends => lang.say("sends", "发送"),
        Verb::Reads => lang.say("reads", "读取"),
        Verb::ReadsEnd => lang.say("reads EOF", "读到 EOF"),
        Verb::HalfCloses => lang.say("half-closes", "半关闭"),
        Verb::Closes => lang.say("closes", "关闭连接"),
        Verb::Resets => lang.say("resets", "复位连接"),
        Verb::IsReset => lang.say("is reset", "被复位"),
    };
    format!("{who} {does}{n}")
}

/// The same as a sentence that says what it means for the sockets.
pub(in crate::lab::show) fn action_in_full(lang: Lang, recording: &Recording, action: &Action) -> String {
    let who = client(lang, recording, action.client);
    let n = action.bytes.map_or_else(String::new, |n| bytes(lang, n));
    match action.verb {
        Verb::Connects => lang.say(
            format!("Client {who} connects: the handshake is complete, and the connection is in the queue of the listener."),
            format!("客户端 {who} 发起连接：握手完成，连接进入监听套接字的全连接队列。"),
        ),
        Verb::Sends => lang.say(format!("Client {who} sends {n}."), format!("客户端 {who} 发送 {n}。")),
        Verb::Reads => lang.say(format!("Client {who} reads {n}."), format!("客户端 {who} 读取 {n}。")),
        Verb::ReadsEnd => lang.say(
            format!("Client {who} reads the end of the stream: the server has closed its side."),
            format!("客户端 {who} 读到流末尾：服务端已经关闭了自己的一端。"),
        ),
        Verb::HalfCloses => lang.say(
            format!("Client {who} calls shutdown(SHUT_WR): it sends FIN and goes on reading."),
            format!("客户端 {who} 调用 shutdown(SHUT_WR)：发送 FIN，但仍继续读取。"),
        ),
        Verb::Closes => lang.say(format!("Client {who} closes its socket."), format!("客户端 {who} 关闭套接字。")),
        Verb::Resets => lang.say(
            format!("Client {who} ends the connection with RST."),
            format!("客户端 {who} 用 RST 终止连接。"),
        ),
        Verb::IsReset => lang.say(
            format!("Client {who} gets ECONNRESET: the kernel of the server has sent RST."),
            format!("客户端 {who} 得到 ECONNRESET：服务端的内核发送了 RST。"),
        ),
    }
}

/// What a call is on, in a word. `None` where the name of the call says it.
pub(in crate::lab::show) fn on(lang: Lang, recording: &Recording, on: &On) -> Option<String> {
    match on {
        On::Client(index) => Some(client(lang, recording, *index)),
        On::Listener | On::Epoll => None,
        On::Other(what) => Some(name(lang, what)),
    }
}

/// The same in full.
pub(in crate::lab::show) fn on_in_full(lang: Lang, recording: &Recording, on: &On) -> String {
    match on {
        On::Client(index) => {
            let client = client(lang, recording, *index);
            lang.say(format!("the connection of client {client}"), format!("客户端 {client} 的连接"))
        }
        On::Listener => lang.say("the listener", "监听套接字").to_owned(),
        On::Epoll => lang.say("the epoll instance", "epoll 实例").to_owned(),
        On::Other(what) => name(lang, what),
    }
}

/// A call with what it is on: `recv(A)`.
pub(in crate::lab::show) fn call_name(lang: Lang, recording: &Recording, call: &Call) -> String {
    let called = name(lang, &call.name);
    match call.on.as_ref().and_then(|target| on(lang, recording, target)) {
        Some(target) => format!("{called}({target})"),
        None => called,
    }
}

/// What it returned, short: `32`, `EAGAIN`. `None` while it has not returned.
pub(in crate::lab::show) fn result(lang: Lang, call: &Call) -> Option<String> {
    match (&call.errno, call.result) {
        (Some(errno), _) => Some(name(lang, errno)),
        (None, result) => result.map(|n| n.to_string()),
    }
}

/// The call as strace(1) prints it: `recv(5, "hello", 64, 0) = 5`.
pub(in crate::lab::show) fn call_in_full(lang: Lang, call: &Call) -> String {
    let result = match (&call.errno, call.result) {
        (Some(errno), _) => format!(" = -1 {}", name(lang, errno)),
        (None, Some(result)) => format!(" = {result}"),
        (None, None) => String::new(),
    };
    format!("{}({}){result}", name(lang, &call.name), cut(lang, &call.arguments, LONGEST_ARGUMENTS))
}

/// What is ready, and for what: `A: EPOLLIN`.
pub(in crate::lab::show) fn ready(lang: Lang, recording: &Recording, ready: &Ready) -> String {
    let what = match &ready.on {
        On::Listener => lang.say("listener", "监听套接字").to_owned(),
        On::Epoll => "epoll".to_owned(),
        other => on(lang, recording, other).unwrap_or_default(),
    };
    format!("{what}: {}", name(lang, &ready.events))
}

/// An event, short: `A sends 64`, `recv(A) → 32`.
pub(in crate::lab::show) fn event(lang: Lang, recording: &Recording, event: &Event) -> String {
    match &event.what {
        What::Client(action) => self::action(lang, recording, action),
        What::Begins(call) => {
            let call = call_name(lang, recording, call);
            lang.say(format!("waits in {call}"), format!("在 {call} 中等待"))
        }
        What::Call(call) => {
            let called = call_name(lang, recording, call);
            let times = if call.times > 1 { format!(" ×{}", count(call.times)) } else { String::new() };
            match result(lang, call) {
                // The result stays with its arrow.
                Some(result) => format!("{called} →{HARD_SPACE}{result}{times}"),
                None => called + &times,
            }
        }
        What::Signal { name: signal, .. } => name(lang, signal),
        What::Started { task } => {
            let task = self::task(lang, recording, *task);
            lang.say(format!("{task} starts"), format!("{task}开始运行"))
        }
        What::Ended { task, how } => {
            let (task, how) = (self::task(lang, recording, *task), name(lang, how));
            lang.say(format!("{task} ends: {how}"), format!("{task}结束：{how}"))
        }
    }
}

/// The calls that wait when this remark is made.
fn waiting<'a>(recording: &'a Recording, remark: &Remark) -> Vec<&'a Call> {
    let mut waits = BTreeMap::new();
    for event in recording.events.iter().take(remark.event.saturating_add(1)) {
        match &event.what {
            What::Begins(call) => drop(waits.insert(call.task, call)),
            What::Call(Call { task, .. }) | What::Ended { task, .. } => drop(waits.remove(task)),
            _ => {}
        }
    }
    waits.into_values().collect()
}

/// Whether some thread waits for another client than that of the remark.
fn waits_for_another(recording: &Recording, remark: &Remark) -> bool {
    let is_another =
        |call: &&Call| matches!(call.on, Some(On::Client(client)) if Some(client) != remark.client);
    waiting(recording, remark).iter().any(is_another)
}

/// Whether a thread waits for an epoll instance that reports the edges alone of what the remark is about.
fn waits_for_edges(recording: &Recording, remark: &Remark) -> bool {
    let on = remark.client.map_or(On::Listener, On::Client);
    let events = recording.events.iter().take(remark.event.saturating_add(1)).rev();
    let registered = events.filter_map(|event| match &event.what {
        What::Call(call)
            if call.name == "epoll_ctl" && call.errno.is_none() && call.on.as_ref() == Some(&on) =>
        {
            Some(call)
        }
        _ => None,
    });
    let is_edge = registered.take(1).any(|call| call.arguments.contains("EPOLLET"));
    is_edge && waiting(recording, remark).iter().any(|call| call.name.starts_with("epoll"))
}

/// What a reader should look at, as a sentence.
pub(in crate::lab::show) fn remark(lang: Lang, recording: &Recording, remark: &Remark) -> String {
    let n = remark.count;
    let who = remark.client.map(|index| client(lang, recording, index));
    let bytes = bytes(lang, n);
    // "lies" for one.
    let verb = |one: &'static str, many: &'static str| if n == 1 { one } else { many };
    let is_edge = waits_for_edges(recording, remark);
    let told = |them: &str| match is_edge {
        true => format!("the kernel has reported {them} once, and will not report {them} again"),
        false => format!("no thread is told of {them}"),
    };
    let told_zh = if is_edge {
        "内核已经通知过一次，不会再次通知"
    } else {
        "没有线程会得到通知"
    };
    let (other, other_zh) = match waits_for_another(recording, remark) {
        true => ("another client", "别的客户端"),
        false => ("something else", "别的事件"),
    };
    match remark.what {
        Remarkable::UnreadWhileWaiting => {
            let (of_en, of_zh) = of_client(who.as_deref());
            lang.say(
                format!(
                    "{bytes}{of_en} {} unread in the receive buffer, and every thread waits: {}.",
                    verb("lies", "lie"),
                    told("them")
                ),
                format!("接收缓冲区里还有{of_zh} {bytes}没有读，而所有线程都在等待：{told_zh}。"),
            )
        }
        Remarkable::UnacceptedWhileWaiting => lang.say(
            format!(
                "{} {} in the queue of the listener, and every thread waits: {}.",
                of(n, "connection"),
                verb("lies", "lie"),
                told(verb("it", "them")),
            ),
            format!("全连接队列里还有 {} 个连接没有被 accept，而所有线程都在等待：{told_zh}。", count(n)),
        ),
        Remarkable::BusyWithAnother => match who {
            Some(who) => lang.say(
                format!("{bytes} of {who} {} unread: each thread waits for {other}.", verb("lies", "lie")),
                format!("{who} 的 {bytes}没有读：每个线程都在等待{other_zh}。"),
            ),
            None => lang.say(
                format!(
                    "{} {} in the queue of the listener: each thread waits for {other}.",
                    of(n, "connection"),
                    verb("lies", "lie")
                ),
                format!("全连接队列里还有 {} 个连接没有被 accept：每个线程都在等待{other_zh}。", count(n)),
            ),
        },
        Remarkable::WokenInVain => lang.say(
            format!("It was woken {} by something for which it did nothing.", of(n, "time")),
            format!("它被唤醒 {} 次，每次都没有处理唤醒它的事件。", count(n)),
        ),
        Remarkable::AnswerMissing => {
            let who = who.unwrap_or_else(|| lang.say("A client", "有客户端").to_owned());
            lang.say(
                format!("{who} did not get back {bytes} of those that it sent."),
                format!("{who} 发送的数据中有 {bytes}没有收到应答。"),
            )
        }
        Remarkable::AnswerWrong => {
            // Of a server that answers `ok`, not a byte is right.
            let (is_ok_en, is_ok_zh) = match n {
                0 => {
                    (" If it answers `ok`, say so: --expect ok.", "如果它的应答是 `ok`，请加上 --expect ok。")
                }
                _ => ("", ""),
            };
            let who = who.unwrap_or_else(|| lang.say("A client", "有客户端").to_owned());
            lang.say(
                format!("{who} got back other bytes than it sent.{}", is_ok_en),
                format!("{who} 收到的字节与它发送的不同。{}", is_ok_zh),
            )
        }
        Remarkable::ClosedUnread => {
            let (of_en, of_zh) = of_client(who.as_deref());
            lang.say(
                format!(
                    "It closed the connection{of_en} while {bytes} {} unread, so the kernel sent RST.",
                    verb("was", "were")
                ),
                format!("它关闭{of_zh}连接时还有 {bytes}没有读，因此内核发送了 RST。"),
            )
        }
        Remarkable::NeverSleeps => lang.say(
            "It never sleeps: it makes calls although nothing has happened.".to_owned(),
            "它从不睡眠：没有任何事件，它也在不断地进行系统调用。".to_owned(),
        ),
    }
}

/// ` of A`, where a client is known.
fn of_client(who: Option<&str>) -> (String, String) {
    who.map_or_else(Default::default, |who| (format!(" of {who}"), format!(" {who} 的")))
}

/// A remark in two or three words, for its mark at an event, after its number.
pub(in crate::lab::show) fn mark(lang: Lang, remark: &Remark) -> String {
    let n = count(remark.count);
    let said = match remark.what {
        Remarkable::UnreadWhileWaiting => lang.say(format!("{n} unread"), format!("{n} 字节未读")),
        Remarkable::UnacceptedWhileWaiting => lang.say(format!("{n} not accepted"), format!("{n} 个未接受")),
        Remarkable::BusyWithAnother => lang.say(format!("{n} wait"), format!("{n} 在等待")),
        Remarkable::WokenInVain => lang.say("woken in vain".to_owned(), "空唤醒".to_owned()),
        Remarkable::AnswerMissing => lang.say("answer missing".to_owned(), "缺少应答".to_owned()),
        Remarkable::AnswerWrong => lang.say("wrong answer".to_owned(), "应答错误".to_owned()),
        Remarkable::ClosedUnread => lang.say(format!("closed, {n} unread"), format!("关闭时 {n} 字节未读")),
        Remarkable::NeverSleeps => lang.say("never sleeps".to_owned(), "从不睡眠".to_owned()),
    };
    lang.say(format!(": {said}"), format!("：{said}"))
}

/// A time since something: `+45.3 µs`.
pub(in crate::lab::show) fn since(us: f64) -> String {
    format!("+{}", micros(us.max(0.0)))
}

/// How long a call took, or how long a thread waited in it.
pub(in crate::lab::show) fn took(lang: Lang, us: f64, has_waited: bool) -> String {
    let us = micros(us.max(0.0));
    if has_waited {
        lang.say(format!("waited {us}"), format!("等待了 {us}"))
    } else {
        lang.say(format!("took {us}"), format!("用时 {us}"))
    }
}

/// What ended a wait.
pub(in crate::lab::show) fn woken_by(lang: Lang, event: &str) -> String {
    lang.say(format!("woken by {event}"), format!("被“{event}”唤醒"))
}

/// The same call several times.
pub(in crate::lab::show) fn repeated(lang: Lang, times: u64) -> String {
    lang.say(
        format!("made {} in a row, each with the same result", of(times, "time")),
        format!("连续调用 {} 次，结果相同", count(times)),
    )
}

/// What only one server does.
fn only_here(lang: Lang) -> &'static str {
    lang.say("only here", "仅此服务端")
}

/// A buffer, from the clients down to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::lab::show) enum Buffer {
    /// The receive buffer of the client.
    Unread,
    /// The send buffer of the server.
    Unsent,
    /// The receive buffer of the server.
    Received,
}

/// A buffer in a word or two.
pub(in crate::lab::show) fn buffer(lang: Lang, buffer: Buffer) -> &'static str {
    match buffer {
        Buffer::Received => lang.say("receive buffer", "接收缓冲区"),
        Buffer::Unsent => lang.say("send buffer", "发送缓冲区"),
        Buffer::Unread => lang.say("unread by the client", "客户端未读"),
    }
}

/// A buffer of the connection of a client.
pub(in crate::lab::show) fn buffer_of(lang: Lang, who: &str, kind: Buffer) -> String {
    match kind {
        Buffer::Unread => lang.say(format!("unread by {who}"), format!("{who} 未读")),
        _ => lang.say(format!("{who}: {}", buffer(lang, kind)), format!("{who}：{}", buffer(lang, kind))),
    }
}

/// The queue of the listener.
pub(in crate::lab::show) fn accept_queue(lang: Lang) -> &'static str {
    lang.say("accept queue", "全连接队列")
}

/// Between two details of an event.
pub(in crate::lab::show) fn and(lang: Lang) -> &'static str {
    lang.say("; ", "；")
}

/// How an event differs from those of the other server.
pub(in crate::lab::show) fn unlike(lang: Lang, how: Unlike) -> &'static str {
    match how {
        Unlike::Differs => differs(lang),
        Unlike::Only => only_here(lang),
    }
}

/// A part of the trace: the start, a step, the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lab::show) enum Part {
    /// Before the first step.
    Start,
    /// A step of the script, as an index.
    Step(usize),
    /// After the last step.
    End,
}

/// The heading of a part without a step.
pub(in crate::lab::show) fn outside(lang: Lang, part: Part) -> &'static str {
    match part {
        Part::Start => lang.say("The server starts", "服务端启动"),
        _ => lang.say("The server ends", "服务端结束"),
    }
}

/// What was left out of a recording.
pub(in crate::lab::show) fn left_out(lang: Lang, recording: &Recording) -> String {
    let (events, n) = (recording.events.len() as u64, recording.left_out);
    lang.say(
        format!(
            "{} {} only counted, because this recording, or a step of it, had too many events: there are {} here.",
            of(n, "call"),
            if n == 1 { "was" } else { "were" },
            of(events, "event"),
        ),
        format!("整个记录或某一步的事件太多：有 {} 次调用只计入了次数，这里有 {} 个事件。", count(n), count(events)),
    )
}

/// What several servers or one are called in the heading.
pub(in crate::lab::show) fn title(lang: Lang, names: &[String]) -> String {
    match names {
        [one] => lang.say(format!("What {one} does for its clients"), format!("{one} 为客户端做了什么")),
        _ => {
            let (en, zh) = (names.join(" and "), names.join(" 与 "));
            lang.say(
                format!("{en}: what each does for the same clients"),
                format!("{zh}：面对相同的客户端各做了什么"),
            )
        }
    }
}

/// What changed in the buffers, a sentence each.
pub(in crate::lab::show) fn changes(
    lang: Lang,
    recording: &Recording,
    before: &State,
    after: &State,
) -> Vec<String> {
    let mut changes = Vec::new();
    for index in 0..recording.clients.len() {
        for kind in BUFFERS {
            let (from, to) = (before.bytes(index, kind), after.bytes(index, kind));
            if from.unwrap_or(0) == to.unwrap_or(0) {
                continue;
            }
            let named = buffer_of(lang, &client(lang, recording, index), kind);
            let number = |n: Option<u64>| n.map_or_else(|| UNKNOWN.to_owned(), count);
            changes.push(format!("{named} {} → {}", number(from), number(to)));
        }
    }
    if before.queue != after.queue {
        changes.push(format!("{} {} → {}", accept_queue(lang), before.queue, after.queue));
    }
    changes
}

/// A signal that was delivered.
pub(in crate::lab::show) fn delivered(lang: Lang, signal: &str) -> String {
    let signal = name(lang, signal);
    lang.say(format!("{signal} is delivered"), format!("{signal} 信号送达"))
}

/// What a wait has told.
pub(in crate::lab::show) fn is_ready(lang: Lang, all: &str) -> String {
    lang.say(format!("ready: {all}"), format!("就绪：{all}"))
}

/// The fact on which a call rests.
pub(in crate::lab::show) fn fact(lang: Lang, id: &str) -> String {
    let id = name(lang, id);
    lang.say(format!("fact {id}"), format!("内核事实 {id}"))
}

/// The name of a step. Those of the script that is built in are translated.
pub(in crate::lab::show) fn step(lang: Lang, named: &str) -> String {
    let translated = match named {
        "connect" => "连接",
        "ask" => "请求",
        "ask again" => "再次请求",
        "three at once" => "三个同时连接",
        "all ask at once" => "同时请求",
        "a large answer" => "大的应答",
        "half close" => "半关闭",
        "leave" => "离开",
        "reset" => "复位",
        "the last one leaves" => "最后一个离开",
        other => other,
    };
    name(lang, lang.say(named, translated))
}

/// The heading of the remarks.
pub(in crate::lab::show) fn look_here(lang: Lang) -> &'static str {
    lang.say("What to look at", "需要注意")
}

/// Where there are no remarks.
pub(in crate::lab::show) fn nothing_to_look_at(lang: Lang) -> &'static str {
    lang.say(
        "Nothing in this run: every client got the right bytes back, and nothing lies unread or unaccepted while the threads wait. `io-models check` judges a server.",
        "这次运行没有需要注意的：每个客户端收到的字节都正确；线程等待时，没有未读的字节，也没有未接受的连接。要评判服务端，请用 `io-models check`。",
    )
}

/// The place of events before the first step or after the last one.
pub(in crate::lab::show) fn outside_steps(lang: Lang) -> &'static str {
    lang.say("at the start or the end", "启动或结束时")
}

/// A trace that a signal ended.
pub(in crate::lab::show) fn partial(lang: Lang) -> &'static str {
    lang.say("PARTIAL: interrupted before the script was at its end.", "不完整：脚本执行完之前被中断。")
}

/// How long it took.
pub(in crate::lab::show) fn seconds(lang: Lang, seconds: &str) -> String {
    lang.say(
        format!(
            "Recorded in {seconds}. Tracing makes each call slower: times show the order, not the speed."
        ),
        format!("记录用时 {seconds}。跟踪会使每次调用变慢：时间只反映先后顺序，不反映速度。"),
    )
}

/// The heading of the counts.
pub(in crate::lab::show) fn calls_heading(lang: Lang) -> &'static str {
    lang.say("System calls from start to end", "从启动到结束的系统调用")
}

/// The column of the names of calls.
pub(in crate::lab::show) fn call_column(lang: Lang) -> &'static str {
    lang.say("call", "调用")
}

/// The row of the sums.
pub(in crate::lab::show) fn all(lang: Lang) -> &'static str {
    lang.say("all", "合计")
}

/// What both servers do, with different results.
fn differs(lang: Lang) -> &'static str {
    lang.say("differs", "不同")
}

/// The heading of the answers.
pub(in crate::lab::show) fn answers_heading(lang: Lang) -> &'static str {
    lang.say("What the clients got back", "客户端收到的应答")
}

/// The columns of the answers.
pub(in crate::lab::show) fn answer_columns(lang: Lang) -> [&'static str; 4] {
    lang.say(["client", "server", "bytes sent", "came back"], ["客户端", "服务端", "发送字节", "收到字节"])
}

/// What is wrong with an answer.
pub(in crate::lab::show) fn answer(lang: Lang, expect: Expect, answer: &Answer) -> Option<&'static str> {
    if answer.is_wrong {
        Some(lang.say("other bytes came back", "收到的字节不同"))
    } else if expect != Expect::Ok && answer.right < answer.sent {
        Some(lang.say("some did not come back", "部分没有收到"))
    } else {
        None
    }
}

/// Who acts where it is a client.
pub(in crate::lab::show) fn client_column(lang: Lang) -> &'static str {
    lang.say("client", "客户端")
}

/// A thread with its numbers: `process 1 (pid 4711)`.
pub(in crate::lab::show) fn task_in_full(lang: Lang, recording: &Recording, index: usize) -> String {
    let named = task(lang, recording, index);
    match recording.tasks.get(index) {
        Some(task) if task.process == task.thread => format!("{named} (pid {})", task.process),
        Some(task) => format!("{named} (pid {}, tid {})", task.process, task.thread),
        None => named,
    }
}

/// What the page is about.
pub(in crate::lab::show) fn intro(lang: Lang, names: &[String], steps: usize) -> String {
    let steps_en = of(steps as u64, "step");
    if names.len() > 1 {
        lang.say(
            format!(
                "The same clients went through {steps_en} with each server. Each system call about sockets, readiness, processes and signals is \
                 an event."
            ),
            format!("同样的客户端按 {steps} 个步骤分别访问每个服务端。每次与套接字、就绪、进程和信号有关的系统调用都是一个事件。"),
        )
    } else {
        lang.say(
            format!(
                "Clients went through {steps_en} with this server. Each system call about sockets, readiness, processes and signals is an event."
            ),
            format!("客户端按 {steps} 个步骤访问这个服务端。每次与套接字、就绪、进程和信号有关的系统调用都是一个事件。"),
        )
    }
}

/// The heading of the table of all steps.
pub(in crate::lab::show) fn overview(lang: Lang) -> &'static str {
    lang.say("All steps", "全部步骤")
}

/// The heading of the score.
pub(in crate::lab::show) fn step_by_step(lang: Lang) -> &'static str {
    lang.say("Step by step", "逐步对照")
}

/// The column of the steps.
pub(in crate::lab::show) fn step_column(lang: Lang) -> &'static str {
    lang.say("step", "步骤")
}

/// A link to an event.
pub(in crate::lab::show) fn see(lang: Lang) -> &'static str {
    lang.say("Show it among the other events", "在全部事件中查看")
}

/// Why something happened, in general, and the fact that says so.
pub(in crate::lab::show) fn why(
    lang: Lang,
    recording: &Recording,
    remark: &Remark,
) -> Option<(&'static str, &'static str)> {
    match remark.what {
        Remarkable::UnreadWhileWaiting if waits_for_edges(recording, remark) => Some(("et-partial-read-silent", lang.say(
            "An edge-triggered epoll reports a socket when bytes arrive, not for as long as some are there: read until EAGAIN before the next wait.",
            "边缘触发的 epoll 只在有新数据到达时通知，而不是只要有数据就一直通知：下一次等待之前应当一直读到 EAGAIN。",
        ))),
        Remarkable::UnacceptedWhileWaiting if waits_for_edges(recording, remark) => Some(("et-listener-per-connection", lang.say(
            "An edge-triggered epoll reports the listener when a connection arrives, not for as long as some wait: accept until EAGAIN before the next wait.",
            "边缘触发的 epoll 只在有新连接到达时通知监听套接字，而不是只要有连接在等就一直通知：下一次等待之前应当一直 accept 到 EAGAIN。",
        ))),
        Remarkable::ClosedUnread => Some(("tcp-close-with-unread-sends-rst", lang.say(
            "The peer may lose bytes that it has not read yet. Read what has come before close.",
            "对端可能因此丢失还没有读取的数据。关闭之前应当读完已经到达的数据。",
        ))),
        _ => None,
    }
}

/// What else there is in a list that is too long.
pub(in crate::lab::show) fn and_more(lang: Lang, n: usize) -> String {
    let n = count(n as u64);
    lang.say(format!("and {n} more"), format!("另有 {n} 项"))
}

/// A part in which nothing happened.
pub(in crate::lab::show) fn nothing_happens(lang: Lang) -> &'static str {
    lang.say("Nothing happens.", "没有事件。")
}

/// Events that are left out. They may be `same` as so many before them, so many more times.
pub(in crate::lab::show) fn gap(lang: Lang, n: u64, same: Option<(usize, usize)>) -> String {
    match same {
        Some((1, times)) => {
            let times = count(times as u64);
            lang.say(
                format!("… the same event {times} more times"),
                format!("……同样的事件又重复了 {times} 次"),
            )
        }
        Some((period, times)) => {
            let (period, times) = (count(period as u64), count(times as u64));
            lang.say(
                format!("… the same {period} events {times} more times"),
                format!("……同样的 {period} 个事件又重复了 {times} 次"),
            )
        }
        None => lang.say(
            format!("… {} left out here: trace --json has them", of(n, "event")),
            format!("……此处省略 {} 个事件：trace --json 中有全部事件", count(n)),
        ),
    }
}

/// The lane of the clients.
pub(in crate::lab::show) fn clients_lane(lang: Lang) -> &'static str {
    lang.say("clients", "客户端")
}

/// Threads without a lane.
pub(in crate::lab::show) fn other_threads(
    lang: Lang,
    waiting: usize,
    left_out: usize,
    server: &str,
) -> Option<String> {
    let mut parts = Vec::new();
    if waiting > 0 {
        let n = of(waiting as u64, "other thread");
        parts.push(lang.say(
            format!("{n} {} from the first event to the last", if waiting == 1 { "waits" } else { "wait" }),
            format!("另有 {waiting} 个线程从头到尾都在等待"),
        ));
    }
    if left_out > 0 {
        let n = of(left_out as u64, "thread");
        parts.push(lang.say(
            format!("{n} in which something happens {} not drawn", if left_out == 1 { "is" } else { "are" }),
            format!("还有 {left_out} 个有事件的线程没有画出"),
        ));
    }
    (!parts.is_empty()).then(|| {
        lang.say(format!("{server}: {}.", parts.join("; ")), format!("{server}：{}。", parts.join("；")))
    })
}

/// The word in a band of waiting.
pub(in crate::lab::show) fn waits_word(lang: Lang) -> &'static str {
    lang.say("waits", "等待")
}

/// How to read events.
pub(in crate::lab::show) fn legend_events(lang: Lang) -> &'static str {
    lang.say(
        "Time goes from left to right (on a narrow screen downwards), one event a column, counted from the first event of the step. Click an event for its \
         call in full.",
        "时间从左到右（窄屏上从上到下），每列一个事件，时间从该步骤的第一个事件算起。点击事件可查看完整的调用。",
    )
}

/// How to read waits.
pub(in crate::lab::show) fn legend_waits(lang: Lang) -> &'static str {
    lang.say("The thread is in a call that has not returned.", "线程处于尚未返回的调用中。")
}

/// How to read fills.
pub(in crate::lab::show) fn legend_fills(lang: Lang) -> &'static str {
    lang.say("So many bytes lie in the buffer after the event.", "事件发生后缓冲区中的字节数。")
}

/// How to read what only one server does.
pub(in crate::lab::show) fn legend_only(lang: Lang) -> &'static str {
    lang.say("The other server does nothing like it in this step.", "另一个服务端在这一步没有类似的事件。")
}

/// How to read what both servers do differently.
pub(in crate::lab::show) fn legend_differs(lang: Lang) -> &'static str {
    lang.say(
        "The other server makes the same call with another result.",
        "另一个服务端进行同样的调用，但结果不同。",
    )
}

/// How to read marks.
pub(in crate::lab::show) fn legend_remarks(lang: Lang) -> &'static str {
    lang.say(
        "Something to look at; the number is that of the list above.",
        "需要注意；编号与上面的列表一致。",
    )
}

/// The heading of the facts.
pub(in crate::lab::show) fn facts_heading(lang: Lang) -> &'static str {
    lang.say("Facts of the kernel behind these events", "这些事件背后的内核事实")
}

/// Where there are none.
pub(in crate::lab::show) fn no_facts(lang: Lang) -> &'static str {
    lang.say("No event rests on a fact of its own.", "没有事件对应某条内核事实。")
}

/// What can be done with a fact.
pub(in crate::lab::show) fn facts_note(lang: Lang) -> &'static str {
    lang.say("The experiment that shows a fact on this kernel:", "在本机内核上验证某条事实的实验：")
}

/// The heading of the threads.
pub(in crate::lab::show) fn threads_heading(lang: Lang) -> &'static str {
    lang.say("Servers, processes and threads", "服务端、进程与线程")
}

/// The heading of how it was made.
pub(in crate::lab::show) fn repeat_heading(lang: Lang) -> &'static str {
    lang.say("How to record it again", "如何重新记录")
}

/// What the counts are.
pub(in crate::lab::show) fn calls_note(lang: Lang) -> &'static str {
    lang.say(
        "All system calls, those that are no events included: what strace -f -c counts.",
        "全部系统调用，包括没有画成事件的：与 strace -f -c 的计数相同。",
    )
}

/// What the script is.
pub(in crate::lab::show) fn script_note(lang: Lang) -> &'static str {
    lang.say("The script of the clients, a step a line:", "客户端脚本，每行一个步骤：")
}

/// The names of buffers, which a narrow screen has before each fill, as a style.
pub(in crate::lab::show) fn style(lang: Lang) -> String {
    let before = |class: &str, word: &str| format!(".{class}::before{{content:\"{word} \"}}");
    [
        before("br", buffer(lang, Buffer::Received)),
        before("bs", buffer(lang, Buffer::Unsent)),
        before("bu", buffer(lang, Buffer::Unread)),
        before("bq", accept_queue(lang)),
    ]
    .concat()
}
