//! File transfer that breaks, is refused, or should be: nothing is left behind, both sides say why, and
//! the other transfers go on.

use super::files::{announced, content, header, names, path, receiver, wait_for_children};
use super::{Program, accept, client, expect, listen, program, server};
use crate::support::{
    children, connect, end_writing, is_idle, pattern, process, read_to_end, reset, wait_until,
};
use io_models::sys::poll::{PollFlags, wait_for};
use io_models::sys::signal::Signal;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::kill;
use nix::sys::stat::{Mode, SFlag, makedev};
use std::fs::{self, File, Permissions};
use std::io::{PipeReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Send these bytes as a header, which must be refused in order: what the receiver says then.
#[track_caller]
fn refused(receiver: &Program, header: &[u8]) -> String {
    let mut sender = connect(receiver.addr());
    sender.write_all(header).expect("the receiver takes a header");
    let answer = String::from_utf8(read_to_end(&sender)).expect("a refusal is text");
    answer.strip_prefix("no: ").unwrap_or_else(|| panic!("no refusal: {answer:?}")).trim_end().to_owned()
}

/// A transfer of another file, from its beginning to its end.
#[track_caller]
fn works(receiver: &Program, folder: &TempDir) {
    let mut sender = announced(receiver.addr(), "works", 5);
    sender.write_all(b"still").expect("the content");
    expect(&sender, b"ok");
    assert_eq!(content(folder, "works"), b"still");
    fs::remove_file(folder.path().join("works")).expect("it is there");
}

/// The first 256 bytes of a header, and its size.
fn raw(name: &[u8], size: i32) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.resize(256, 0);
    [&bytes[..], &size.to_le_bytes()].concat()
}

#[test]
fn hostile_names_are_refused_and_nothing_is_written_anywhere() {
    let outer = tempfile::tempdir().expect("a folder around the other");
    let inner = outer.path().join("inner");
    fs::create_dir(&inner).expect("a folder inside");
    fs::create_dir(inner.join("sub")).expect("a folder inside that");
    let receiver = server("demo12-receive-file", &[path(&inner)]);
    let absolute = outer.path().join("absolute");
    for (name, why) in [
        ("", "it is empty"),
        (".", "it is a directory"),
        ("..", "it is a directory"),
        ("../escaped", "it has a /"),
        ("sub/../../escaped", "it has a /"),
        ("sub/inside", "it has a /"),
        ("/", "it has a /"),
        (path(&absolute), "it has a /"),
    ] {
        let answer = refused(&receiver, &raw(name.as_bytes(), 4));
        assert!(answer.ends_with(why) && answer.contains(name), "{name:?}: {answer}");
    }
    assert!(refused(&receiver, &raw(&[b'x'; 256], 4)).ends_with("it has no NUL at its end"));
    assert!(refused(&receiver, &raw(b"sub", 4)).contains("Is a directory"));
    let left = |folder| fs::read_dir(folder).expect("a folder of ours").count();
    assert_eq!((left(outer.path()), left(&inner), left(&inner.join("sub"))), (1, 1, 0));
    // Each is said on the receiver's side, too.
    let ended = stop(receiver);
    assert_eq!(ended.complaints.matches("is no plain file name").count(), 9, "{}", ended.complaints);
}

#[track_caller]
fn stop(receiver: Program) -> super::Ended {
    receiver.signal(Signal::SIGTERM);
    let ended = receiver.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.complaints);
    ended
}

#[test]
fn a_name_cannot_command_the_terminal() {
    let (receiver, folder) = receiver(&[]);
    let mut sender = announced(receiver.addr(), "\x1b[31mred\n", 1);
    sender.write_all(b"x").expect("the content");
    expect(&sender, b"ok");
    assert_eq!(names(&folder), ["\x1b[31mred\n"], "it is a name, if an odd one");
    receiver.says("客户端已连接(127.0.0.1)。\n文件信息结构体?[31mred?(1)。\n接收文件内容成功。\n");
    // Nor by a complaint, nor by the control characters beyond ASCII.
    let receiver = server("demo12-receive-file", &[path(&folder.path().join("missing"))]);
    let answer = refused(&receiver, &header("\u{9b}31m\nforged", 1));
    assert!(answer.contains("/?31m?forged: cannot create: No such file"), "{answer}");
    let ended = stop(receiver);
    assert!(ended.said.contains("文件信息结构体?31m?forged(1)。\n"), "{}", ended.said);
    assert_eq!(ended.complaints.lines().count(), 1, "{}", ended.complaints);
}

#[test]
fn what_is_no_file_is_not_replaced() {
    for args in [&[][..], &["--in-place"]] {
        let (receiver, folder) = receiver(args);
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        let device = folder.path().join("device");
        // The null device.
        let made = nix::sys::stat::mknod(&device, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3));
        for (name, path) in [("fifo", &fifo), ("socket", &socket), ("device", &device)] {
            if let ("device", Err(why)) = (name, made) {
                eprintln!("skipped for a device, which takes root to make: {why}");
                continue;
            }
            let answer = refused(&receiver, &header(name, 4));
            assert!(answer.ends_with("there is something that is not a regular file"), "{answer}");
            assert!(!path.metadata().expect("it is there").is_file());
        }
    }
}

#[test]
fn in_place_a_second_transfer_of_a_name_is_refused_until_the_first_has_ended() {
    let (receiver, folder) = receiver(&["--in-place"]);
    let mut first = announced(receiver.addr(), "news", 6);
    let answer = refused(&receiver, &header("news", 4));
    assert!(answer.ends_with("another transfer of that name is under way"), "{answer}");
    first.write_all(b"breaks").expect("the content");
    expect(&first, b"ok");
    let mut second = announced(receiver.addr(), "news", 3);
    second.write_all(b"new").expect("the content");
    expect(&second, b"ok");
    assert_eq!(content(&folder, "news"), b"new");
}

#[test]
fn in_place_the_name_is_free_before_the_last_ok() {
    // In a pipe of one page a line is written only when the line before it has been read.
    let (mut said, stdout) = std::io::pipe().expect("a pipe");
    fcntl(&stdout, FcntlArg::F_SETPIPE_SZ(1)).expect("a pipe may be smaller");
    let folder = tempfile::tempdir().expect("a folder for files");
    let args = ["0", path(folder.path()), "--in-place"];
    let receiver = program("demo12-receive-file").args(&args).stdout(stdout).start_server();
    let mut sender = connect(receiver.addr());
    sender.write_all(&header("news", 3)).expect("the receiver takes a header");
    assert_eq!(next_line(&mut said), "客户端已连接(127.0.0.1)。\n");
    expect(&sender, b"ok");
    sender.write_all(b"new").expect("the content");
    // The line about the header is not read, so the line about the end and the ok behind it have to wait.
    let file = File::options().write(true).open(folder.path().join("news")).expect("the file is there");
    wait_until("the receiver has given up its lock", || {
        fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())).is_ok()
    });
    assert_eq!(next_line(&mut said), "文件信息结构体news(3)。\n");
    assert_eq!(next_line(&mut said), "接收文件内容成功。\n");
    expect(&sender, b"ok");
}

/// What the receiver writes next into a pipe that has room for one line.
#[track_caller]
fn next_line(said: &mut PipeReader) -> String {
    wait_until("the receiver says a line", || {
        wait_for(&*said, PollFlags::POLLIN, Some(Duration::ZERO)).is_ok_and(|readable| readable)
    });
    let mut line = [0; 256];
    let n = said.read(&mut line).expect("a line");
    String::from_utf8(line[..n].to_vec()).expect("text")
}

/// A lock for writing on all of a file.
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[test]
fn in_place_a_file_that_lost_its_name_is_refused_and_another_of_that_name_stays() {
    let (receiver, folder) = receiver(&["--in-place"]);
    let named = folder.path().join("news");
    let lose_the_name: [fn(&Path); 3] = [
        |named| fs::remove_file(named).expect("it is there"),
        |named| fs::rename(named, named.with_file_name("renamed")).expect("it is there"),
        |named| {
            fs::remove_file(named).expect("it is there");
            fs::write(named, b"another").expect("the name is free");
        },
    ];
    for lose in lose_the_name {
        let mut sender = announced(receiver.addr(), "news", 6);
        sender.write_all(b"new").expect("half of the content");
        wait_until("half of the content is in the file", || content(&folder, "news") == b"new");
        lose(&named);
        sender.write_all(b"er.").expect("the rest of the content");
        let answer = String::from_utf8(read_to_end(&sender)).expect("text");
        let why = "cannot find: the name was removed or given to another file during the transfer";
        assert!(answer.trim_end().ends_with(why), "{answer}");
    }
    assert_eq!(content(&folder, "news"), b"another");
}

#[test]
fn in_place_a_file_with_another_hard_link_is_refused_and_keeps_its_content() {
    let (receiver, folder) = receiver(&["--in-place"]);
    let elsewhere = tempfile::tempdir().expect("another folder");
    let other = elsewhere.path().join("other");
    fs::write(&other, b"mine").expect("a file");
    fs::hard_link(&other, folder.path().join("news")).expect("a hard link");
    let answer = refused(&receiver, &header("news", 3));
    assert!(answer.ends_with("has other hard links, which would get the new content too"), "{answer}");
    assert_eq!(fs::read(&other).expect("it is there"), b"mine");
    fs::remove_file(&other).expect("it is there");
    let mut sender = announced(receiver.addr(), "news", 3);
    sender.write_all(b"new").expect("the content");
    expect(&sender, b"ok");
    assert_eq!(content(&folder, "news"), b"new");
}

#[test]
fn a_negative_size_is_refused() {
    let (receiver, folder) = receiver(&[]);
    for size in [-1, i32::MIN] {
        let answer = refused(&receiver, &raw(b"x", size));
        assert_eq!(answer, format!("a size of {size} bytes: the header has room for 0 to 2147483647"));
    }
    assert_eq!(names(&folder), [""; 0]);
    works(&receiver, &folder);
}

#[test]
fn a_sender_that_leaves_early_leaves_nothing_behind() {
    let (receiver, folder) = receiver(&[]);
    let leave: [fn(TcpStream); 3] = [drop, reset, |sender| {
        end_writing(&sender);
        // The other direction is still there, and is told.
        let answer = String::from_utf8(read_to_end(&sender)).expect("text");
        assert!(answer.starts_with("no: the sender has gone after "), "{answer}");
    }];
    for leave in leave {
        let other = announced(receiver.addr(), "other", 4);
        for part in [0, 1, 100, 259] {
            let mut sender = connect(receiver.addr());
            sender.write_all(&header("half", 1000)[..part]).expect("some of a header");
            wait_for_children(&receiver, 2);
            leave(sender);
            wait_for_children(&receiver, 1);
        }
        for part in [0, 1, 999] {
            let mut sender = announced(receiver.addr(), "half", 1000);
            sender.write_all(&pattern(1, part)).expect("some of the content");
            wait_for_children(&receiver, 2);
            leave(sender);
            wait_for_children(&receiver, 1);
        }
        assert_eq!(names(&folder), [""; 0]);
        let mut other = other;
        other.write_all(b"here").expect("the transfer beside goes on");
        expect(&other, b"ok");
        wait_for_children(&receiver, 0);
        assert_eq!(content(&folder, "other"), b"here");
        fs::remove_file(folder.path().join("other")).expect("it is there");
    }
    let ended = stop(receiver);
    assert_eq!(ended.said.matches("接收文件内容失败。").count(), 9, "{}", ended.said);
    assert!(ended.complaints.contains("recv(): the sender has gone after 259 of 260 bytes of the header"));
    assert!(
        ended.complaints.contains("recvfile(): the sender has gone after 999 of 1000 bytes of the content")
    );
}

#[test]
fn in_place_a_transfer_that_breaks_takes_the_old_file_with_it_and_one_that_never_began_does_not() {
    let (receiver, folder) = receiver(&["--in-place"]);
    fs::write(folder.path().join("news"), b"old").expect("an old file");
    for part in [0, 3] {
        for name in ["news", "new"] {
            let mut sender = announced(receiver.addr(), name, 1000);
            sender.write_all(&pattern(1, part)).expect("some of the content");
            end_writing(&sender);
            assert!(read_to_end(&sender).starts_with(b"no: "), "the sender is told");
            wait_for_children(&receiver, 0);
        }
        assert_eq!(names(&folder), if part == 0 { vec!["news"] } else { vec![] });
    }
    symlink("/dev/null", folder.path().join("link")).expect("a link");
    assert!(refused(&receiver, &header("link", 4)).contains("cannot create"));
    assert_eq!(names(&folder), ["link"]);
}

#[test]
fn a_stop_in_the_middle_ends_the_children_in_order_and_leaves_nothing_behind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (receiver, folder) = receiver(&[]);
        let mut senders: Vec<_> =
            (0..3).map(|i| announced(receiver.addr(), &format!("half-{i}"), 100_000)).collect();
        for sender in &mut senders {
            sender.write_all(&pattern(2, 50_000)).expect("half of the content");
        }
        wait_for_children(&receiver, 3);
        let pids = children(&receiver.process());
        receiver.signal(signal);
        let ended = receiver.finish();
        assert_eq!(ended.code, Some(0), "{}", ended.complaints);
        for sender in &senders {
            assert_eq!(read_to_end(sender), b"no: the receiver was told to stop\n");
        }
        assert!(!ended.said.contains("失败"), "as in the original: {}", ended.said);
        let said =
            ended.said.find(&format!("父进程退出，sig={}\n", signal as i32)).expect("the parent's word");
        for pid in pids {
            let child = ended.said.find(&format!("子进程{pid}退出，sig=15\n")).expect("each child's word");
            assert!(said < child, "the parent first: {}", ended.said);
        }
        assert_eq!(names(&folder), [""; 0]);
    }
}

#[test]
fn a_child_that_does_not_end_is_killed_and_that_is_said() {
    let (receiver, folder) = receiver(&[]);
    let mut sender = announced(receiver.addr(), "half", 100_000);
    sender.write_all(&pattern(2, 50_000)).expect("half of the content");
    wait_for_children(&receiver, 1);
    // As one would be that waits for a slow disk.
    let child = children(&receiver.process())[0];
    kill(child, Signal::SIGSTOP).expect("it is there");
    wait_until("the child is stopped", || crate::support::state(&process(child)) == Some('T'));
    let ended = stop(receiver);
    assert_eq!(ended.complaints, "killed 1 child(ren) that did not end within 1 s of being told to\n");
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn a_receiver_that_is_killed_leaves_nothing_behind() {
    let (receiver, folder) = receiver(&[]);
    let mut sender = announced(receiver.addr(), "half", 100_000);
    sender.write_all(&pattern(2, 50_000)).expect("half of the content");
    wait_for_children(&receiver, 1);
    let child = process(children(&receiver.process())[0]);
    kill(receiver.pid(), Signal::SIGKILL).expect("it is there");
    wait_until("its child is gone", || crate::support::state(&child).is_none_or(|state| state == 'Z'));
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn a_file_larger_than_the_limit_is_said_on_both_sides_and_smaller_files_go_on() {
    let folder = tempfile::tempdir().expect("a folder for files");
    there_is_room_for_small_files_only(&folder, "ulimit -f 1000", "File too large");
}

#[test]
#[ignore = "needs root, to mount a small disk"]
fn a_full_disk_is_said_on_both_sides_and_smaller_files_go_on() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let at = folder.path().display();
    // A disk that only the receiver sees.
    let mounted = format!(
        "exec unshare -m sh -c 'mount -t tmpfs -o size=2m none {at} && exec \"$0\" \"$@\"' \"$0\" \"$@\""
    );
    there_is_room_for_small_files_only(&folder, &mounted, "No space left on device");
}

/// Send a large file and a small one to a receiver that is started after `before`.
#[track_caller]
fn there_is_room_for_small_files_only(folder: &TempDir, before: &str, why: &str) {
    let source = tempfile::tempdir().expect("a folder for the source");
    let (large, small) = (source.path().join("large"), source.path().join("small"));
    fs::write(&large, pattern(3, 40 << 20)).expect("a source");
    fs::write(&small, pattern(4, 4000)).expect("a source");
    let start = program("demo12-receive-file").args(&["0", path(folder.path())]);
    let receiver = start.limited(before).start_server();
    let ended = client("demo11-send-file", receiver.addr(), &[path(&large)]).finish();
    assert_eq!(ended.code, Some(255));
    assert!(ended.said.ends_with("发送文件内容失败。\n"), "{}", ended.said);
    let reason =
        format!("the receiver refused: {}: cannot write: {why}", folder.path().join("large").display());
    assert!(ended.complaints.contains(&reason), "{why}: {}", ended.complaints);
    let ended = client("demo11-send-file", receiver.addr(), &[path(&small)]).finish();
    assert_eq!((ended.code, ended.complaints.as_str()), (Some(0), ""), "there is room for a small file");
    let ended = stop(receiver);
    assert!(ended.said.contains("文件信息结构体large(41943040)。\n接收文件内容失败。\n"), "{}", ended.said);
    assert!(ended.complaints.contains(&format!("large: cannot write: {why}")), "{}", ended.complaints);
    fs::remove_file(folder.path().join("small")).ok();
    assert_eq!(names(folder), [""; 0]);
}

#[test]
fn a_folder_that_is_missing_or_not_writable_is_said_on_both_sides() {
    let source = tempfile::tempdir().expect("a folder for the source");
    let file = source.path().join("aaa.txt");
    fs::write(&file, b"abc").expect("a source");
    let folder = tempfile::tempdir().expect("a folder for files");
    let missing = folder.path().join("missing");
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).expect("a folder");
    fs::set_permissions(&locked, Permissions::from_mode(0o555)).expect("it is ours");
    // Permissions do not hold root up; /sys does, where nobody creates files.
    let refuses = |dir: &Path| fs::File::create_new(dir.join("aaa.txt")).err();
    let refused = [locked.as_path(), Path::new("/sys")].map(|dir| (dir, refuses(dir)));
    let (locked, why) =
        refused.into_iter().find_map(|(dir, why)| Some((dir, why?))).expect("a folder that refuses us");
    // Without "(os error 13)".
    let why = why.to_string().split(" (").next().unwrap_or_default().to_owned();
    for (dir, why) in [(missing.as_path(), "No such file or directory"), (locked, &why)] {
        let receiver = program("demo12-receive-file").args(&["0", path(dir)]).start_server();
        let ended = client("demo11-send-file", receiver.addr(), &[path(&file)]).finish();
        let shown = dir.join("aaa.txt");
        assert_eq!(ended.code, Some(255));
        assert_eq!(ended.said, "发送文件信息的结构体aaa.txt(3)。\n服务端没有回复ok。\n");
        let reason = format!("the receiver refused: {}: cannot create: {why}", shown.display());
        assert!(ended.complaints.contains(&reason), "{}", ended.complaints);
        let ended = stop(receiver);
        let words = format!("打开文件{}失败。\n接收文件内容失败。\n", shown.display());
        assert!(ended.said.contains(&words), "{}", ended.said);
        assert!(ended.complaints.contains(why), "{}", ended.complaints);
    }
}

/// A sender in the middle of the content, which waits because its peer does not read.
#[track_caller]
fn sender_in_the_middle(source: &TempDir) -> (Program, TcpStream, std::path::PathBuf) {
    let (listener, addr) = listen();
    let file = source.path().join("large");
    fs::write(&file, pattern(5, 64 << 20)).expect("a source");
    let sender = client("demo11-send-file", addr, &[path(&file)]);
    let mut peer = accept(&listener);
    peer.read_exact(&mut [0; 260]).expect("a header");
    peer.write_all(b"ok").expect("the sender is there");
    peer.read_exact(&mut [0; 1000]).expect("content comes");
    let running = sender.process();
    wait_until("the sender waits for its peer", || is_idle(&running));
    (sender, peer, file)
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_is_said() {
    let source = tempfile::tempdir().expect("a folder for the source");
    let (sender, mut peer, file) = sender_in_the_middle(&source);
    File::options().write(true).open(&file).and_then(|file| file.set_len(1000)).expect("it is ours");
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).expect("the sender ends in order");
    assert!(rest.len() < 64 << 20);
    let ended = sender.finish();
    assert_eq!(ended.code, Some(255));
    let start = format!("sendfile(): {}: was cut to ", file.display());
    assert!(ended.complaints.starts_with(&start), "{}", ended.complaints);
    assert!(ended.complaints.ends_with(" bytes while 67108864 were being sent\n"), "{}", ended.complaints);
}

#[test]
fn a_receiver_that_leaves_in_the_middle_is_said() {
    let source = tempfile::tempdir().expect("a folder for the source");
    for leave in [drop, reset] {
        let (sender, peer, _) = sender_in_the_middle(&source);
        leave(peer);
        let ended = sender.finish();
        assert_eq!(ended.code, Some(255));
        let why = ["sendfile(): Connection reset by peer\n", "sendfile(): Broken pipe\n"];
        let gone = "sendfile(): the receiver has gone without an answer\n";
        assert!(why.contains(&&*ended.complaints) || ended.complaints == gone, "{}", ended.complaints);
    }
}

#[test]
fn a_receiver_that_refuses_in_the_middle_is_heard_before_all_is_sent() {
    let source = tempfile::tempdir().expect("a folder for the source");
    let (sender, mut peer, _) = sender_in_the_middle(&source);
    peer.write_all(b"no: I have seen enough\x1b[31m\n").expect("the sender is there");
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).expect("the sender ends in order");
    assert!(rest.len() < 64 << 20, "it went on to the end");
    let ended = sender.finish();
    assert_eq!(ended.said, "发送文件信息的结构体large(67108864)。\n发送文件内容失败。\n");
    assert_eq!(ended.complaints, "sendfile(): the receiver refused: I have seen enough [31m\n");
    assert_eq!(ended.code, Some(255));
}

#[test]
fn an_ok_before_all_was_sent_is_no_ok() {
    let source = tempfile::tempdir().expect("a folder for the source");
    let (sender, mut peer, _) = sender_in_the_middle(&source);
    peer.write_all(b"ok").expect("the sender is there");
    read_to_end(&peer);
    let ended = sender.finish();
    let why = "sendfile(): the receiver refused: it answered ok before it had all\n";
    assert_eq!((ended.code, ended.complaints.as_str()), (Some(255), why));
}

#[test]
fn an_answer_that_is_not_ok_is_a_refusal_as_in_the_original() {
    let source = tempfile::tempdir().expect("a folder for the source");
    let file = source.path().join("aaa.txt");
    fs::write(&file, b"abc").expect("a source");
    let announced = "发送文件信息的结构体aaa.txt(3)。\n";
    for (answer, said, why) in [
        (&b"ko"[..], "服务端没有回复ok。\n", "recv(): the receiver refused: it answered \"ko\"\n"),
        (b"no", "服务端没有回复ok。\n", "recv(): the receiver refused: it gave no reason\n"),
        (b"o", "", "recv(): the receiver has gone without an answer\n"),
        (b"", "", "recv(): the receiver has gone without an answer\n"),
        (b"okko", "发送文件内容失败。\n", "recv(): the receiver refused: it answered \"ko\"\n"),
    ] {
        let (listener, addr) = listen();
        let sender = client("demo11-send-file", addr, &[path(&file)]);
        let mut peer = accept(&listener);
        peer.read_exact(&mut [0; 260]).expect("a header");
        peer.write_all(answer).expect("the sender is there");
        end_writing(&peer);
        read_to_end(&peer);
        sender.ends(255, format!("{announced}{said}"), why);
    }
}

#[test]
fn what_cannot_be_sent_is_said_before_connecting() {
    let source = tempfile::tempdir().expect("a folder for the source");
    let file = source.path().join("short");
    fs::write(&file, b"abc").expect("a source");
    nix::unistd::mkfifo(&source.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    for (name, size, why) in [
        ("missing", None, "cannot open: No such file or directory"),
        ("", None, "not a regular file"),
        ("fifo", None, "not a regular file"),
        ("/proc/cpuinfo", None, "its size is not known; copy it first"),
        ("short", Some("4"), "has 3 bytes, and 4 should be sent"),
    ] {
        // Nobody listens there; so had it connected, it would say that.
        let file = source.path().join(name);
        let start = program("demo11-send-file").args(&["127.0.0.1", "1", path(&file)]);
        let ended = start.args(size.as_slice()).start().finish();
        assert_eq!(ended.code, Some(255));
        assert!(
            ended.complaints.starts_with("open: ") && ended.complaints.contains(why),
            "{}",
            ended.complaints
        );
        assert_eq!(ended.complaints.lines().count(), 1, "{}", ended.complaints);
        let words =
            if size.is_none() { format!("打开文件{}失败。\n", file.display()) } else { String::new() };
        assert_eq!(ended.said, words);
    }
    for size in ["-1", "many", "3.5", "99999999999999999999999"] {
        let args = ["127.0.0.1", "1", path(&file), size];
        let ended = program("demo11-send-file").args(&args).start().finish();
        assert_eq!((ended.code, ended.complaints.lines().count()), (Some(255), 1), "{}", ended.complaints);
        assert!(ended.complaints.contains(size), "{}", ended.complaints);
    }
}
