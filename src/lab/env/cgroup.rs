//! What the control groups of this process allow it: cgroups(7), both versions.
//!
//! A limit of a group holds for all groups within it, so the smallest of the own group and of those around it counts.

use procfs::process::{MountInfo, Process};
use std::fs;
use std::path::{Path, PathBuf};

/// How many processors' time a second the group may use (`cpu.max`, `cpu.cfs_quota_us`). `None` when there is no quota,
/// or none is known.
#[must_use]
pub fn cpu_quota() -> Option<f64> {
    folders("cpu").iter().filter_map(|folder| quota(folder)).reduce(f64::min)
}

/// How many more processes and threads the group may have (`pids.max`). `None` when there is no limit, or none is known.
#[must_use]
pub fn more_processes() -> Option<usize> {
    folders("pids").iter().filter_map(|folder| more(folder)).min()
}

/// The folder of the group that limits `controller`, and those of the groups around it. Empty where /proc does not tell.
fn folders(controller: &str) -> Vec<PathBuf> {
    let look = || {
        let process = Process::myself().ok()?;
        let (groups, mounts) = (process.cgroups().ok()?.0, process.mountinfo().ok()?);
        // In version 1 a controller has a hierarchy of its own. Version 2 has one hierarchy, which has number 0.
        let own = groups.iter().find(|group| group.controllers.iter().any(|name| name == controller));
        let group = own.or_else(|| groups.iter().find(|group| group.hierarchy == 0))?;
        let is_its = |mount: &&MountInfo| match own {
            Some(_) => mount.fs_type == "cgroup" && mount.super_options.contains_key(controller),
            None => mount.fs_type == "cgroup2",
        };
        let mount = mounts.iter().find(is_its)?;
        let below = Path::new(&group.pathname).strip_prefix(&mount.root).ok()?;
        let own = mount.mount_point.join(below);
        let around = own.ancestors().take_while(|folder| folder.starts_with(&mount.mount_point));
        Some(around.map(Path::to_owned).collect())
    };
    look().unwrap_or_default()
}

/// The quota of one group: `cpu.max` is `50000 100000` or `max 100000`, and `cpu.cfs_quota_us` is -1 without a quota.
fn quota(folder: &Path) -> Option<f64> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let text = read("cpu.max")
        .or_else(|| Some(format!("{} {}", read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?)))?;
    let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().ok());
    let (quota, period) = (numbers.next()??, numbers.next()??);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// How many more processes one group may have.
fn more(folder: &Path) -> Option<usize> {
    let number = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<usize>().ok();
    Some(number("pids.max")?.saturating_sub(number("pids.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn a_quota_is_read_from_the_files_of_both_versions() {
        let version_1 = |quota| group(&[("cpu.cfs_quota_us", quota), ("cpu.cfs_period_us", "100000\n")]);
        for (folder, expected) in [
            (group(&[("cpu.max", "50000 100000\n")]), Some(0.5)),
            (group(&[("cpu.max", "max 100000\n")]), None),
            (group(&[("cpu.max", "50000 0\n")]), None),
            (group(&[("cpu.max", "")]), None),
            (version_1("250000\n"), Some(2.5)),
            (version_1("-1\n"), None),
            (group(&[]), None),
        ] {
            assert_eq!(
                quota(folder.path()),
                expected,
                "{:?}",
                fs::read_to_string(folder.path().join("cpu.max"))
            );
        }
    }

    #[test]
    fn processes_are_limited_only_where_the_group_says_so() {
        for (most, expected) in [("100\n", Some(93)), ("5\n", Some(0)), ("max\n", None)] {
            let folder = group(&[("pids.max", most), ("pids.current", "7\n")]);
            assert_eq!(more(folder.path()), expected, "pids.max is {most}");
        }
        assert_eq!(more(group(&[]).path()), None);
    }
}
