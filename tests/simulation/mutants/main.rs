//! Breaks placement in one place after the other, and sees that the simulation notices each.
//!
//! Each mutant is built in a copy of the workspace under `target/mutants`, and has to compile, and to fail.

mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, io, thread};

use clap::Parser;
use table::{MUTANTS, Mutant};

#[derive(Debug, Parser)]
#[command(about = "Runs the simulation against placement with single faults")]
struct Arguments {
    /// Only the mutants whose names contain this.
    #[arg(default_value = "")]
    name: String,
    /// Leaves out so many of the first.
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// In how many schedules a mutant has to be noticed.
    #[arg(long, default_value_t = 60_000)]
    seeds: u64,
    /// The project's folder.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            println!("{missed} not caught");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// How many mutants were not caught.
fn run(arguments: &Arguments) -> io::Result<usize> {
    let copy = Copy::new(&arguments.root)?;
    let unbroken = copy.simulate(arguments.seeds.min(2_000))?;
    if let Verdict::Survived = unbroken {
        println!("{:<52} passes", "placement as it is");
    } else {
        return Err(io::Error::other(format!("placement as it is: {unbroken}")));
    }
    let mut missed = 0;
    for mutant in MUTANTS.iter().skip(arguments.skip) {
        if !mutant.name.contains(&arguments.name) {
            continue;
        }
        let verdict = copy.try_out(mutant, arguments.seeds)?;
        println!("{:<52} {verdict}", mutant.name);
        if !matches!(verdict, Verdict::Caught(_)) {
            println!("    {}: {}", mutant.file, mutant.why);
            missed += 1;
        }
    }
    Ok(missed)
}

enum Verdict {
    /// By what, in the simulation's words.
    Caught(String),
    Survived,
    DoesNotApply,
    DoesNotCompile,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Caught(by) => write!(f, "caught: {by}"),
            Self::Survived => f.write_str("SURVIVED"),
            Self::DoesNotApply => {
                f.write_str("DOES NOT APPLY: the text is not there, or more than once")
            }
            Self::DoesNotCompile => f.write_str("DOES NOT COMPILE"),
        }
    }
}

/// A workspace of the simulation alone.
struct Copy {
    root: PathBuf,
    pristine: PathBuf,
}

impl Copy {
    fn new(project: &Path) -> io::Result<Self> {
        let root = project.join("target/mutants/tree");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        for folder in [PLACEMENT, "tests/simulation"] {
            copy_folder(&project.join(folder), &root.join(folder))?;
        }
        fs::copy(project.join("Cargo.lock"), root.join("Cargo.lock"))?;
        let manifest = fs::read_to_string(project.join("Cargo.toml"))?;
        fs::write(root.join("Cargo.toml"), alone(&manifest))?;
        Ok(Self {
            root,
            pristine: project.join(PLACEMENT),
        })
    }

    fn try_out(&self, mutant: &Mutant, seeds: u64) -> io::Result<Verdict> {
        let pristine = fs::read_to_string(self.pristine.join(mutant.file))?;
        if pristine.matches(mutant.find).count() != 1 {
            return Ok(Verdict::DoesNotApply);
        }
        let file = self.root.join(PLACEMENT).join(mutant.file);
        fs::write(&file, pristine.replacen(mutant.find, mutant.put, 1))?;
        let verdict = self.simulate(seeds);
        fs::write(&file, pristine)?;
        verdict
    }

    fn simulate(&self, seeds: u64) -> io::Result<Verdict> {
        let target = self.root.with_file_name("build");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--release", "--bin", "simulate"])
            .current_dir(&self.root)
            .env(
                "CARGO_TARGET_DIR",
                fs::canonicalize(&self.root)?.with_file_name("build"),
            )
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("RUSTFLAGS", "-Awarnings")
            .output()?;
        if !built.status.success() {
            return Ok(Verdict::DoesNotCompile);
        }
        let mut simulation = Command::new(target.join("release/simulate"))
            .args(["--no-shrink", "--seeds", &seeds.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let (tell, told) = mpsc::channel();
        if let Some(stdout) = simulation.stdout.take() {
            thread::spawn(move || tell.send(io::read_to_string(stdout)));
        }
        let Ok(said) = told.recv_timeout(PATIENCE) else {
            simulation.kill()?;
            simulation.wait()?;
            return Ok(Verdict::Caught("it does not end".to_owned()));
        };
        if simulation.wait()?.success() {
            return Ok(Verdict::Survived);
        }
        let first = said?.lines().next().unwrap_or_default().to_owned();
        Ok(Verdict::Caught(first))
    }
}

/// The workspace's manifest with no member but the simulation.
fn alone(manifest: &str) -> String {
    let mut members = false;
    let mut kept = Vec::new();
    for line in manifest.lines() {
        if line.starts_with("members") {
            members = true;
            kept.push("members = [\"tests/simulation\"]");
        } else if members {
            members = line != "]";
        } else {
            kept.push(line);
        }
    }
    kept.join("\n")
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Whatever takes longer goes round in circles.
const PATIENCE: Duration = Duration::from_secs(600);

const PLACEMENT: &str = "xds-server/src/placement";
