//! File transfer that works: demo11 and demo12 with each other, and each with a peer that the test is.

use super::{Program, accept, client, expect, listen, program, server};
use crate::support::{children, connect, is_idle, pattern, process, wait_until, without};
use io_models::transfer::{HEADER_BYTES, Header, LARGEST};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A receiver with a folder, which is empty.
#[track_caller]
pub(super) fn receiver(args: &[&str]) -> (Program, TempDir) {
    let folder = tempfile::tempdir().expect("a folder for files");
    let mut all = vec![path(folder.path())];
    all.extend(args);
    (server("demo12-receive-file", &all), folder)
}

pub(super) fn path(path: &Path) -> &str {
    path.to_str().expect("the names of our folders are text")
}

/// The names in a folder, in order.
pub(super) fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).expect("a folder of ours");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("these names are text");
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

pub(super) fn content(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

pub(super) fn header(name: &str, size: u64) -> [u8; HEADER_BYTES] {
    Header::new(OsStr::new(name), size).expect("a good header").to_bytes()
}

/// A sender that has announced a file and was told to go on.
#[track_caller]
pub(super) fn announced(addr: SocketAddr, name: &str, size: u64) -> TcpStream {
    let mut sender = connect(addr);
    sender.write_all(&header(name, size)).expect("the receiver takes a header");
    expect(&sender, b"ok");
    sender
}

/// The receiver has a child that sleeps for each of `senders`.
#[track_caller]
pub(super) fn wait_for_children(receiver: &Program, senders: usize) {
    let parent = receiver.process();
    wait_until("each sender has a process, and all of them wait", || {
        let children = children(&parent);
        children.len() == senders && children.into_iter().all(|pid| is_idle(&process(pid)))
    });
}

#[test]
fn a_file_goes_over_with_the_words_of_the_originals() {
    let (receiver, folder) = receiver(&[]);
    let source = tempfile::tempdir().expect("a folder for the source");
    // Larger than any buffer on the way, and none of the calls ends at its border.
    for (name, size) in [("aaa.txt", 2424), ("empty", 0), ("one byte", 1), ("大文件.bin", 9_000_001)] {
        let bytes = pattern(size as u64, size);
        let file = source.path().join(name);
        fs::write(&file, &bytes).expect("a source");
        client("demo11-send-file", receiver.addr(), &[path(&file), &size.to_string()]).ends(
            0,
            format!("发送文件信息的结构体{name}({size})。\n发送文件内容成功。\n"),
            "",
        );
        assert!(content(&folder, name) == bytes, "{name} has arrived as it was");
    }
    assert_eq!(names(&folder), ["aaa.txt", "empty", "one byte", "大文件.bin"]);
    receiver.signal(io_models::sys::signal::Signal::SIGTERM);
    receiver.ends(
        0,
        "客户端已连接(127.0.0.1)。\n文件信息结构体aaa.txt(2424)。\n接收文件内容成功。\n\
         客户端已连接(127.0.0.1)。\n文件信息结构体empty(0)。\n接收文件内容成功。\n\
         客户端已连接(127.0.0.1)。\n文件信息结构体one byte(1)。\n接收文件内容成功。\n\
         客户端已连接(127.0.0.1)。\n文件信息结构体大文件.bin(9000001)。\n接收文件内容成功。\n\
         父进程退出，sig=15\n",
        "",
    );
}

#[test]
fn on_the_wire_are_the_struct_the_content_and_two_oks() {
    let (listener, addr) = listen();
    let source = tempfile::tempdir().expect("a folder for the source");
    let file = source.path().join("aaa.txt");
    fs::write(&file, b"0123456789").expect("a source");
    // Seven bytes of ten, and the last component of the name.
    let sender = client("demo11-send-file", addr, &[path(&file), "7"]);
    let mut peer = accept(&listener);
    let mut header = [0; 260];
    peer.read_exact(&mut header).expect("a header");
    assert_eq!(&header[..8], b"aaa.txt\0");
    assert!(header[8..256].iter().all(|&byte| byte == 0), "nothing behind the name");
    assert_eq!(header[256..], [7, 0, 0, 0]);
    sender.says("发送文件信息的结构体aaa.txt(7)。\n");
    // The answers may come in pieces.
    peer.write_all(b"o").expect("the sender is there");
    peer.write_all(b"k").expect("the sender is there");
    expect(&peer, b"0123456");
    peer.write_all(b"ok").expect("the sender is there");
    sender.ends(0, "发送文件信息的结构体aaa.txt(7)。\n发送文件内容成功。\n", "");
    assert_eq!(peer.read(&mut [0]).expect("the end"), 0, "and no byte more");
}

#[test]
fn without_a_size_the_whole_file_is_sent() {
    let (receiver, folder) = receiver(&[]);
    let source = tempfile::tempdir().expect("a folder for the source");
    let file = source.path().join("whole");
    fs::write(&file, pattern(1, 5000)).expect("a source");
    let ended = client("demo11-send-file", receiver.addr(), &[path(&file)]).finish();
    assert_eq!((ended.code, ended.complaints.as_str()), (Some(0), ""));
    assert!(content(&folder, "whole") == pattern(1, 5000));
}

#[test]
fn a_header_may_be_split_at_every_byte() {
    let (receiver, folder) = receiver(&[]);
    let splits: Vec<_> = (1..HEADER_BYTES).collect();
    let mut senders: Vec<_> = splits
        .iter()
        .map(|&at| {
            let mut sender = connect(receiver.addr());
            sender.write_all(&header(&format!("split-{at:03}"), 3)[..at]).expect("the first part");
            sender
        })
        .collect();
    // Each receiver has read its first part, and waits for more.
    wait_for_children(&receiver, splits.len());
    for (sender, &at) in senders.iter_mut().zip(&splits) {
        sender.write_all(&header(&format!("split-{at:03}"), 3)[at..]).expect("the second part");
        expect(sender, b"ok");
        sender.write_all(b"abc").expect("the content");
        expect(sender, b"ok");
    }
    assert_eq!(names(&folder), splits.iter().map(|at| format!("split-{at:03}")).collect::<Vec<_>>());
    assert!(splits.iter().all(|at| content(&folder, &format!("split-{at:03}")) == b"abc"));
}

#[test]
fn a_sender_that_does_not_wait_for_the_first_ok_is_served_as_well() {
    let (receiver, folder) = receiver(&[]);
    let mut sender = connect(receiver.addr());
    let all = [&header("at-once", 4)[..], b"abcd"].concat();
    sender.write_all(&all).expect("header and content in one");
    expect(&sender, b"okok");
    assert_eq!(content(&folder, "at-once"), b"abcd");
}

#[test]
fn two_files_of_one_name_at_once_are_both_whole_and_one_stays() {
    let (receiver, folder) = receiver(&[]);
    for round in 0..5 {
        let size = 3_000_000;
        let bytes = [pattern(round, size), pattern(round + 100, size)];
        let mut senders = [(); 2].map(|()| announced(receiver.addr(), "same", size as u64));
        for half in [0..size / 2, size / 2..size] {
            for (sender, bytes) in senders.iter_mut().zip(&bytes) {
                sender.write_all(&bytes[half.clone()]).expect("half of the content");
            }
        }
        senders.iter().for_each(|sender| expect(sender, b"ok"));
        assert_eq!(names(&folder), ["same"]);
        assert!(bytes.contains(&content(&folder, "same")), "a mixture of both");
    }
}

#[test]
fn two_hundred_files_at_once_arrive() {
    let (receiver, folder) = receiver(&[]);
    let size = |i: usize| 1000 * i + 1;
    let mut senders: Vec<_> =
        (0..200).map(|i| announced(receiver.addr(), &format!("file-{i:03}"), size(i) as u64)).collect();
    assert_eq!(names(&folder), [""; 0], "no name before a file is complete");
    for (i, sender) in senders.iter_mut().enumerate() {
        sender.write_all(&pattern(i as u64, size(i))).expect("the content");
    }
    for (i, sender) in senders.iter().enumerate() {
        expect(sender, b"ok");
        assert!(content(&folder, &format!("file-{i:03}")) == pattern(i as u64, size(i)), "file {i}");
    }
    assert_eq!(names(&folder).len(), 200);
}

#[test]
fn the_old_file_stays_until_the_new_one_is_complete() {
    let (receiver, folder) = receiver(&[]);
    fs::write(folder.path().join("news"), b"old").expect("an old file");
    let mut sender = announced(receiver.addr(), "news", 6);
    sender.write_all(b"half").expect("some of the content");
    wait_for_children(&receiver, 1);
    assert_eq!((names(&folder), content(&folder, "news")), (vec!["news".to_owned()], b"old".to_vec()));
    sender.write_all(b"ok").expect("the rest of the content");
    expect(&sender, b"ok");
    assert_eq!((names(&folder), content(&folder, "news")), (vec!["news".to_owned()], b"halfok".to_vec()));
}

#[test]
fn a_link_of_that_name_is_replaced_and_what_it_points_to_is_left_alone() {
    let (receiver, folder) = receiver(&[]);
    let elsewhere = tempfile::tempdir().expect("another folder");
    let target = elsewhere.path().join("target");
    fs::write(&target, b"mine").expect("a file");
    symlink(&target, folder.path().join("symbolic")).expect("a link");
    fs::hard_link(&target, folder.path().join("hard")).expect("a link");
    for link in ["symbolic", "hard"] {
        let mut sender = announced(receiver.addr(), link, 3);
        sender.write_all(b"new").expect("the content");
        expect(&sender, b"ok");
        assert_eq!(
            (content(&folder, link), fs::read(&target).expect("there")),
            (b"new".into(), b"mine".into())
        );
    }
}

#[test]
fn in_place_a_longer_old_file_is_cut() {
    let (receiver, folder) = receiver(&["--in-place"]);
    fs::write(folder.path().join("news"), b"old and long").expect("an old file");
    for name in ["news", "other"] {
        let mut sender = announced(receiver.addr(), name, 3);
        sender.write_all(b"new").expect("the content");
        expect(&sender, b"ok");
        assert_eq!(content(&folder, name), b"new");
    }
}

#[test]
fn names_need_not_be_text() {
    let (receiver, folder) = receiver(&[]);
    let source = tempfile::tempdir().expect("a folder for the source");
    let name = OsStr::from_bytes(b"\xc3\xfb\xd7\xd6"); // "name" in GBK
    fs::write(source.path().join(name), b"abc").expect("a source");
    let to = receiver.addr();
    let start = program("demo11-send-file").args(&[&to.ip().to_string(), &to.port().to_string()]);
    let ended = start.arg(source.path().join(name).into()).start().finish();
    assert_eq!((ended.code, ended.complaints.as_str()), (Some(0), ""));
    assert_eq!(fs::read(folder.path().join(name)).expect("it has arrived"), b"abc");
}

#[test]
fn a_size_beyond_the_header_is_refused_before_connecting() {
    let source = tempfile::tempdir().expect("a folder for the source");
    let file = source.path().join("large");
    // A hole: it takes no room.
    File::create(&file).and_then(|file| file.set_len(LARGEST + 1)).expect("a large file");
    // Nobody listens there; so had it connected, it would say that.
    let nobody = ["127.0.0.1", "1", path(&file)];
    let why = "open: a size of 2147483648 bytes: the header has room for 0 to 2147483647\n";
    program("demo11-send-file").args(&nobody).start().ends(255, "", why);
    // Of such a file, as much as an int can say.
    let refused = "connect(): Connection refused\n";
    program("demo11-send-file").args(&nobody).args(&["2147483647"]).start().ends(255, "", refused);
}

#[test]
fn a_file_arrives_under_its_name_where_files_without_a_name_can_get_none() {
    for errno in [libc::EOPNOTSUPP, libc::ENOENT, libc::EXDEV, libc::EPERM] {
        let (receiver, folder) = without(&[libc::SYS_linkat], errno, || receiver(&[]));
        for content in [&b"first"[..], b"the second takes the name"] {
            let mut sender = announced(receiver.addr(), "name", content.len() as u64);
            sender.write_all(content).expect("the content");
            expect(&sender, b"ok");
            assert_eq!(fs::read(folder.path().join("name")).expect("it has its name"), content);
            assert_eq!(names(&folder), ["name"], "and nothing is beside it");
        }
    }
}
