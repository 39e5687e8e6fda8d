//! Programs of the platform, as something watches over them that starts them again.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::scene::Scene;

/// Puts a program under the death of ours, however we end.
pub(crate) const DIES_WITH_US: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// How long a program may take that was asked to stop: its grace periods, on a busy machine.
const STOPS_WITHIN: Duration = Duration::from_secs(40);

/// How long a program that ended by itself stays down.
const RESTARTS_AFTER: Duration = Duration::from_millis(500);

/// A program that is to run, or is to be down for a moment.
pub(crate) struct Program {
    pub(crate) name: String,
    program: &'static str,
    arguments: Vec<String>,
    log: PathBuf,
    /// What it prints on standard output.
    printed: PathBuf,
    child: Option<Child>,
    wanted: bool,
    /// When it was asked to stop.
    asked: Option<Instant>,
    ended: Option<Instant>,
}

impl Program {
    /// Starts a program; its standard error goes to a file with its name.
    pub(crate) fn start(scene: &Scene, name: &str, program: &'static str, arguments: Vec<String>) -> Self {
        let (log, printed) = (scene.file(&format!("{name}.log")), scene.file(&format!("{name}.out")));
        let name = name.to_owned();
        let (child, asked, ended) = (None, None, None);
        let mut started = Self { name, program, arguments, log, printed, child, wanted: true, asked, ended };
        started.launch();
        started
    }

    fn launch(&mut self) {
        let append = |path| OpenOptions::new().create(true).append(true).open(path).unwrap();
        let [setpriv, words @ ..] = DIES_WITH_US;
        let child = Command::new(setpriv)
            .args(words)
            .arg(self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(append(&self.printed))
            .stderr(append(&self.log))
            .spawn();
        (self.child, self.asked, self.ended) = (Some(child.unwrap()), None, None);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Returns what it printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.printed).unwrap()
    }

    /// Returns what it logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Returns how much memory it has resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.as_ref().unwrap().id())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        1024 * kib.unwrap().parse::<u64>().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.wanted = false;
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// Asks it to stop, without waiting for its end.
    pub(crate) fn ask_to_stop(&mut self) {
        self.wanted = false;
        if let Some(child) = &self.child {
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            self.asked = Some(Instant::now());
        }
    }

    /// Lets it run again, as soon as it is down.
    pub(crate) fn let_run(&mut self) {
        self.wanted = true;
    }

    /// Notices when it ended, and starts it again when it is to run.
    pub(crate) fn tend(&mut self, scene: &Scene) {
        if let Some(child) = &mut self.child {
            match child.try_wait().unwrap() {
                Some(status) => {
                    self.child = None;
                    if self.asked.is_none() {
                        self.ended = Some(Instant::now());
                    }
                    scene.note(&format!("{} ended: {status}", self.name));
                }
                None => {
                    let is_stuck = self.asked.is_some_and(|asked| asked.elapsed() > STOPS_WITHIN);
                    assert!(!is_stuck, "{} does not stop when it is asked to", self.name);
                }
            }
        }
        let has_paused = self.ended.is_none_or(|ended| ended.elapsed() > RESTARTS_AFTER);
        if self.wanted && self.child.is_none() && has_paused {
            self.launch();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
