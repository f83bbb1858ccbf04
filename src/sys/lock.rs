//! Locks between processes: record locks of fcntl(2), and pthread mutexes in memory that processes share. Over `nix::fcntl`
//! and libc.
//!
//! A lock is made before fork(2), and excludes the processes that have it from then on. Whoever waits for it sleeps in the
//! kernel. When the holder dies, also of SIGKILL, the next one gets it.
//!
//! What surprised us: a signal does not end such a wait, because the call begins again when the handler returns. A process
//! that has to stop must wait for its turn. So whoever stops several of them must make sure that the holder goes on, for
//! example by shutting down the socket that the holder accepts from: the holder releases the lock, the next one gets it, and so
//! on to the last.

use super::shared::{self, Shareable};
use super::{Call, Errno, answer, cvt, cvt_on, retry};
use crate::error::{Error, Result};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// A lock that this process or thread has, until this is dropped. It stays in its thread.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Held<'a>(&'a dyn Unlock);

trait Unlock: fmt::Debug {
    /// Only for the holder.
    fn unlock(&self);
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

/// A POSIX record lock on a file: UNP chapter 30, design 3. It belongs to a *process*: it excludes the processes that are forked
/// after it was made, and not the threads of one process, all of which would hold it at once.
///
/// The file is in memory (memfd_create(2)), because that needs no directory in which a file can be made. It has one descriptor
/// in each process and is never handed out: closing *any* descriptor of a file gives up all record locks that the process has
/// on it.
#[derive(Debug)]
pub struct RecordLock(OwnedFd);

impl RecordLock {
    /// Make one, which nobody holds.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSYS` before Linux 3.17.
    pub fn new() -> Result<RecordLock> {
        cvt(Call::MemfdCreate, memfd_create(c"io-models-lock", MFdFlags::MFD_CLOEXEC)).map(RecordLock)
    }

    /// Wait until no other process has the lock, and take it: `fcntl(fd, F_SETLKW, …)`, man 2 fcntl.
    ///
    /// # Errors
    ///
    /// `ENOLCK` without memory for a lock; `EDEADLK` when the holder waits for another record lock of this process.
    #[doc(alias = "F_SETLKW")]
    #[doc(alias = "fcntl")]
    pub fn lock(&self) -> Result<Held<'_>> {
        let lock = whole_file(libc::F_WRLCK);
        retry(|| cvt_on(Call::Fcntl, self.0.as_fd(), fcntl(&self.0, FcntlArg::F_SETLKW(&lock))))?;
        Ok(Held(self))
    }
}

impl Unlock for RecordLock {
    fn unlock(&self) {
        let lock = whole_file(libc::F_UNLCK);
        // Releasing a part of what is locked takes memory; releasing all of it cannot fail.
        cvt_on(Call::Fcntl, self.0.as_fd(), fcntl(&self.0, FcntlArg::F_SETLK(&lock))).ok();
    }
}

/// From the first byte (`l_start`) to the end, wherever that is (`l_len` 0): there need not be any bytes.
fn whole_file(kind: libc::c_int) -> libc::flock {
    let whence = libc::SEEK_SET as libc::c_short;
    libc::flock { l_type: kind as libc::c_short, l_whence: whence, l_start: 0, l_len: 0, l_pid: 0 }
}

/// A pthread mutex that this process shares with the children that it forks later: UNP chapter 30, design 4. It belongs to a
/// *thread*.
///
/// It is `PTHREAD_PROCESS_SHARED`, and `PTHREAD_MUTEX_ROBUST`: a mutex without that stays locked when its holder dies. The
/// kernel then looks through the list of robust mutexes that the C library keeps for each thread (set_robust_list(2)). Its
/// memory is kept for the life of the process.
///
/// A free mutex is taken and released by one atomic instruction each, without a system call. The C library calls futex(2) when
/// somebody waits; that is not counted.
pub struct SharedMutex(&'static Mutex);

/// Bytes that nobody but the C library reads or writes.
struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: it is bytes behind an `UnsafeCell`, to which this file hands out no reference, and which the functions of
// pthreads(7) may access from several threads at once: that is what they are for.
unsafe impl Sync for Mutex {}
// SAFETY: to Rust a `pthread_mutex_t` is an array of bytes, so any bytes are valid. It has 40 to 48 of them, aligned to 8.
unsafe impl Shareable for Mutex {}

impl SharedMutex {
    /// Make one, which nobody holds: pthread_mutex_init(3).
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENOSYS` where musl finds that the kernel has no robust futexes; glibc does not look.
    #[doc(alias = "pthread_mutex_init")]
    #[doc(alias = "pthread_mutexattr_setpshared")]
    #[doc(alias = "pthread_mutexattr_setrobust")]
    pub fn new() -> Result<SharedMutex> {
        let mutex: &Mutex = shared::with_children()?;
        mutex.initialise().map_err(failed)?;
        Ok(SharedMutex(mutex))
    }

    /// Wait until nobody has the mutex, and take it: pthread_mutex_lock(3). It may be that its last holder died
    /// (`EOWNERDEAD`): what the mutex protects must be right at any time.
    ///
    /// # Errors
    ///
    /// `EDEADLK` when this thread has it already. `ENOTRECOVERABLE` after somebody has released it without
    /// pthread_mutex_consistent(3) when its holder had died; nobody here does.
    #[doc(alias = "pthread_mutex_lock")]
    #[doc(alias = "pthread_mutex_consistent")]
    pub fn lock(&self) -> Result<Held<'_>> {
        // SAFETY: `new` has initialised the mutex, and it is never destroyed or moved.
        let mut locked = answer(unsafe { libc::pthread_mutex_lock(self.0.0.get()) });
        if locked == Err(Errno::EOWNERDEAD) {
            // SAFETY: as above. It is ours, in the state that this function is for.
            locked = answer(unsafe { libc::pthread_mutex_consistent(self.0.0.get()) });
        }
        locked.map(|()| Held(self)).map_err(failed)
    }
}

impl Unlock for SharedMutex {
    fn unlock(&self) {
        // SAFETY: the mutex is initialised, and never destroyed or moved. Should it belong to somebody else, to the parent of
        // a process that was forked meanwhile, then the call fails: that is what `PTHREAD_MUTEX_ERRORCHECK` is for.
        unsafe { libc::pthread_mutex_unlock(self.0.0.get()) };
    }
}

impl Mutex {
    fn initialise(&self) -> nix::Result<()> {
        // The C libraries of Linux have nothing to free in it, so it is not destroyed.
        let mut attributes = MaybeUninit::uninit();
        let all = attributes.as_mut_ptr();
        // SAFETY: `all` points to memory for a `pthread_mutexattr_t` on this stack, which the call initialises.
        answer(unsafe { libc::pthread_mutexattr_init(all) })?;
        // SAFETY: `all` points to attributes on this stack, which were initialised above.
        answer(unsafe { libc::pthread_mutexattr_settype(all, libc::PTHREAD_MUTEX_ERRORCHECK) })?;
        // SAFETY: as above.
        answer(unsafe { libc::pthread_mutexattr_setpshared(all, libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: as above.
        answer(unsafe { libc::pthread_mutexattr_setrobust(all, libc::PTHREAD_MUTEX_ROBUST) })?;
        // SAFETY: the attributes are initialised. The mutex has just been made of zeros, nobody else knows of it, and it
        // stays where it is for the life of the process.
        answer(unsafe { libc::pthread_mutex_init(self.0.get(), all) })
    }
}

fn failed(source: Errno) -> Error {
    Error::Call { call: Call::Futex, fd: None, source }
}

impl fmt::Debug for SharedMutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedMutex").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll::{PollFlags, wait_for};
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::process::{Child, ChildStdout, Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::{Duration, Instant};

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Where a process finds the lock's file that [`Other`] has started: this program, with another test.
    const FILE: &str = "IO_MODELS_TEST_LOCK";

    /// A process that takes the lock, says so, and keeps it.
    struct Other {
        process: Child,
        said: ChildStdout,
    }

    impl Other {
        fn start(lock: &RecordLock) -> Other {
            let file = format!("/proc/{}/fd/{}", std::process::id(), lock.0.as_raw_fd());
            let mut process = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture", "sys::lock::tests::take_the_lock_and_keep_it"])
                .env(FILE, file)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let said = process.stdout.take().unwrap();
            Other { process, said }
        }

        /// Wait until it says that it has the lock.
        fn wait_until_it_holds(&mut self) {
            let mut said = Vec::new();
            while !String::from_utf8_lossy(&said).contains("held") {
                let speaks = wait_for(&self.said, PollFlags::POLLIN, Some(DEADLINE)).unwrap();
                assert!(speaks, "not within {DEADLINE:?}: the other process has the lock");
                let mut piece = [0; 512];
                let n = self.said.read(&mut piece).unwrap();
                assert_ne!(n, 0, "it has ended without the lock");
                said.extend_from_slice(&piece[..n]);
            }
        }
    }

    impl Drop for Other {
        fn drop(&mut self) {
            self.process.kill().unwrap();
            self.process.wait().unwrap();
        }
    }

    /// Begin `work` in a thread. The channel tells of its end.
    fn begin(work: impl FnOnce() + Send + 'static) -> mpsc::Receiver<()> {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            work();
            tell.send(()).ok();
        });
        told
    }

    #[track_caller]
    fn wait_for_end(work: &mpsc::Receiver<()>, what: &str) {
        work.recv_timeout(DEADLINE).unwrap_or_else(|why| panic!("not within {DEADLINE:?}: {what} ({why})"));
    }

    /// Not a test by itself: this is the work of [`Other`].
    #[test]
    fn take_the_lock_and_keep_it() {
        let Some(file) = std::env::var_os(FILE) else { return };
        let lock = RecordLock(File::options().read(true).write(true).open(file).unwrap().into());
        let _held = lock.lock().unwrap();
        println!("held");
        // Until it is killed, or whoever has started it has gone.
        std::io::stdin().lines().for_each(drop);
    }

    /// Wait until /proc/locks shows that process `pid` waits for the lock, with `->`.
    fn wait_for_waiter(lock: &RecordLock, pid: u32) {
        let inode = nix::sys::stat::fstat(&lock.0).unwrap().st_ino;
        let until = Instant::now() + DEADLINE;
        let waits = |line: &str| {
            line.contains(&format!("-> POSIX  ADVISORY  WRITE {pid} "))
                && line.contains(&format!(":{inode} "))
        };
        while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
            assert!(Instant::now() < until, "not within {DEADLINE:?}: process {pid} waits for the lock");
            thread::yield_now();
        }
    }

    #[test]
    fn a_record_lock_is_waited_for_until_the_other_process_releases_it_or_dies() {
        let lock = Arc::new(RecordLock::new().unwrap());
        let held = lock.lock().unwrap();
        let mut other = Other::start(&lock);
        wait_for_waiter(&lock, other.process.id());
        drop(held);
        other.wait_until_it_holds();
        let ours = Arc::clone(&lock);
        let waits = begin(move || drop(ours.lock().unwrap()));
        wait_for_waiter(&lock, std::process::id());
        drop(other);
        wait_for_end(&waits, "the lock of a process that was killed is taken");
    }

    #[test]
    fn a_mutex_lets_one_thread_in_at_a_time() {
        const ROUNDS: u32 = 10_000;
        let (mutex, sum) = (SharedMutex::new().unwrap(), AtomicU32::new(0));
        let add = || {
            for _ in 0..ROUNDS {
                let _held = mutex.lock().unwrap();
                sum.store(sum.load(Relaxed) + 1, Relaxed);
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(add))));
        assert_eq!(sum.into_inner(), 4 * ROUNDS);
    }

    #[test]
    fn a_mutex_whose_holder_has_died_can_be_taken_and_is_as_good_as_before() {
        let takes = begin(|| {
            let mutex = SharedMutex::new().unwrap();
            thread::scope(|scope| drop(scope.spawn(|| std::mem::forget(mutex.lock().unwrap()))));
            (0..2).for_each(|_| drop(mutex.lock().unwrap()));
        });
        wait_for_end(&takes, "the mutex of a thread that has ended is taken");
    }

    #[test]
    fn a_mutex_that_this_thread_has_already_is_an_error() {
        let asks = begin(|| {
            let mutex = SharedMutex::new().unwrap();
            let held = mutex.lock().unwrap();
            assert_eq!(mutex.lock().unwrap_err().errno(), Some(Errno::EDEADLK));
            drop(held);
            drop(mutex.lock().unwrap());
        });
        wait_for_end(&asks, "a mutex is asked for twice");
    }
}
