//! Both ways to talk to the kernel find the same; and connections that come and go, are idle, come from several
//! addresses, or belong to several threads.

/// The ways that there are here, as arguments. A line says what was not checked.
pub(super) fn all() -> Vec<&'static str> {
    let mut all = vec!["--engine epoll"];
    match missing() {
        None => all.push("--engine uring"),
        Some(why) => eprintln!("not checked: --engine uring ({why})"),
    }
    all
}

#[cfg(feature = "uring")]
fn missing() -> Option<String> {
    io_models::sys::uring::unavailable()
}

#[cfg(not(feature = "uring"))]
fn missing() -> Option<String> {
    Some("built without it".to_owned())
}
