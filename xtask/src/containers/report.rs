//! What was done, as it is done, and in the end.

use std::time::Instant;

/// Lines so far.
pub struct Report {
    begun: Instant,
    lines: Vec<String>,
}
impl Report {
    /// Begins with what it is about.
    pub fn begin(title: String) -> Self {
        eprintln!("{title}");
        Self { begun: Instant::now(), lines: vec![title] }
    }

    /// Says what is done now; not kept.
    pub fn step(&self, what: &str) {
        eprintln!("== {what} ({} s)", self.begun.elapsed().as_secs());
    }

    /// Something that was seen to hold.
    pub fn holds(&mut self, what: &str, seen: impl AsRef<str>) {
        for (line, what) in seen.as_ref().lines().zip(std::iter::once(what).chain(std::iter::repeat(""))) {
            let line = format!("{what:<22} {line}");
            eprintln!("   {line}");
            self.lines.push(line);
        }
    }

    /// All of it.
    pub fn end(self) -> String {
        let seconds = self.begun.elapsed().as_secs();
        format!("{}\nall of it holds, {seconds} s", self.lines.join("\n"))
    }
}
