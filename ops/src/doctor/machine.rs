//! Checks of this machine.

use std::path::{Path, PathBuf};

use catalog::Project;

use super::{Check, judge};

/// Checks the limit of open files, and the free space where the process writes.
pub fn checks(project: &Project) -> Vec<Check> {
    let mut checks = vec![judge::files(open_files())];
    let lake = project.lake().ok().and_then(|(url, _)| url.to_file_path().ok());
    let mut seen = Vec::new();
    for folder in [Some(project.state_dir()), lake, Some(std::env::temp_dir())].into_iter().flatten() {
        let Some(there) = existing(&folder) else { continue };
        let Ok(stat) = rustix::fs::statvfs(&there) else { continue };
        let (free, total) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
        // One line per disk.
        if !seen.contains(&stat.f_fsid) {
            seen.push(stat.f_fsid);
            checks.push(judge::disk(&there.display().to_string(), free, total));
        }
    }
    checks
}

/// The folder, or its nearest parent that exists.
fn existing(folder: &Path) -> Option<PathBuf> {
    let folder = std::path::absolute(folder).ok()?;
    folder.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

/// The soft limit from Linux's `/proc`.
fn open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
