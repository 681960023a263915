//! A program under test: its log, its signals and its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Error;

/// A program that can be started, and ended in every way there is, any number of times. Dropping it kills it.
pub(crate) struct Program {
    name: String,
    log: PathBuf,
    running: Mutex<Option<Child>>,
}

impl Program {
    /// A program that is not running yet. What it prints is appended to `folder/name.log`.
    pub(crate) fn new(name: &str, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            log: folder.join(format!("{name}.log")),
            running: Mutex::new(None),
        }
    }

    /// Starts `command`; what ran before is killed.
    pub(crate) fn start(&self, command: &mut Command) -> Result<(), Error> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(Error::io(self.log.display()))?;
        let both = log.try_clone().map_err(Error::io(self.log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io(format!("starting {}", self.name)))?;
        *self.running() = Some(child);
        Ok(())
    }

    /// `Ok` while it runs.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let status = match self.running().as_mut() {
            Some(child) => child
                .try_wait()
                .map_err(Error::io(format!("asking after {}", self.name)))?,
            None => return Err(Error::Impossible(format!("{} was stopped", self.name))),
        };
        match status {
            None => Ok(()),
            Some(status) => Err(Error::Ended {
                program: self.name.clone(),
                status,
                log: self.log_end(),
            }),
        }
    }

    /// Its process id while it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        i32::try_from(self.id()?).ok().map(Pid::from_raw)
    }

    /// The same as a number, as `/proc` has it.
    pub(crate) fn id(&self) -> Option<u32> {
        self.running().as_ref().and_then(Child::id)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let pid = self
            .pid()
            .ok_or_else(|| Error::Impossible(format!("{} is not running", self.name)))?;
        kill(pid, signal).map_err(|errno| Error::Io {
            what: format!("{signal} for {}", self.name),
            source: errno.into(),
        })
    }

    /// Asks it to end (SIGTERM) and waits; after `patience` kills it. `None` if it was not running.
    pub(crate) async fn stop(&self, patience: Duration) -> Result<Option<ExitStatus>, Error> {
        if self.pid().is_some() {
            self.signal(Signal::SIGTERM)?;
        }
        let Some(mut child) = self.take() else {
            return Ok(None);
        };
        let ended = match timeout(patience, child.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                let _ended_meanwhile = child.start_kill();
                child.wait().await
            }
        };
        ended
            .map(Some)
            .map_err(Error::io(format!("waiting for {}", self.name)))
    }

    /// Ends it at once (SIGKILL) and waits until it is gone, so that its sockets are.
    pub(crate) async fn kill(&self) -> Result<(), Error> {
        match self.take() {
            Some(mut child) => child
                .kill()
                .await
                .map_err(Error::io(format!("killing {}", self.name))),
            None => Ok(()),
        }
    }

    /// Its memory while it runs (`/proc/PID/status`).
    pub(crate) fn memory(&self) -> Result<Memory, Error> {
        let missing = || Error::Impossible(format!("{} is not running", self.name));
        Memory::of(self.id().ok_or_else(missing)?)
    }

    /// The processor time of its threads whose names begin like this (`/proc/PID/task/TID/schedstat`, in nanoseconds),
    /// while it runs.
    pub(crate) fn time_of_threads(&self, name: &str) -> Result<Duration, Error> {
        let missing = || Error::Impossible(format!("{} is not running", self.name));
        let tasks = format!("/proc/{}/task", self.pid().ok_or_else(missing)?);
        let mut time = Duration::ZERO;
        for task in fs::read_dir(&tasks).map_err(Error::io(&tasks))? {
            let task = task.map_err(Error::io(&tasks))?.path();
            let read = |file: &str| {
                let path = task.join(file);
                fs::read_to_string(&path).map_err(Error::io(path.display()))
            };
            if read("comm")?.starts_with(name) {
                let schedstat = read("schedstat")?;
                let on_cpu = schedstat.split_whitespace().next();
                let nanoseconds = on_cpu.and_then(|text| text.parse().ok());
                time += Duration::from_nanos(nanoseconds.ok_or_else(|| Error::Unreadable {
                    what: task.join("schedstat").display().to_string(),
                    why: schedstat.clone(),
                })?);
            }
        }
        Ok(time)
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_end(&self) -> String {
        last_lines(&self.log(), 20).to_owned()
    }

    fn take(&self) -> Option<Child> {
        self.running().take()
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of a program is in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// At most, since it was started.
    pub peak: u64,
}

impl Memory {
    /// Of the process with this id (`/proc/PID/status`).
    ///
    /// # Errors
    /// [`Error::Io`] when there is none, [`Error::Unreadable`] when it has just ended.
    pub fn of(process: u32) -> Result<Self, Error> {
        let path = format!("/proc/{process}/status");
        let status = fs::read_to_string(&path).map_err(Error::io(&path))?;
        Self::read(&status).ok_or_else(|| Error::Unreadable {
            what: path,
            why: status,
        })
    }

    fn read(status: &str) -> Option<Self> {
        let bytes = |field: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
            let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
            kibibytes.checked_mul(1024)
        };
        Some(Self {
            resident: bytes("VmRSS")?,
            peak: bytes("VmHWM")?,
        })
    }
}

/// The processor time that a process has used, that of threads that have ended included.
///
/// # Errors
/// [`Error::Io`] when there is no such process.
pub fn processor_time(process: u32) -> Result<Duration, Error> {
    let what = format!("the processor time of process {process}");
    let pid = Pid::from_raw(process.cast_signed());
    let used = ClockId::pid_cpu_clock_id(pid).and_then(ClockId::now);
    used.map(Duration::from).map_err(|errno| Error::Io {
        what,
        source: errno.into(),
    })
}

/// At most the last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> &str {
    let text = text.trim_end();
    match text.rmatch_indices('\n').nth(count.saturating_sub(1)) {
        Some((at, _)) => text.get(at + 1..).unwrap_or_default(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::{Seen, wait_until};

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    async fn started(script: &str) -> (Program, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::new("it", folder.path());
        program.start(&mut shell(script)).unwrap();
        wait_until("its first line", SOON, async || {
            Ok(Seen::when(program.log().contains("up"), program.log()))
        })
        .await
        .unwrap();
        (program, folder)
    }

    #[tokio::test]
    async fn an_end_nobody_asked_for_is_told_with_its_log() {
        let (program, _folder) = started("echo up; exit 3").await;
        let error = wait_until("its end", SOON, async || {
            program
                .check()
                .map(|()| Seen::<()>::NotYet("running".to_owned()))
        })
        .await
        .unwrap_err();
        let Error::Ended { status, log, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((status.code(), log.as_str()), (Some(3), "up"));
    }

    #[tokio::test]
    async fn stops_by_asking_and_by_force() {
        let cases = [
            (
                "trap 'kill $!; exit 7' TERM; sleep 60 & echo up; wait",
                SOON,
                Some(7),
                None,
            ),
            (
                "trap '' TERM; echo up; exec sleep 60",
                Duration::from_millis(50),
                None,
                Some(9),
            ),
        ];
        for (script, patience, code, signal) in cases {
            let (program, _folder) = started(script).await;
            let status = program.stop(patience).await.unwrap().unwrap();
            assert_eq!((status.code(), status.signal()), (code, signal), "{script}");
            assert!(program.stop(patience).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn ends_when_dropped() {
        let (program, _folder) = started("echo up; exec sleep 60").await;
        let pid = program.pid().unwrap();
        drop(program);
        // Tokio reaps what it killed; until then the pid is a zombie's.
        wait_until("the end", SOON, async || {
            Ok(Seen::when(kill(pid, None).is_err(), "still there"))
        })
        .await
        .unwrap();
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let status = "Name:\tit\nVmHWM:\t   2048 kB\nVmRSS:\t      3 kB\n";
        let expected = Memory {
            resident: 3 << 10,
            peak: 2 << 20,
        };
        assert_eq!(Memory::read(status), Some(expected));
        // As a zombie's.
        assert_eq!(Memory::read("Name:\tit\n"), None);
    }

    #[test]
    fn processor_time_is_that_of_every_thread_there_was() {
        let own = std::process::id();
        let before = processor_time(own).unwrap();
        let spent = std::thread::spawn(move || {
            while processor_time(own).unwrap() < before + Duration::from_millis(5) {}
        });
        spent.join().unwrap();
        assert!(processor_time(own).unwrap() >= before + Duration::from_millis(5));
    }

    #[test]
    fn last_lines_of_a_text() {
        let cases = [
            ("", ""),
            ("a\n", "a"),
            ("a\nb\nc\n", "b\nc"),
            ("a\n\nb", "\nb"),
        ];
        for (text, expected) in cases {
            assert_eq!(last_lines(text, 2), expected, "{text:?}");
        }
    }
}
