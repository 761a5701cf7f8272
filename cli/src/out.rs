//! Standard output and standard error of the process.
//!
//! Their reader may disappear (`| head`), come back (a log collector that restarts) or be slow (a full pipe).
//! None of this causes a panic or an error here. There are two ways to write:
//!
//! - A **report** ([`line()`], `println!`) is the output of a verb. It waits for a slow reader. If the reader
//!   disappears, the rest is dropped, and the verb ends as it would have ended.
//! - A **feed** ([`feed()`], [`log()`], `eprintln!`) is the output of a running pipeline. It never waits: its
//!   own thread writes, and drops lines if the queue is full or nobody reads. When somebody reads again, the
//!   number of dropped lines precedes the next line.
//!
//! The macros shadow the standard library's in this crate, so that no print bypasses this module.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use runtime::time::Instant;

use parking_lot::Mutex;

/// A line of a verb's report, on standard output. See [`line()`].
macro_rules! println {
    () => { $crate::out::line(format_args!("")) };
    ($($arg:tt)*) => { $crate::out::line(format_args!($($arg)*)) };
}
/// A part of a line of a verb's report. See [`part()`].
macro_rules! print {
    ($($arg:tt)*) => { $crate::out::part(format_args!($($arg)*)) };
}
/// A line on standard error. See [`error()`].
macro_rules! eprintln {
    ($($arg:tt)*) => { $crate::out::error(format_args!($($arg)*)) };
}

/// Lines that wait for a slow reader. Further lines are dropped.
const QUEUE: usize = 4_096;
/// How long a fed line waits for a descriptor that would block.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries on such a descriptor.
const AGAIN: Duration = Duration::from_millis(5);
/// Lines of the log that are kept while a live view is on the screen. Older ones are only counted.
const HELD: usize = 1_000;

static OUT: LazyLock<Outlet> = LazyLock::new(|| Outlet::new("stdout", io::stdout().as_fd()));
static ERR: LazyLock<Outlet> = LazyLock::new(|| Outlet::new("stderr", io::stderr().as_fd()));
static HOLDING: Mutex<Option<Held>> = Mutex::new(None);

/// Writes a line of a verb's report.
pub fn line(text: fmt::Arguments<'_>) {
    OUT.report(format!("{text}\n").as_bytes());
}

/// Writes a part of a line of a verb's report.
pub fn part(text: fmt::Arguments<'_>) {
    OUT.report(text.to_string().as_bytes());
}

/// Writes a line of a running pipeline to standard output. Never waits.
pub fn feed(line: impl Into<String>) {
    let mut line = line.into();
    line.push('\n');
    OUT.feed(line.into_bytes());
}

/// Writes a line to standard error, with secrets masked. Never waits.
pub fn error(text: fmt::Arguments<'_>) {
    log(format!("{text}\n"));
}

/// Writes lines of the log to standard error, with secrets masked. Never waits. While a live view has the
/// screen, keeps them for the view instead.
pub fn log(lines: String) {
    let lines = ops::mask::masked(&lines);
    let mut holding = HOLDING.lock();
    if let Some(held) = holding.as_mut() {
        held.push(&lines);
        if held.instead {
            return;
        }
    }
    drop(holding);
    ERR.feed(lines.into_bytes());
}

/// Waits until everything that was fed is written, but no longer than `patience`.
pub fn settle(patience: Duration) {
    let until = Instant::now() + patience;
    OUT.settle(until);
    ERR.settle(until);
}

/// Why the verb's report is incomplete: an error of standard output other than a reader that disappeared.
pub fn failure() -> Option<String> {
    OUT.failure.lock().clone()
}

/// A verb's report as a stream of bytes, with the behaviour of [`line()`].
pub struct Report;
impl Write for Report {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        OUT.report(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps the log off the screen and writes it when dropped. If standard error is not a terminal, the log is
/// still written at once.
pub struct Hold(());

/// Keeps the log for a live view.
pub fn hold() -> Hold {
    let instead = io::stderr().is_terminal();
    *HOLDING.lock() = Some(Held { lines: VecDeque::new(), left_out: 0, instead });
    Hold(())
}
impl Hold {
    /// The number of lines so far, and the last `n` without colours.
    pub fn last(&self, n: usize) -> (u64, Vec<String>) {
        let holding = HOLDING.lock();
        let Some(held) = holding.as_ref() else { return (0, Vec::new()) };
        let last = held.lines.iter().rev().take(n).rev().map(|line| without_colours(line));
        (held.left_out + held.lines.len() as u64, last.collect())
    }
}
impl Drop for Hold {
    fn drop(&mut self) {
        let Some(held) = HOLDING.lock().take().filter(|held| held.instead) else { return };
        if held.left_out > 0 {
            ERR.feed(format!("… {} earlier lines of the log are left out\n", held.left_out).into_bytes());
        }
        held.lines.into_iter().for_each(|line| ERR.feed((line + "\n").into_bytes()));
    }
}

struct Held {
    lines: VecDeque<String>,
    left_out: u64,
    /// Keep lines instead of writing them.
    instead: bool,
}
impl Held {
    fn push(&mut self, lines: &str) {
        for line in lines.lines() {
            if self.lines.len() == HELD {
                self.lines.pop_front();
                self.left_out += 1;
            }
            self.lines.push_back(line.to_owned());
        }
    }
}

/// `line` without escape sequences and other characters that would move the cursor.
fn without_colours(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // `ESC [ … letter`; anything else that follows is one character.
            if chars.next() == Some('[') {
                let _ = chars.by_ref().find(|c| ('@'..='~').contains(c));
            }
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out
}

enum Item {
    Lines(Vec<u8>),
    /// Answered once every item before it is written.
    Settle(SyncSender<()>),
}

/// A descriptor of the process.
struct Outlet {
    name: &'static str,
    file: Option<Mutex<File>>,
    /// Created with the first fed line.
    queue: OnceLock<SyncSender<Item>>,
    dropped: AtomicU64,
    failure: Mutex<Option<String>>,
}
impl Outlet {
    /// Duplicates the descriptor, because the standard library's writers buffer what they could not write.
    fn new(name: &'static str, descriptor: BorrowedFd<'_>) -> Self {
        let file = descriptor.try_clone_to_owned().ok().map(|own| Mutex::new(File::from(own)));
        Self { name, file, queue: OnceLock::new(), dropped: AtomicU64::new(0), failure: Mutex::new(None) }
    }

    fn report(&self, bytes: &[u8]) {
        let Some(file) = &self.file else { return };
        if let Err(error) = write(&mut *file.lock(), bytes, None)
            && error.kind() != ErrorKind::BrokenPipe
        {
            self.failure.lock().get_or_insert_with(|| error.to_string());
        }
    }

    fn feed(&'static self, lines: Vec<u8>) {
        let queue = self.queue.get_or_init(|| {
            let (sender, inbox) = sync_channel(QUEUE);
            let writer = std::thread::Builder::new().name(self.name.to_owned());
            // If the thread cannot start, the inbox is closed, and every line counts as dropped.
            drop(writer.spawn(move || self.write_fed(&inbox)));
            sender
        });
        if queue.try_send(Item::Lines(lines)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    fn write_fed(&self, inbox: &Receiver<Item>) {
        let Some(file) = &self.file else { return };
        while let Ok(item) = inbox.recv() {
            match item {
                Item::Lines(lines) => {
                    let missing = self.dropped.swap(0, Relaxed);
                    let gap = format!("… {missing} lines are missing: nobody read them in time\n");
                    let gap = if missing > 0 { gap.as_bytes() } else { b"" };
                    if write(&mut *file.lock(), &[gap, &lines].concat(), Some(PATIENCE)).is_err() {
                        self.dropped.fetch_add(missing + 1, Relaxed);
                    }
                }
                Item::Settle(done) => drop(done.try_send(())),
            }
        }
    }

    fn settle(&self, until: Instant) {
        let Some(queue) = self.queue.get() else { return };
        let (done, settled) = sync_channel(1);
        while queue.try_send(Item::Settle(done.clone())).is_err() {
            if Instant::now() > until {
                return;
            }
            std::thread::park_timeout(AGAIN);
        }
        drop(done);
        let _ = settled.recv_timeout(until.duration_since(Instant::now()));
    }
}

/// Writes all of `bytes`. Retries if the descriptor would block: for ever, or for as long as `patience`.
fn write(to: &mut impl Write, mut bytes: &[u8], patience: Option<Duration>) -> io::Result<()> {
    let until = patience.map(|patience| Instant::now() + patience);
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if until.is_some_and(|until| Instant::now() > until) {
                    return Err(error);
                }
                std::thread::park_timeout(AGAIN);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn outlet(file: impl Into<std::os::fd::OwnedFd>) -> &'static Outlet {
        Box::leak(Box::new(Outlet::new("test", file.into().as_fd())))
    }
    fn settled(outlet: &Outlet) {
        outlet.settle(Instant::now() + Duration::from_secs(10));
    }

    #[test]
    fn a_reader_that_went_away_is_no_fault_and_one_that_comes_back_learns_what_it_missed() {
        let folder = std::env::temp_dir().join(format!("lakepulse-out-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("created");
        let pipe = folder.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .expect("a pipe");
        let open = || std::fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("opened");
        let both = open();
        let writer = std::fs::OpenOptions::new().write(true).open(&pipe).expect("opened");
        let outlet = outlet(writer);
        drop(both);
        outlet.report(b"nobody reads this\n");
        outlet.feed(b"nor this\n".to_vec());
        outlet.feed(b"nor that\n".to_vec());
        settled(outlet);
        assert_eq!(*outlet.failure.lock(), None);
        let mut reader = open();
        outlet.feed(b"read\n".to_vec());
        settled(outlet);
        let mut text = [0; 200];
        let read = reader.read(&mut text).expect("read");
        let text = String::from_utf8_lossy(&text[..read]).into_owned();
        assert!(text.starts_with("… 2 lines are missing") && text.ends_with("\nread\n"), "{text}");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_reader_that_stands_still_makes_no_feed_wait() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let outlet = outlet(writer);
        // More than the socket and the queue can hold, so a writer that waits would never finish.
        for _ in 0..3 * QUEUE {
            outlet.feed(vec![b'x'; 1_000]);
        }
        assert!(outlet.dropped.load(Relaxed) > 0);
        drop(reader);
    }

    #[test]
    fn a_full_disk_is_a_fault_of_the_report() {
        let full = File::options().write(true).open("/dev/full").expect("linux has it");
        let outlet = outlet(full);
        outlet.report(b"text");
        assert!(outlet.failure.lock().is_some());
    }

    #[test]
    fn colours_and_what_moves_the_cursor_are_left_out() {
        assert_eq!(without_colours("\u{1b}[33m WARN\u{1b}[0m a\tb\r\u{1b}[2Jc"), " WARN abc");
    }
}
