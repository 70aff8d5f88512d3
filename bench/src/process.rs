//! A child process that does not outlive whoever started it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

/// What a process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// How often its threads were switched.
    pub switches: u64,
    /// Resident memory in KiB.
    pub kib: u64,
}

/// A process whose output is read. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts one; its standard output is a pipe.
    ///
    /// # Errors
    /// Naming the program, if it cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| {
            let program = command.get_program().display();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its other pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The next line of its output.
    ///
    /// # Errors
    /// If the output ends before there is one.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err(io::Error::other("it ended before it was ready"));
        }
        Ok(line.trim().to_owned())
    }

    /// Writes a line to its input, if that is a pipe.
    ///
    /// # Errors
    /// If it has ended.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        match &mut self.child.stdin {
            Some(stdin) => writeln!(stdin, "{line}"),
            None => Ok(()),
        }
    }

    /// Closes its input and returns what remains of its output.
    ///
    /// # Errors
    /// If the output is not text.
    pub fn finish(mut self) -> io::Result<String> {
        drop(self.child.stdin.take());
        let mut output = String::new();
        self.stdout.read_to_string(&mut output)?;
        Ok(output.trim().to_owned())
    }

    /// The processor time it has used.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu(&self) -> io::Result<Duration> {
        // In hundredths of a second, everywhere that matters.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks =
            fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u32>().ok());
        Ok(TICK * ticks.sum::<u32>())
    }

    /// Its resident memory in KiB.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory_kib(&self) -> io::Result<u64> {
        memory_kib_of(self.child.id())
    }

    /// What it has used so far. Threads that have ended do not count.
    ///
    /// # Errors
    /// If it has ended.
    pub fn usage(&self) -> io::Result<Usage> {
        // In nanoseconds, which a sample of a second needs.
        let (mut nanoseconds, mut switches) = (0, 0);
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let path = task?.path();
            // A thread may end meanwhile.
            let read = |file| fs::read_to_string(path.join(file)).unwrap_or_default();
            let spent = read("schedstat").split_whitespace().next().and_then(|n| n.parse().ok());
            nanoseconds += spent.unwrap_or(0);
            switches += read("status")
                .lines()
                .filter(|line| line.contains("ctxt_switches:"))
                .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
                .sum::<u64>();
        }
        Ok(Usage { cpu: Duration::from_nanos(nanoseconds), switches, kib: self.memory_kib()? })
    }
}

/// The resident memory of any process, in KiB.
///
/// # Errors
/// If it has ended.
pub fn memory_kib_of(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other("the process has ended"))
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
